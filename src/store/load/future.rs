//! The future of a load of one key. A hit costs no allocation.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::super::entry::Entry;
use super::super::{One, Store};
use super::found::Found;
use super::loader::{Loader, Model};
use super::run::{Order, Values};
use crate::actor::queue::{Answer, Call};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::load::{LoadError, Loaded, Origin, Verdict};
use crate::request::{self, Aged};
use crate::value::Value;

/// The future of a [`Load`](crate::Load).
#[must_use = "futures do nothing unless awaited"]
pub struct LoadFuture<'a, T, E, F>(LoadedFuture<'a, T, E, F>);

impl<'a, T, E, F> LoadFuture<'a, T, E, F> {
    pub(super) fn new(store: &'a Store, request: Result<(Order<'a, T, F>, Key)>) -> Self {
        Self(LoadedFuture::new(store, request, false))
    }
}

impl<T, E, F> Future for LoadFuture<'_, T, E, F>
where
    F: Loader<One, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<T, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(|loaded| loaded.value)
    }
}

/// As a [`LoadFuture`], with where the value came from.
pub(super) struct LoadedFuture<'a, T, E, F> {
    /// What was asked for, until there is more to do than to read. It stays where it is: it is large.
    request: Option<Result<(Order<'a, T, F>, Key)>>,
    /// The key is read as a part of this call: at first and, if need be, once more.
    call: Call<'a>,
    /// Whether the caller is told how old the value is.
    aged: bool,
    state: State<'a, T, E>,
}

enum State<'a, T, E> {
    New,
    Reading(Reading<'a>),
    Slow(Slow<'a, T, E>),
}

type Slow<'a, T, E> = Pin<Box<dyn Future<Output = std::result::Result<Values<T>, LoadError<E>>> + Send + 'a>>;

/// The engine's answer, which is on its way.
enum Reading<'a> {
    Plain(Answer<'a, Option<Value>>),
    Aged(Answer<'a, Option<Aged>>),
}

impl<'a> Reading<'a> {
    /// Sends the request that reads the key. `None` if that has to wait for room, or needs a timer.
    fn begin(call: &mut Call<'a>, key: Key, aged: bool) -> Option<Self> {
        if aged {
            let answer = call.try_begin(request::GetAged { key });
            answer.map(Reading::Aged)
        } else {
            let answer = call.try_begin(request::Get { key });
            answer.map(Reading::Plain)
        }
    }

    /// What the key holds. `None` if it must be read again, with its age.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>>> {
        match self {
            Reading::Plain(answer) => answer.poll(cx).map_ok(Entry::from_value),
            Reading::Aged(answer) => answer.poll(cx).map_ok(|aged| Some(Entry::from_aged(aged))),
        }
    }
}

impl<'a, T, E, F> LoadedFuture<'a, T, E, F> {
    pub(super) fn new(store: &'a Store, request: Result<(Order<'a, T, F>, Key)>, aged: bool) -> Self {
        Self {
            request: Some(request),
            call: store.queue().call(),
            aged,
            state: State::New,
        }
    }
}

impl<'a, T, E, F> LoadedFuture<'a, T, E, F>
where
    F: Loader<One, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    /// Begins to read.
    fn begin(&mut self) -> Result<State<'a, T, E>> {
        match &self.request {
            Some(Ok((order, key))) => {
                let aged = self.aged || order.plan.serving.needs_age();
                match Reading::begin(&mut self.call, key.clone(), aged) {
                    Some(reading) => Ok(State::Reading(reading)),
                    None => self.read(self.aged),
                }
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::Closed),
        }
    }

    /// Reads, if need be after waiting for room, and loads.
    fn read(&mut self, aged: bool) -> Result<State<'a, T, E>> {
        let (order, key) = self.take()?;
        let slow = order.read(self.call.clone(), vec![key], aged);
        Ok(State::Slow(Box::pin(slow)))
    }

    /// Goes on with what was read: serves it, or returns what is to be done.
    fn go_on(&mut self, entry: Option<Entry>) -> Result<std::result::Result<Loaded<T>, State<'a, T, E>>> {
        let Some(Ok((order, _))) = &self.request else {
            return Err(Error::Closed);
        };
        let Some(entry) = entry else {
            order.plan.store.inner.reads.look_again(1);
            return self.read(true).map(Err);
        };
        match order.plan.judge(&entry) {
            Found {
                value: Some((value, Verdict::Fresh, times)),
                ..
            } => {
                self.request = None;
                Ok(Ok(times.of(value, Origin::Fresh)))
            }
            found => {
                let (order, key) = self.take()?;
                Ok(Err(State::Slow(Box::pin(order.go_on(key, found)))))
            }
        }
    }

    fn take(&mut self) -> Result<(Order<'a, T, F>, Key)> {
        // Polled after its end, it is as closed.
        self.request.take().unwrap_or(Err(Error::Closed))
    }
}

/// What it holds is moved, never pinned.
impl<T, E, F> Unpin for LoadedFuture<'_, T, E, F> {}

impl<T, E, F> Future for LoadedFuture<'_, T, E, F>
where
    F: Loader<One, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<Loaded<T>, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            this.state = match &mut this.state {
                State::New => this.begin()?,
                State::Reading(reading) => {
                    let Poll::Ready(entry) = reading.poll(cx) else {
                        return Poll::Pending;
                    };
                    this.state = State::New;
                    match this.go_on(entry?)? {
                        Ok(loaded) => return Poll::Ready(Ok(loaded)),
                        Err(state) => state,
                    }
                }
                State::Slow(slow) => {
                    // The loader of one key gives one value.
                    let one = |mut values: Values<T>| values.pop().ok_or(LoadError::Store(Error::Closed));
                    return slow
                        .as_mut()
                        .poll(cx)
                        .map(|values| values.and_then(|values| one(values).map(|(_, loaded)| loaded)));
                }
            };
        }
    }
}

impl<T, E, F> fmt::Debug for LoadFuture<'_, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
