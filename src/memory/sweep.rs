//! Long work in small steps: invalidations and clearings, so that a million dependents make nobody
//! else wait.

use super::dependency::NameId;
use super::expiry::Moment;
use super::slab::Slot;
use super::table::Table;
use crate::key::Key;

/// How many slots one step of a clearing looks at.
const SLOTS: u32 = 64;
/// How many dependents one step of an invalidation removes.
const DEPENDENTS: usize = 64;

/// A piece of long work, with all that it has to remember between its steps.
#[derive(Debug)]
pub(crate) enum Sweep {
    Invalidation {
        /// Names given and not yet looked at.
        names: Vec<Key>,
        /// Condemned names that still have dependents.
        condemned: Vec<NameId>,
        removed: u64,
    },
    Clearing {
        prefix: String,
        era: u32,
        cursor: Slot,
        removed: u64,
    },
}

impl Sweep {
    pub(crate) fn invalidation(names: Vec<Key>) -> Self {
        Sweep::Invalidation {
            names,
            condemned: Vec::new(),
            removed: 0,
        }
    }

    /// What is written from here on is not cleared.
    pub(crate) fn clearing(table: &mut Table, prefix: String) -> Self {
        Sweep::Clearing {
            era: table.begin_era(&prefix),
            prefix,
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

    /// Whether it is to remove what is under this name.
    pub(crate) fn clears(&self, name: &Key) -> bool {
        match self {
            Sweep::Invalidation { .. } => false,
            Sweep::Clearing { prefix, .. } => name.as_str().starts_with(prefix.as_str()),
        }
    }

    /// One small step: how many entries were removed in all, once there is nothing left to do.
    pub(crate) fn step(&mut self, table: &mut Table, now: Moment) -> Option<u64> {
        match self {
            Sweep::Invalidation {
                names,
                condemned,
                removed,
            } => {
                for _ in 0..DEPENDENTS {
                    let outcome = if let Some(name) = condemned.last() {
                        table.drain(*name, now)
                    } else if let Some(key) = names.pop() {
                        Some(table.condemn(&key, now))
                    } else {
                        return Some(*removed);
                    };
                    match outcome {
                        Some((alive, name)) => {
                            *removed += u64::from(alive);
                            condemned.extend(name);
                        }
                        None => {
                            condemned.pop();
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
                        // What is being loaded may have been read from what was still there.
                        table.kill_leases(prefix);
                        Some(*removed)
                    }
                }
            }
        }
    }
}
