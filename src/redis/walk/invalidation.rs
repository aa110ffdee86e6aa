//! Removes entries, and all that depends on them.

use std::collections::HashSet;

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};

use super::{Unexpected, count, number, texts};
use crate::key::Key;
use crate::redis::layout::Layout;
use crate::redis::script::{By, Script};

/// The most names or members that one step takes: the server serves nobody else meanwhile.
const CHUNK: usize = 250;

#[derive(Debug, Default)]
pub(super) struct Invalidation {
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

impl Invalidation {
    pub(super) fn new(names: &[Key]) -> Self {
        let mut invalidation = Self::default();
        for name in names {
            if invalidation.seen.insert(name.text().clone()) {
                invalidation.names.push(name.text().clone());
            }
        }
        invalidation.condemned = invalidation.names.clone();
        invalidation
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: Layout, by: By) -> Cmd {
        match &self.step {
            Step::Condemn => {
                let chunk = &self.condemned[..self.condemned.len().min(CHUNK)];
                let mut command = Script::Condemn.call(by, chunk.len());
                for name in chunk {
                    command.arg(name.as_bytes());
                }
                command
            }
            Step::Drain { name, .. } => {
                let mut command = Script::Drain.call(by, 0);
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
                for name in &self.haunted[..self.haunted.len().min(CHUNK)] {
                    command.arg(Layout::ghosts(name));
                }
                command
            }
        }
    }

    /// Takes in the answer to the step: how many entries it removed, and whether all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<(u64, bool), Unexpected> {
        let removed = self.take_in(answer)?;
        Ok((removed, !self.step_on()))
    }

    fn take_in(&mut self, answer: Wire) -> Result<u64, Unexpected> {
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
