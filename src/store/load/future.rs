//! The future of a load of one key. A hit costs no allocation.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

use super::super::entry::Entry;
use super::super::{One, Store};
use super::direct::Outcome;
use super::found::Found;
use super::loader::{Loader, Model};
use super::plan::Checked;
use super::run::{Order, Values, told};
use crate::actor::queue::{Answer, Call};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::load::{Claim, LoadError, Loaded};
use crate::request::{self, Aged, Lookup};
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
    Direct(Outcome<T>),
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
    /// The answer may be the lease of the key.
    OrLease(Answer<'a, Lookup>, Option<Claim<'a>>),
}

/// What was read.
enum Read<'a> {
    Entry(Entry),
    /// The key holds nothing, and its lease is this call's.
    Leased(Claim<'a>),
    /// The age of the value decides: the key is read again with it.
    WithoutAge,
    /// The answer was lost.
    Lost,
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
    fn begin<T: Model, F>(
        order: &Order<'a, T, F>,
        call: &mut Call<'a>,
        key: &Key,
        aged: bool,
    ) -> Option<Self> {
        if let Some((claim, operation)) = order.claim(key) {
            let Some(answer) = call.try_begin(operation) else {
                claim.withdraw();
                return None;
            };
            return Some(Reading::OrLease(answer, Some(claim)));
        }
        let key = key.clone();
        if aged {
            let answer = call.try_begin(request::GetAged { key });
            answer.map(Reading::Aged)
        } else {
            let answer = call.try_begin(request::Get { key });
            answer.map(Reading::Plain)
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read<'a>>> {
        let entry = match self {
            Reading::Near(entry) => entry.take(),
            Reading::Plain(answer) => ready!(answer.poll(cx)).map(Entry::from_value)?,
            Reading::Aged(answer) => Some(ready!(answer.poll(cx)).map(Entry::from_aged)?),
            Reading::OrLease(answer, claim) => {
                let answer = ready!(answer.poll(cx));
                return Poll::Ready(Self::looked_up(answer, claim.take()));
            }
        };
        Poll::Ready(Ok(entry.map_or(Read::WithoutAge, Read::Entry)))
    }

    fn looked_up(answer: Result<Lookup>, claim: Option<Claim<'a>>) -> Result<Read<'a>> {
        let aged = match (answer, claim) {
            (Ok(Lookup::Leased), Some(claim)) => return Ok(Read::Leased(claim)),
            // A read is made again. The drop of the claim ends the lease that it may have been given.
            (Err(Error::OutcomeUnknown(_)), _) => return Ok(Read::Lost),
            (Err(error), _) => return Err(error),
            (Ok(lookup), claim) => {
                if let Some(claim) = claim {
                    claim.withdraw();
                }
                match lookup {
                    Lookup::Found(aged) => Some(aged),
                    Lookup::Leased | Lookup::Held => None,
                }
            }
        };
        Ok(Read::Entry(Entry::from_aged(aged)))
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
                State::Direct(outcome) => {
                    return outcome.poll(cx).map_err(told);
                }
                State::New => {
                    let Some(order) = &this.order else { return ended() };
                    let checked = order.options.check()?;
                    let key = this.key.clone()?;
                    let aged = this.aged || order.options.serving().needs_age();
                    let near = ready!(Reading::look_near(order.options.store(), &key, cx));
                    if let Some(reading) = near.or_else(|| Reading::begin(order, &mut this.call, &key, aged))
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
                    let is_near = matches!(reading, Reading::Near(_));
                    let (checked, read) = (*checked, ready!(reading.poll(cx)));
                    let Some(order) = &this.order else { return ended() };
                    let read = match read {
                        Ok(read) => read,
                        Err(error) => {
                            let (Some(order), Ok(key)) = (this.order.take(), this.key.clone()) else {
                                return ended();
                            };
                            let load = order.load_past_engine(checked, vec![key], error);
                            this.state = State::Slow(Box::pin(load));
                            continue;
                        }
                    };
                    let (store, serving) = (order.options.store(), order.options.serving());
                    let entry = match read {
                        Read::Entry(entry) => {
                            if !is_near {
                                store.inner.loads.note_read(!entry.is_absent());
                            }
                            Some(entry)
                        }
                        Read::Leased(claim) => {
                            store.inner.loads.note_read(false);
                            let Some(order) = this.order.take() else {
                                return ended();
                            };
                            match order.load_under(claim, checked) {
                                Ok(outcome) => {
                                    this.state = State::Direct(outcome);
                                    continue;
                                }
                                Err(order) => this.order = Some(*order),
                            }
                            Some(Entry::Absent)
                        }
                        Read::WithoutAge => {
                            store.inner.reads.look_again(1);
                            None
                        }
                        Read::Lost => None,
                    };
                    let found = entry.map(|entry| Found::judge(&entry, &serving, store.codec()));
                    let Ok(key) = &this.key else { return ended() };
                    let found = match found.map(|found| found.served(&store.inner.loads, key)) {
                        Some(Ok(loaded)) => {
                            this.order = None;
                            return Poll::Ready(Ok(loaded));
                        }
                        Some(Err(found)) => Some(found),
                        None => None,
                    };
                    let (Some(order), Ok(key)) = (this.order.take(), this.key.clone()) else {
                        return ended();
                    };
                    match found {
                        Some(found) => Box::pin(order.go_on(checked, key, found)),
                        None => Box::pin(order.read(checked, this.call.clone(), vec![key], true)),
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
