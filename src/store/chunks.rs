//! Calls about many keys, which are split into several requests so that none holds the engine for long.

use std::collections::VecDeque;

use super::Store;
use crate::actor::queue::{Answer, Call};
use crate::calls::CallName;
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::request::{self, Operation, Reply, Write};

/// The most keys that travel in one request.
pub(super) const CHUNK: usize = 512;

/// How many requests of one call may be under way at once. With several, the call waits for one round
/// trip and not for one a chunk; with a bound, requests of other callers get their turn in between.
const AHEAD: usize = 8;

/// Reads keys in chunks. Returns the answers in the order of the keys.
pub(super) async fn read<T, O: Operation<Answer = Vec<T>>>(
    call: &mut Call<'_>,
    keys: Vec<Key>,
    make: impl Fn(Vec<Key>) -> O,
) -> Result<Vec<T>> {
    if keys.is_empty() {
        return call.check_open().map(|()| Vec::new());
    }
    if keys.len() <= CHUNK {
        return call.ask(make(keys)).await;
    }
    let found = read_ahead(call, keys, make).await;
    call.end(found)
}

/// Reads keys by several requests, a few of which are under way at once.
async fn read_ahead<T, O: Operation<Answer = Vec<T>>>(
    call: &mut Call<'_>,
    keys: Vec<Key>,
    make: impl Fn(Vec<Key>) -> O,
) -> Result<Vec<T>> {
    let mut found = Vec::with_capacity(keys.len());
    let mut keys = keys.into_iter();
    let mut answers = VecDeque::with_capacity(AHEAD);
    loop {
        while keys.len() > 0 && answers.len() < AHEAD {
            let chunk = keys.by_ref().take(CHUNK).collect();
            answers.push_back(call.begin(make(chunk)).await?);
        }
        let Some(answer) = answers.pop_front() else {
            return Ok(found);
        };
        found.extend(answer.wait().await?);
    }
}

/// Removes keys of the store's namespace in chunks. Returns how many held a value.
pub(super) async fn delete(store: &Store, keys: Vec<Key>) -> Result<u64> {
    let mut deleted = 0;
    let within = store.namespace.within();
    let make = |keys| request::DeleteMany { keys, within };
    let plan = Plan {
        ahead: AHEAD,
        // The engine keeps what it cannot remove now.
        goes_on: store.inner.config.settings().queue_invalidations > 0,
    };
    let call = &mut store.call(CallName::DeleteMany);
    if keys.is_empty() {
        return call.check_open().map(|()| 0);
    }
    change(call, keys, plan, make, |count| deleted += count).await?;
    Ok(deleted)
}

/// Writes entries in chunks, in their order.
pub(super) async fn write(store: &Store, call: &mut Call<'_>, writes: Vec<Write>) -> Result<()> {
    if writes.is_empty() {
        return call.check_open();
    }
    if store.profile().completes_when_queued {
        let mut writes = writes.into_iter();
        let mut begun = false;
        while writes.len() > 0 {
            let writes = writes.by_ref().take(CHUNK).collect();
            let request = request::SetMany { writes }.into_request(Reply::Nobody);
            let sent = call.send(request).await.map_err(|error| told(error, begun));
            call.end(sent)?;
            begun = true;
        }
        return Ok(());
    }
    let make = |writes| request::SetMany { writes };
    // Chunks may overtake each other where connections do, and one key may be in two of them.
    let ahead = if store.profile().keeps_order { AHEAD } else { 1 };
    let goes_on = false;
    change(call, writes, Plan { ahead, goes_on }, make, |()| {}).await
}

/// How chunks are sent.
#[derive(Clone, Copy)]
struct Plan {
    /// How many may be under way at once.
    ahead: usize,
    /// After a failure all others are sent at once. If not, none is.
    goes_on: bool,
}

/// Changes what `items` name in chunks, and passes the answer to each chunk to `done`. The answers to all that were
/// sent are waited for, also after a failure.
async fn change<I, O: Operation>(
    call: &mut Call<'_>,
    items: Vec<I>,
    plan: Plan,
    make: impl Fn(Vec<I>) -> O,
    mut done: impl FnMut(O::Answer),
) -> Result<()> {
    let mut items = items.into_iter();
    let mut answers: VecDeque<Answer<'_, O::Answer>> = VecDeque::new();
    let mut failure: Option<Error> = None;
    let mut ahead = plan.ahead;
    // Whether a chunk was, or may have been, carried out.
    let mut partly = false;
    loop {
        while items.len() > 0 && answers.len() < ahead {
            let chunk = items.by_ref().take(CHUNK).collect();
            match call.begin(make(chunk)).await {
                Ok(answer) => answers.push_back(answer),
                Err(error) => {
                    // There is no way to the engine.
                    failure.get_or_insert(error);
                    ahead = 0;
                }
            }
        }
        let Some(answer) = answers.pop_front() else { break };
        match answer.wait().await {
            Ok(answer) => {
                partly = true;
                done(answer);
            }
            Err(error) => {
                partly |= matches!(error, Error::OutcomeUnknown(_));
                failure.get_or_insert(error);
                if ahead > 0 {
                    ahead = if plan.goes_on { usize::MAX } else { 0 };
                }
            }
        }
    }
    call.end(failure.map_or(Ok(()), |error| Err(told(error, partly))))
}

/// The error of a call of which some chunks may have been carried out.
fn told(error: Error, partly: bool) -> Error {
    match error {
        Error::OutcomeUnknown(_) => error,
        error if partly => Error::OutcomeUnknown(Cause::new(error)),
        error => error,
    }
}
