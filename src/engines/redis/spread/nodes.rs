//! The connections to the nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::held::Sent;
use super::slots::NodeId;
use crate::config::{Place, RedisOptions};
use crate::engines::redis::cluster::Directory;
use crate::engines::redis::generation::Generation;
use crate::engines::redis::job::Job;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::link::Link;
use crate::engines::redis::resolver::Resolver;
use crate::engines::redis::scanner::Bounds;
use crate::engines::redis::stripe::Stripe;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::tracker::Tracker;
use crate::events::Listeners;
use crate::meters::Meters;

/// What connections are made with.
pub(super) struct Kit {
    pub(super) options: Arc<RedisOptions>,
    pub(super) layout: Layout,
    pub(super) bounds: Bounds,
    pub(super) directory: Arc<Directory>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) meters: Meters,
    /// Writes the near cache, if there is one.
    pub(super) tracker: Option<Tracker>,
}

/// The connections to one node.
struct Node {
    /// Each carries a share of the slots.
    stripes: Vec<Stripe>,
    generation: Generation,
}

/// All nodes that have connections.
pub(super) struct Nodes {
    kit: Kit,
    all: BTreeMap<NodeId, Node>,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nodes").field(&self.all.len()).finish()
    }
}

impl Nodes {
    pub(super) fn new(kit: Kit) -> Self {
        Self {
            kit,
            all: BTreeMap::new(),
        }
    }

    /// Opens connections to a node, if there are none.
    pub(super) fn open(&mut self, id: NodeId, place: &Place, now: Instant) {
        let kit = &self.kit;
        self.all.entry(id).or_insert_with(|| {
            let generation = Generation::first();
            let resolver = Resolver::node(generation.clone(), place.clone(), kit.directory.clone());
            let link = || {
                let link = Link::new(
                    kit.options.clone(),
                    kit.layout.clone(),
                    kit.bounds,
                    resolver.clone(),
                    kit.tracker.clone(),
                    now,
                );
                link.metered_by(kit.meters.clone()).handing_over()
            };
            let stripe = || Stripe::new(link().heard_by(kit.listeners.clone()), link());
            Node {
                stripes: (0..kit.options.connections).map(|_| stripe()).collect(),
                generation,
            }
        });
    }

    /// The connection of a node for a slot, or for what is for no slot.
    pub(super) fn stripe(&mut self, id: NodeId, slot: Option<u16>) -> Option<&mut Stripe> {
        let stripes = &mut self.all.get_mut(&id)?.stripes;
        let count = stripes.len();
        stripes.get_mut(usize::from(slot.unwrap_or(0)) % count)
    }

    /// The number of the connection of a node that carries what is new for a slot.
    pub(super) fn number(&self, id: NodeId, slot: u16) -> Option<u32> {
        let stripes = &self.all.get(&id)?.stripes;
        Some(stripes.get(usize::from(slot) % stripes.len())?.number())
    }

    /// Goes on with all connections. Returns `true` if anything was done. `strays` gets what nodes have not carried out: the
    /// node, the place of the connection among those of the node, and the jobs.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        tally: &mut Tally,
        strays: &mut Vec<(NodeId, usize, Vec<Job>)>,
    ) -> bool {
        let mut done = false;
        for (id, node) in &mut self.all {
            done |= node.generation.poll_next(cx);
            for (place, stripe) in node.stripes.iter_mut().enumerate() {
                done |= stripe.poll(cx, now, tally);
                let jobs = stripe.take_strays();
                if !jobs.is_empty() {
                    strays.push((*id, place, jobs));
                }
            }
        }
        done
    }

    /// Puts strays back to the connection that they come from.
    pub(super) fn push_again(&mut self, id: NodeId, place: usize, jobs: Vec<Job>, now: Instant) {
        let stripe = self.all.get_mut(&id).and_then(|node| node.stripes.get_mut(place));
        if let Some(stripe) = stripe {
            stripe.push_again(jobs, now);
        }
    }

    /// Takes out what waits for a node and is chosen. Order is kept for each slot.
    pub(super) fn take_waiting(&mut self, id: NodeId, chosen: impl Fn(Option<u16>) -> bool) -> Vec<Job> {
        let stripes = self
            .all
            .get_mut(&id)
            .into_iter()
            .flat_map(|node| &mut node.stripes);
        let taken = stripes.map(|stripe| stripe.take_waiting(|job| chosen(job.task.slot())));
        taken.flatten().collect()
    }

    /// Drops what was read from a node for the near cache: another node has some of its slots.
    pub(super) fn drop_near(&self, id: NodeId) {
        let stripes = self.all.get(&id).into_iter().flat_map(|node| &node.stripes);
        stripes.for_each(Stripe::drop_near);
    }

    /// How many pipelines each connection of a node has sent. `None` if the node has nothing to do.
    pub(super) fn sent(&self, id: NodeId) -> Option<Sent> {
        let node = self.all.get(&id)?;
        let is_idle = node.stripes.iter().all(Stripe::is_idle);
        (!is_idle).then(|| node.stripes.iter().map(Stripe::sent).collect())
    }

    /// Whether a node has answered all of these pipelines, and has nothing of the slot to be decided yet.
    pub(super) fn has_answered(&self, id: NodeId, slot: u16, sent: &Sent) -> bool {
        let Some(node) = self.all.get(&id) else {
            return true;
        };
        let mut each = node.stripes.iter().zip(sent);
        each.all(|(stripe, sent)| stripe.has_answered(*sent) && !stripe.has_refused(slot))
    }

    pub(super) fn is_idle(&self, id: NodeId) -> bool {
        let node = self.all.get(&id);
        node.is_none_or(|node| node.stripes.iter().all(Stripe::is_idle))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.all.keys().copied()
    }

    /// Closes the connections to a node that has nothing to do.
    pub(super) fn close(&mut self, id: NodeId) {
        self.all.remove(&id);
    }

    pub(super) fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        self.all.values().flat_map(|node| &node.stripes)
    }

    pub(super) fn stripes_mut(&mut self) -> impl Iterator<Item = &mut Stripe> {
        self.all.values_mut().flat_map(|node| &mut node.stripes)
    }

    /// Gives up on everything: the engine ends.
    pub(super) fn abandon(&mut self) {
        self.stripes_mut().for_each(Stripe::abandon);
        self.all.clear();
    }
}
