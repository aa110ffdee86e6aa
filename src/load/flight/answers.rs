//! What follows from the answers of the engine and of loaders.

use std::time::Duration;

use super::failures::Reason;
use super::{Answer, Asking, Effect, EngineFailure, Fate, Flights, Given, LoadId, Member, Told};
use crate::key::Key;

/// How long a key that another process loads is left alone at first; doubles.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// How long at most: whoever loads it announces its end, but an announcement may be missed.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Flights {
    /// The engine's answer to [`Effect::Take`].
    pub(crate) fn answered(&mut self, key: &Key, answer: Answer, now: Duration, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Some(asking) = line.asking.take() else { return };
        let load = asking.load;
        if let Some(load) = self.loads.get_mut(&load) {
            load.asks -= 1;
        }
        match answer {
            Answer::Taken { needed } => self.taken(key, asking, needed, effects),
            Answer::HeldHere(other) => self.join(key, asking, other, effects),
            Answer::HeldAbroad(remaining) => self.wait(key, asking, remaining, now, effects),
            Answer::Failed(error) => {
                // The lease may have been taken all the same.
                effects.push(Effect::End(load, key.clone(), Given::No));
                self.send_away(key, asking, &Told::Refused(EngineFailure(error)), effects);
            }
        }
        self.settle(load, effects);
        self.tidy(key, effects);
    }

    fn taken(&mut self, key: &Key, asking: Asking, needed: bool, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let load = asking.load;
        let waiting = asking.members.len() + line.late.len();
        let leader = self.loads.get_mut(&load).filter(|leader| !leader.started);
        let Some(leader) = leader.filter(|_| needed && waiting > 0) else {
            effects.push(Effect::End(load, key.clone(), Given::No));
            return self.send_away(key, asking, &Told::LookAgain, effects);
        };
        line.flying = Some(load);
        let members: Vec<Member> = asking.members.into_iter().chain(line.late.drain(..)).collect();
        let passengers = members
            .iter()
            .filter_map(|member| Some((member.caller?, member.load == load)));
        leader.taken.insert(key.clone(), passengers.collect());
        for member in members {
            self.decide(member.load, effects);
        }
    }

    /// Puts those on a load of ours who came before it was known to live.
    fn join(&mut self, key: &Key, asking: Asking, other: LoadId, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let load = self.loads.get_mut(&other);
        if load.as_ref().is_some_and(|load| load.dead) {
            // Its lease has been given back meanwhile.
            line.late.splice(0..0, asking.members);
            return self.ask(key, effects);
        }
        let passengers = load.and_then(|load| load.taken.get_mut(key));
        let Some(passengers) = passengers else {
            // It has just ended: what it stored is there.
            return self.send_away(key, asking, &Told::LookAgain, effects);
        };
        line.flying = Some(other);
        let callers = asking.members.iter().filter_map(|member| member.caller);
        passengers.extend(callers.map(|caller| (caller, false)));
        for member in asking.members {
            self.decide(member.load, effects);
        }
        self.ask(key, effects);
    }

    /// Lets all wait for another process.
    fn wait(
        &mut self,
        key: &Key,
        asking: Asking,
        remaining: Duration,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        line.flying = None;
        line.pause = (line.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        // The engine counts in whole milliseconds: what has less left is asked for in one.
        let pause = remaining.clamp(Duration::from_millis(1), line.pause);
        self.numbers += 1;
        let retry = (now + pause, self.numbers);
        line.retry = Some(retry);
        self.retries.insert(retry, key.clone());
        let members: Vec<Member> = asking.members.into_iter().chain(line.late.drain(..)).collect();
        let (waiting, idle): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| member.caller.is_some());
        line.abroad = waiting.clone();
        if !waiting.is_empty() && !line.subscribed {
            line.subscribed = true;
            effects.push(Effect::Subscribe(key.clone()));
        }
        for member in waiting {
            if let Some(load) = self.loads.get_mut(&member.load) {
                load.abroad += 1;
            }
            self.decide(member.load, effects);
        }
        for member in idle {
            self.decide(member.load, effects);
        }
        if asking.again {
            self.ask(key, effects);
        }
    }

    /// Tells all in a line the same.
    fn send_away(&mut self, key: &Key, asking: Asking, told: &Told, effects: &mut Vec<Effect>) {
        let mut late = Vec::new();
        if let Some(line) = self.lines.get_mut(key) {
            late.append(&mut line.late);
            line.overdue = false;
        }
        for member in asking.members.into_iter().chain(late) {
            if let Some(caller) = member.caller {
                effects.push(Effect::Tell(caller, told.clone()));
                if *told == Told::LookAgain
                    && let Some(load) = self.loads.get_mut(&member.load)
                {
                    load.again = true;
                }
            }
            self.decide(member.load, effects);
        }
    }

    /// Ends the leases of a load that has not begun. All who wait for it look again.
    pub(super) fn give_back(&mut self, load: LoadId, effects: &mut Vec<Effect>) {
        let Some(taken) = self
            .loads
            .get_mut(&load)
            .map(|load| std::mem::take(&mut load.taken))
        else {
            return;
        };
        for (key, passengers) in taken {
            effects.push(Effect::End(load, key.clone(), Given::No));
            let told = passengers
                .into_iter()
                .map(|(caller, _)| Effect::Tell(caller, Told::LookAgain));
            effects.extend(told);
            if let Some(line) = self.lines.get_mut(&key)
                && line.flying == Some(load)
            {
                line.flying = None;
                line.overdue = false;
            }
            self.tidy(&key, effects);
        }
        self.settle(load, effects);
    }

    /// The loader has ended: for each of its keys, whether it made a value, and whether that is to be stored.
    pub(crate) fn loaded(
        &mut self,
        load: LoadId,
        made: impl Fn(&Key) -> Option<bool>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.keys_of(load) {
            let dead = self.loads.get(&load).is_some_and(|load| load.dead);
            let made = made(&key);
            self.succeeded(&key, effects);
            if made != Some(true) {
                self.pause(load, &key, Reason::NotStored, now);
            }
            match made {
                Some(true) if !dead => effects.push(Effect::Store(load, key)),
                Some(_) => {
                    let fate = if dead { Fate::Superseded } else { Fate::NotStored };
                    effects.push(Effect::End(load, key.clone(), Given::Yes));
                    if dead {
                        self.given_out(&key, effects);
                    }
                    self.land(load, &key, fate, effects);
                }
                None => {
                    effects.push(Effect::End(load, key.clone(), Given::Yes));
                    self.finish(load, &key, |own| Told::Absent { own }, effects);
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

    /// The engine's answer to [`Effect::Store`].
    pub(crate) fn stored(
        &mut self,
        load: LoadId,
        key: &Key,
        fate: Fate,
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
        self.land(load, key, fate, effects);
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

    /// Hands out a loaded value.
    fn land(&mut self, load: LoadId, key: &Key, fate: Fate, effects: &mut Vec<Effect>) {
        let told = |own| Told::Loaded {
            load,
            key: key.clone(),
            fate,
            own,
        };
        self.finish(load, key, told, effects);
    }

    fn finish(&mut self, load: LoadId, key: &Key, told: impl Fn(bool) -> Told, effects: &mut Vec<Effect>) {
        let passengers = self.loads.get_mut(&load).and_then(|load| load.taken.remove(key));
        for (caller, own) in passengers.into_iter().flatten() {
            effects.push(Effect::Tell(caller, told(own)));
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
        for (id, load) in &mut self.loads {
            if load.started && !load.dead && load.names.contains(key) {
                load.dead = true;
                effects.extend(
                    load.taken
                        .keys()
                        .map(|key| Effect::End(*id, key.clone(), Given::Yes)),
                );
            }
        }
    }
}
