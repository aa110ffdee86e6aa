//! Long work in small steps: invalidations and clearings, so that a million dependents make nobody
//! else wait.

use std::collections::VecDeque;
use std::sync::Arc;

use super::dependency::NameId;
use super::expiry::Moment;
use super::slab::Slot;
use super::table::Table;
use crate::error::{Cause, Error};
use crate::key::Key;
use crate::request::{Progress, Reply};

/// How many slots one step of a clearing looks at.
const SLOTS: u32 = 64;
/// How many dependents one step of an invalidation removes.
const DEPENDENTS: usize = 64;

/// The most names that wait to be invalidated or cleared.
const MOST_NAMES: usize = 65_536;

/// Long work under way. The first is carried out in slices between batches. Those behind it wait, for what they
/// have to remove may be what it has invalidated and not removed yet: an answer means that all is gone.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    all: VecDeque<Begun>,
    /// How many names those behind the first hold.
    waiting: usize,
    /// The prefixes of the clearings among them, in their order.
    clearings: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Begun {
    sweep: Sweep,
    progress: Progress,
    reply: Reply<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("too many invalidations wait for a clearing or for a large invalidation")]
struct TooMany;

impl Sweeps {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes on a sweep, or refuses it if too many wait. Most are small, and done at once.
    pub(super) fn begin(
        &mut self,
        sweep: Sweep,
        progress: Progress,
        reply: Reply<u64>,
        table: &mut Table,
        now: Moment,
    ) {
        if sweep.names() == 0 {
            return reply.send(Ok(0));
        }
        if self.waiting >= MOST_NAMES {
            return reply.send(Err(Error::Unavailable(Cause::new(TooMany))));
        }
        let waits = !self.all.is_empty();
        if waits {
            self.waiting += sweep.names();
        }
        self.clearings.extend(sweep.prefix());
        self.all.push_back(Begun {
            sweep,
            progress,
            reply,
        });
        if !waits {
            self.step(table, now);
        }
    }

    /// Takes the first sweep one step further.
    ///
    /// The sweep is out of the engine's state meanwhile: one that panics is not tried again.
    pub(super) fn step(&mut self, table: &mut Table, now: Moment) {
        let Some(mut begun) = self.all.pop_front() else {
            return;
        };
        let prefix = begun.sweep.prefix().and_then(|_| self.clearings.pop_front());
        let next = self.all.front().map_or(0, |next| next.sweep.names());
        self.waiting -= next;
        match begun.sweep.step(table, now) {
            Some(removed) => begun.reply.send(Ok(removed)),
            None => {
                self.waiting += next;
                prefix
                    .into_iter()
                    .for_each(|prefix| self.clearings.push_front(prefix));
                self.all.push_front(begun);
            }
        }
    }

    /// Tells the caller of the first sweep how far it has come.
    pub(super) fn report(&self) {
        if let Some(Begun { sweep, progress, .. }) = self.all.front() {
            progress.report(sweep.removed());
        }
    }

    /// Whether a clearing that is under way covers this name.
    pub(super) fn clear(&self, name: &Key) -> bool {
        let mut prefixes = self.clearings.iter();
        prefixes.any(|prefix| name.as_str().starts_with(&**prefix))
    }

    /// Forgets all of them, as after a fault.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A piece of long work, with all that it has to remember between its steps.
#[derive(Debug)]
pub(crate) enum Sweep {
    Invalidation {
        /// Names given and not yet looked at.
        names: Vec<Key>,
        /// Condemned names that still have dependents.
        invalidated: Vec<NameId>,
        removed: u64,
    },
    Clearing {
        prefix: Arc<str>,
        era: u32,
        cursor: Slot,
        removed: u64,
    },
}

impl Sweep {
    pub(crate) fn invalidation(names: Vec<Key>) -> Self {
        Sweep::Invalidation {
            names,
            invalidated: Vec::new(),
            removed: 0,
        }
    }

    /// The clearing removes entries of older eras. An entry that is written from here on has a newer one.
    pub(crate) fn clearing(table: &mut Table, prefix: String) -> Self {
        Sweep::Clearing {
            era: table.begin_era(&prefix),
            prefix: prefix.into(),
            cursor: 0,
            removed: 0,
        }
    }

    /// How many entries it has removed so far.
    pub(crate) fn removed(&self) -> u64 {
        match self {
            Sweep::Invalidation { removed, .. } | Sweep::Clearing { removed, .. } => *removed,
        }
    }

    /// How many names it holds before its first step. A clearing holds its prefix.
    fn names(&self) -> usize {
        match self {
            Sweep::Invalidation { names, .. } => names.len(),
            Sweep::Clearing { .. } => 1,
        }
    }

    /// Under which prefix it clears all.
    fn prefix(&self) -> Option<Arc<str>> {
        match self {
            Sweep::Invalidation { .. } => None,
            Sweep::Clearing { prefix, .. } => Some(prefix.clone()),
        }
    }

    /// Does one small step. Returns how many entries were removed in all, once there is nothing left to do.
    pub(crate) fn step(&mut self, table: &mut Table, now: Moment) -> Option<u64> {
        match self {
            Sweep::Invalidation {
                names,
                invalidated,
                removed,
            } => {
                for _ in 0..DEPENDENTS {
                    let outcome = if let Some(name) = invalidated.last() {
                        table.drain(*name, now)
                    } else if let Some(key) = names.pop() {
                        Some(table.invalidate(&key, now))
                    } else {
                        return Some(*removed);
                    };
                    match outcome {
                        Some((alive, name)) => {
                            *removed += u64::from(alive);
                            invalidated.extend(name);
                        }
                        None => {
                            invalidated.pop();
                        }
                    }
                }
                None
            }
            Sweep::Clearing {
                prefix,
                era,
                cursor,
                removed,
            } => {
                let (more, next) = table.clear(prefix, *era, *cursor, SLOTS, now);
                *removed += more;
                match next {
                    Some(next) => {
                        *cursor = next;
                        None
                    }
                    None => {
                        table.end_clearing(prefix, *removed);
                        Some(*removed)
                    }
                }
            }
        }
    }
}
