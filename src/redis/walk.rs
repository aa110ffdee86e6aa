//! Long work in steps of one command each, so that others are served between them: invalidations and
//! clearings. Pure: a step's answer in, the next step's command out.

mod clearing;
mod invalidation;
#[cfg(test)]
mod tests;

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};

use self::clearing::Clearing;
use self::invalidation::Invalidation;
use super::layout::Layout;
use super::script::By;
use crate::key::Key;
use crate::request::{Progress, Reply};

/// A piece of long work, with all that it has to remember between its steps.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) reply: Option<Reply<u64>>,
    pub(super) removed: u64,
    progress: Progress,
    /// Whether a step may have been carried out.
    pub(super) begun: bool,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Invalidation(Box<Invalidation>),
    Clearing(Box<Clearing>),
}

/// A reply that no script of ours gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Walk {
    pub(super) fn invalidation(names: &[Key], reply: Reply<u64>) -> Self {
        Self::new(Work::Invalidation(Box::new(Invalidation::new(names))), reply)
    }

    pub(super) fn clearing(prefix: String, reply: Reply<u64>) -> Self {
        Self::new(Work::Clearing(Box::new(Clearing::new(prefix))), reply)
    }

    /// A clearing in steps so small that tests can come between them.
    #[cfg(test)]
    pub(super) fn clearing_in_small_steps(prefix: String) -> Self {
        let clearing = Clearing::new(prefix).in_small_steps();
        Self::new(Work::Clearing(Box::new(clearing)), Reply::new().0)
    }

    fn new(work: Work, reply: Reply<u64>) -> Self {
        Self {
            reply: Some(reply),
            removed: 0,
            progress: Progress::default(),
            begun: false,
            work,
        }
    }

    /// Tells `progress` how many entries each step has removed.
    pub(super) fn reporting(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Whether it removes dependents, rather than everything.
    pub(super) fn is_invalidation(&self) -> bool {
        matches!(self.work, Work::Invalidation(_))
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: Layout, by: By) -> Cmd {
        match &self.work {
            Work::Invalidation(work) => work.command(layout, by),
            Work::Clearing(work) => work.command(layout, by),
        }
    }

    /// Takes in the answer to the step. Returns `true` if all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<bool, Unexpected> {
        self.begun = true;
        let (removed, done) = match &mut self.work {
            Work::Invalidation(work) => work.advance(answer)?,
            Work::Clearing(work) => work.advance(answer)?,
        };
        self.removed = self.removed.saturating_add(removed);
        self.progress.report(self.removed);
        Ok(done)
    }
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
