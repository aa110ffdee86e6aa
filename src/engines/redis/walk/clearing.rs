//! Removes all values whose keys begin alike; see `scripts/clearing.lua`.

use redis::{Cmd, Value as Wire};

use super::patience::Patience;
use super::undecided::Undecided;
use super::{Unexpected, count, number};
use crate::engines::redis::layout::{Layout, pattern};
use crate::engines::redis::script::{By, Script, random};

/// How much one step looks at: the server serves nobody else meanwhile.
#[derive(Debug, Clone, Copy)]
struct Page {
    /// Keys of values, and names that are being loaded.
    keys: usize,
    /// Sets, where a step also looks at up to a thousand members of them.
    sets: usize,
    /// Members of one large set.
    members: usize,
}

const PAGE: Page = Page {
    keys: 1024,
    sets: 256,
    members: 512,
};

#[derive(Debug)]
pub(super) struct Clearing {
    /// What marks it on the server.
    id: String,
    /// What the keys to remove begin with, each once: one walk serves several clearings.
    prefixes: Vec<String>,
    /// The place of the prefix with which all others begin, if there is one: that of the root.
    root: Option<usize>,
    page: Page,
    pass: Pass,
    cursor: u64,
    /// Sets of the last page that are too large for it, and the cursor in the last of them.
    large: Vec<Vec<u8>>,
    place: u64,
    undecided: Undecided,
    /// Whether it has been marked since the first pass began.
    marked: bool,
    patience: Patience,
}

/// How many values a step removed: in all, and for each prefix.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) all: u64,
    pub(super) each: Vec<u64>,
}

/// What it goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// What is being loaded when it begins.
    Leases,
    Values,
    /// What led to the values.
    Sets,
    /// Sets whose members alone do not tell whether they still lead to something.
    Rest,
    /// What was being loaded meanwhile.
    LeasesAgain,
}

impl Clearing {
    pub(super) fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    pub(super) fn new(prefixes: Vec<String>) -> Self {
        let is_root = |root: &String| prefixes.iter().all(|prefix| prefix.starts_with(root.as_str()));
        Self {
            id: format!("{:032x}", rand::random::<u128>()),
            root: prefixes.iter().position(is_root),
            prefixes,
            page: PAGE,
            pass: Pass::Leases,
            cursor: 0,
            large: Vec::new(),
            place: 0,
            undecided: Undecided::default(),
            marked: false,
            patience: Patience::default(),
        }
    }

    /// The same, in steps so small that tests can come between them.
    #[cfg(test)]
    pub(super) fn in_small_steps(self) -> Self {
        let page = Page {
            keys: 512,
            sets: 32,
            members: 32,
        };
        Self { page, ..self }
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: &Layout, by: By) -> Cmd {
        let large = self.large.last();
        let (script, cursor, page) = match self.pass {
            Pass::Leases | Pass::LeasesAgain => (Script::ClearLeases, self.cursor, self.page.keys),
            Pass::Values => (Script::ClearValues, self.cursor, self.page.keys),
            Pass::Sets if large.is_some() => (Script::ClearLarge, self.place, self.page.members),
            Pass::Sets => (Script::ClearSets, self.cursor, self.page.sets),
            Pass::Rest => (Script::ClearRest, self.cursor, self.page.sets),
        };
        let mut command = layout.call(script, by, 0);
        command.arg(layout.depend()).arg(layout.close());
        command.arg(&self.id).arg(cursor).arg(page);
        match self.pass {
            Pass::Sets | Pass::Rest => command.arg(layout.kept()).arg(random()),
            pass => command
                .arg(self.pattern(layout))
                .arg(u8::from(pass == Pass::LeasesAgain)),
        };
        command.arg(large.map_or(&[][..], Vec::as_slice));
        command.arg(self.prefixes.len()).arg(&self.prefixes);
        if self.pass == Pass::Rest {
            self.undecided.next().for_each(|name| {
                command.arg(name);
            });
        }
        command
    }

    /// A pattern that all keys to remove match.
    fn pattern(&self, layout: &Layout) -> String {
        match self.prefixes.as_slice() {
            [prefix] => pattern(prefix),
            _ => pattern(layout.tag()),
        }
    }

    /// Takes in the answer to the step: how many values it removed, and whether all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<(Removed, bool), Unexpected> {
        let (removed, done) = self.take_in(answer)?;
        self.patience.step(removed.all, false)?;
        Ok((removed, done))
    }

    /// What is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.undecided.held()
    }

    fn take_in(&mut self, answer: Wire) -> Result<(Removed, bool), Unexpected> {
        let Wire::Array(parts) = answer else {
            return Err(Unexpected);
        };
        let [next, removed, marked, large, undecided] =
            <[Wire; 5]>::try_from(parts).map_err(|_| Unexpected)?;
        let (next, removed, marked) = (number(&next)?, self.removed(removed)?, count(&marked)? == 1);
        if self.marked && !marked {
            // Something may have been stored behind its back.
            self.begin();
            return Ok((removed, false));
        }
        self.marked = true;
        self.undecided.add(undecided)?;
        if self.pass == Pass::Rest {
            let more = self.undecided.take(next)?;
            return Ok((removed, !more && !self.turn()));
        }
        let place = if self.large.is_empty() {
            self.cursor
        } else {
            self.place
        };
        if next != 0 && next == place {
            // It would never end.
            return Err(Unexpected);
        }
        if self.large.is_empty() {
            (self.cursor, self.large) = (next, names(large)?);
        } else {
            self.place = next;
            if next == 0 {
                self.large.pop();
            }
        }
        let done = self.cursor == 0 && self.large.is_empty() && !self.turn();
        Ok((removed, done))
    }

    /// Begins anew, on another server: a cursor means nothing there.
    pub(super) fn restart(&mut self) {
        self.begin();
        self.marked = false;
    }

    fn begin(&mut self) {
        self.pass = Pass::Leases;
        (self.cursor, self.place) = (0, 0);
        self.large.clear();
        self.undecided = Undecided::default();
    }

    /// How many values a step removed for each prefix: those of a namespace belong to the root too.
    fn removed(&self, value: Wire) -> Result<Removed, Unexpected> {
        let Wire::Array(counts) = value else {
            return Err(Unexpected);
        };
        let mut each = counts.iter().map(count).collect::<Result<Vec<_>, _>>()?;
        let all = each.iter().fold(0u64, |all, count| all.saturating_add(*count));
        if let Some(root) = self.root.and_then(|root| each.get_mut(root)) {
            *root = all;
        }
        Ok(Removed { all, each })
    }

    /// Goes on to the next pass, if there is one.
    fn turn(&mut self) -> bool {
        self.pass = match self.pass {
            Pass::Leases => Pass::Values,
            Pass::Values => Pass::Sets,
            Pass::Sets if self.undecided.sort() => Pass::Rest,
            Pass::Sets | Pass::Rest => Pass::LeasesAgain,
            Pass::LeasesAgain => return false,
        };
        true
    }
}

fn names(value: Wire) -> Result<Vec<Vec<u8>>, Unexpected> {
    let Wire::Array(names) = value else {
        return Err(Unexpected);
    };
    let name = |name| match name {
        Wire::BulkString(name) => Ok(name),
        _ => Err(Unexpected),
    };
    names.into_iter().map(name).collect()
}
