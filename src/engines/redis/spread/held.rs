//! Jobs whose slot has no node to send them to yet: nobody owns it, or the node that owned it before has something to answer
//! first. Pure: times are arguments.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::slots::NodeId;
use crate::engines::redis::job::Job;

/// The pipelines that each stripe of a node has sent.
pub(super) type Sent = Vec<[u64; 2]>;

/// The jobs of such slots, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Held {
    slots: BTreeMap<u16, Slot>,
    count: usize,
}

#[derive(Debug, Default)]
struct Slot {
    /// The node that had the slot, and the pipelines that it has to answer first.
    after: Option<(NodeId, Sent)>,
    /// What that node was sent, and has not carried out.
    sent: Vec<Job>,
    /// What waited for that node.
    waited: Vec<Job>,
    later: Vec<Job>,
}

impl Held {
    /// Whether jobs of a slot are held.
    pub(super) fn holds(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot)
    }

    /// How many jobs are held.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Holds the jobs of a slot until a node has answered these pipelines. If they are held already, they wait for what they
    /// wait for: no other node has got any of them since.
    pub(super) fn begin(&mut self, slot: u16, from: NodeId, sent: &Sent) {
        self.slots.entry(slot).or_insert_with(|| Slot {
            after: Some((from, sent.clone())),
            ..Slot::default()
        });
    }

    /// Holds a job behind all others of its slot.
    pub(super) fn push(&mut self, slot: u16, job: Job) {
        self.count += 1;
        self.slots.entry(slot).or_default().later.push(job);
    }

    /// Holds a job that waited for the old node of its slot: before all that came later.
    pub(super) fn push_waited(&mut self, slot: u16, job: Job) {
        self.count += 1;
        self.slots.entry(slot).or_default().waited.push(job);
    }

    /// Holds a job that the old node of its slot was sent: before all that waited for that node.
    pub(super) fn push_sent(&mut self, slot: u16, job: Job) {
        self.count += 1;
        self.slots.entry(slot).or_default().sent.push(job);
    }

    /// The slots whose jobs are held, and what for.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u16, Option<&(NodeId, Sent)>)> {
        self.slots.iter().map(|(slot, held)| (*slot, held.after.as_ref()))
    }

    /// Whether jobs wait for a node.
    pub(super) fn wait_for(&self, node: NodeId) -> bool {
        let mut all = self.slots.values();
        all.any(|held| matches!(&held.after, Some((from, _)) if *from == node))
    }

    /// Takes the jobs of a slot, in their order. They are held no longer.
    pub(super) fn take(&mut self, slot: u16) -> Vec<Job> {
        let Some(mut held) = self.slots.remove(&slot) else {
            return Vec::new();
        };
        held.sent.append(&mut held.waited);
        held.sent.append(&mut held.later);
        self.count -= held.sent.len();
        held.sent
    }

    /// Takes all jobs.
    pub(super) fn take_all(&mut self) -> Vec<Job> {
        let slots: Vec<u16> = self.slots.keys().copied().collect();
        slots.into_iter().flat_map(|slot| self.take(slot)).collect()
    }

    /// Takes the jobs whose time is over, and returns when that of the next one is.
    pub(super) fn take_late(&mut self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let (mut late, mut next) = (Vec::new(), None::<Instant>);
        for held in self.slots.values_mut() {
            for jobs in [&mut held.sent, &mut held.waited, &mut held.later] {
                let due = |job: &Job| {
                    job.waits_until
                        .map_or(job.deadline, |until| until.min(job.deadline))
                };
                late.extend(jobs.extract_if(.., |job| due(job) <= now));
                next = jobs.iter().map(due).chain(next).min();
            }
        }
        self.count -= late.len();
        // A slot that waits for a node is held without jobs too.
        self.slots.retain(|_, held| {
            held.after.is_some() || !(held.sent.is_empty() && held.waited.is_empty() && held.later.is_empty())
        });
        (late, next)
    }
}
