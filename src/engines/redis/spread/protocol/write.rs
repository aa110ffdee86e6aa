//! A write, conditional or not, of a value that may depend on names.

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::change::cancel;
use super::life::{Life, PATIENCE};
use super::seen::Seen;
use super::stamp::{Stamp, Stamps};
use super::step::{Answer, Answered, Condition, Next, Proof, Put, PutAnswer, Step, Tie};
use super::upward::Upward;
use crate::value::Value;

/// After so many refusals a writer notes its intent. Then only an invalidation of its own key refuses it.
const REFUSALS: u32 = 3;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Content {
    pub(in crate::engines::redis) key: CompactString,
    pub(in crate::engines::redis) value: Value,
    pub(in crate::engines::redis) ttl: Life,
    pub(in crate::engines::redis) condition: Condition,
    /// Each once, without the key itself.
    pub(in crate::engines::redis) names: Vec<CompactString>,
}

/// What became of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Written {
    /// Whether the condition held.
    pub(in crate::engines::redis) written: bool,
    /// What there was, for a swap.
    pub(in crate::engines::redis) held: Option<Value>,
}

/// A write. Its value stays only if it is registered under all names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Write {
    content: Content,
    stamps: Stamps,
    /// What was seen before the key is registered.
    seen: Option<Seen>,
    intent: Option<Stamp>,
    refusals: u32,
    /// How long the value, and what depends on the key already, may live at least.
    needed: Life,
    upward: Upward,
    /// How long after `seen` the key is registered.
    reach: Life,
    written: Option<Written>,
    /// Loads that are being cancelled.
    cancelled: usize,
}

impl Write {
    /// `seen` is what [`Seens::of`](super::Seens::of) tells, and `stamps` come from a random seed.
    pub(in crate::engines::redis) fn new(content: Content, seen: Option<Seen>, stamps: Stamps) -> Self {
        Self {
            needed: content.ttl,
            content,
            stamps,
            seen,
            intent: None,
            refusals: 0,
            upward: Upward::default(),
            reach: Life::Ever,
            written: None,
            cancelled: 0,
        }
    }

    /// A writer that has been refused too often already.
    #[cfg(test)]
    pub(super) fn with_intent(mut self) -> Self {
        self.refusals = REFUSALS;
        self
    }

    fn look(&mut self) -> Next<Written> {
        self.seen = None;
        self.intent = (self.refusals >= REFUSALS).then(|| self.stamps.next());
        Next::Steps(vec![Step::Look {
            key: self.content.key.clone(),
            fresh: self.stamps.next(),
            intent: self.intent,
        }])
    }

    /// Registers the key, or looks first if what was seen is too old.
    fn register(&mut self, now: Instant) -> Next<Written> {
        let Some(seen) = self.seen.filter(|seen| seen.is_known(now)) else {
            return self.look();
        };
        self.reach = self.needed.and(seen.age(now) + PATIENCE).generous();
        let (upward, steps) = Upward::begin(
            &self.content.key,
            &self.content.names,
            self.reach.longer(),
            None,
            &mut self.stamps,
        );
        self.upward = upward;
        if steps.is_empty() {
            return self.put();
        }
        Next::Steps(steps)
    }

    fn put(&mut self) -> Next<Written> {
        let Content {
            key,
            value,
            ttl,
            condition,
            names,
        } = self.content.clone();
        let tie = self.seen.filter(|_| !names.is_empty()).map(|seen| Tie {
            names,
            proof: self.intent.map_or(Proof::Slot, Proof::Intent),
            seen,
            life: self.reach,
            record: self.stamps.next(),
        });
        Next::Steps(vec![Step::Put(Box::new(Put {
            key,
            value,
            ttl,
            condition,
            tie,
        }))])
    }

    fn after_put(&mut self, now: Instant, put: PutAnswer, seen: Option<Seen>) -> Next<Written> {
        match put {
            PutAnswer::Written { held, watchers } => {
                let written = true;
                self.written = Some(Written { written, held });
                self.cancelled = watchers.len();
                if watchers.is_empty() {
                    return self.settle();
                }
                Next::Steps(watchers.into_iter().map(cancel).collect())
            }
            PutAnswer::Unmet => {
                self.written = Some(Written::default());
                self.settle()
            }
            PutAnswer::Refused => {
                self.refusals += 1;
                self.seen = seen;
                if self.refusals >= REFUSALS {
                    return self.look();
                }
                self.register(now)
            }
            PutAnswer::Short(needed) => {
                self.needed = self.needed.max(needed);
                // An intent is noted from before the last registration.
                self.seen = seen;
                self.register(now)
            }
        }
    }

    /// Ends, once the loads are cancelled that have read what this has overwritten.
    fn settle(&mut self) -> Next<Written> {
        match self.written.take_if(|_| self.cancelled == 0) {
            Some(output) => Next::Done {
                output,
                rest: self.upward.covers(),
            },
            None => Next::Steps(Vec::new()),
        }
    }
}

impl Machine for Write {
    type Output = Written;

    fn start(&mut self, now: Instant) -> Next<Written> {
        if self.content.names.is_empty() {
            return self.put();
        }
        self.register(now)
    }

    fn advance(&mut self, now: Instant, step: &Step, answered: Answered) -> Next<Written> {
        let seen = answered.seen(now);
        if let Step::Register { .. } = step {
            let steps = self.upward.advance(step, answered, &mut self.stamps);
            return if self.upward.is_done() {
                self.put()
            } else {
                Next::Steps(steps)
            };
        }
        match answered.answer {
            Answer::Looked(_) => {
                self.seen = seen;
                self.register(now)
            }
            Answer::Void => self.look(),
            Answer::Put { put, .. } => self.after_put(now, put, seen),
            // The last load that was cancelled.
            _ => {
                self.cancelled -= 1;
                self.settle()
            }
        }
    }
}
