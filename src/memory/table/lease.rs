//! Leases: what is loaded is stored only if nothing that it comes from has changed meanwhile.

use std::time::Duration;

use super::super::expiry::Moment;
use super::Table;
use crate::key::Key;
use crate::request::{Aged, LeaseAction, LeaseAnswer, Write};
use crate::ttl::whole_millis;

impl Table {
    /// As [`get`](Self::get), with the time that is left.
    pub(crate) fn get_aged(&mut self, key: &Key, now: Moment) -> Option<Aged> {
        let slot = self.find(key, now);
        let value = self.read(slot)?;
        let remaining = self.remaining(slot?, now);
        Some(Aged { value, remaining })
    }

    /// Carries out one step on a lease.
    pub(crate) fn serve_lease(&mut self, action: LeaseAction, now: Moment) -> LeaseAnswer {
        match action {
            LeaseAction::Take {
                key,
                token,
                names,
                ttl,
            } => match self.leases.take(&key, token, &names, ttl, now) {
                Ok(()) => LeaseAnswer::Taken {
                    present: self.find(&key, now).map(|slot| Aged {
                        value: self.entries[slot].value.clone(),
                        remaining: self.remaining(slot, now),
                    }),
                },
                Err((token, remaining)) => LeaseAnswer::Held { token, remaining },
            },
            LeaseAction::Fulfil { token, write } => {
                LeaseAnswer::Stored(if self.leases.end(&write.key, token, now) {
                    self.fulfil(write, now);
                    true
                } else {
                    self.leases.kill_derived(write.key.text());
                    false
                })
            }
            LeaseAction::End { key, token, .. } => {
                self.leases.end(&key, token, now);
                LeaseAnswer::Ended
            }
        }
    }

    /// A write that is no change: what is loaded from the key meanwhile may be stored too.
    fn fulfil(&mut self, write: Write, now: Moment) {
        let slot = self.put(write, now);
        self.entries[slot].era = self.era;
        self.make_room();
    }

    fn remaining(&self, slot: u32, now: Moment) -> Option<Duration> {
        match self.entries[slot].due {
            Moment::NEVER => None,
            due => Some(whole_millis(due.left(now))),
        }
    }

    /// A key has changed, or an entry that there was under it.
    pub(super) fn changed(&mut self, key: &Key) {
        if !self.leases.is_empty() {
            self.leases.kill(key.text());
        }
    }
}
