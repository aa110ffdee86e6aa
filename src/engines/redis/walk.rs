//! Long work in steps of one command each, so that others are served between them: invalidations and
//! clearings. Pure: a step's answer in, the next step's command out.

mod clearing;
mod invalidation;
mod patience;
#[cfg(test)]
mod tests;
mod undecided;

use std::sync::Arc;

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};
use tokio::time::Instant;

use self::clearing::{Clearing, Removed};
use self::invalidation::Invalidation;
use super::layout::Layout;
use super::process::Process;
use super::removals::Removal;
use super::script::By;
use super::tracker::{OwnWork, Tracker};
use crate::error::Error;
use crate::key::{Key, Within};
use crate::request::{Progress, Reply};

/// The most bytes of names that a walk holds: more than ten million names of 20 bytes.
const MOST_HELD: usize = 1 << 30;
/// What a name costs beside its bytes.
const NAME: usize = 32;

/// A piece of long work, with all that it has to remember between its steps.
#[derive(Debug)]
pub(super) struct Walk {
    callers: Vec<Caller>,
    pub(super) removed: u64,
    /// How many entries were removed under each prefix of a clearing.
    each: Vec<u64>,
    /// Where its last step was sent to.
    process: Process,
    /// Whether a step may have been carried out.
    pub(super) begun: bool,
    work: Work,
    /// The names of an invalidation that is to be replayed if it fails.
    given: Option<Box<(Vec<Key>, Within)>>,
    /// Later clearings wait until it is dropped: with the walk, however that ends, or earlier.
    alive: Option<Arc<()>>,
    /// Tells the near cache what the walk removes, and by its end that the walk has ended.
    near: Option<OwnWork>,
    /// The most bytes of names that it may hold.
    most_held: usize,
}

#[derive(Debug)]
enum Work {
    Invalidation(Box<Invalidation>),
    Clearing(Box<Clearing>),
}

/// Who waits for a walk.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) reply: Reply<u64>,
    pub(super) progress: Progress,
    pub(super) deadline: Instant,
    /// Which of the prefixes of a clearing is the caller's, and how many entries have been removed under it.
    pub(super) place: usize,
    pub(super) removed: u64,
}

impl Caller {
    pub(super) fn new(reply: Reply<u64>, progress: Progress, deadline: Instant) -> Self {
        Self {
            reply,
            progress,
            deadline,
            place: 0,
            removed: 0,
        }
    }
}

/// A reply that no script of ours gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Walk {
    /// `tells` asks for the keys of what is removed, see [`told`](Self::told).
    pub(super) fn invalidation(names: &[Key], caller: Caller, tells: bool) -> Self {
        let work = Work::Invalidation(Box::new(Invalidation::new(names, tells)));
        Self::new(work, vec![caller])
    }

    /// One walk for several clearings. It holds `alive` until it ends or all [`leave`](Self::leave).
    pub(super) fn clearing(prefixes: Vec<String>, callers: Vec<Caller>, alive: Arc<()>) -> Self {
        let work = Work::Clearing(Box::new(Clearing::new(prefixes)));
        Self {
            alive: Some(alive),
            ..Self::new(work, callers)
        }
    }

    /// A clearing in steps so small that tests can come between them.
    #[cfg(test)]
    pub(super) fn clearing_in_small_steps(prefixes: Vec<String>) -> Self {
        let clearing = Clearing::new(prefixes).in_small_steps();
        Self::new(Work::Clearing(Box::new(clearing)), Vec::new())
    }

    fn new(work: Work, callers: Vec<Caller>) -> Self {
        Self {
            callers,
            removed: 0,
            each: Vec::new(),
            process: Process::default(),
            begun: false,
            work,
            given: None,
            alive: None,
            near: None,
            most_held: MOST_HELD,
        }
    }

    /// The same, with another bound on what it holds.
    #[cfg(test)]
    pub(super) fn holding(self, most_held: usize) -> Self {
        Self { most_held, ..self }
    }

    /// Whether the server has told of more names than a walk may hold.
    pub(super) fn is_too_large(&self) -> bool {
        let held = match &self.work {
            Work::Invalidation(work) => work.held(),
            Work::Clearing(work) => work.held(),
        };
        held > self.most_held
    }

    /// Remembers the names of an invalidation, so that it can be replayed.
    pub(super) fn remember(&mut self, names: Vec<Key>, within: Within) {
        self.given = Some(Box::new((names, within)));
    }

    /// What it removes, if it remembers that.
    pub(super) fn removal(&self) -> Option<Removal> {
        match &self.work {
            Work::Invalidation(_) => {
                let (names, within) = *self.given.clone()?;
                Some(Removal::Dependents(names, within))
            }
            Work::Clearing(work) => Some(Removal::Prefixes(work.prefixes().to_vec())),
        }
    }

    /// Lets the near cache know what it removes.
    pub(super) fn near(&mut self, tracker: Option<&Tracker>) {
        self.near = tracker.map(Tracker::begin_work);
    }

    /// The next step is sent to this process of a server. In another one than before, the walk begins anew: how far it has
    /// come there is not known. What was removed counts.
    pub(super) fn enter(&mut self, process: Process) {
        let before = std::mem::replace(&mut self.process, process);
        if !before.is_known() || before.is(process) {
            return;
        }
        match &mut self.work {
            Work::Invalidation(work) => work.restart(),
            Work::Clearing(work) => work.restart(),
        }
    }

    /// Whether it removes dependents, rather than everything.
    pub(super) fn is_invalidation(&self) -> bool {
        matches!(self.work, Work::Invalidation(_))
    }

    /// Whether somebody waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        !self.callers.is_empty()
    }

    /// Tells those whose time is over that it is: with `error` if no step may have been carried out. The walk goes on.
    /// Returns when the next one's time is over.
    pub(super) fn expire(&mut self, now: Instant, error: &Error) -> Option<Instant> {
        let late = |caller: &mut Caller| caller.deadline <= now;
        for caller in self.callers.extract_if(.., late) {
            caller.reply.send(Err(error.clone()));
        }
        self.callers.iter().map(|caller| caller.deadline).min()
    }

    /// Tells all callers that they wait no longer. The walk goes on, and later clearings do not wait for it any more: in an
    /// outage, nobody knows when it ends.
    pub(super) fn leave(&mut self, error: &Error) {
        drop(self.alive.take());
        for caller in self.callers.drain(..) {
            caller.reply.send(Err(error.clone()));
        }
    }

    /// Tells all callers that the walk has failed.
    pub(super) fn fail(self, error: &Error) {
        for caller in self.callers {
            caller.reply.send(Err(error.clone()));
        }
    }

    /// The keys of entries that were removed since this was last called.
    pub(super) fn told(&mut self) -> Vec<CompactString> {
        let told = match &mut self.work {
            Work::Invalidation(work) => work.told(),
            Work::Clearing(_) => Vec::new(),
        };
        if let Some(near) = &self.near {
            told.iter().for_each(|key| near.removed(key));
        }
        told
    }

    /// The prefixes of a clearing, and how many entries were removed under each.
    pub(super) fn cleared(&self) -> impl Iterator<Item = (&str, u64)> {
        let prefixes = match &self.work {
            Work::Invalidation(_) => &[],
            Work::Clearing(work) => work.prefixes(),
        };
        let each = self.each.iter().copied().chain(std::iter::repeat(0));
        prefixes.iter().map(String::as_str).zip(each)
    }

    /// Tells all callers how many entries were removed for them.
    pub(super) fn finish(self) {
        for caller in self.callers {
            caller.reply.send(Ok(caller.removed));
        }
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: &Layout, by: By) -> Cmd {
        match &self.work {
            Work::Invalidation(work) => work.command(layout, by),
            Work::Clearing(work) => work.command(layout, by),
        }
    }

    /// Takes in the answer to the step. Returns `true` if all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<bool, Unexpected> {
        self.begun = true;
        let (removed, done) = match &mut self.work {
            Work::Invalidation(work) => {
                let (removed, done) = work.advance(answer)?;
                let each = vec![removed];
                (Removed { all: removed, each }, done)
            }
            Work::Clearing(work) => work.advance(answer)?,
        };
        self.removed = self.removed.saturating_add(removed.all);
        self.each.resize(self.each.len().max(removed.each.len()), 0);
        for (all, removed) in self.each.iter_mut().zip(&removed.each) {
            *all = all.saturating_add(*removed);
        }
        for caller in &mut self.callers {
            let removed = removed.each.get(caller.place).copied().unwrap_or(0);
            caller.removed = caller.removed.saturating_add(removed);
            caller.progress.report(caller.removed);
        }
        if done && let Some(near) = &self.near {
            self.cleared().for_each(|(prefix, _)| near.cleared(prefix));
        }
        Ok(done)
    }
}

/// What a name costs that is held.
fn cost(name: &[u8]) -> usize {
    NAME + name.len()
}

fn number(value: &Wire) -> Result<u64, Unexpected> {
    match value {
        Wire::BulkString(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(Unexpected),
        value => count(value),
    }
}

fn count(value: &Wire) -> Result<u64, Unexpected> {
    match value {
        Wire::Int(count) => u64::try_from(*count).map_err(|_| Unexpected),
        _ => Err(Unexpected),
    }
}

/// Members that are text. Others are none of ours: their entries are gone, and nothing is below them.
fn texts(value: Wire) -> Result<Vec<CompactString>, Unexpected> {
    let (Wire::Array(members) | Wire::Set(members)) = value else {
        return Err(Unexpected);
    };
    let text = |member| match member {
        Wire::BulkString(bytes) => CompactString::from_utf8(bytes).ok(),
        _ => None,
    };
    Ok(members.into_iter().filter_map(text).collect())
}
