//! The clearings under way.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::clear::{Clear, Next};
use super::slots::SlotMap;
use crate::engines::redis::own::Told;
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::tracker::OwnWork;
use crate::engines::redis::walk::Caller;
use crate::error::{Cause, Error, Result};
use crate::request::Outcome;

/// All clearings, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Clears {
    all: BTreeMap<u64, Clear>,
    last: u64,
    /// Those that go on once the nodes have told who owns which slots, and the question that has to be answered for it.
    asking: Vec<(u64, u64)>,
}

impl Clears {
    /// Begins one, once the nodes have told who owns which slots.
    pub(super) fn begin(&mut self, prefix: String, caller: Caller, near: Option<OwnWork>, question: u64) {
        self.last += 1;
        self.all.insert(self.last, Clear::new(prefix, caller, near));
        self.asking.push((self.last, question));
    }

    /// One of them goes on once this question to the nodes is answered.
    pub(super) fn ask(&mut self, number: u64, question: u64) {
        self.asking.push((number, question));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A question to the nodes is answered: what the clearings that waited for it do next.
    pub(super) fn go_on(&mut self, answered: u64, map: &SlotMap, tally: &mut Tally) -> Vec<(u64, Next)> {
        let ready = self.asking.extract_if(.., |(_, question)| *question <= answered);
        let ready: Vec<_> = ready.collect();
        let mut all = Vec::new();
        for (number, _) in ready {
            let Some(clear) = self.all.get_mut(&number) else {
                continue;
            };
            let next = clear.go_on(map);
            all.extend(self.take_in(number, next, tally).map(|next| (number, next)));
        }
        all
    }

    /// Nobody has answered a question to the nodes. Returns what the clearings that waited for it do next.
    pub(super) fn not_told(&mut self, answered: u64, error: &Error, map: &SlotMap) -> Vec<(u64, Next)> {
        let failed = self.asking.extract_if(.., |(_, question)| *question <= answered);
        let failed: Vec<_> = failed.collect();
        let next = |(number, _)| Some((number, self.fail(number, error.clone(), map)?));
        failed.into_iter().filter_map(next).collect()
    }

    /// The marks of one of them are made or taken away: whether none had gone meanwhile. Returns what it does next.
    pub(super) fn marked(
        &mut self,
        number: u64,
        unbroken: Result<bool>,
        map: &SlotMap,
        tally: &mut Tally,
    ) -> Option<Next> {
        let clear = self.all.get_mut(&number)?;
        match unbroken.and_then(|unbroken| clear.marked(unbroken, map)) {
            Ok(next) => self.take_in(number, next, tally),
            Err(error) => self.fail(number, error, map),
        }
    }

    /// Takes in the outcome of a command of one of them. Returns what it does next, if not only to wait.
    pub(super) fn advance(
        &mut self,
        number: u64,
        outcome: Outcome<Told>,
        map: &SlotMap,
        tally: &mut Tally,
    ) -> Option<Next> {
        let clear = self.all.get_mut(&number)?;
        clear.answered();
        let answer: Result<Told> = outcome.unwrap_or_else(|| Err(Error::Unavailable(no_answer())));
        match answer.and_then(|told| clear.advance(told, map)) {
            Ok(next) => self.take_in(number, next, tally),
            Err(error) => {
                if let Some(next) = clear.after_failure(map) {
                    return self.take_in(number, next, tally);
                }
                self.fail(number, error, map)
            }
        }
    }

    fn take_in(&mut self, number: u64, next: Next, tally: &mut Tally) -> Option<Next> {
        match next {
            Next::Wait => None,
            Next::Done => {
                let mut clear = self.all.remove(&number).filter(|clear| !clear.has_failed())?;
                let removed = clear.removed();
                clear.end_near(true);
                tally.tell_of_clearing(clear.prefix(), removed);
                tally.stats.deletes = tally.stats.deletes.saturating_add(removed);
                if let Some(caller) = clear.caller().take() {
                    caller.reply.send(Ok(removed));
                }
                None
            }
            next => Some(next),
        }
    }

    /// One of them has failed. Returns what takes its marks away.
    fn fail(&mut self, number: u64, error: Error, map: &SlotMap) -> Option<Next> {
        let clear = self.all.get_mut(&number)?;
        refuse(clear, error);
        let next = clear.fail(map);
        if next.is_none() {
            self.all.remove(&number);
        }
        next
    }

    /// Tells callers whose time is over. Their clearings go on. Returns when the time of the next one is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for clear in self.all.values_mut() {
            match clear.caller().take_if(|caller| caller.deadline <= now) {
                Some(caller) => caller.reply.send(Err(Error::OutcomeUnknown(no_answer()))),
                None => {
                    next = clear
                        .caller()
                        .iter()
                        .map(|caller| caller.deadline)
                        .chain(next)
                        .min()
                }
            }
        }
        next
    }

    /// Ends all of them with an error.
    pub(super) fn abandon(&mut self, error: &Error) {
        self.asking.clear();
        for mut clear in std::mem::take(&mut self.all).into_values() {
            refuse(&mut clear, error.clone());
        }
    }
}

/// Answers the caller of a clearing with an error.
fn refuse(clear: &mut Clear, error: Error) {
    clear.end_near(false);
    let has_begun = clear.has_begun();
    if let Some(caller) = clear.caller().take() {
        caller.reply.send(Err(match error {
            error @ Error::OutcomeUnknown(_) => error,
            error if has_begun => Error::OutcomeUnknown(Cause::new(error)),
            error => error,
        }));
    }
}
