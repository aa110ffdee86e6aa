//! A clearing: marks, removals, and marks again.

use compact_str::CompactString;
use tokio::time::Instant;

use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::Answered;
use crate::engines::redis::spread::protocol::marking::Marking;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{Act, Next, Step};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Clear {
    /// The keys of all slots.
    slots: Vec<CompactString>,
    prefix: CompactString,
    keys: Vec<CompactString>,
    mark: Stamp,
    marking: Marking,
    /// What is being removed, and what is left of that.
    left: Option<usize>,
}

impl Clear {
    /// Of these keys, those under the prefix are removed.
    pub(super) fn new(seed: u64, keys: &[&str], prefix: &str) -> Self {
        let slots: Vec<_> = keys.iter().map(|key| CompactString::from(*key)).collect();
        let keys = slots
            .iter()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        let (prefix, mark) = (CompactString::from(prefix), Stamp::new(seed, 0));
        let marking = Marking::begin(slots.clone(), prefix.clone(), mark);
        Self {
            slots,
            prefix,
            keys,
            mark,
            marking,
            left: None,
        }
    }

    /// Whether it removes the value of a key.
    pub(super) fn is_of(&self, key: &CompactString) -> bool {
        key.starts_with(self.prefix.as_str())
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
        self.marking = Marking::end(self.slots.clone(), self.prefix.clone(), self.mark);
        self.marking.start(now)
    }
}
