//! The engine's answers to requests for leases.

use std::time::Duration;

use super::{Answer, Asking, Doubt, Effect, EngineFailure, Flights, Given, LoadId, Member, Passenger, Told};
use crate::key::Key;

/// How long a key that another process loads is left alone at first; doubles.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// How long at most. The other process announces the end of its load, but an announcement may be missed.
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
        let mut members = asking.members;
        members.append(&mut line.late);
        let passenger = |member: &Member| {
            Some(Passenger {
                caller: member.caller?,
                own: member.load == load,
                early: true,
            })
        };
        let passengers: Vec<Passenger> = members.values().filter_map(passenger).collect();
        let joined = passengers.iter().filter(|passenger| !passenger.own);
        effects.extend(joined.map(|passenger| Effect::Joined(load, passenger.caller)));
        leader.taken.insert(key.clone(), passengers);
        for member in members.into_values() {
            self.decide(member.load, effects);
        }
    }

    /// Puts those on a load of ours who came before it was known to live.
    fn join(&mut self, key: &Key, mut asking: Asking, other: LoadId, effects: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let load = self.loads.get_mut(&other);
        if load.as_ref().is_some_and(|load| load.marks.doubt == Doubt::Dead) {
            // Its lease has been given back meanwhile.
            line.late.append(&mut asking.members);
            return self.ask(key, effects);
        }
        let passengers = load.and_then(|load| load.taken.get_mut(key));
        let Some(passengers) = passengers else {
            // It has just ended: what it stored is there.
            return self.send_away(key, asking, &Told::LookAgain, effects);
        };
        line.flying = Some(other);
        let callers = asking.members.values().filter_map(|member| member.caller);
        effects.extend(callers.clone().map(|caller| Effect::Joined(other, caller)));
        passengers.extend(callers.map(|caller| Passenger {
            caller,
            own: false,
            early: false,
        }));
        for member in asking.members.into_values() {
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
        let mut waiting = asking.members;
        waiting.append(&mut line.late);
        let idle = waiting.remove(&None);
        line.abroad = waiting.clone();
        if !waiting.is_empty() && !line.subscribed {
            line.subscribed = true;
            effects.push(Effect::Subscribe(key.clone()));
        }
        for member in waiting.into_values() {
            if let Some(load) = self.loads.get_mut(&member.load) {
                load.abroad += 1;
            }
            self.decide(member.load, effects);
        }
        if let Some(member) = idle {
            self.decide(member.load, effects);
        }
        if asking.again {
            self.ask(key, effects);
        }
    }

    /// Tells all in a line the same.
    fn send_away(&mut self, key: &Key, asking: Asking, told: &Told, effects: &mut Vec<Effect>) {
        let mut members = asking.members;
        if let Some(line) = self.lines.get_mut(key) {
            members.append(&mut line.late);
            line.overdue = false;
        }
        for member in members.into_values() {
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
                .map(|passenger| Effect::Tell(passenger.caller, Told::LookAgain));
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
}
