//! Whether a concurrent history of one register could have happened one call at a time (Wing and Gong,
//! with Lowe's memory of what has been tried).

use std::collections::HashSet;

/// The most calls that one history may have.
const MOST: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write(u64),
    /// Writes only if there is nothing.
    Add(u64),
    Swap {
        from: u64,
        to: u64,
    },
    Take,
    /// Writes, and answers what was held.
    Exchange(u64),
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Held(Option<u64>),
    Was(bool),
}

/// One call in a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) call: Call,
    /// `None`: it may have happened, at any time after it began, or not at all.
    pub(crate) answer: Option<Answer>,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// What a call does to a register, and what it answers.
fn apply(call: Call, held: Option<u64>) -> (Option<u64>, Answer) {
    match call {
        Call::Read => (held, Answer::Held(held)),
        Call::Write(value) => (Some(value), Answer::Done),
        Call::Add(value) => (held.or(Some(value)), Answer::Was(held.is_none())),
        Call::Swap { from, to } if held == Some(from) => (Some(to), Answer::Was(true)),
        Call::Swap { .. } => (held, Answer::Was(false)),
        Call::Take => (None, Answer::Held(held)),
        Call::Exchange(value) => (Some(value), Answer::Held(held)),
        Call::Delete => (None, Answer::Was(held.is_some())),
    }
}

/// Whether the history, which begins with an empty register, is linearizable.
pub(crate) fn is_linearizable(history: &[Event]) -> bool {
    assert!(history.len() <= MOST, "a history of {} calls", history.len());
    let all = history
        .iter()
        .enumerate()
        .filter(|(_, event)| event.answer.is_some());
    let needed = all.fold(0_u128, |set, (n, _)| set | 1 << n);
    let mut tried = HashSet::new();
    let mut open = vec![(0_u128, None)];
    while let Some((done, held)) = open.pop() {
        if done & needed == needed {
            return true;
        }
        if !tried.insert((done, held)) {
            continue;
        }
        let left = || {
            history
                .iter()
                .enumerate()
                .filter(move |(n, _)| done & (1 << n) == 0)
        };
        // Nothing can come before a call that had ended when it began.
        let first_end = left()
            .filter(|(_, e)| e.answer.is_some())
            .map(|(_, e)| e.ended)
            .min();
        for (n, event) in left() {
            if first_end.is_some_and(|end| event.began > end) {
                continue;
            }
            let (next, answer) = apply(event.call, held);
            if event.answer.is_none_or(|told| told == answer) {
                open.push((done | 1 << n, next));
            }
        }
    }
    false
}
