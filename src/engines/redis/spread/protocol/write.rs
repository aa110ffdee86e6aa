//! A write, conditional or not, of a value that may depend on names.

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered, PutAnswer};
use super::change::cancel;
use super::lease::unwatch;
use super::life::{Life, PATIENCE};
use super::seen::Seen;
use super::stamp::{Stamp, Stamps};
use super::step::{Condition, Epoch, Given, Next, Proof, Put, Step, Tie, Watcher};
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

/// The lease of a loaded value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    lease: Stamp,
    /// The link over which it was taken. Another server may not know that it has ended.
    epoch: Epoch,
    /// The names that it has.
    names: Vec<CompactString>,
}

/// A write. Its value stays only if it is registered under all names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Write {
    content: Content,
    stamps: Stamps,
    /// What was seen before the key is registered.
    seen: Option<Seen>,
    intent: Option<Stamp>,
    lease: Option<Held>,
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
            lease: None,
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

    /// The write of a loaded value, which ends the lease. `seen` was learned when the lease was taken, and `names` are those of
    /// the lease: the content has no others.
    pub(in crate::engines::redis) fn loaded(
        mut content: Content,
        lease: Stamp,
        names: Vec<CompactString>,
        seen: Seen,
        stamps: Stamps,
    ) -> Self {
        content.condition = Condition::Leased(lease);
        let epoch = seen.epoch;
        Self {
            lease: Some(Held { lease, epoch, names }),
            ..Self::new(content, Some(seen), stamps)
        }
    }

    /// Whether it takes several steps.
    pub(in crate::engines::redis) fn has_names(&self) -> bool {
        !self.content.names.is_empty()
    }

    /// Keeps the value that there is, with a new head. If there is none, nothing is changed, and the lease goes on.
    pub(in crate::engines::redis) fn keeping(mut self) -> Self {
        if let Some(lease) = self.content.condition.lease() {
            self.content.condition = Condition::Kept(lease);
        }
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

    /// Ends the lease of a value that cannot be stored.
    fn give_up(&mut self, lease: Stamp) -> Next<Written> {
        self.written = Some(Written::default());
        self.cancelled = 1;
        Next::Steps(vec![Step::End {
            key: self.content.key.clone(),
            lease,
            given: Given::Tied,
        }])
    }

    /// Registers the key, or looks first if what was seen is too old.
    fn register(&mut self, now: Instant) -> Next<Written> {
        let Some(seen) = self.seen.filter(|seen| seen.is_known(now)) else {
            return self.look();
        };
        if let Some(held) = self.lease.as_ref().filter(|held| held.epoch != seen.epoch) {
            return self.give_up(held.lease);
        }
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
        let slot = self.intent.map_or(Proof::Slot, Proof::Intent);
        let (proof, record) = match condition.lease() {
            // By its mark, the value is found when the load is cancelled late.
            Some(lease) => (Proof::Lease, lease),
            None => (slot, self.stamps.next()),
        };
        let seen = self.seen.filter(|_| !names.is_empty());
        let lease = self.lease.as_ref().map(|held| held.epoch);
        let bound = lease.or(seen.map(|seen| seen.epoch));
        let tie = seen.map(|seen| Tie {
            names,
            proof,
            seen,
            life: self.reach,
            record,
        });
        Next::Steps(vec![Step::Put(Box::new(Put {
            key,
            value,
            ttl,
            condition,
            bound,
            tie,
        }))])
    }

    fn after_put(&mut self, now: Instant, put: PutAnswer, seen: Option<Seen>) -> Next<Written> {
        match put {
            PutAnswer::Written { held, watchers } => {
                let written = true;
                self.written = Some(Written { written, held });
                self.cancel(watchers)
            }
            PutAnswer::Unmet { watchers } => {
                self.written = Some(Written::default());
                self.cancel(watchers)
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

    fn cancel(&mut self, watchers: Vec<Watcher>) -> Next<Written> {
        self.cancelled = watchers.len();
        if watchers.is_empty() {
            return self.settle();
        }
        Next::Steps(watchers.into_iter().map(cancel).collect())
    }

    /// Ends, once the loads are cancelled that have read what this has overwritten.
    fn settle(&mut self) -> Next<Written> {
        match self.written.take_if(|_| self.cancelled == 0) {
            Some(output) => {
                let mut rest = self.upward.covers();
                let goes_on = !output.written && matches!(self.content.condition, Condition::Kept(_));
                if let Some(held) = self.lease.as_ref().filter(|_| !goes_on) {
                    rest.extend(unwatch(&self.content.key, &held.names, held.lease));
                }
                Next::Done { output, rest }
            }
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
            Answer::Void => match &self.lease {
                Some(held) => self.give_up(held.lease),
                None => self.look(),
            },
            Answer::Ended { watchers } => self.cancel(watchers),
            Answer::Put { put, .. } => self.after_put(now, put, seen),
            // The last load that was cancelled.
            _ => {
                self.cancelled -= 1;
                self.settle()
            }
        }
    }
}
