//! Servers, and those who use them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use super::clear::Clear;
use super::ghost::Ghost;
use super::load::Load;
use super::model::{Manner, Shortcut, Slot};
use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::change::Change;
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::lease::unwatch;
use crate::engines::redis::spread::protocol::stamp::Stamps;
use crate::engines::redis::spread::protocol::step::{
    Answer, Answered, Changed, Epoch, Member, Next, PutAnswer, Step,
};
use crate::engines::redis::spread::protocol::touch::Touch;
use crate::engines::redis::spread::protocol::write::Write;
use crate::value::Value;

/// What does not change while a case is explored.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// The keys of each slot, and the node of the slot.
    pub(super) slots: Vec<(Vec<&'static str>, usize)>,
    pub(super) actors: Vec<User>,
    /// How many states it may have.
    pub(super) most: usize,
    /// So many of the actors, the first ones, have ended before the exploration begins.
    pub(super) ended: usize,
    /// Names of which an invalidation at any time has to find everything.
    pub(super) roots: Vec<&'static str>,
    pub(super) failovers: Vec<Failover>,
    /// How much time passes, and how often.
    pub(super) tick: Duration,
    pub(super) ticks: u32,
    /// How many steps are carried out whose answers are lost, so that they are sent again.
    pub(super) resent: u32,
    pub(super) page: usize,
    pub(super) shortcut: Option<Shortcut>,
    pub(super) plant: Option<Plant>,
}

/// What becomes of a node, once at most for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failover {
    /// A replica is promoted that has everything.
    Clean(usize),
    /// A replica is promoted that has not received the last change.
    Stale(usize),
    /// The node restarts without data.
    Empty(usize),
}

/// Shortcuts that a client may take in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    WriteThenRegister,
    ForgetBeforeSubtree,
    /// A stamp is used over a link that it did not come over.
    KeepStamp,
    /// A cursor is used over a link that it did not come over.
    KeepCursor,
    /// What was killed through one name is not killed again through another.
    KillOnce,
    /// A change does not wait for the loads that it cancels.
    AnswerThenCancel,
    /// A load tells its names that it has ended before it is stored.
    UnwatchThenPut,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum User {
    Write(Write),
    Touch(Touch),
    Change(Change),
    Load(Box<Load>),
    Clear(Clear),
    Invalidation(Invalidation, CompactString),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    user: User,
    begun: bool,
    done: bool,
    /// Steps under way.
    steps: Vec<Step>,
    /// Steps whose answers nobody waits for.
    rest: Vec<Step>,
    /// Values that are to be gone when an invalidation has ended.
    doomed: BTreeSet<(CompactString, Vec<u8>)>,
    /// What a shortcut has to remember.
    pages: BTreeMap<CompactString, (CompactString, Member, Epoch)>,
    killed: BTreeSet<CompactString>,
    unwatched: bool,
}

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
            (Step::Change { key, .. }, Answer::Changed { reply, .. }) => match reply {
                Changed::Removed(true) | Changed::Taken(Some(_)) => self.ghost.gone(key),
                _ => {}
            },
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

impl Case {
    fn manner(&self, epoch: u64) -> Manner {
        Manner {
            shortcut: self.shortcut,
            page: self.page,
            backwards: epoch % 2 == 1,
        }
    }
}

/// What stands for the value of a load that is not stored.
fn loader(actor: usize) -> CompactString {
    CompactString::from(format!("the load of {actor}"))
}

fn written(load: &Load) -> (CompactString, Vec<u8>) {
    (load.content.key.clone(), load.content.value.as_bytes().to_vec())
}

fn place(key: &str, case: &Case) -> (usize, usize) {
    let slot = case.slots.iter().position(|(keys, _)| keys.contains(&key));
    let slot = slot.expect("each key has a slot");
    (case.slots[slot].1, slot)
}

impl Actor {
    fn begin(&mut self, now: Instant) {
        self.begun = true;
        match &mut self.user {
            User::Write(machine) => begin(machine, now, &mut self.steps),
            User::Touch(machine) => begin(machine, now, &mut self.steps),
            User::Change(machine) => begin(machine, now, &mut self.steps),
            User::Clear(machine) => begin(machine, now, &mut self.steps),
            User::Load(machine) => begin(&mut **machine, now, &mut self.steps),
            User::Invalidation(machine, _) => begin(machine, now, &mut self.steps),
        }
    }

    fn take_in(&mut self, now: Instant, step: &Step, answered: Answered) {
        let Self {
            user,
            steps,
            rest,
            done,
            ..
        } = self;
        match user {
            User::Write(machine) => *done = take_in(machine, now, step, answered, steps, rest),
            User::Touch(machine) => *done = take_in(machine, now, step, answered, steps, rest),
            User::Change(machine) => *done = take_in(machine, now, step, answered, steps, rest),
            User::Clear(machine) => *done = take_in(machine, now, step, answered, steps, rest),
            User::Load(machine) => *done = take_in(&mut **machine, now, step, answered, steps, rest),
            User::Invalidation(machine, _) => *done = take_in(machine, now, step, answered, steps, rest),
        }
    }

    /// A load that has read, and is not stored.
    fn load(&self) -> Option<&Load> {
        match &self.user {
            User::Load(load) if load.is_loading() && !self.done => Some(load),
            _ => None,
        }
    }

    fn is_loading(&self) -> bool {
        self.load().is_some()
    }

    /// Does more than the machine asks for, if a shortcut is planted.
    fn plant(&mut self, step: &Step, answered: &Answered, case: &Case) {
        if case.plant != Some(Plant::ForgetBeforeSubtree) {
            return;
        }
        match (step, &answered.answer) {
            (Step::Scan { name, .. }, Answer::Page { members, .. }) => {
                for member in members {
                    let page = (name.clone(), member.clone(), answered.epoch);
                    self.pages.insert(member.key.clone(), page);
                }
            }
            (Step::Kill { key, .. }, Answer::Killed { below: true, .. }) => {
                if let Some((name, member, epoch)) = self.pages.remove(key) {
                    let members = vec![member];
                    self.rest.push(Step::Forget { name, members, epoch });
                }
            }
            _ => {}
        }
    }

    /// Lets registrations wait until the value is put.
    fn register_later(&mut self, now: Instant) {
        while let Some(at) = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Register { .. }))
        {
            let step = self.steps.remove(at);
            self.rest.push(step.clone());
            let (above, epoch) = (None, Epoch(0));
            let answer = Answer::Registered { above };
            self.take_in(now, &step, Answered { answer, epoch });
        }
    }
}

impl Actor {
    /// Lets cancelled loads wait until the change is answered.
    fn cancel_later(&mut self, now: Instant) {
        while let Some(at) = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Cancel { .. }))
        {
            let step = self.steps.remove(at);
            self.rest.push(step.clone());
            let (answer, epoch) = (Answer::Done, Epoch(0));
            self.take_in(now, &step, Answered { answer, epoch });
        }
    }

    /// Lets a load tell that it has ended when it writes.
    fn unwatch_early(&mut self) {
        let Some(load) = self.load() else { return };
        let steps = unwatch(&load.content.key, &load.content.names, load.token);
        if !std::mem::replace(&mut self.unwatched, true) {
            self.rest.extend(steps);
        }
    }
}

fn begin<M: Machine>(machine: &mut M, now: Instant, steps: &mut Vec<Step>) {
    match machine.start(now) {
        Next::Steps(more) => steps.extend(more),
        Next::Done { .. } => panic!("nothing was done"),
    }
}

/// Returns whether the machine has ended.
fn take_in<M: Machine>(
    machine: &mut M,
    now: Instant,
    step: &Step,
    answered: Answered,
    steps: &mut Vec<Step>,
    rest: &mut Vec<Step>,
) -> bool {
    match machine.advance(now, step, answered) {
        Next::Steps(more) => {
            steps.extend(more);
            assert!(!steps.is_empty(), "it waits for nothing");
            false
        }
        Next::Done { rest: tidy, .. } => {
            assert!(steps.is_empty(), "it ends with steps under way");
            rest.extend(tidy);
            true
        }
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
