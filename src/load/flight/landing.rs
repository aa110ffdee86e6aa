//! What follows when a loader has ended: what is stored, what is handed out, and which other loads may be made from it.

use std::time::Duration;

use super::failures::Reason;
use super::{Doubt, Effect, Fate, Flights, Given, LoadId, Passenger, Product, Told};
use crate::key::Key;

impl Flights {
    /// The loader has ended: what it made of each of its keys, if anything.
    pub(crate) fn loaded(
        &mut self,
        load: LoadId,
        made: impl Fn(&Key) -> Option<Product>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.keys_of(load) {
            let doubt = self.loads.get(&load).map_or(Doubt::None, |load| load.marks.doubt);
            let made = made(&key);
            self.succeeded(&key, effects);
            if made.is_none_or(|product| !product.stored) {
                self.pause(load, &key, Reason::NotStored, now);
            }
            let late = made.is_some_and(|product| product.late);
            let dead = doubt == Doubt::Dead || (late && doubt == Doubt::IfLate);
            match made {
                Some(Product { kept: true, .. }) => self.land(load, &key, Fate::Stored, late, effects),
                Some(Product { stored: true, .. }) if !dead => effects.push(Effect::Store(load, key)),
                Some(_) => {
                    let fate = if dead { Fate::Superseded } else { Fate::NotStored };
                    effects.push(Effect::End(load, key.clone(), Given::Yes));
                    if dead {
                        self.given_out(&key, effects);
                    }
                    self.land(load, &key, fate, late, effects);
                }
                None => {
                    effects.push(Effect::End(load, key.clone(), Given::Yes));
                    self.finish(
                        load,
                        &key,
                        |passenger| Told::Absent { own: passenger.own },
                        effects,
                    );
                }
            }
        }
    }

    /// The loader has failed.
    pub(crate) fn failed(&mut self, load: LoadId, now: Duration, effects: &mut Vec<Effect>) {
        for key in self.keys_of(load) {
            let is_first = self.pause(load, &key, Reason::Failed, now);
            effects.push(Effect::Failing(load, key.clone(), is_first));
            effects.push(Effect::End(load, key.clone(), Given::No));
            self.finish(load, &key, |_| Told::Failed(load), effects);
        }
    }

    /// The engine's answer to [`Effect::Store`]. `late` says that the value depends on names that the lease did not have.
    pub(crate) fn stored(
        &mut self,
        load: LoadId,
        key: &Key,
        fate: Fate,
        late: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if fate == Fate::NotStored {
            self.pause(load, key, Reason::NotStored, now);
            // The lease may be held still.
            effects.push(Effect::End(load, key.clone(), Given::Yes));
        }
        if fate == Fate::NotStored {
            self.given_out(key, effects);
        }
        self.land(load, key, fate, late, effects);
    }

    /// The source of a key has given something.
    pub(crate) fn succeeded(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        if self.failures.remove(key) {
            effects.push(Effect::Recovered(key.clone()));
        }
    }

    /// Leaves the source of a key alone for a while. Returns `true` if it has begun to fail.
    fn pause(&mut self, load: LoadId, key: &Key, reason: Reason, now: Duration) -> bool {
        let Some(load) = self.loads.get(&load) else {
            return false;
        };
        self.failures.insert(key, reason, load.retry_after, now)
    }

    fn keys_of(&self, load: LoadId) -> Vec<Key> {
        self.loads
            .get(&load)
            .map(|load| load.taken.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Hands out a loaded value. One that was not stored may be older than a change that did not end its lease at once: of a
    /// late name, or of what another load was made from. Who joined the load may have come after that change.
    fn land(&mut self, load: LoadId, key: &Key, fate: Fate, late: bool, effects: &mut Vec<Effect>) {
        let outdated = self.loads.get(&load).is_some_and(|load| load.marks.outdated);
        let may_be_old = (late || outdated) && fate != Fate::Stored;
        if may_be_old || fate == Fate::Superseded {
            self.outdate(key, effects);
        }
        if may_be_old && fate == Fate::NotStored {
            // The end of its lease may be on its way still.
            effects.push(Effect::KeepNothing);
        }
        let told = |Passenger { own, early, .. }| {
            if may_be_old && !early {
                return Told::LookAgain;
            }
            Told::Loaded {
                load,
                key: key.clone(),
                fate,
                own,
            }
        };
        self.finish(load, key, told, effects);
    }

    /// A value of `key` is given out that may be older than a change.
    fn outdate(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        effects.push(Effect::Outdate(key.clone()));
        if !self.sources.have(key) {
            return;
        }
        for load in self.loads.values_mut() {
            load.marks.outdated |= load.started && load.names.contains(key);
        }
    }

    fn finish(
        &mut self,
        load: LoadId,
        key: &Key,
        told: impl Fn(Passenger) -> Told,
        effects: &mut Vec<Effect>,
    ) {
        let passengers = self.loads.get_mut(&load).and_then(|load| load.taken.remove(key));
        for passenger in passengers.into_iter().flatten() {
            effects.push(Effect::Tell(passenger.caller, told(passenger)));
        }
        if let Some(line) = self.lines.get_mut(key)
            && line.flying == Some(load)
        {
            line.flying = None;
            line.overdue = false;
            line.mark = None;
        }
        self.settle(load, effects);
        self.tidy(key, effects);
    }

    /// A value of `key` is given out, and may not be stored. So an invalidation of what it was made from may not reach
    /// what is being made from it: such loads are not stored either.
    pub(crate) fn given_out(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disown(key.clone()));
        effects.push(Effect::KeepNothing);
        if !self.sources.may_have(key) {
            return;
        }
        for (id, load) in &mut self.loads {
            if !load.started || load.marks.doubt == Doubt::Dead {
                continue;
            }
            if load.has_contexts {
                load.marks.doubt = Doubt::IfLate;
            }
            if load.names.contains(key) {
                load.marks.doubt = Doubt::Dead;
                effects.extend(
                    load.taken
                        .keys()
                        .map(|key| Effect::End(*id, key.clone(), Given::Yes)),
                );
            }
        }
    }
}
