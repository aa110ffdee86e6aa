//! Splits calls on many keys into one request for each key, and answers the caller once all requests are answered.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::request::{
    Asked, Delete, DeleteMany, EntryRequest, Gather, Get, GetAged, GetMany, GetManyAged, Reply, Set, SetMany,
};

/// The answers to the parts of one call.
struct Join<T, A> {
    state: Mutex<Option<State<T, A>>>,
}

struct State<T, A> {
    answers: Vec<Option<Result<T>>>,
    missing: usize,
    reply: Reply<A>,
    join: fn(Vec<Result<T>>) -> Result<A>,
}

impl<T, A> fmt::Debug for Join<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Join")
    }
}

impl<T: Send, A: Send> Gather<T> for Join<T, A> {
    fn take(&self, place: u32, answer: Result<T>) {
        // What it holds is whole at any time.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = state.as_mut() else { return };
        let Some(free) = waiting.answers.get_mut(place as usize) else {
            return;
        };
        if free.replace(answer).is_none() {
            waiting.missing -= 1;
        }
        if waiting.missing == 0
            && let Some(State {
                answers, reply, join, ..
            }) = state.take()
        {
            drop(state);
            reply.send(join(answers.into_iter().flatten().collect()));
        }
    }

    fn is_closed(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().is_none_or(|state| state.reply.is_closed())
    }
}

/// Returns the reply channels of the parts of a call.
fn parts<T: Send + 'static, A: Send + 'static>(
    count: usize,
    reply: Reply<A>,
    join: fn(Vec<Result<T>>) -> Result<A>,
) -> impl Iterator<Item = Reply<T>> {
    let state = State {
        answers: (0..count).map(|_| None).collect(),
        missing: count,
        reply,
        join,
    };
    let of: Option<Arc<dyn Gather<T>>> = if count == 0 {
        state.reply.send(join(Vec::new()));
        None
    } else {
        Some(Arc::new(Join {
            state: Mutex::new(Some(state)),
        }))
    };
    let all = of
        .into_iter()
        .flat_map(move |of| (0..).take(count).map(move |place| (of.clone(), place)));
    all.map(|(of, place)| Reply::Part { of, place })
}

/// Splits a request for many keys into one for each key, and passes these to `take` in order. Passes any other request on as
/// it is.
pub(super) fn split(request: EntryRequest, mut take: impl FnMut(EntryRequest)) {
    match request {
        EntryRequest::GetMany(Asked {
            operation: GetMany { keys, peek: false },
            reply,
        }) => {
            let replies = parts(keys.len(), reply, |answers| answers.into_iter().collect());
            for (key, reply) in keys.into_iter().zip(replies) {
                let operation = Get { key };
                take(EntryRequest::Get(Asked { operation, reply }));
            }
        }
        EntryRequest::GetMany(Asked {
            operation: GetMany { keys, peek: true },
            reply,
        }) if keys.len() != 1 => {
            let flat = |answers: Vec<Result<Vec<_>>>| {
                let all: Result<Vec<Vec<_>>> = answers.into_iter().collect();
                Ok(all?.into_iter().flatten().collect())
            };
            let replies = parts(keys.len(), reply, flat);
            for (key, reply) in keys.into_iter().zip(replies) {
                let operation = GetMany {
                    keys: vec![key],
                    peek: true,
                };
                take(EntryRequest::GetMany(Asked { operation, reply }));
            }
        }
        EntryRequest::GetManyAged(Asked {
            operation: GetManyAged { keys },
            reply,
        }) => {
            let replies = parts(keys.len(), reply, |answers| answers.into_iter().collect());
            for (key, reply) in keys.into_iter().zip(replies) {
                let operation = GetAged { key };
                take(EntryRequest::GetAged(Asked { operation, reply }));
            }
        }
        EntryRequest::SetMany(Asked {
            operation: SetMany { writes },
            reply,
        }) => {
            let replies = parts(writes.len(), reply, |answers| changed(answers).map(drop));
            for (write, reply) in writes.into_iter().zip(replies) {
                let operation = Set { write };
                take(EntryRequest::Set(Asked { operation, reply }));
            }
        }
        EntryRequest::DeleteMany(Asked {
            operation: DeleteMany { keys, within },
            reply,
        }) => {
            let count = |answers| {
                let deleted = changed(answers)?;
                Ok(deleted.into_iter().map(u64::from).sum())
            };
            let keys: Vec<Key> = keys;
            let replies = parts(keys.len(), reply, count);
            for (key, reply) in keys.into_iter().zip(replies) {
                let operation = Delete { key, within };
                take(EntryRequest::Delete(Asked { operation, reply }));
            }
        }
        request => take(request),
    }
}

/// Returns the answers to the changes of one call. If some were made and others were not, the outcome of the call is unknown.
fn changed<T>(answers: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut made, mut failure) = (Vec::new(), None);
    let all = answers.len();
    for answer in answers {
        match answer {
            Ok(answer) => made.push(answer),
            Err(error) if matches!(failure, Some(Error::OutcomeUnknown(_))) => drop(error),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        None => Ok(made),
        Some(error @ Error::OutcomeUnknown(_)) => Err(error),
        Some(error) if made.is_empty() && all > 0 => Err(error),
        Some(error) => Err(Error::OutcomeUnknown(Cause::new(error))),
    }
}
