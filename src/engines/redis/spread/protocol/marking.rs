//! The begin and the end of a clearing, for the loads under its prefix.

use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered};
use super::life::Life;
use super::stamp::Stamp;
use super::step::{Next, Step};

/// So many slots are marked at a time.
const AT_A_TIME: usize = 512;
/// For so long a mark stays, if who clears is no more.
const NOTED: Duration = Duration::from_secs(600);

/// Marks slots, so that no load under a prefix stores what it has loaded, or takes the marks away.
///
/// A clearing marks all slots, removes the values, and takes the marks away. If these were not there any more, a load may have
/// stored a value meanwhile that was made from one which was to be removed: the clearing begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Marking {
    /// A key of each slot that is left.
    places: Vec<CompactString>,
    prefix: CompactString,
    mark: Stamp,
    begins: bool,
    under_way: usize,
    /// Whether all marks were there.
    unbroken: bool,
}

impl Marking {
    /// Marks the slots of `places`, which are keys.
    pub(in crate::engines::redis) fn begin(
        places: Vec<CompactString>,
        prefix: CompactString,
        mark: Stamp,
    ) -> Self {
        Self::new(places, prefix, mark, true)
    }

    /// Takes the marks away. The output tells whether all were there.
    pub(in crate::engines::redis) fn end(
        places: Vec<CompactString>,
        prefix: CompactString,
        mark: Stamp,
    ) -> Self {
        Self::new(places, prefix, mark, false)
    }

    fn new(places: Vec<CompactString>, prefix: CompactString, mark: Stamp, begins: bool) -> Self {
        Self {
            places,
            prefix,
            mark,
            begins,
            under_way: 0,
            unbroken: true,
        }
    }

    fn more(&mut self) -> Next<bool> {
        let room = AT_A_TIME - self.under_way;
        let from = self.places.len().saturating_sub(room);
        let places = self.places.split_off(from);
        self.under_way += places.len();
        if self.under_way == 0 {
            return Next::done(self.unbroken);
        }
        let step = |place| Step::Mark {
            place,
            prefix: self.prefix.clone(),
            mark: self.mark,
            life: self.begins.then(|| Life::from(NOTED)),
        };
        Next::Steps(places.into_iter().map(step).collect())
    }
}

impl Machine for Marking {
    type Output = bool;

    fn start(&mut self, _: Instant) -> Next<bool> {
        self.more()
    }

    fn advance(&mut self, _: Instant, _: &Step, answered: Answered) -> Next<bool> {
        self.under_way -= 1;
        if let Answer::Marked { noted: false } = answered.answer {
            self.unbroken &= self.begins;
        }
        self.more()
    }
}
