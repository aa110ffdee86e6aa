//! The lock table: beside the map of entries and apart from it. No write, clearing, invalidation or
//! eviction touches it, it counts towards no bound of theirs, and it outlives a fault of the map.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use compact_str::CompactString;

use super::expiry::Moment;
use crate::error::Result;
use crate::key::Key;
use crate::request::{LockAction, LockAnswer};
use crate::secret::Secret;

/// Who holds what, until when.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: HashMap<CompactString, Held>,
    /// The ends of all that is held, so that what nobody asks for again goes too.
    ends: BTreeSet<(Moment, CompactString)>,
    /// The last fence of any lock. One count for all keys only grows, also for a key that was long gone.
    fence: u64,
}

#[derive(Debug)]
struct Held {
    secret: Secret,
    fence: u64,
    until: Moment,
}

impl Locks {
    /// Carries out one step.
    pub(super) fn serve(&mut self, key: &Key, action: LockAction, now: Moment) -> Result<LockAnswer> {
        self.expire(now);
        let text = key.text();
        Ok(match action {
            LockAction::Acquire { secret, ttl } => match self.held.get(text) {
                Some(held) if held.secret != secret => held.busy(now),
                Some(held) => {
                    let fence = held.fence;
                    self.renew(text, now.after(ttl));
                    LockAnswer::Granted { fence, renewed: true }
                }
                None => self.take(text, secret, now.after(ttl)),
            },
            LockAction::Renew { secret, ttl } => match self.held.get(text) {
                Some(held) if held.secret == secret => {
                    let fence = held.fence;
                    self.renew(text, now.after(ttl));
                    LockAnswer::Granted { fence, renewed: true }
                }
                Some(held) => held.busy(now),
                None => LockAnswer::NotHeld,
            },
            LockAction::Extend { secret, ttl } => match self.held.get(text) {
                None => LockAnswer::NotHeld,
                Some(held) if held.secret != secret => LockAnswer::Mismatch,
                Some(_) => {
                    self.renew(text, now.after(ttl));
                    LockAnswer::Done
                }
            },
            LockAction::Release { secret } => match self.held.get(text) {
                None => LockAnswer::NotHeld,
                Some(held) if held.secret != secret => LockAnswer::Mismatch,
                Some(_) => self.end(text),
            },
            LockAction::Force => self.end(text),
            LockAction::Info => match self.held.get(text) {
                None => LockAnswer::NotHeld,
                Some(held) => LockAnswer::Held {
                    remaining: held.until.left(now),
                    fence: held.fence,
                },
            },
        })
    }

    fn take(&mut self, key: &CompactString, secret: Secret, until: Moment) -> LockAnswer {
        self.fence += 1;
        let fence = self.fence;
        self.held.insert(key.clone(), Held { secret, fence, until });
        self.ends.insert((until, key.clone()));
        LockAnswer::Granted {
            fence,
            renewed: false,
        }
    }

    fn renew(&mut self, key: &CompactString, until: Moment) {
        if let Entry::Occupied(mut held) = self.held.entry(key.clone()) {
            let before = std::mem::replace(&mut held.get_mut().until, until);
            self.ends.remove(&(before, key.clone()));
            self.ends.insert((until, key.clone()));
        }
    }

    fn end(&mut self, key: &CompactString) -> LockAnswer {
        match self.held.remove(key) {
            None => LockAnswer::NotHeld,
            Some(held) => {
                self.ends.remove(&(held.until, key.clone()));
                LockAnswer::Done
            }
        }
    }

    /// Ends what has had its time.
    fn expire(&mut self, now: Moment) {
        while let Some((until, _)) = self.ends.first()
            && *until <= now
        {
            if let Some((_, key)) = self.ends.pop_first() {
                self.held.remove(&key);
            }
        }
    }
}

impl Held {
    fn busy(&self, now: Moment) -> LockAnswer {
        LockAnswer::Busy {
            remaining: self.until.left(now),
            fence: self.fence,
        }
    }
}
