//! What is to be done, and what must wait for what is under way. Pure.

use tokio::time::Instant;

use super::abilities::Abilities;
use super::cluster::slot_of;
use super::doubt::Doubt;
use super::exchange::Way;
use super::layout::Layout;
use super::own::Own;
use super::raw;
use super::redirect::Redirect;
use super::removals::Removal;
use super::script::By;
use super::walk::Walk;
use crate::actor::queue::Room;
use crate::error::Error;
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{Asked, Effect, EntryRequest, Keys};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Request(EntryRequest),
    /// Keys that an `MGET` did not find.
    Doubt(Box<Doubt>),
    Walk(Walk),
    /// A command of the engine's own.
    Own(Box<Own>),
}

impl Task {
    /// The keys that it reads or writes, or 1 for what has none.
    pub(super) fn values(&self) -> usize {
        match self {
            Task::Request(request) => request.keys().len().max(1),
            Task::Doubt(_) | Task::Walk(_) | Task::Own(_) => 1,
        }
    }

    /// The bytes that it writes, and what it holds beside them.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Task::Request(request) => request.bytes(),
            Task::Doubt(_) | Task::Walk(_) => 0,
            Task::Own(own) => own.bytes(),
        }
    }

    /// Whether it only asks, so that it may be sent again.
    pub(super) fn is_question(&self) -> bool {
        match self {
            Task::Doubt(_) => true,
            Task::Request(request) => request.effect() == Effect::Question,
            Task::Walk(_) => false,
            Task::Own(own) => own.is_repeatable,
        }
    }

    /// How this travels, for what must keep its order.
    pub(super) fn way(&self, layout: &Layout, abilities: Abilities) -> Way {
        match self {
            Task::Request(request) => request.way(layout, abilities),
            Task::Own(own) if own.key.is_some() => Way::Script,
            Task::Doubt(_) | Task::Walk(_) | Task::Own(_) => Way::Plain,
        }
    }

    /// What it removes, if it only removes.
    pub(super) fn removal(&self) -> Option<Removal> {
        match self {
            Task::Request(EntryRequest::Delete(Asked { operation, .. })) => {
                let key = operation.key.clone();
                Some(Removal::Entries(vec![key], operation.within))
            }
            Task::Request(EntryRequest::DeleteMany(Asked { operation, .. })) => {
                Some(Removal::Entries(operation.keys.clone(), operation.within))
            }
            Task::Walk(walk) => walk.removal(),
            Task::Request(_) | Task::Doubt(_) | Task::Own(_) => None,
        }
    }

    /// Whether it only removes.
    pub(super) fn is_removal(&self) -> bool {
        matches!(
            self,
            Task::Walk(_) | Task::Request(EntryRequest::Delete(_) | EntryRequest::DeleteMany(_))
        )
    }

    /// Whether it reads and writes no entries.
    fn is_beside_entries(&self) -> bool {
        matches!(self, Task::Request(EntryRequest::Lock(_) | EntryRequest::Ping(_)))
    }

    /// Whether its commands name a key for certain. Which arguments of a command of the caller's own are keys, only the server
    /// knows.
    pub(super) fn names_key(&self) -> bool {
        match self {
            Task::Request(EntryRequest::Raw(_)) => false,
            Task::Request(request) => request.keys().first().is_some(),
            Task::Doubt(_) | Task::Walk(_) => true,
            Task::Own(own) => own.slot.is_some(),
        }
    }

    /// Whether it looks at keys of one node, whatever their slots.
    pub(super) fn is_page(&self) -> bool {
        match self {
            Task::Request(request) => matches!(request, EntryRequest::Scan(_)),
            Task::Own(own) => own.slot.is_none(),
            Task::Doubt(_) | Task::Walk(_) => false,
        }
    }

    /// The slot of a cluster that it is for: that of its first key. All of its keys are in one slot if it is sent to a
    /// cluster. `None` if it has no keys.
    pub(super) fn slot(&self) -> Option<u16> {
        let of = |key: &Key| slot_of(key.as_str().as_bytes());
        match self {
            Task::Request(EntryRequest::Raw(asked)) => raw::slot(&asked.operation),
            Task::Request(request) => request.keys().first().map(of),
            Task::Doubt(doubt) => doubt.key().map(of),
            Task::Walk(_) => None,
            Task::Own(own) => own.slot,
        }
    }

    /// The keys that this touches. No order matters to the keys of other tasks than requests.
    pub(super) fn keys(&self) -> Keys<'_> {
        match self {
            Task::Request(request) => request.keys(),
            Task::Own(own) => own.key.as_deref().map_or(Keys::None, Keys::One),
            Task::Doubt(_) | Task::Walk(_) => Keys::None,
        }
    }
}

/// The keys, by their hashes, of scripts that are under way, and how often each.
#[derive(Debug, Default)]
pub(super) struct Busy {
    keys: Map<u64, u32>,
    /// The server may know some scripts and not others. One that it knows must then not follow one that it
    /// may have to be sent again. Where it knows all or none, scripts keep their order among themselves.
    partly: bool,
}

impl Busy {
    /// For a new connection, to whose server all scripts were sent, or not.
    pub(super) fn new(all_loaded: bool) -> Self {
        Self {
            keys: Map::default(),
            partly: !all_loaded,
        }
    }

    /// The server has forgotten scripts. They come back one by one.
    pub(super) fn forgotten(&mut self) {
        self.partly = true;
    }

    /// Whether a job that travels this way must wait for what is under way.
    pub(super) fn holds(&self, job: &Job, way: Way) -> bool {
        if self.keys.is_empty() || (way == Way::Script && !self.partly) {
            return false;
        }
        let mut holds = false;
        let keys = job.task.keys();
        keys.for_each(|key| holds |= self.keys.contains_key(&key.hash()));
        holds
    }

    /// Takes note of a job that is about to be sent this way, also in `keys`.
    pub(super) fn begin(&mut self, job: &Job, way: Way, keys: &mut Vec<u64>) {
        let scripted = match way {
            Way::Plain => false,
            Way::Script => true,
            Way::LockScript => self.partly,
        };
        if job.by == By::Digest && scripted {
            job.task.keys().for_each(|key| {
                *self.keys.entry(key.hash()).or_default() += 1;
                keys.push(key.hash());
            });
        }
    }

    /// What had these keys has been answered, or never will be.
    pub(super) fn end(&mut self, keys: &[u64]) {
        for key in keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
    }
}

/// A task and how it is to be sent.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) deadline: Instant,
    /// Until when it waits for a connection that is known to be down.
    pub(super) waits_until: Option<Instant>,
    /// Keys that must each have a command of their own: one for many of them does not say enough, or was refused.
    pub(super) alone: bool,
    pub(super) by: By,
    /// The link beside its own may have jobs of its keys, which come first.
    pub(super) crossing: bool,
    /// It is a step of a replay. Other jobs wait for it.
    pub(super) is_replay: bool,
    /// Its room in the queue, kept until it is sent.
    pub(super) room: Option<Room>,
    /// Why a node of a cluster did not carry it out when it was sent last.
    pub(super) refused: Option<Error>,
    /// Where that node has sent it to.
    pub(super) redirect: Option<Redirect>,
}

impl Job {
    /// Whether a replay makes it, now or later: it is one of its steps, or nobody waits for it any more.
    pub(super) fn is_replayed(&self) -> bool {
        self.is_replay || matches!(&self.task, Task::Walk(walk) if !walk.is_awaited())
    }

    /// It is not carried out, because the only link over which it may be is gone.
    pub(super) fn void(self) {
        if let Task::Own(own) = self.task {
            own.void();
        }
    }

    /// Whether it is a write that was refused with its neighbours, and is sent once more by itself.
    pub(super) fn is_set_apart(&self) -> bool {
        self.alone && matches!(self.task, Task::Request(EntryRequest::Set(_)))
    }

    /// Whether it waits for a replay.
    pub(super) fn waits_for_replay(&self) -> bool {
        !self.is_replay && !self.task.is_beside_entries()
    }

    pub(super) fn new(task: Task, deadline: Instant) -> Self {
        Self {
            task,
            deadline,
            waits_until: None,
            alone: false,
            by: By::Digest,
            crossing: false,
            is_replay: false,
            room: None,
            refused: None,
            redirect: None,
        }
    }
}
