//! Servers, and those who use them.

mod time;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use self::values::{loader, written};
use super::actor::{Actor, User};
use super::case::{Case, Failover, Plant, place};
use super::ghost::Ghost;
use super::load::Load;
use super::model::Slot;
use crate::engines::redis::spread::protocol::answer::{Answer, Answered, Changed, PutAnswer};
use crate::engines::redis::spread::protocol::step::{Epoch, Next, Step};

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
        if let User::Clear(clear) = &self.actors[at].user {
            self.actors[at].doomed = self.cleared(clear);
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
            let mut doomed = std::mem::take(&mut actor.doomed);
            if let User::Clear(clear) = &self.actors[at].user {
                // What was stored elsewhere before a mark came there is as it was before the clearing.
                let values = self.values();
                doomed.retain(|value| clear.is_of(&value.0) || !values.contains(value));
            }
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
            ) if put.condition.lease().is_none() => &put.key,
            (Step::Change { key, .. }, _) => key,
            _ => return,
        };
        let is_read = |load: &Load| load.content.names.contains(changed) || load.content.key == *changed;
        let loads = self.actors.iter().filter_map(Actor::load);
        let read: Vec<_> = loads.filter(|load| is_read(load)).map(written).collect();
        self.actors[at].doomed.extend(read);
    }
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
