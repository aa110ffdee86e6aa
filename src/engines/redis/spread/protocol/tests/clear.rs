//! A clearing of everything: marks, removals, and marks again.

use compact_str::CompactString;
use tokio::time::Instant;

use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::Answered;
use crate::engines::redis::spread::protocol::marking::Marking;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Act, Next, Step};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Clear {
    keys: Vec<CompactString>,
    mark: Stamp,
    marking: Marking,
    /// What is being removed, and what is left of that.
    left: Option<usize>,
}

impl Clear {
    pub(super) fn new(seed: u64, keys: &[&str]) -> Self {
        let keys: Vec<_> = keys.iter().map(|key| CompactString::from(*key)).collect();
        let mark = Stamp::new(seed, 0);
        let marking = Marking::begin(keys.clone(), CompactString::default(), mark);
        Self {
            keys,
            mark,
            marking,
            left: None,
        }
    }
}

impl Machine for Clear {
    type Output = bool;

    fn start(&mut self, now: Instant) -> Next<bool> {
        self.marking.start(now)
    }

    fn advance(&mut self, now: Instant, step: &Step, answered: Answered) -> Next<bool> {
        if let Step::Mark { .. } = step {
            return match (self.marking.advance(now, step, answered), self.left) {
                (Next::Done { .. }, None) => {
                    self.left = Some(self.keys.len());
                    let change = Act::Delete;
                    let remove = |key: &CompactString| Step::Change {
                        key: key.clone(),
                        change: change.clone(),
                    };
                    Next::Steps(self.keys.iter().map(remove).collect())
                }
                (next, _) => next,
            };
        }
        let left = self.left.as_mut().expect("it removes");
        *left -= 1;
        if *left > 0 {
            return Next::Steps(Vec::new());
        }
        self.marking = Marking::end(self.keys.clone(), CompactString::default(), self.mark);
        self.marking.start(now)
    }
}
