//! Removes all values whose keys begin alike; see `scripts/clearing.lua`.

use redis::{Cmd, Value as Wire};

use super::{Unexpected, count, number};
use crate::redis::layout::{Layout, pattern};
use crate::redis::script::{By, Script};

/// How much one step looks at: the server serves nobody else meanwhile.
#[derive(Debug, Clone, Copy)]
struct Page {
    /// Keys of values, and names that are being loaded.
    keys: usize,
    /// Sets, where a step also looks at up to a thousand members of them; and members of one large set.
    sets: usize,
}

const PAGE: Page = Page {
    keys: 1024,
    sets: 512,
};

#[derive(Debug)]
pub(super) struct Clearing {
    /// What marks it on the server.
    id: String,
    prefix: String,
    page: Page,
    pass: Pass,
    cursor: u64,
    /// Sets of the last page that are too large for it, and the cursor in the last of them.
    large: Vec<Vec<u8>>,
    place: u64,
    /// Whether it has been marked since the first pass began.
    marked: bool,
}

/// What it goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// What is being loaded when it begins.
    Leases,
    Values,
    /// What leads to entries of other namespaces, and stays.
    Outside,
    /// What led to the values, but for the sets that went with them.
    Sets,
    /// What was being loaded meanwhile.
    LeasesAgain,
}

impl Clearing {
    pub(super) fn new(prefix: String) -> Self {
        Self {
            id: format!("{:032x}", rand::random::<u128>()),
            prefix,
            page: PAGE,
            pass: Pass::Leases,
            cursor: 0,
            large: Vec::new(),
            place: 0,
            marked: false,
        }
    }

    /// The same, in steps so small that tests can come between them.
    #[cfg(test)]
    pub(super) fn in_small_steps(self) -> Self {
        let page = Page { keys: 512, sets: 32 };
        Self { page, ..self }
    }

    /// The command of the next step.
    pub(super) fn command(&self, layout: Layout, by: By) -> Cmd {
        let large = self.large.last();
        let (script, cursor, page) = match self.pass {
            Pass::Leases | Pass::LeasesAgain => (Script::ClearLeases, self.cursor, self.page.keys),
            Pass::Values => (Script::ClearValues, self.cursor, self.page.keys),
            Pass::Outside | Pass::Sets if large.is_some() => (Script::ClearLarge, self.place, self.page.sets),
            Pass::Outside => (Script::ClearOutside, self.cursor, self.page.sets),
            Pass::Sets => (Script::ClearSets, self.cursor, self.page.sets),
        };
        let mut command = script.call(by, 0);
        command.arg(&self.id).arg(&self.prefix).arg(cursor).arg(page);
        match self.pass {
            Pass::Leases => command.arg(pattern(&self.prefix)).arg(0),
            Pass::LeasesAgain => command.arg(pattern(&self.prefix)).arg(1),
            Pass::Values => command
                .arg(pattern(&self.prefix))
                .arg(layout.depend)
                .arg(layout.close),
            Pass::Outside | Pass::Sets => command.arg(layout.depend).arg(layout.close),
        };
        if let Some(set) = large {
            command.arg(set).arg(u8::from(self.pass == Pass::Outside));
        }
        command
    }

    /// Takes in the answer to the step: how many values it removed, and whether all is done.
    pub(super) fn advance(&mut self, answer: Wire) -> Result<(u64, bool), Unexpected> {
        let Wire::Array(parts) = answer else {
            return Err(Unexpected);
        };
        let [next, removed, marked, large] = <[Wire; 4]>::try_from(parts).map_err(|_| Unexpected)?;
        let (next, removed, marked) = (number(&next)?, count(&removed)?, count(&marked)? == 1);
        if self.marked && !marked {
            // Something may have been stored behind its back.
            self.pass = Pass::Leases;
            (self.cursor, self.place) = (0, 0);
            self.large.clear();
            return Ok((removed, false));
        }
        self.marked = true;
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

    /// Goes on to the next pass, if there is one.
    fn turn(&mut self) -> bool {
        self.pass = match self.pass {
            Pass::Leases => Pass::Values,
            Pass::Values if self.prefix.is_empty() => Pass::Sets,
            Pass::Values => Pass::Outside,
            Pass::Outside => Pass::Sets,
            Pass::Sets => Pass::LeasesAgain,
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
