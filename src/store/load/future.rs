//! The future of a load. What is there is served without an allocation for the way to it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::entry::Entry;
use super::single::Load;
use crate::error::Result;
use crate::lane::Answer;
use crate::load::{LoadError, Loaded, Verdict};
use crate::request::{Aged, Request};
use crate::value::Value;

type Slow<'a, T, E> = Pin<Box<dyn Future<Output = std::result::Result<Loaded<T>, LoadError<E>>> + Send + 'a>>;

/// The future of a [`Load`].
#[must_use = "futures do nothing unless awaited"]
pub struct LoadFuture<'a, T, E, F>(State<'a, T, E, F>);

enum State<'a, T, E, F> {
    New(Load<'a, T, F>),
    Reading(Load<'a, T, F>, Reading<'a>),
    /// There is more to do than to read.
    Slow(Slow<'a, T, E>),
    Ended,
}

/// The engine's answer, which is on its way.
enum Reading<'a> {
    Plain(Answer<'a, Option<Value>>),
    Aged(Answer<'a, Option<Aged>>),
}

impl Reading<'_> {
    /// What the key holds: `None` if it must be read again, with its age.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>>> {
        match self {
            Reading::Plain(answer) => answer.poll(cx).map_ok(Entry::from_value),
            Reading::Aged(answer) => answer.poll(cx).map_ok(|aged| Some(Entry::from_aged(aged))),
        }
    }
}

impl<'a, T, E, F, Fut> LoadFuture<'a, T, E, F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(load: Load<'a, T, F>) -> Self {
        Self(State::New(load))
    }

    fn begin(load: Load<'a, T, F>) -> std::result::Result<State<'a, T, E, F>, LoadError<E>> {
        load.options.check()?;
        let key = load.key.clone()?;
        let lane = load.options.store().lane();
        let reading = if load.options.needs_age() {
            lane.try_begin(|reply| Request::GetAged { key, reply })
                .map(Reading::Aged)
        } else {
            lane.try_begin(|reply| Request::Get { key, reply })
                .map(Reading::Plain)
        };
        Ok(match reading {
            Some(reading) => State::Reading(load, reading),
            // It has to wait for room, or needs a timer.
            None => State::Slow(Box::pin(load.run(false))),
        })
    }

    fn go_on(
        load: Load<'a, T, F>,
        entry: Option<Entry>,
    ) -> std::result::Result<std::result::Result<T, Slow<'a, T, E>>, LoadError<E>> {
        let Some(entry) = entry else {
            return Ok(Err(Box::pin(load.run(true))));
        };
        let found = load.judge(&entry);
        Ok(match found.value {
            Some((value, Verdict::Fresh, _)) => Ok(value),
            _ => Err(Box::pin(load.go_on(found))),
        })
    }
}

/// What it holds is moved, never pinned.
impl<T, E, F> Unpin for LoadFuture<'_, T, E, F> {}

impl<T, E, F, Fut> Future for LoadFuture<'_, T, E, F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<T, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.0;
        loop {
            match state {
                State::New(_) => {
                    let State::New(load) = std::mem::replace(state, State::Ended) else {
                        continue;
                    };
                    *state = Self::begin(load)?;
                }
                State::Reading(_, reading) => {
                    let Poll::Ready(entry) = reading.poll(cx) else {
                        return Poll::Pending;
                    };
                    let State::Reading(load, _) = std::mem::replace(state, State::Ended) else {
                        continue;
                    };
                    match Self::go_on(load, entry?)? {
                        Ok(value) => return Poll::Ready(Ok(value)),
                        Err(slow) => *state = State::Slow(slow),
                    }
                }
                State::Slow(slow) => {
                    let polled = slow.as_mut().poll(cx);
                    if polled.is_ready() {
                        *state = State::Ended;
                    }
                    return polled.map_ok(|loaded| loaded.value);
                }
                State::Ended => return Poll::Ready(Err(LoadError::Store(crate::Error::Closed))),
            }
        }
    }
}

impl<T, E, F> fmt::Debug for LoadFuture<'_, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
