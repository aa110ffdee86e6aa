//! Removes entries, and all that depends on them.

use std::collections::HashSet;

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};

use super::patience::Patience;
use super::{Unexpected, cost, count, number, texts};
use crate::engines::redis::layout::Layout;
use crate::engines::redis::script::{By, Script};
use crate::key::Key;

/// The most members that one step removes, and the most names that it looks at: the server serves nobody else
/// meanwhile.
const CHUNK: usize = 250;
const NAMES: usize = 500;
/// The most bytes of names that one step takes, but for a name that is longer by itself.
const BYTES: usize = 256 * 1024;
/// The most tombstones that one step at the end looks at.
const TOMBSTONES: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Invalidation {
    /// What marks it on the server.
    id: String,
    /// Whether no other invalidation has drained since its first step that drained. `None` before that.
    is_alone: Option<bool>,
    patience: Patience,
    /// What all names have cost that the server told of. Few of them are told of more than once.
    held: usize,
    /// The names given.
    roots: Vec<CompactString>,
    /// Names given whose own entries are to be removed.
    invalidated: Vec<CompactString>,
    /// Names whose dependents are to be removed.
    names: Vec<CompactString>,
    /// The name whose dependents did not fit into one chunk.
    rest: Option<CompactString>,
    /// Every name that is or was among them: cycles end here.
    seen: HashSet<CompactString>,
    /// Names whose tombstones did not fit into one chunk, and the cursor to go on from.
    unread: Vec<(CompactString, u64)>,
    /// Names that have tombstones, which go when all else is done: a name before those below it.
    marked: Vec<CompactString>,
    /// The cursor to go on from in the tombstones of the last of them.
    cursor: u64,
    /// Whether a step has removed tombstones.
    sweeps: bool,
    step: Step,
    /// Whether the keys of what is removed are asked for.
    tells: bool,
    told: Vec<CompactString>,
}

/// What is under way.
#[derive(Debug, Default)]
enum Step {
    #[default]
    Invalidate,
    /// `begun` says that the first name is what was left after a chunk: its tombstones are read once more at its end.
    Drain {
        names: Vec<CompactString>,
        begun: bool,
    },
    Tombstones {
        name: CompactString,
        cursor: u64,
    },
    Drained,
}

impl Invalidation {
    pub(super) fn new(names: &[Key], tells: bool) -> Self {
        let mut seen = HashSet::new();
        let names = names.iter().map(Key::text);
        let roots = names
            .filter(|name| seen.insert((*name).clone()))
            .cloned()
            .collect();
        Self::of(roots, tells)
    }

    /// `roots` are different names.
    fn of(roots: Vec<CompactString>, tells: bool) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            seen: roots.iter().cloned().collect(),
            names: roots.clone(),
            invalidated: roots.clone(),
            roots,
            tells,
            ..Self::default()
        }
    }

    /// Begins anew, on another server: a cursor means nothing there. What is still below is found by its tombstones.
    pub(super) fn restart(&mut self) {
        let (roots, told) = (std::mem::take(&mut self.roots), self.told());
        *self = Self {
            told,
            ..Self::of(roots, self.tells)
        };
    }

    /// The keys of entries that were removed since this was last called.
    pub(super) fn told(&mut self) -> Vec<CompactString> {
        std::mem::take(&mut self.told)
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: &Layout, by: By) -> Cmd {
        match &self.step {
            Step::Invalidate => {
                let names = last_of(&self.invalidated);
                let mut command = layout.call(Script::Invalidate, by, names.len());
                names.iter().for_each(|name| {
                    command.arg(name.as_bytes());
                });
                command.arg(u8::from(self.tells));
                command
            }
            Step::Drain { names, begun } => {
                let mut command = layout.call(Script::Drain, by, 0);
                command.arg(layout.depend()).arg(layout.close()).arg(CHUNK);
                let more = [self.names.len(), self.unread.len(), self.marked.len()] != [0; 3];
                command.arg(u8::from(*begun)).arg(u8::from(self.tells));
                command.arg(u8::from(more)).arg(&self.id);
                names.iter().for_each(|name| {
                    command.arg(name.as_bytes());
                });
                command
            }
            Step::Tombstones { name, cursor } => {
                let mut command = redis::cmd("SSCAN");
                command.arg(layout.tombstones(name)).arg(*cursor);
                command.arg("COUNT").arg(CHUNK);
                command
            }
            Step::Drained => {
                let mut command = layout.call(Script::Drained, by, 0);
                command.arg(layout.depend()).arg(layout.close());
                let names = last_of(&self.marked);
                let are_last = names.len() == self.marked.len();
                let are_all = are_last && !self.sweeps;
                command.arg(TOMBSTONES).arg(self.cursor);
                command.arg(u8::from(are_last) + u8::from(are_all)).arg(&self.id);
                command.arg(u8::from(self.is_alone == Some(true)));
                // Bottom-up: tombstones stay while they lead to others.
                names.iter().rev().for_each(|name| {
                    command.arg(name.as_bytes());
                });
                command
            }
        }
    }

    /// Takes in the answer to the step: how many entries it removed, and whether all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<(u64, bool), Unexpected> {
        let before = self.progress();
        let removed = match std::mem::take(&mut self.step) {
            Step::Invalidate => {
                take_last(&mut self.invalidated);
                let [removed, told] = parts(answer)?;
                self.told.extend(texts(told)?);
                count(&removed)?
            }
            Step::Drain { names, .. } => self.drained(names, answer)?,
            Step::Tombstones { name, .. } => {
                let [next, tombstones] = parts(answer)?;
                self.add(texts(tombstones)?);
                match number(&next)? {
                    0 => {}
                    cursor => self.unread.push((name, cursor)),
                }
                0
            }
            Step::Drained => {
                self.swept(answer)?;
                0
            }
        };
        self.patience.step(removed, self.progress() != before)?;
        Ok((removed, !self.step_on()))
    }

    /// What changes with each step that gets further: what is known, and what is still to be done.
    fn progress(&self) -> [usize; 4] {
        [
            self.seen.len(),
            self.invalidated.len(),
            self.names.len(),
            self.marked.len(),
        ]
    }

    /// Takes in the answer to a step that drained `names`: how many entries it removed.
    fn drained(&mut self, mut names: Vec<CompactString>, answer: Wire) -> Result<u64, Unexpected> {
        let [removed, taken, more, marked, unread, below, told, last] = parts(answer)?;
        let last = count(&last)?;
        self.is_alone = Some(match self.is_alone {
            None => last == 2,
            Some(is_alone) => is_alone && last == 1,
        });
        self.told.extend(texts(told)?);
        let taken = usize::try_from(count(&taken)?).map_err(|_| Unexpected)?;
        if taken == 0 || taken > names.len() {
            return Err(Unexpected);
        }
        self.names.extend(names.drain(taken..));
        if count(&more)? > 0 {
            self.rest = names.pop();
        }
        let marked = texts(marked)?;
        self.hold(&marked);
        self.marked.extend(marked);
        let mut unread = texts(unread)?.into_iter();
        while let (Some(name), Some(cursor)) = (unread.next(), unread.next()) {
            self.held += cost(name.as_bytes());
            self.unread.push((name, cursor.parse().map_err(|_| Unexpected)?));
        }
        self.add(texts(below)?);
        count(&removed)
    }

    /// Takes in the answer to a step that removed tombstones.
    fn swept(&mut self, answer: Wire) -> Result<(), Unexpected> {
        let [taken, cursor] = parts(answer)?;
        let taken = usize::try_from(count(&taken)?).map_err(|_| Unexpected)?;
        self.cursor = number(&cursor)?;
        self.sweeps = true;
        let is_stuck = taken == 0 && self.cursor == 0;
        if is_stuck || taken > last_of(&self.marked).len() {
            return Err(Unexpected);
        }
        self.marked.truncate(self.marked.len() - taken);
        Ok(())
    }

    /// What is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn hold(&mut self, names: &[CompactString]) {
        self.held += names.iter().map(|name| cost(name.as_bytes())).sum::<usize>();
    }

    fn add(&mut self, names: Vec<CompactString>) {
        for name in names {
            if self.seen.insert(name.clone()) {
                // Once as seen, and once as one to be drained.
                self.held += 2 * cost(name.as_bytes());
                self.names.push(name);
            }
        }
    }

    /// Chooses the next step. Returns `true` if there is one.
    fn step_on(&mut self) -> bool {
        self.step = if !self.invalidated.is_empty() {
            Step::Invalidate
        } else if let Some((name, cursor)) = self.unread.pop() {
            Step::Tombstones { name, cursor }
        } else if self.rest.is_some() || !self.names.is_empty() {
            let rest = self.rest.take();
            let begun = rest.is_some();
            let mut names = Vec::from_iter(rest);
            names.extend(take_last(&mut self.names));
            Step::Drain { names, begun }
        } else if !self.marked.is_empty() {
            Step::Drained
        } else {
            return false;
        };
        true
    }
}

/// As many of the last names as one step takes.
fn last_of(names: &[CompactString]) -> &[CompactString] {
    let mut bytes = 0;
    let fits = |name: &&CompactString| {
        bytes += name.len();
        bytes <= BYTES
    };
    let fitting = names.iter().rev().take(NAMES).take_while(fits).count();
    &names[names.len() - fitting.max(1).min(names.len())..]
}

fn take_last(names: &mut Vec<CompactString>) -> Vec<CompactString> {
    let taken = last_of(names).len();
    names.split_off(names.len() - taken)
}

fn parts<const N: usize>(answer: Wire) -> Result<[Wire; N], Unexpected> {
    match answer {
        Wire::Array(parts) => parts.try_into().map_err(|_| Unexpected),
        _ => Err(Unexpected),
    }
}
