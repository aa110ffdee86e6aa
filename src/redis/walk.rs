//! Long work in steps of one command each, so that others are served between them: invalidations and
//! clearings. Pure: a step's answer in, the next step's command out.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};

use super::layout::{Layout, pattern};
use super::script::{By, Script};
use crate::key::Key;
use crate::request::Reply;

/// The most names or members that one step takes: the server serves nobody else meanwhile.
const CHUNK: usize = 500;
/// How many keys one step of a clearing looks at.
const PAGE: usize = 512;

/// A piece of long work, with all that it has to remember between its steps.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) reply: Option<Reply<u64>>,
    pub(super) removed: u64,
    /// Whether a step may have been carried out.
    pub(super) begun: bool,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Invalidation(Box<Invalidation>),
    Clearing {
        prefix: String,
        cursor: u64,
        /// Whether all that was being loaded when it began has been killed: until then no value is
        /// removed, so that none of it can be stored behind the back of the walk over the values.
        killed: bool,
    },
}

#[derive(Debug, Default)]
struct Invalidation {
    /// Names given whose own entries are to be removed.
    condemned: Vec<CompactString>,
    /// Names whose dependents are to be removed.
    names: Vec<CompactString>,
    /// The name whose dependents did not fit into one chunk.
    rest: Option<CompactString>,
    /// Every name that is or was among them: cycles end here.
    seen: HashSet<CompactString>,
    /// Names that have ghosts, which go when all else is done.
    haunted: Vec<CompactString>,
    step: Step,
}

/// What is under way.
#[derive(Debug, Default)]
enum Step {
    #[default]
    Condemn,
    /// `first` is false for what is left of a name after a chunk: ghosts found then are our own.
    Drain {
        name: CompactString,
        first: bool,
    },
    Ghosts {
        name: CompactString,
        cursor: u64,
    },
    Bury,
}

/// A reply that no script of ours gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Walk {
    pub(super) fn invalidation(names: &[Key], reply: Reply<u64>) -> Self {
        let mut invalidation = Invalidation::default();
        for name in names {
            if invalidation.seen.insert(name.text().clone()) {
                invalidation.names.push(name.text().clone());
            }
        }
        invalidation.condemned = invalidation.names.clone();
        Self::new(Work::Invalidation(Box::new(invalidation)), reply)
    }

    pub(super) fn clearing(prefix: String, reply: Reply<u64>) -> Self {
        let work = Work::Clearing {
            prefix,
            cursor: 0,
            killed: false,
        };
        Self::new(work, reply)
    }

    fn new(work: Work, reply: Reply<u64>) -> Self {
        Self {
            reply: Some(reply),
            removed: 0,
            begun: false,
            work,
        }
    }

    /// Whether it removes dependents, rather than everything.
    pub(super) fn is_invalidation(&self) -> bool {
        matches!(self.work, Work::Invalidation(_))
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: Layout, by: By) -> Cmd {
        let call = |script: Script, keys: usize| script.call(by, keys);
        match &self.work {
            Work::Clearing {
                prefix,
                cursor,
                killed: false,
            } => {
                let mut command = call(Script::ClearLeases, 0);
                command.arg(*cursor).arg(pattern(prefix)).arg(PAGE);
                command
            }
            Work::Clearing { prefix, cursor, .. } => {
                let mut command = call(Script::Clear, 0);
                command
                    .arg(layout.depend)
                    .arg(layout.close)
                    .arg(prefix)
                    .arg(*cursor)
                    .arg(PAGE);
                command
            }
            Work::Invalidation(work) => match &work.step {
                Step::Condemn => {
                    let chunk = &work.condemned[..work.condemned.len().min(CHUNK)];
                    let mut command = call(Script::Condemn, chunk.len());
                    for name in chunk {
                        command.arg(name.as_bytes());
                    }
                    command
                }
                Step::Drain { name, .. } => {
                    let mut command = call(Script::Drain, 0);
                    command
                        .arg(layout.depend)
                        .arg(layout.close)
                        .arg(name.as_bytes())
                        .arg(CHUNK);
                    command
                }
                Step::Ghosts { name, cursor } => {
                    let mut command = redis::cmd("SSCAN");
                    command
                        .arg(Layout::ghosts(name))
                        .arg(*cursor)
                        .arg("COUNT")
                        .arg(CHUNK);
                    command
                }
                Step::Bury => {
                    let mut command = redis::cmd("UNLINK");
                    for name in &work.haunted[..work.haunted.len().min(CHUNK)] {
                        command.arg(Layout::ghosts(name));
                    }
                    command
                }
            },
        }
    }

    /// Takes in the answer to the step: whether all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<bool, Unexpected> {
        self.begun = true;
        match &mut self.work {
            Work::Clearing {
                cursor,
                killed: killed @ false,
                ..
            } => {
                *cursor = number(&answer)?;
                *killed = *cursor == 0;
                Ok(false)
            }
            Work::Clearing { cursor, .. } => {
                let Wire::Array(parts) = answer else {
                    return Err(Unexpected);
                };
                let [next, removed] = <[Wire; 2]>::try_from(parts).map_err(|_| Unexpected)?;
                self.removed += count(&removed)?;
                *cursor = number(&next)?;
                Ok(*cursor == 0)
            }
            Work::Invalidation(work) => {
                self.removed += work.advance(answer)?;
                Ok(!work.step_on())
            }
        }
    }
}

impl Invalidation {
    /// Takes in the answer to the step: how many entries it removed.
    fn advance(&mut self, answer: Wire) -> Result<u64, Unexpected> {
        match std::mem::take(&mut self.step) {
            Step::Condemn => {
                self.condemned.drain(..self.condemned.len().min(CHUNK));
                count(&answer)
            }
            Step::Drain { name, first } => {
                let Wire::Array(parts) = answer else {
                    return Err(Unexpected);
                };
                let [removed, more, haunted, below] = <[Wire; 4]>::try_from(parts).map_err(|_| Unexpected)?;
                let below = texts(below)?;
                let left_behind = first && count(&haunted)? > 0;
                if left_behind || !below.is_empty() {
                    self.haunt(&name);
                }
                self.add(below);
                if count(&more)? > 0 {
                    self.rest = Some(name.clone());
                }
                if left_behind {
                    self.step = Step::Ghosts { name, cursor: 0 };
                }
                count(&removed)
            }
            Step::Ghosts { name, .. } => {
                let Wire::Array(parts) = answer else {
                    return Err(Unexpected);
                };
                let [next, ghosts] = <[Wire; 2]>::try_from(parts).map_err(|_| Unexpected)?;
                self.add(texts(ghosts)?);
                let cursor = number(&next)?;
                if cursor != 0 {
                    self.step = Step::Ghosts { name, cursor };
                }
                Ok(0)
            }
            Step::Bury => {
                self.haunted.drain(..self.haunted.len().min(CHUNK));
                Ok(0)
            }
        }
    }

    fn haunt(&mut self, name: &CompactString) {
        if self.haunted.last() != Some(name) {
            self.haunted.push(name.clone());
        }
    }

    fn add(&mut self, names: Vec<CompactString>) {
        for name in names {
            if self.seen.insert(name.clone()) {
                self.names.push(name);
            }
        }
    }

    /// Chooses the next step: whether there is one.
    fn step_on(&mut self) -> bool {
        if let Step::Ghosts { .. } = self.step {
            return true;
        }
        self.step = if !self.condemned.is_empty() {
            Step::Condemn
        } else if let Some(name) = self.rest.take() {
            Step::Drain { name, first: false }
        } else if let Some(name) = self.names.pop() {
            Step::Drain { name, first: true }
        } else if !self.haunted.is_empty() {
            Step::Bury
        } else {
            return false;
        };
        true
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
