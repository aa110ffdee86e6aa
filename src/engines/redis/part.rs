//! The parts of a pipeline: which replies belong together, and who waits for them.

use super::fetch::{self, Fetch};
use super::gets::Getter;
use super::job::{Job, Task};
use super::removals::Removal;
use super::sets::Sets;
use super::transaction::Edge;
use crate::key::Key;

/// Who waits for the next replies of a pipeline.
#[derive(Debug)]
pub(super) enum Part {
    /// So many replies, for which nobody waits: leases were invalidated.
    Leases(usize),
    /// One reply, for which nobody waits: a sign of life.
    Ping { names_key: bool },
    /// One reply: a transaction begins or ends.
    Transaction(Edge),
    /// One reply: a value, or as many as there are callers. A caller who has been answered already is
    /// `None`.
    Gets(Vec<Option<Getter>>),
    /// The replies of a transaction that fetches keys for the near cache, each for one caller.
    Fetches(Vec<Key>, Vec<Option<Getter>>),
    /// One reply: an answer for each of these writes.
    Sets(Sets),
    /// As many replies as the request has commands. One that has been answered already is `None`.
    Other {
        job: Option<Job>,
        replies: usize,
        /// How its keys are fetched for the near cache, if they are.
        fetch: Option<Fetch>,
        /// What it was to remove, if its caller left at the deadline.
        left: Option<Removal>,
    },
}

impl Part {
    /// How many replies it has.
    pub(super) fn replies(&self) -> usize {
        match self {
            Part::Leases(count) => *count,
            Part::Ping { .. } | Part::Transaction(_) | Part::Gets(_) | Part::Sets(_) => 1,
            Part::Fetches(keys, _) => fetch::replies(keys.len()),
            Part::Other { replies, .. } => *replies,
        }
    }

    /// How many of the replies come first and are not those of its request.
    pub(super) fn lead(&self) -> usize {
        match self {
            Part::Other {
                fetch: Some(fetch), ..
            } => fetch.lead(),
            _ => 0,
        }
    }

    /// Whether it only asks, so that it may be sent again.
    pub(super) fn is_question(&self) -> bool {
        match self {
            Part::Leases(_)
            | Part::Ping { .. }
            | Part::Transaction(_)
            | Part::Gets(_)
            | Part::Fetches(..) => true,
            Part::Sets(_) => false,
            Part::Other { job, .. } => job.as_ref().is_some_and(|job| job.task.is_question()),
        }
    }

    /// Whether its commands name a key. In a cluster, a node carries them out only if it owns the slot and has not lost the
    /// other nodes.
    pub(super) fn names_key(&self) -> bool {
        match self {
            Part::Leases(_) | Part::Gets(_) | Part::Fetches(..) | Part::Sets(_) => true,
            Part::Ping { names_key } => *names_key,
            Part::Transaction(_) => false,
            Part::Other { job, .. } => job.as_ref().is_some_and(|job| job.task.names_key()),
        }
    }

    /// Whether the near cache is not read after it until it is known what has happened before; see
    /// [`EntryRequest::needs_barrier`].
    pub(super) fn needs_barrier(&self) -> bool {
        match self {
            Part::Other { job: Some(job), .. } => {
                matches!(&job.task, Task::Request(request) if request.needs_barrier())
            }
            _ => false,
        }
    }

    /// Calls `see` with each key of those who still wait.
    pub(super) fn each_key(&self, see: &mut impl FnMut(&Key)) {
        match self {
            Part::Leases(_) | Part::Ping { .. } | Part::Transaction(_) => {}
            Part::Gets(getters) | Part::Fetches(_, getters) => getters
                .iter()
                .flatten()
                .for_each(|getter| see(&getter.asked.operation.key)),
            Part::Sets(sets) => sets
                .setters
                .iter()
                .flatten()
                .for_each(|setter| see(&setter.asked.operation.write.key)),
            Part::Other { job, .. } => job.iter().for_each(|job| job.task.keys().for_each(&mut *see)),
        }
    }
}
