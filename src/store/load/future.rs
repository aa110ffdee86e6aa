//! The future of a load of one key. A hit costs no allocation.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

use super::super::entry::Entry;
use super::super::{One, Store};
use super::found::Found;
use super::loader::{Loader, Model};
use super::plan::Checked;
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
    pub(super) fn new(order: Order<'a, T, F>, key: Result<Key>) -> Self {
        Self(LoadedFuture::new(order, key, false))
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

/// The future of a load that also tells where the value came from.
pub(super) struct LoadedFuture<'a, T, E, F> {
    /// What was asked for, until there is more to do than to read. It stays where it is: it is large.
    order: Option<Order<'a, T, F>>,
    key: Result<Key>,
    /// The key is read as a part of this call: at first and, if need be, once more.
    call: Call<'a>,
    /// Whether the caller is told how old the value is.
    aged: bool,
    state: State<'a, T, E>,
}

enum State<'a, T, E> {
    New,
    Reading(Checked, Reading<'a>),
    Slow(Slow<'a, T, E>),
}

type Slow<'a, T, E> = Pin<Box<dyn Future<Output = std::result::Result<Values<T>, LoadError<E>>> + Send + 'a>>;

/// What is read.
enum Reading<'a> {
    /// The near cache had it.
    Near(Option<Entry>),
    /// The engine's answer is on its way.
    Plain(Answer<'a, Option<Value>>),
    Aged(Answer<'a, Option<Aged>>),
}

impl<'a> Reading<'a> {
    /// Looks into the near cache. A hit uses up budget of the task; when that is used up, this is pending.
    fn look_near(store: &Store, key: &Key, cx: &mut Context<'_>) -> Poll<Option<Self>> {
        let budget = ready!(poll_proceed(cx));
        let entry = store.look_near(key);
        if entry.is_some() {
            budget.made_progress();
        }
        Poll::Ready(entry.map(|entry| Reading::Near(Some(entry))))
    }

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
            Reading::Near(entry) => Poll::Ready(Ok(entry.take())),
            Reading::Plain(answer) => answer.poll(cx).map_ok(Entry::from_value),
            Reading::Aged(answer) => answer.poll(cx).map_ok(|aged| Some(Entry::from_aged(aged))),
        }
    }
}

impl<'a, T, E, F> LoadedFuture<'a, T, E, F> {
    pub(super) fn new(order: Order<'a, T, F>, key: Result<Key>, aged: bool) -> Self {
        Self {
            call: order.options.store().queue().call(),
            order: Some(order),
            key,
            aged,
            state: State::New,
        }
    }
}

/// What it holds is moved, never pinned.
impl<T, E, F> Unpin for LoadedFuture<'_, T, E, F> {}

impl<'a, T, E, F> Future for LoadedFuture<'a, T, E, F>
where
    F: Loader<One, Value = T, Error = E>,
    T: Model,
    E: Send + Sync + 'static,
{
    type Output = std::result::Result<Loaded<T>, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let slow: Slow<'a, T, E> = match &mut this.state {
                State::Slow(slow) => {
                    let values = ready!(slow.as_mut().poll(cx));
                    // The loader of one key gives one value.
                    let one = values?.pop().map(|(_, loaded)| loaded);
                    return Poll::Ready(one.ok_or(LoadError::Store(Error::Closed)));
                }
                State::New => {
                    let Some(order) = &this.order else { return ended() };
                    let checked = order.options.check()?;
                    let key = this.key.clone()?;
                    let aged = this.aged || order.options.serving().needs_age();
                    let near = ready!(Reading::look_near(order.options.store(), &key, cx));
                    if let Some(reading) = near.or_else(|| Reading::begin(&mut this.call, key.clone(), aged))
                    {
                        this.state = State::Reading(checked, reading);
                        continue;
                    }
                    let Some(order) = this.order.take() else {
                        return ended();
                    };
                    Box::pin(order.read(checked, this.call.clone(), vec![key], this.aged))
                }
                State::Reading(checked, reading) => {
                    let (checked, entry) = (*checked, ready!(reading.poll(cx))?);
                    let Some(order) = &this.order else { return ended() };
                    let (store, serving) = (order.options.store(), order.options.serving());
                    let found = entry.map(|entry| Found::judge(&entry, &serving, store.codec()));
                    if let Some(Found {
                        value: Some((value, Verdict::Fresh, times)),
                        ..
                    }) = found
                    {
                        this.order = None;
                        return Poll::Ready(Ok(times.of(value, Origin::Fresh)));
                    }
                    let (Some(order), Ok(key)) = (this.order.take(), this.key.clone()) else {
                        return ended();
                    };
                    match found {
                        Some(found) => Box::pin(order.go_on(checked, key, found)),
                        None => {
                            store.inner.reads.look_again(1);
                            Box::pin(order.read(checked, this.call.clone(), vec![key], true))
                        }
                    }
                }
            };
            this.state = State::Slow(slow);
        }
    }
}

/// What a future that has ended answers.
fn ended<T, E>() -> Poll<std::result::Result<Loaded<T>, LoadError<E>>> {
    Poll::Ready(Err(LoadError::Store(Error::Closed)))
}

impl<T, E, F> fmt::Debug for LoadFuture<'_, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
