//! The begin and the end of a load.

use std::collections::HashSet;

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered, Present};
use super::change::cancel;
use super::life::{Life, PATIENCE};
use super::seen::Seen;
use super::stamp::{Stamp, Stamps};
use super::step::{Given, Next, Step, Watch};
use super::upward::Upward;

/// What became of the attempt to take a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) enum Leased {
    /// There is a value, which was asked for.
    Found(Present),
    /// Another load has the lease, for so many milliseconds if it does not end before.
    Held { lease: Stamp, left: u64 },
    /// The lease is taken, and the key is registered under all names. `present` is what the key holds.
    /// [`Write::loaded`](super::Write::loaded) has to know `seen`: the value may only be stored over the link of its epoch.
    Taken {
        present: Option<Present>,
        seen: Seen,
        /// All names under which the key is registered.
        names: Vec<CompactString>,
    },
}

/// How a lease is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Terms {
    pub(in crate::engines::redis) key: CompactString,
    /// What the loaded value will depend on: each once, without the key itself. A value that depends on other names too
    /// is not stored.
    pub(in crate::engines::redis) names: Vec<CompactString>,
    pub(in crate::engines::redis) lease: Stamp,
    pub(in crate::engines::redis) life: Life,
    /// Whether a value that there is will do, so that no lease is taken.
    pub(in crate::engines::redis) reads: bool,
    /// How many bytes of the value are wanted with a lease, 0 for all.
    pub(in crate::engines::redis) wanted: usize,
    /// Whether the loaded value may depend on all that the one before depends on.
    pub(in crate::engines::redis) keeps_names: bool,
}

/// Takes a lease. The loader may begin when this has ended, and not before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Lease {
    terms: Terms,
    stamps: Stamps,
    upward: Upward,
    present: Option<Present>,
    seen: Option<Seen>,
}

impl Lease {
    pub(in crate::engines::redis) fn new(terms: Terms, stamps: Stamps) -> Self {
        Self {
            terms,
            stamps,
            upward: Upward::default(),
            present: None,
            seen: None,
        }
    }

    /// What the caller does not know of, if the call fails: steps that take the key out of all names. The caller ends the lease.
    pub(in crate::engines::redis) fn undo(&self) -> Vec<Step> {
        let Terms {
            key, names, lease, ..
        } = &self.terms;
        let is_registered = self.seen.is_some();
        let steps = is_registered.then(|| unwatch(key, names, *lease));
        steps.unwrap_or_default()
    }

    /// Registers the key under all names.
    fn register(&mut self) -> Next<Leased> {
        let Terms {
            key,
            names,
            lease,
            life,
            ..
        } = &self.terms;
        let life = life.and(PATIENCE).generous().longer();
        let watch = Watch { lease: *lease, life };
        let (upward, steps) = Upward::begin(key, names, life, Some(watch), &mut self.stamps);
        self.upward = upward;
        self.settle(steps)
    }

    /// Ends once nothing is under way.
    fn settle(&mut self, steps: Vec<Step>) -> Next<Leased> {
        match self.seen.filter(|_| self.upward.is_done()) {
            Some(seen) => Next::Done {
                output: Leased::Taken {
                    present: self.present.take(),
                    seen,
                    names: std::mem::take(&mut self.terms.names),
                },
                rest: self.upward.covers(),
            },
            None => Next::Steps(steps),
        }
    }
}

impl Machine for Lease {
    type Output = Leased;

    fn start(&mut self, _: Instant) -> Next<Leased> {
        Next::Steps(vec![Step::Take {
            key: self.terms.key.clone(),
            lease: self.terms.lease,
            life: self.terms.life,
            names: self.terms.names.clone(),
            fresh: self.stamps.next(),
            reads: self.terms.reads,
            wanted: self.terms.wanted,
            keeps_names: self.terms.keeps_names,
        }])
    }

    fn advance(&mut self, now: Instant, step: &Step, answered: Answered) -> Next<Leased> {
        let seen = answered.seen(now);
        match answered.answer {
            Answer::Found(present) => Next::done(Leased::Found(present)),
            Answer::Held { lease, left } => Next::done(Leased::Held { lease, left }),
            Answer::Taken { present, names, .. } => {
                (self.present, self.seen) = (present, seen);
                let terms = &mut self.terms;
                let mut known: HashSet<_> = terms.names.iter().chain([&terms.key]).cloned().collect();
                let others = names.into_iter().filter(|name| known.insert(name.clone()));
                terms.names.extend(others);
                self.register()
            }
            _ => {
                let steps = self.upward.advance(step, answered, &mut self.stamps);
                self.settle(steps)
            }
        }
    }
}

/// Ends a lease without storing a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct End {
    key: CompactString,
    names: Vec<CompactString>,
    lease: Stamp,
    given: Given,
    /// Loads that are being cancelled.
    cancelled: usize,
}

impl End {
    /// `names` are those of the lease.
    pub(in crate::engines::redis) fn new(
        key: CompactString,
        names: Vec<CompactString>,
        lease: Stamp,
        given: Given,
    ) -> Self {
        Self {
            key,
            names,
            lease,
            given,
            cancelled: 0,
        }
    }

    fn ended(&self) -> Next<()> {
        Next::Done {
            output: (),
            rest: unwatch(&self.key, &self.names, self.lease),
        }
    }
}

impl Machine for End {
    type Output = ();

    fn start(&mut self, _: Instant) -> Next<()> {
        Next::Steps(vec![Step::End {
            key: self.key.clone(),
            lease: self.lease,
            given: self.given,
        }])
    }

    fn advance(&mut self, _: Instant, _: &Step, answered: Answered) -> Next<()> {
        if let Answer::Ended { watchers } = answered.answer {
            if watchers.is_empty() {
                return self.ended();
            }
            self.cancelled = watchers.len();
            return Next::Steps(watchers.into_iter().map(cancel).collect());
        }
        self.cancelled -= 1;
        if self.cancelled == 0 {
            return self.ended();
        }
        Next::Steps(Vec::new())
    }
}

/// Tells the names of a load that it has ended.
pub(super) fn unwatch(key: &CompactString, names: &[CompactString], lease: Stamp) -> Vec<Step> {
    let step = |name: &CompactString| Step::Unwatch {
        name: name.clone(),
        member: key.clone(),
        lease,
    };
    names.iter().map(step).collect()
}
