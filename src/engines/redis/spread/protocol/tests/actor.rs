//! Those who use the servers.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use tokio::time::Instant;

use super::case::{Case, Plant};
use super::clear::Clear;
use super::load::Load;
use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::{Answer, Answered};
use crate::engines::redis::spread::protocol::change::Change;
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::lease::unwatch;
use crate::engines::redis::spread::protocol::step::{Epoch, Member, Next, Step};
use crate::engines::redis::spread::protocol::touch::Touch;
use crate::engines::redis::spread::protocol::write::Write;

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
    pub(super) user: User,
    pub(super) begun: bool,
    pub(super) done: bool,
    /// Steps under way.
    pub(super) steps: Vec<Step>,
    /// Steps whose answers nobody waits for.
    pub(super) rest: Vec<Step>,
    /// Values that are to be gone when an invalidation has ended.
    pub(super) doomed: BTreeSet<(CompactString, Vec<u8>)>,
    /// What a shortcut has to remember.
    pub(super) pages: BTreeMap<CompactString, (CompactString, Member, Epoch)>,
    pub(super) killed: BTreeSet<CompactString>,
    pub(super) unwatched: bool,
}

impl Actor {
    pub(super) fn begin(&mut self, now: Instant) {
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

    pub(super) fn take_in(&mut self, now: Instant, step: &Step, answered: Answered) {
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
    pub(super) fn load(&self) -> Option<&Load> {
        match &self.user {
            User::Load(load) if load.is_loading() && !self.done => Some(load),
            _ => None,
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        self.load().is_some()
    }

    /// Does more than the machine asks for, if a shortcut is planted.
    pub(super) fn plant(&mut self, step: &Step, answered: &Answered, case: &Case) {
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
    pub(super) fn register_later(&mut self, now: Instant) {
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
    pub(super) fn cancel_later(&mut self, now: Instant) {
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
    pub(super) fn unwatch_early(&mut self) {
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
