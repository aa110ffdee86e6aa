//! Is there an order of these calls that explains all answers?
//!
//! The algorithm is that of Wing and Gong (*Testing and Verifying Concurrent Objects*, Journal of
//! Parallel and Distributed Computing 17, 1993) with the memory of Lowe (*Testing for
//! Linearizability*, Concurrency and Computation 29, 2017): a set of calls that led to a value once
//! need not be tried again. Each key is checked by itself, which suffices because linearizability is
//! local (Herlihy and Wing, *Linearizability*, ACM TOPLAS 12, 1990).

use std::collections::HashSet;

/// What one call does to one key. All values are integers, so that any of them can be incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    Exists,
    Set(i64),
    Add(i64),
    Replace(i64),
    CompareAndSet {
        expected: i64,
        new: i64,
    },
    Take,
    Swap(i64),
    /// Reads, and renews a TTL that is never over.
    Touch,
    Delete,
    Incr(i64),
    /// Removes the key and does not say whether it was there.
    Clear,
}

/// What a call answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(Option<i64>),
    Whether(bool),
    Sum(i64),
    Done,
}

impl Action {
    pub(crate) fn changes(self) -> bool {
        !matches!(self, Action::Get | Action::Exists | Action::Touch)
    }

    /// What a register that holds `value` answers, and what it holds then.
    pub(crate) fn apply(self, value: Option<i64>) -> (Answer, Option<i64>) {
        let only_if = |met: bool, new| (Answer::Whether(met), if met { Some(new) } else { value });
        match self {
            Action::Get => (Answer::Value(value), value),
            Action::Exists => (Answer::Whether(value.is_some()), value),
            Action::Set(new) => (Answer::Done, Some(new)),
            Action::Add(new) => only_if(value.is_none(), new),
            Action::Replace(new) => only_if(value.is_some(), new),
            Action::CompareAndSet { expected, new } => only_if(value == Some(expected), new),
            Action::Take => (Answer::Value(value), None),
            Action::Swap(new) => (Answer::Value(value), Some(new)),
            Action::Touch => (Answer::Value(value), value),
            Action::Delete => (Answer::Whether(value.is_some()), None),
            Action::Incr(by) => {
                let sum = value.unwrap_or(0) + by;
                (Answer::Sum(sum), Some(sum))
            }
            Action::Clear => (Answer::Done, None),
        }
    }
}

/// One call on one key, with the order in which calls began and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) action: Action,
    pub(crate) began: u64,
    /// `None` if nobody saw it end: it may have happened at any time since, or not at all.
    pub(crate) ended: Option<(u64, Answer)>,
}

impl Call {
    fn end(&self) -> u64 {
        self.ended.map_or(u64::MAX, |(at, _)| at)
    }
}

/// Whether a register that was empty at first can have answered so.
pub(crate) fn is_linearizable(history: &[Call]) -> bool {
    let mut calls = history.to_vec();
    calls.sort_by_key(|call| call.began);
    let mut search = Search {
        placed: vec![0; calls.len().div_ceil(64)],
        calls,
        tried: HashSet::new(),
    };
    search.explain(0, None)
}

struct Search {
    /// In the order in which they began.
    calls: Vec<Call>,
    /// The calls that have a place in the order, as a set of bits.
    placed: Vec<u64>,
    tried: HashSet<(Vec<u64>, Option<i64>)>,
}

impl Search {
    /// Whether the calls that have no place yet, all of them from `first` on, can follow `value`.
    ///
    /// It recurses once a call: histories are to be kept to some thousands.
    fn explain(&mut self, mut first: usize, value: Option<i64>) -> bool {
        while first < self.calls.len() && self.is_placed(first) {
            first += 1;
        }
        // What began after another had ended comes after it, so only these may be next.
        let mut deadline = u64::MAX;
        let mut candidates = Vec::new();
        for call in (first..self.calls.len()).filter(|call| !self.is_placed(*call)) {
            if self.calls[call].began > deadline {
                break;
            }
            deadline = deadline.min(self.calls[call].end());
            candidates.push(call);
        }
        if deadline == u64::MAX {
            // All that are left were never answered: they need not have happened.
            return true;
        }
        if !self.tried.insert((self.placed.clone(), value)) {
            return false;
        }
        candidates.into_iter().any(|call| {
            let Call { action, ended, .. } = self.calls[call];
            let (answer, after) = action.apply(value);
            if ended.is_some_and(|(_, seen)| seen != answer) {
                return false;
            }
            self.placed[call / 64] ^= 1 << (call % 64);
            let explained = self.explain(first, after);
            self.placed[call / 64] ^= 1 << (call % 64);
            explained
        })
    }

    fn is_placed(&self, call: usize) -> bool {
        self.placed[call / 64] & 1 << (call % 64) != 0
    }
}
