//! Who loads and who waits. Pure: what happens and `now` go in, what is to be done comes out.
//!
//! A *load* is one loader and the keys that it was given for. Each key has a *line* of callers. The engine is
//! asked for the key's lease on behalf of one load; if it has the lease, its loader runs for all in the line.
//!
//! Nobody is put on a running load for whom its value could be old: a caller joins one only if the engine said,
//! after the caller had come, that its lease lives. Those who come while the engine is being asked may join
//! what begins with the answer, but must ask again before they join what ran before.

mod answers;
mod effect;
mod failures;
mod landing;
mod line;
mod load;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::effect::{Answer, Effect, EngineFailure, Fate, Given, Told};
use self::failures::Failures;
use self::line::{Asking, Line, Member, Members};
pub(crate) use self::load::{Doubt, Marks, Product};
use self::load::{Load, Passenger};
use super::policy::Seen;
use super::refreshes::Mark;
use super::sources::Sources;
use crate::key::Key;
use crate::prehashed::{Map, Set};

/// A load's number, which its caller chose. No two are the same.
pub(crate) type LoadId = u64;
/// A caller's number, likewise.
pub(crate) type CallerId = u64;

/// All lines and loads.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    lines: Map<Key, Line>,
    loads: Map<LoadId, Load>,
    sources: Sources,
    /// Those that load, or for which the engine is asked. The others wait for them, or for other processes.
    leading: Set<LoadId>,
    /// When to look after lines again; the numbers tell equal times apart.
    retries: BTreeMap<(Duration, u64), Key>,
    numbers: u64,
    failures: Failures,
}

/// A wish for one key.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) caller: Option<CallerId>,
    pub(crate) seen: Seen,
    /// How long a failed load may keep it from being loaded: something stale is at hand. `None` if nothing is.
    pub(crate) patience: Option<Duration>,
    /// Held until it is loaded, if nobody waits for it.
    pub(crate) mark: Option<Mark>,
}

/// What all keys of a load have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    /// What their values depend on.
    pub(crate) names: Vec<Key>,
    /// How long their sources are left alone after a failure.
    pub(crate) retry_after: Duration,
    /// Whether the loader is given contexts, so that it may find further names.
    pub(crate) has_contexts: bool,
}

impl Flights {
    /// A load for these keys, each once.
    pub(crate) fn begin(
        &mut self,
        load: LoadId,
        terms: Terms,
        wanted: Vec<Wanted>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        self.sources.add(&terms.names, terms.has_contexts);
        self.loads.insert(load, Load::of(terms, wanted.len()));
        for wanted in wanted {
            if self.leaves_alone(&wanted, now) {
                effects.extend(wanted.caller.map(|caller| Effect::Tell(caller, Told::ServeStale)));
                self.decide(load, effects);
                continue;
            }
            let Wanted {
                key,
                caller,
                seen,
                mark,
                ..
            } = wanted;
            let line = self.lines.entry(key.clone()).or_default();
            line.mark = line.mark.take().or(mark);
            let in_hand = line.asking.is_some() || line.flying.is_some() || line.retry.is_some();
            if caller.is_none() && in_hand {
                self.decide(load, effects);
                continue;
            }
            line.late.insert(caller, Member { load, caller, seen });
            if line.asking.is_none() {
                self.ask(&key, effects);
            }
        }
    }

    /// Takes note of a direct load, which its caller has begun. Nobody waits for it yet.
    pub(crate) fn adopt(&mut self, load: LoadId, key: &Key, terms: Terms, marks: Marks) {
        self.sources.add(&terms.names, terms.has_contexts);
        self.loads.insert(load, Load::direct(terms, key, marks));
    }

    /// Lets the caller of a direct load wait for its end.
    pub(crate) fn embark(&mut self, load: LoadId, key: &Key, caller: CallerId) {
        let load = self.loads.get_mut(&load);
        if let Some(passengers) = load.and_then(|load| load.taken.get_mut(key)) {
            passengers.push(Passenger {
                caller,
                own: true,
                early: true,
            });
        }
    }

    /// Whether a wish is answered by the stale value that its caller has: the last load of the key has just
    /// failed, or the one that is under way takes too long for others already.
    fn leaves_alone(&self, wanted: &Wanted, now: Duration) -> bool {
        let Wanted { key, caller, .. } = wanted;
        let Some(patience) = wanted.patience else {
            return false;
        };
        let overdue = caller.is_some() && self.lines.get(key).is_some_and(|line| line.overdue);
        overdue || self.failures.pauses(key, caller.is_none(), patience, now)
    }

    /// A caller was given something stale, because the load takes too long. The load goes on as if the caller
    /// still waited.
    pub(crate) fn overdue(&mut self, key: &Key, caller: CallerId) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        // All who wait may be given something stale at the same time: only the first is looked for.
        if line.overdue {
            return;
        }
        let asking = line.asking.iter().map(|asking| &asking.members);
        let mut members = asking.chain([&line.late, &line.abroad]);
        let flying = line.flying.and_then(|load| self.loads.get(&load));
        let passengers = flying.and_then(|load| load.taken.get(key));
        let waits = members.any(|members| members.contains_key(&Some(caller)));
        let flies = passengers.is_some_and(|all| all.iter().any(|passenger| passenger.caller == caller));
        line.overdue = waits || flies;
    }

    /// Whether a key is being loaded, or asked for.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.lines.contains_key(key)
    }

    /// How many loads there are for which nothing else is waited.
    pub(crate) fn under_way(&self) -> usize {
        self.leading.len()
    }

    /// What the line of a load that was asked for has seen.
    pub(crate) fn seen(&self, key: &Key) -> Seen {
        let asking = self.lines.get(key).and_then(|line| line.asking.as_ref());
        asking.map_or(Seen::Nothing, |asking| asking.seen)
    }

    /// Asks the engine for all who wait, if somebody does.
    fn ask(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        if let Some(retry) = line.retry.take() {
            self.retries.remove(&retry);
        }
        for member in line.abroad.values() {
            if let Some(load) = self.loads.get_mut(&member.load) {
                load.abroad -= 1;
                load.undecided += 1;
            }
        }
        let mut members = std::mem::take(&mut line.abroad);
        members.append(&mut line.late);
        let can_lead = |member: &&Member| self.loads.get(&member.load).is_some_and(|load| !load.started);
        let Some(leader) = members.values().find(can_lead).or(members.values().next()) else {
            return;
        };
        let (load, seen) = (leader.load, leader.seen);
        line.asking = Some(Asking {
            load,
            seen,
            members,
            again: false,
        });
        if let Some(leader) = self.loads.get_mut(&load) {
            leader.asks += 1;
            self.leading.insert(load);
        }
        effects.push(Effect::Take(load, key.clone()));
    }

    /// The leases that loads of ours have, and those that the engine is asked for.
    pub(crate) fn leases(&self) -> Vec<(LoadId, Key)> {
        let taken = self.loads.iter().flat_map(|(id, load)| {
            let keys = load.taken.keys();
            keys.map(|key| (*id, key.clone()))
        });
        let asked = self.lines.iter().filter_map(|(key, line)| {
            let asking = line.asking.as_ref()?;
            Some((asking.load, key.clone()))
        });
        taken.chain(asked).collect()
    }

    /// A caller does not wait any more. A load that has begun goes on without.
    pub(crate) fn left(&mut self, key: &Key, caller: CallerId, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let take = |members: &mut Members| members.remove(&Some(caller)).map(|member| member.load);
        let asked = line.asking.as_mut().and_then(|asking| take(&mut asking.members));
        if let Some(load) = asked.or_else(|| take(&mut line.late)) {
            self.decide(load, effects);
        } else if let Some(id) = take(&mut line.abroad) {
            if let Some(load) = self.loads.get_mut(&id) {
                load.abroad -= 1;
            }
            self.settle(id, effects);
        }
        self.tidy(key, effects);
    }

    /// The lease of a key that another process held may have ended; `None` says so of all.
    pub(crate) fn hear(&mut self, key: Option<&Key>, effects: &mut Vec<Effect>) {
        let keys: Vec<Key> = match key {
            Some(key) => vec![key.clone()],
            None => self.lines.keys().cloned().collect(),
        };
        for key in keys {
            let Some(line) = self.lines.get_mut(&key) else {
                continue;
            };
            match &mut line.asking {
                Some(asking) => asking.again = true,
                None if !line.abroad.is_empty() => self.ask(&key, effects),
                None => {}
            }
        }
    }

    /// When to call [`tick`](Self::tick) next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.retries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Asks again for those whose time has come.
    pub(crate) fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(entry) = self.retries.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            if let Some(line) = self.lines.get_mut(&key) {
                line.retry = None;
            }
            self.ask(&key, effects);
            self.tidy(&key, effects);
        }
    }

    /// It is known who loads one more of a load's keys.
    fn decide(&mut self, load: LoadId, effects: &mut Vec<Effect>) {
        if let Some(load) = self.loads.get_mut(&load) {
            load.undecided -= 1;
        }
        self.settle(load, effects);
    }

    /// Starts a load whose keys are known, and forgets one that has nothing to do.
    fn settle(&mut self, id: LoadId, effects: &mut Vec<Effect>) {
        let Some(load) = self.loads.get_mut(&id) else {
            return;
        };
        if load.asks == 0 && load.taken.is_empty() {
            self.leading.remove(&id);
        }
        if load.undecided > 0 || load.asks > 0 {
            return;
        }
        if !load.taken.is_empty() {
            if !load.started && std::mem::take(&mut load.again) {
                self.give_back(id, effects);
            } else if !load.started {
                load.started = true;
                effects.push(Effect::Start(id, load.taken.keys().cloned().collect()));
            }
        } else if load.abroad == 0 {
            if let Some(load) = self.loads.remove(&id) {
                self.sources.remove(&load.names, load.has_contexts);
            }
            effects.push(Effect::Forget(id));
        }
    }

    /// Forgets a line with nobody in it.
    fn tidy(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let empty = line.asking.is_none() && line.late.is_empty() && line.abroad.is_empty();
        if empty && std::mem::take(&mut line.subscribed) {
            effects.push(Effect::Unsubscribe(key.clone()));
        }
        if empty && line.flying.is_none() && line.retry.is_none() {
            self.lines.remove(key);
        }
    }

    #[cfg(test)]
    fn sizes(&self) -> (usize, usize, usize) {
        (self.lines.len(), self.loads.len(), self.retries.len())
    }
}

#[cfg(test)]
mod tests;
