//! Another TTL for a value that may depend on names.

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered};
use super::life::{Life, PATIENCE};
use super::stamp::Stamps;
use super::step::{Cover, Next, Step};
use super::upward::Upward;
use crate::value::Value;

/// What became of a new TTL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Touched {
    /// Whether the TTL is another now.
    pub(in crate::engines::redis) changed: bool,
    /// The value, if it was asked for.
    pub(in crate::engines::redis) value: Option<Value>,
}

/// Gives a value another TTL. Before a longer one, the key is registered for as long under the names of its record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Touch {
    key: CompactString,
    ttl: Life,
    reads: bool,
    stamps: Stamps,
    upward: Upward,
    cover: Option<Cover>,
}

impl Touch {
    /// `reads` asks for the value.
    pub(in crate::engines::redis) fn new(key: CompactString, ttl: Life, reads: bool, stamps: Stamps) -> Self {
        Self {
            key,
            ttl,
            reads,
            stamps,
            upward: Upward::default(),
            cover: None,
        }
    }

    fn touch(&self) -> Next<Touched> {
        Next::Steps(vec![Step::Touch {
            key: self.key.clone(),
            ttl: self.ttl,
            cover: self.cover,
            reads: self.reads,
        }])
    }
}

impl Machine for Touch {
    type Output = Touched;

    fn start(&mut self, _: Instant) -> Next<Touched> {
        self.touch()
    }

    fn advance(&mut self, _: Instant, step: &Step, answered: Answered) -> Next<Touched> {
        if let Step::Register { .. } = step {
            let steps = self.upward.advance(step, answered, &mut self.stamps);
            return if self.upward.is_done() {
                self.touch()
            } else {
                Next::Steps(steps)
            };
        }
        match answered.answer {
            Answer::Touched { changed, value } => Next::Done {
                output: Touched { changed, value },
                rest: self.upward.covers(),
            },
            Answer::Short { above, needed } => {
                let life = needed.and(PATIENCE).generous();
                self.cover = Some(Cover {
                    record: above.record,
                    at: above.at,
                    life,
                    epoch: answered.epoch,
                });
                let (upward, steps) =
                    Upward::begin(&self.key, &above.names, life.longer(), None, &mut self.stamps);
                self.upward = upward;
                Next::Steps(steps)
            }
            _ => {
                self.cover = None;
                self.touch()
            }
        }
    }
}
