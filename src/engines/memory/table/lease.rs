//! Leases: a loaded value is stored only if none of its dependencies has changed meanwhile.

use std::time::Duration;

use super::super::dependency::EdgeId;
use super::super::expiry::Moment;
use super::Table;
use super::gate::Change;
use crate::key::Key;
use crate::request::{Aged, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, Token, Write};
use crate::ttl::whole_millis;

impl Table {
    /// Reads a value with the time that is left, and counts the use. An entry that was read before is published in the
    /// near cache.
    pub(crate) fn get_aged(&mut self, key: &Key, now: Moment) -> Option<Aged> {
        let slot = self.find(key, now);
        let value = self.read(slot)?;
        let remaining = self.remaining(slot?, now);
        self.publish_read(slot);
        Some(Aged { value, remaining })
    }

    /// Reads a value with the time that is left, and counts the use. If the key holds no value, takes its lease, unless
    /// another load has it.
    pub(crate) fn get_or_lease(&mut self, key: &Key, terms: &LeaseTerms, now: Moment) -> Lookup {
        if let Some(aged) = self.get_aged(key, now) {
            return Lookup::Found(aged);
        }
        match self.take_lease(key, terms.token, &terms.names, terms.ttl, now) {
            LeaseAnswer::Held { .. } => Lookup::Held,
            _ => Lookup::Leased,
        }
    }

    /// Carries out one step on a lease. While a name of it is being cleared nothing is stored under it: that may
    /// have been made from what is still there.
    pub(crate) fn serve_lease(&mut self, action: LeaseAction, clearing: bool, now: Moment) -> LeaseAnswer {
        match action {
            LeaseAction::Take {
                key,
                token,
                names,
                ttl,
            } => self.take_lease(&key, token, &names, ttl, now),
            LeaseAction::Fulfil { token, write } => {
                if clearing {
                    // The clearing is to remove what this was made from.
                    let _ = self.tell(&write.key, Change::Deleted);
                }
                let edges = self.end_lease(&write.key, token, now);
                if let Some(edges) = edges {
                    self.fulfil(write, now);
                    // Last, for what they keep may be what the entry depends on too.
                    self.mutate(|table| table.dependencies.release(edges));
                } else {
                    self.tell_of_unstored(&write.key);
                }
                LeaseAnswer::Stored(edges.is_some())
            }
            LeaseAction::End {
                key, token, given, ..
            } => {
                match self.end_lease(&key, token, now) {
                    Some(edges) if given => {
                        self.mutate(|table| table.dependencies.leave_tombstone(&key, edges))
                    }
                    Some(edges) => self.mutate(|table| table.dependencies.release(edges)),
                    None if given => self.tell_of_unstored(&key),
                    None => {}
                }
                self.forget_tombstones(false);
                LeaseAnswer::Ended
            }
        }
    }

    fn take_lease(
        &mut self,
        key: &Key,
        token: Token,
        names: &[Key],
        ttl: Duration,
        now: Moment,
    ) -> LeaseAnswer {
        self.expire_leases(now);
        if let Some((token, remaining)) = self.leases.holder(key, now) {
            return LeaseAnswer::Held { token, remaining };
        }
        self.reclaim_expired(names, now);
        let until = now.after(ttl);
        self.mutate(|table| {
            let graph = &mut table.dependencies;
            table.leases.take(key, token, names, until, graph);
        });
        self.make_room();
        LeaseAnswer::Taken {
            present: self.find(key, now).map(|slot| Aged {
                value: self.entries[slot].value().clone(),
                remaining: self.remaining(slot, now),
            }),
        }
    }

    /// Ends a lease: its edges if it lived until now.
    fn end_lease(&mut self, key: &Key, token: Token, now: Moment) -> Option<EdgeId> {
        self.expire_leases(now);
        self.leases.end(key, token)
    }

    /// Stores a loaded value. That is no change of its key, so that loads which read the key may be stored too.
    fn fulfil(&mut self, write: Write, now: Moment) {
        let told = self.tell(&write.key, Change::Stored);
        let slot = self.put(write, now, told);
        self.entries[slot].era = self.era;
        self.make_room();
    }

    pub(super) fn remaining(&self, slot: u32, now: Moment) -> Option<Duration> {
        match self.entries[slot].due {
            Moment::NEVER => None,
            due => Some(whole_millis(due.left(now))),
        }
    }
}
