//! The future of a load. What is there is served without an allocation for the way to it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::entry::Entry;
use super::plan::Found;
use super::single::Load;
use crate::error::Result;
use crate::lane::{Answer, Call};
use crate::load::{LoadError, Loaded, Verdict};
use crate::request::{Aged, Request};
use crate::value::Value;

type Slow<'a, T, E> = Pin<Box<dyn Future<Output = std::result::Result<Loaded<T>, LoadError<E>>> + Send + 'a>>;

/// The future of a [`Load`].
#[must_use = "futures do nothing unless awaited"]
pub struct LoadFuture<'a, T, E, F> {
    /// Until there is more to do than to read. It stays where it is: it is large.
    load: Option<Load<'a, T, F>>,
    /// What is read: at first and, if need be, once more.
    call: Call<'a>,
    state: State<'a, T, E>,
}

enum State<'a, T, E> {
    New,
    Reading(Reading<'a>),
    Slow(Slow<'a, T, E>),
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

impl<'a, T, E, F> LoadFuture<'a, T, E, F> {
    pub(super) fn new(load: Load<'a, T, F>) -> Self {
        Self {
            call: load.options.store().lane().call(),
            load: Some(load),
            state: State::New,
        }
    }
}

/// Sends the request that reads the key: `None` if that has to wait for room, or needs a timer.
fn read<'a, T, F>(load: &Load<'a, T, F>, call: &mut Call<'a>) -> Result<Option<Reading<'a>>> {
    load.options.check()?;
    let key = load.key.clone()?;
    Ok(if load.options.needs_age() {
        call.try_begin(|reply| Request::GetAged { key, reply })
            .map(Reading::Aged)
    } else {
        call.try_begin(|reply| Request::Get { key, reply })
            .map(Reading::Plain)
    })
}

/// What it holds is moved, never pinned.
impl<T, E, F> Unpin for LoadFuture<'_, T, E, F> {}

impl<'a, T, E, F, Fut> Future for LoadFuture<'a, T, E, F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = std::result::Result<T, E>> + Send + 'static,
    T: Serialize + DeserializeOwned + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<T, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let slow: Slow<'a, T, E> = match &mut this.state {
                State::Slow(slow) => return slow.as_mut().poll(cx).map_ok(|loaded| loaded.value),
                State::New => {
                    let Some(load) = &this.load else { return ended() };
                    if let Some(reading) = read(load, &mut this.call)? {
                        this.state = State::Reading(reading);
                        continue;
                    }
                    let Some(load) = this.load.take() else {
                        return ended();
                    };
                    Box::pin(load.run(this.call.clone(), false))
                }
                State::Reading(reading) => {
                    let Poll::Ready(entry) = reading.poll(cx) else {
                        return Poll::Pending;
                    };
                    this.state = State::New;
                    let Some(load) = &this.load else { return ended() };
                    let found = entry?.map(|entry| load.judge(&entry));
                    if let Some(Found {
                        value: Some((value, Verdict::Fresh, _)),
                        ..
                    }) = found
                    {
                        this.load = None;
                        return Poll::Ready(Ok(value));
                    }
                    let Some(load) = this.load.take() else {
                        return ended();
                    };
                    match found {
                        Some(found) => Box::pin(load.go_on(found)),
                        None => {
                            load.options.store().inner.reads.look_again(1);
                            Box::pin(load.run(this.call.clone(), true))
                        }
                    }
                }
            };
            this.state = State::Slow(slow);
        }
    }
}

/// What a future that has ended answers.
fn ended<T, E>() -> Poll<std::result::Result<T, LoadError<E>>> {
    Poll::Ready(Err(LoadError::Store(crate::Error::Closed)))
}

impl<T, E, F> fmt::Debug for LoadFuture<'_, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
