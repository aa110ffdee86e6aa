//! Leases: a loaded value is stored only if none of its dependencies has changed meanwhile.

use std::time::Duration;

use super::super::expiry::Moment;
use super::super::leases::Standing;
use super::gate::Change;
use super::{Table, due};
use crate::envelope::{Body, Stored, open};
use crate::key::Key;
use crate::request::{Aged, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, Renewal, Token, Write};
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
        match self.take_lease(key, terms, now) {
            LeaseAnswer::Held { .. } => Lookup::Held,
            _ => Lookup::Leased,
        }
    }

    /// Carries out one step on a lease. While a name of it is being cleared nothing is stored under it: that may
    /// have been made from what is still there.
    pub(crate) fn serve_lease(&mut self, action: LeaseAction, clearing: bool, now: Moment) -> LeaseAnswer {
        match action {
            LeaseAction::Take { key, terms } => self.take_lease(&key, &terms, now),
            LeaseAction::Fulfil { token, write } => {
                if clearing {
                    // The clearing is to remove what this was made from.
                    let _ = self.tell(&write.key, Change::Deleted);
                }
                let standing = self.standing(&write.key, token, &write.depends_on, now);
                let stored = standing.is_some_and(|standing| !standing.changed);
                let key = write.key.clone();
                if stored {
                    self.fulfil(write, now);
                } else {
                    self.tell_of_unstored(&key);
                }
                // Last, for what its edges keep may be what the entry depends on too.
                self.release_lease(&key, token);
                LeaseAnswer::Stored(stored)
            }
            LeaseAction::Renew { key, token, renewal } => {
                LeaseAnswer::Stored(!clearing && self.renew_loaded(&key, token, renewal, now))
            }
            LeaseAction::End {
                key,
                token,
                names,
                given,
            } => {
                if given {
                    self.give_out(&key, token, &names, now);
                } else {
                    self.expire_leases(now);
                    self.release_lease(&key, token);
                }
                self.forget_tombstones(false);
                LeaseAnswer::Ended
            }
        }
    }

    fn take_lease(&mut self, key: &Key, terms: &LeaseTerms, now: Moment) -> LeaseAnswer {
        self.expire_leases(now);
        if let Some((token, remaining)) = self.leases.holder(key, now) {
            return LeaseAnswer::Held { token, remaining };
        }
        self.reclaim_expired(&terms.names, now);
        let until = now.after(terms.ttl);
        self.mutate(|table| {
            let graph = &mut table.dependencies;
            table.leases.take(key, terms, until, graph);
        });
        self.make_room();
        LeaseAnswer::Taken {
            present: self.find(key, now).map(|slot| Aged {
                value: self.entries[slot].value().clone(),
                remaining: self.remaining(slot, now),
            }),
        }
    }

    /// The state of a lease at this time. `None` if it has ended. `names` are all names that the value depends on.
    fn standing(&mut self, key: &Key, token: Token, names: &[Key], now: Moment) -> Option<Standing> {
        self.expire_leases(now);
        self.leases.standing(key, token, names, &self.dependencies)
    }

    /// Ends a lease, if it lives. Until then nothing forgets what its edges keep.
    fn release_lease(&mut self, key: &Key, token: Token) {
        if let Some(edges) = self.leases.end(key, token) {
            self.mutate(|table| table.dependencies.release(edges));
        }
    }

    /// Ends a lease whose value was given out and is not stored. It depends on `names`.
    fn give_out(&mut self, key: &Key, token: Token, names: &[Key], now: Moment) {
        match self.standing(key, token, names, now) {
            // Nothing leads from its late names to the key.
            None
            | Some(Standing {
                has_late_names: true, ..
            }) => self.tell_of_unstored(key),
            Some(_) if !names.is_empty() => self.tell_of_given(key),
            Some(_) => {}
        }
        if let Some(edges) = self.leases.end(key, token) {
            self.mutate(|table| table.dependencies.leave_tombstone(key, edges));
        }
    }

    /// Keeps a loaded value under a lease that lives, which ends. Returns `false` if there is nothing to keep, or if a name
    /// has changed. Keeps the era, so that a running `clear` still removes the entry.
    fn renew_loaded(&mut self, key: &Key, token: Token, renewal: Renewal, now: Moment) -> bool {
        self.expire_leases(now);
        let Renewal {
            head,
            validator,
            names,
        } = renewal;
        let Some(slot) = self.find(key, now) else {
            return false;
        };
        let Stored::Loaded(_, body) = open(self.entries[slot].value().as_bytes()) else {
            return false;
        };
        let validator = validator.as_deref().or(body.validator);
        let value = head.seal(Body { validator, ..body });
        let standing = self.leases.standing(key, token, &names, &self.dependencies);
        if standing.is_none_or(|standing| standing.changed) {
            return false;
        }
        self.reclaim_expired(&names, now);
        let edges = self.entries[slot].edges;
        let late = self.dependencies.missing(edges, &names);
        let told = self.tell(key, Change::Renewed);
        self.replace_value(slot, value, &told);
        self.set_due(slot, due(head.ttl(), now), told);
        if !late.is_empty() {
            self.mutate(|table| {
                let known = table.dependencies.names_of(edges).cloned();
                let all: Vec<Key> = known.chain(late).collect();
                let edges = table.dependencies.attach(slot, &all);
                let released = std::mem::replace(&mut table.entries[slot].edges, edges);
                table.dependencies.release(released);
            });
        }
        self.release_lease(key, token);
        self.make_room();
        true
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
