//! Which node of a cluster owns the slot of a store.

mod map;
mod question;
mod slot;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use self::map::{Map, no_owner};
pub(super) use self::map::{Node, slot_of_redirection};
use self::question::ask;
pub(super) use self::slot::slot_of;
use super::connection_log::why;
use super::fault::Lost;
use super::generation::Generation;
use super::resolver::{Route, shown};
use crate::actor::contained;
use crate::config::{Address, Cluster, Place, RedisOptions, Target};
use crate::error::{Cause, Error, Result};
use crate::events::{Event, Listeners};

/// How long one node may take to answer, its connection included, before the next one is asked. It doubles with each round
/// in which no node answers, up to the `connect_timeout`.
const PATIENCE: Duration = Duration::from_millis(500);

/// Finds the owner of a slot, and remembers which node that was.
pub(super) struct SlotOwner {
    slot: u16,
    cluster: Cluster,
    options: RedisOptions,
    known: Mutex<Known>,
    generation: Generation,
    /// The leases on the owner were ended for this generation.
    leases_ended: AtomicU64,
    listeners: Arc<Listeners>,
}

#[derive(Debug, Default)]
struct Known {
    /// The owner that a connection was opened to.
    owner: Option<Place>,
    /// Where the last redirection led to. It is tried before any node is asked.
    redirected: Option<Place>,
    /// The nodes that others have told of.
    nodes: Vec<Place>,
    /// The node that is asked first.
    first: usize,
    /// In how many rounds in a row no node has answered.
    failures: u32,
}

impl fmt::Debug for SlotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the owner of slot {} in {}", self.slot, self.cluster)
    }
}

impl SlotOwner {
    /// `None` if the store is not in a slot of a cluster.
    pub(super) fn new(
        options: &RedisOptions,
        generation: Generation,
        listeners: Arc<Listeners>,
    ) -> Option<Self> {
        let Target::Cluster(cluster) = &options.target else {
            return None;
        };
        Some(Self {
            slot: slot_of(cluster.hash_tag().as_bytes()),
            cluster: cluster.clone(),
            options: options.clone(),
            known: Mutex::default(),
            generation,
            leases_ended: AtomicU64::new(0),
            listeners,
        })
    }

    /// How many nodes are known.
    pub(super) fn count(&self) -> usize {
        self.nodes().len()
    }

    /// Asks the nodes in turn, from the one on that answered last.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if all of them answer that they are no node of a cluster, `Unauthorized` if all refuse the user,
    /// otherwise `Unavailable`. All but `Unauthorized` name each node and what came of it.
    pub(super) async fn place(&self) -> Result<Place> {
        if let Some(place) = self.known().redirected.take() {
            return Ok(place);
        }
        let nodes = self.nodes();
        let (first, failures) = {
            let known = self.known();
            (known.first, known.failures)
        };
        let patience = PATIENCE.saturating_mul(1 << failures.min(16));
        let patience = patience.min(self.options.connect_timeout);
        let mut refused = Vec::new();
        for index in (0..nodes.len()).map(|n| (first + n) % nodes.len()) {
            match self.ask(&nodes[index], patience).await {
                Ok(owner) => {
                    let mut known = self.known();
                    (known.first, known.failures) = (index, 0);
                    return Ok(owner);
                }
                Err(error) => refused.push((&nodes[index], error)),
            }
        }
        self.known().failures = failures.saturating_add(1);
        Err(self.refusal(&refused))
    }

    /// The node that was named last cannot be reached, or does not own the slot: another node may know better.
    pub(super) fn doubt(&self) {
        let count = self.count();
        let mut known = self.known();
        known.first = (known.first + 1) % count;
        known.redirected = None;
    }

    /// A node has told that the slot is elsewhere. `at` is where that node is.
    pub(super) fn redirected(&self, node: &Node, at: &Place) {
        self.known().redirected = self.mapped(node, at);
    }

    /// Where a node is reached that another names, which is reached `at`. `None` if the application's code panics.
    pub(super) fn mapped(&self, node: &Node, at: &Place) -> Option<Place> {
        let (host, port) = match (&node.host, at) {
            (Some(host), _) => contained(|| self.options.address_map.apply(host, node.port))?,
            (None, Place::Tcp(host, _)) => (host.clone(), node.port),
            (None, Place::Unix(_)) => return None,
        };
        Some(Place::Tcp(host, port))
    }

    /// How a node is entered.
    pub(super) fn address(&self, place: Place) -> Address {
        let access = self.cluster.access.clone();
        Address { place, access }
    }

    /// Whether the leases on a node have to end, because the store may come from another owner.
    pub(super) fn owes_leases(&self, place: &Place) -> bool {
        self.known().owner.as_ref().is_some_and(|owner| owner != place)
            || self.leases_ended.load(Ordering::Acquire) < self.generation.first_uncut()
    }

    /// A connection is open to a node that owns the slot. If another node has owned it before, the connections to that one
    /// are cut, and this one belongs to the generation that begins.
    pub(super) fn greeted(&self, route: &mut Route) {
        let place = &route.address.place;
        let before = self.known().owner.replace(place.clone());
        if let Some(before) = before.filter(|before| before != place) {
            self.generation.cut();
            route.generation = self.generation.current();
            let node = place.to_string();
            tracing::warn!(slot = self.slot, from = %before, %node, "the slot of the store has another owner");
            if self.listeners.any() {
                self.listeners.tell_all(&Event::SwitchedPrimary { node });
            }
        }
        if !route.ends_leases {
            self.leases_ended.fetch_max(route.generation, Ordering::AcqRel);
        }
    }

    /// Asks one node for the owner.
    async fn ask(&self, node: &Place, patience: Duration) -> Result<Place> {
        let Address { place, access } = self.address(node.clone());
        // The application's callback has a time of its own.
        let access = timeout(self.options.connect_timeout, shown(&self.options, access));
        let access = access.await.unwrap_or_else(|_| {
            let late = "the callback for credentials did not answer in time".to_owned();
            Err(Error::Unavailable(Cause::new(Lost(late))))
        })?;
        let address = Address { place, access };
        let Ok(reply) = timeout(patience, ask(&address, &self.options)).await else {
            let silent = "it did not answer in time".to_owned();
            return Err(Error::Unavailable(Cause::new(Lost(silent))));
        };
        let Map { owner, nodes } = Map::read(reply?, self.slot)?;
        let nodes: Vec<Place> = nodes.iter().filter_map(|told| self.mapped(told, node)).collect();
        if !nodes.is_empty() {
            self.known().nodes = nodes;
        }
        let owner = owner.ok_or_else(|| no_owner(self.slot))?;
        self.mapped(&owner, node).ok_or_else(|| {
            let panicked = "map_address panicked".to_owned();
            Error::Unavailable(Cause::new(Lost(panicked)))
        })
    }

    /// All known nodes: the seeds, and the nodes that other nodes have named.
    fn nodes(&self) -> Vec<Place> {
        let mut nodes = self.cluster.seeds.clone();
        let known = self.known();
        let others = known
            .nodes
            .iter()
            .filter(|node| !self.cluster.seeds.contains(node));
        nodes.extend(others.cloned());
        nodes
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What it holds is whole at any time.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, refused: &[(&Place, Error)]) -> Error {
        let all = |is: fn(&Error) -> bool| refused.iter().all(|(_, error)| is(error));
        let told: Vec<String> = refused
            .iter()
            .map(|(place, error)| match error {
                Error::InvalidConfig { .. } => format!("{place} is no node of a cluster"),
                error => format!("{place}: {}", why(error)),
            })
            .collect();
        let reason = format!(
            "no node names the owner of slot {}: {}",
            self.slot,
            told.join(", ")
        );
        if all(|error| matches!(error, Error::InvalidConfig { .. })) {
            return Error::InvalidConfig { reason };
        }
        if all(|error| matches!(error, Error::Unauthorized)) {
            tracing::debug!(reason, "all nodes refuse the user");
            return Error::Unauthorized;
        }
        Error::Unavailable(Cause::new(Lost(reason)))
    }
}
