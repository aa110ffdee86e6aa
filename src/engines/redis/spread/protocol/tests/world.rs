//! Servers, and those who use them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use super::actor::{Actor, User};
use super::case::{Case, Failover, Plant, place};
use super::ghost::Ghost;
use super::load::Load;
use super::model::Slot;
use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::{Answer, Answered, Changed, PutAnswer};
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::stamp::Stamps;
use crate::engines::redis::spread::protocol::step::{Epoch, Next, Step};
use crate::value::Value;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    epoch: u64,
    slots: BTreeMap<usize, Slot>,
    /// What a replica has that has not received the last change.
    replica: BTreeMap<usize, Slot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    now: u64,
    nodes: Vec<Node>,
    pub(super) actors: Vec<Actor>,
    ghost: Ghost,
    /// Values that must not come any more.
    banned: BTreeSet<(CompactString, Vec<u8>)>,
    /// Which failovers have happened, how much time has passed, and how much was sent again.
    failed: BTreeSet<usize>,
    ticks: u32,
    resent: u32,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Step(usize, usize),
    /// A step is carried out, and its answer is lost.
    Unanswered(usize, usize),
    Rest(usize, usize),
    Tick,
    Failover(usize),
}

/// The client's clock when the servers' says 0.
pub(super) fn origin() -> Instant {
    thread_local! {
        static ORIGIN: Instant = Instant::now();
    }
    ORIGIN.with(|origin| *origin)
}

/// The servers' clock at first.
const BEGIN: u64 = 1_000_000;

impl World {
    pub(super) fn new(case: &Case) -> Self {
        let nodes = case.slots.iter().map(|(_, node)| node + 1).max().unwrap_or(0);
        let node = |node: usize| {
            let own = case.slots.iter().enumerate().filter(|(_, slot)| slot.1 == node);
            let slots: BTreeMap<_, _> = own.map(|(at, _)| (at, Slot::default())).collect();
            Node {
                epoch: 100 * node as u64,
                replica: slots.clone(),
                slots,
            }
        };
        let actor = |user: &User| Actor {
            user: user.clone(),
            begun: false,
            done: false,
            steps: Vec::new(),
            rest: Vec::new(),
            doomed: BTreeSet::new(),
            pages: BTreeMap::new(),
            killed: BTreeSet::new(),
            unwatched: false,
        };
        let mut world = Self {
            now: BEGIN,
            nodes: (0..nodes).map(node).collect(),
            actors: case.actors.iter().map(actor).collect(),
            ghost: Ghost::default(),
            banned: BTreeSet::new(),
            failed: BTreeSet::new(),
            ticks: 0,
            resent: 0,
        };
        for at in 0..case.ended {
            world.begin(at);
            while !world.actors[at].done {
                world.happen(Event::Step(at, 0), case).expect("it is alone");
            }
        }
        world
    }

    /// All that may happen next.
    pub(super) fn events(&self, case: &Case) -> Vec<Event> {
        let mut events = Vec::new();
        if self.ticks < case.ticks {
            events.push(Event::Tick);
        }
        for (at, actor) in self.actors.iter().enumerate() {
            let begun;
            let actor = if actor.begun {
                actor
            } else {
                let mut copy = actor.clone();
                copy.begin(self.client_now());
                begun = copy;
                &begun
            };
            for (step, asked) in actor.steps.iter().enumerate() {
                events.push(Event::Step(at, step));
                if self.resent < case.resent && asked.is_repeatable() {
                    events.push(Event::Unanswered(at, step));
                }
            }
            events.extend((0..actor.rest.len()).map(|step| Event::Rest(at, step)));
        }
        let left = (0..case.failovers.len()).filter(|at| !self.failed.contains(at));
        events.extend(left.map(Event::Failover));
        events
    }

    fn client_now(&self) -> Instant {
        origin() + Duration::from_millis(self.now - BEGIN)
    }

    /// Lets an event happen. Returns what is wrong then.
    pub(super) fn happen(&mut self, event: Event, case: &Case) -> Result<(), String> {
        match event {
            Event::Tick => self.tick(case),
            Event::Failover(at) => {
                self.failed.insert(at);
                self.fail_over(case.failovers[at], case);
            }
            Event::Unanswered(at, step) => {
                self.resent += 1;
                self.begin(at);
                let step = self.actors[at].steps[step].clone();
                self.send(&step, case);
            }
            Event::Rest(at, step) => {
                let step = self.actors[at].rest.remove(step);
                self.send(&step, case);
            }
            Event::Step(at, step) => {
                self.begin(at);
                let step = self.actors[at].steps.remove(step);
                return self.advance(at, &step, case);
            }
        }
        Ok(())
    }

    fn begin(&mut self, at: usize) {
        if self.actors[at].begun {
            return;
        }
        if let User::Invalidation(_, root) = &self.actors[at].user {
            self.actors[at].doomed = self.doomed(&root.clone());
        }
        if let User::Clear(_) = &self.actors[at].user {
            self.actors[at].doomed = self.values();
            let loads = self.actors.iter().filter_map(Actor::load);
            let loads: Vec<_> = loads.map(written).collect();
            self.actors[at].doomed.extend(loads);
        }
        let now = self.client_now();
        self.actors[at].begin(now);
    }

    fn advance(&mut self, at: usize, step: &Step, case: &Case) -> Result<(), String> {
        let answered = self.ask(at, step, case);
        let now = self.client_now();
        self.note_loads(at, step, &answered.answer);
        let actor = &mut self.actors[at];
        let was_loading = actor.is_loading();
        actor.plant(step, &answered, case);
        actor.take_in(now, step, answered);
        match case.plant {
            Some(Plant::WriteThenRegister) => actor.register_later(now),
            Some(Plant::AnswerThenCancel) => actor.cancel_later(now),
            Some(Plant::UnwatchThenPut) => actor.unwatch_early(),
            _ => {}
        }
        if actor.is_loading() && !was_loading {
            let User::Load(load) = &actor.user else {
                unreachable!()
            };
            self.ghost.written(&loader(at), &load.content.names);
            let (load, names) = (written(load), load.content.names.clone());
            self.read(&load, &names);
        }
        let actor = &mut self.actors[at];
        if actor.done {
            let doomed = std::mem::take(&mut actor.doomed);
            if let Some((key, _)) = doomed.intersection(&self.values()).next() {
                return Err(format!("{key} has a value that was to be removed"));
            }
            self.banned.extend(doomed);
        }
        Ok(())
    }

    /// Sends a step for an actor, or does what its shortcut does in place of that.
    fn ask(&mut self, at: usize, step: &Step, case: &Case) -> Answered {
        if let (Some(Plant::KillOnce), Step::Kill { key, .. }) = (case.plant, step)
            && !self.actors[at].killed.insert(key.clone())
        {
            let (node, slot) = place(key, case);
            let entry = self.nodes[node].slots[&slot].keys.get(key);
            let below = entry.is_some_and(|entry| !entry.depend.is_empty());
            let (removed, epoch) = (false, Epoch(self.nodes[node].epoch));
            let answer = Answer::Killed { removed, below };
            return Answered { answer, epoch };
        }
        self.send(step, case)
    }

    /// Sends a step to its node.
    fn send(&mut self, step: &Step, case: &Case) -> Answered {
        let (at, slot) = place(step.place(), case);
        let node = &mut self.nodes[at];
        let epoch = Epoch(node.epoch);
        let is_kept = match step {
            Step::Put(_) => case.plant == Some(Plant::KeepStamp),
            Step::Scan { .. } => case.plant == Some(Plant::KeepCursor),
            _ => false,
        };
        if step.epoch().is_some_and(|bound| bound != epoch) && !is_kept {
            let answer = Answer::Void;
            return Answered { answer, epoch };
        }
        let manner = case.manner(node.epoch);
        if case.failovers.contains(&Failover::Stale(at)) {
            node.replica = node.slots.clone();
        }
        let slot = node.slots.entry(slot).or_default();
        let answer = slot.carry_out(step, self.now, manner);
        slot.expire(self.now);
        self.note(step, &answer);
        Answered { answer, epoch }
    }

    /// Notes what users see of a step.
    fn note(&mut self, step: &Step, answer: &Answer) {
        match (step, answer) {
            (Step::Register { name, member, .. }, _) => self.ghost.registered(name, member),
            (Step::Kill { key, .. }, _) => self.ghost.gone(key),
            (
                Step::Put(put),
                Answer::Put {
                    put: PutAnswer::Written { .. },
                    ..
                },
            ) => {
                let names = put.tie.as_ref().map(|tie| &tie.names[..]);
                self.ghost.written(&put.key, names.unwrap_or_default());
            }
            (
                Step::Change { key, .. },
                Answer::Changed {
                    reply: Changed::Removed(true) | Changed::Taken(Some(_)),
                    ..
                },
            ) => self.ghost.gone(key),
            _ => {}
        }
    }

    /// A loader reads the values of its names. If one is to be cleared, what it makes from that is so too.
    fn read(&mut self, load: &(CompactString, Vec<u8>), names: &[CompactString]) {
        let read: BTreeSet<_> = self
            .values()
            .into_iter()
            .filter(|value| names.contains(&value.0))
            .collect();
        for actor in self.actors.iter_mut().filter(|actor| !actor.done) {
            if matches!(actor.user, User::Clear(_)) && !actor.doomed.is_disjoint(&read) {
                actor.doomed.insert(load.clone());
            }
        }
    }

    /// Notes what a step does to loads that have read, and are not stored.
    fn note_loads(&mut self, at: usize, step: &Step, answer: &Answer) {
        // A value that cannot be stored ends its lease too.
        let is_put = matches!(answer, Answer::Ended { .. })
            || matches!(
                answer,
                Answer::Put {
                    put: PutAnswer::Written { .. } | PutAnswer::Unmet { .. },
                    ..
                }
            );
        if let User::Load(load) = &mut self.actors[at].user
            && is_put
        {
            load.end();
            self.ghost.excused(&loader(at));
        }
        let changed = match (step, answer) {
            (
                Step::Put(put),
                Answer::Put {
                    put: PutAnswer::Written { .. },
                    ..
                },
            ) => &put.key,
            (Step::Change { key, .. }, _) => key,
            _ => return,
        };
        let is_read = |load: &Load| load.content.names.contains(changed) || load.content.key == *changed;
        let loads = self.actors.iter().filter_map(Actor::load);
        let read: Vec<_> = loads.filter(|load| is_read(load)).map(written).collect();
        self.actors[at].doomed.extend(read);
    }

    fn tick(&mut self, case: &Case) {
        self.ticks += 1;
        self.now += u64::try_from(case.tick.as_millis()).unwrap();
        let before = self.values();
        for node in &mut self.nodes {
            node.slots.values_mut().for_each(|slot| slot.expire(self.now));
            node.replica.values_mut().for_each(|slot| slot.expire(self.now));
        }
        let after = self.values();
        before
            .difference(&after)
            .for_each(|(key, _)| self.ghost.gone(key));
    }

    fn fail_over(&mut self, failover: Failover, case: &Case) {
        let (Failover::Clean(at) | Failover::Stale(at) | Failover::Empty(at)) = failover;
        let before = self.values();
        let node = &mut self.nodes[at];
        node.epoch += 1;
        let lost = match failover {
            Failover::Clean(_) => return,
            Failover::Stale(_) => std::mem::replace(&mut node.slots, node.replica.clone()),
            Failover::Empty(_) => {
                let slots = node.slots.keys().map(|slot| (*slot, Slot::default())).collect();
                std::mem::replace(&mut node.slots, slots)
            }
        };
        for (name, entry) in lost.values().flat_map(|slot| &slot.keys) {
            for (member, registration) in &entry.depend {
                let (node, slot) = place(name, case);
                let entry = self.nodes[node].slots[&slot].keys.get(name);
                let kept = entry.and_then(|entry| entry.depend.get(member));
                // With an older registration, what was written since may be forgotten.
                if kept != Some(registration) {
                    self.ghost.lost(name, member);
                }
            }
        }
        let after = self.values();
        before
            .difference(&after)
            .for_each(|(key, _)| self.ghost.gone(key));
        // A kill was lost.
        for value in after.difference(&before) {
            self.ghost.excused(&value.0);
            self.banned.remove(value);
        }
        for at in 0..self.actors.len() {
            if let User::Invalidation(_, root) = &self.actors[at].user {
                let expected = self.doomed(&root.clone());
                self.actors[at].doomed.retain(|value| expected.contains(value));
            }
        }
    }

    /// All values.
    fn values(&self) -> BTreeSet<(CompactString, Vec<u8>)> {
        let slots = self.nodes.iter().flat_map(|node| node.slots.values());
        let entries = slots.flat_map(|slot| &slot.keys);
        let value = |value: &Value| value.as_bytes().to_vec();
        let held =
            entries.filter_map(|(key, entry)| Some((key.clone(), value(&entry.value.as_ref()?.value))));
        held.collect()
    }

    /// The values that depend on a name.
    fn doomed(&self, root: &CompactString) -> BTreeSet<(CompactString, Vec<u8>)> {
        let below = self.ghost.below(root);
        let mut values = self.values();
        values.retain(|(key, _)| below.contains(key));
        for (at, actor) in self.actors.iter().enumerate() {
            let load = actor.load();
            let is_below = |load: &&Load| below.contains(&loader(at)) || below.contains(&load.content.key);
            values.extend(load.filter(is_below).map(written));
        }
        values
    }

    /// Whether an invalidation that is alone now finds all that it has to.
    pub(super) fn check(&self, case: &Case) -> Result<(), String> {
        if let Some((key, _)) = self.banned.intersection(&self.values()).next() {
            return Err(format!("{key} has a value that was too old to be stored"));
        }
        for root in &case.roots {
            let root = CompactString::from(*root);
            let mut doomed = self.doomed(&root);
            // Loads go on, or not.
            doomed.retain(|value| self.values().contains(value));
            if doomed.is_empty() {
                continue;
            }
            let mut world = self.clone();
            let mut alone = Invalidation::new(vec![root.clone()], Stamps::new(u64::MAX));
            let mut next = alone.start(world.client_now());
            let mut steps = Vec::new();
            while let Next::Steps(more) = next {
                steps.extend(more);
                let step: Step = steps.remove(0);
                let answered = world.send(&step, case);
                next = alone.advance(world.client_now(), &step, answered);
            }
            if let Some((key, _)) = doomed.intersection(&world.values()).next() {
                return Err(format!("an invalidation of {root} does not find {key}"));
            }
        }
        Ok(())
    }
}

/// What stands for the value of a load that is not stored.
fn loader(actor: usize) -> CompactString {
    CompactString::from(format!("the load of {actor}"))
}

fn written(load: &Load) -> (CompactString, Vec<u8>) {
    (load.content.key.clone(), load.content.value.as_bytes().to_vec())
}

impl World {
    /// An event in words.
    pub(super) fn told(&self, event: Event, case: &Case) -> String {
        match event {
            Event::Tick => "time passes".to_owned(),
            Event::Failover(at) => format!("{:?}", case.failovers[at]),
            Event::Rest(at, step) => format!("{at}: {:?}", self.actors[at].rest[step]),
            Event::Step(at, step) | Event::Unanswered(at, step) => {
                let mut actor = self.actors[at].clone();
                if !actor.begun {
                    actor.begin(self.client_now());
                }
                format!("{at}: {:?}", actor.steps[step])
            }
        }
    }
}
