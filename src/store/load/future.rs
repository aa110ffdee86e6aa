//! The future of a load of one key. A hit costs no allocation.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

use super::super::entry::Entry;
use super::super::{One, Store};
use super::answers::{Values, told};
use super::direct::Outcome;
use super::loader::{Loader, Model};
use super::order::Order;
use super::plan::Checked;
use crate::actor::queue::{Answer, Call};
use crate::calls::CallName;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::load::{Claim, LoadError, Loaded};
use crate::request::{self, Aged, Lookup};
use crate::value::Value;

/// The future of a [`Load`](crate::Load).
#[must_use = "futures do nothing unless awaited"]
pub struct LoadFuture<'a, T, E, F>(LoadedFuture<'a, T, E, F>);

impl<'a, T, E, F> LoadFuture<'a, T, E, F> {
    #[inline]
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
    /// The key is read as a part of this call: at first and, if need be, once more. `None` while nothing is asked, and
    /// once another future has the call.
    call: Option<Call<'a>>,
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

/// A request that reads the key. Its answer is on its way.
enum Reading<'a> {
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
    /// Sends the request that reads the key. `None` if that has to wait for room, or needs a timer.
    fn begin<T: Model, E: Send + Sync + 'static, F: Loader<One, Value = T, Error = E>>(
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

/// Looks into the near cache. A hit uses up budget of the task; when that is used up, this is pending.
fn look_near(store: &Store, key: &Key, cx: &mut Context<'_>) -> Poll<Option<Entry>> {
    let budget = ready!(poll_proceed(cx));
    let entry = store.look_near(key);
    if entry.is_some() {
        budget.made_progress();
    }
    Poll::Ready(entry)
}

impl<'a, T, E, F> LoadedFuture<'a, T, E, F> {
    #[inline]
    pub(super) fn new(order: Order<'a, T, F>, key: Result<Key>, aged: bool) -> Self {
        Self {
            order: Some(order),
            key,
            call: None,
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
    /// Answers with what the key holds. If that does not serve, returns `None` and goes on as a call for many does.
    fn serve(&mut self, checked: Checked, entry: &Entry) -> Result<Option<Loaded<T>>> {
        let (order, key) = asked(&self.order, &self.key)?;
        match order.serve(key, entry) {
            Ok(loaded) => {
                self.order = None;
                Ok(Some(loaded))
            }
            Err(found) => {
                let key = key.clone();
                let order = self.order.take().ok_or(Error::Closed)?;
                let store = order.options.store();
                let call = self.call.get_or_insert_with(|| store.call(CallName::GetOrLoad));
                call.go_on();
                let cause = store.cause(call);
                self.state = State::Slow(Box::pin(order.go_on(checked, cause, key, found)));
                Ok(None)
            }
        }
    }

    /// Reads the key, waiting for room if need be, and goes on as a call for many does.
    fn read(&mut self, checked: Checked, aged: bool) -> Result<()> {
        let key = self.key.clone()?;
        let order = self.order.take().ok_or(Error::Closed)?;
        let call = self.call.take();
        let call = call.unwrap_or_else(|| order.options.store().call(CallName::GetOrLoad));
        let read = order.read(checked, call, vec![key], aged);
        self.state = State::Slow(Box::pin(read));
        Ok(())
    }

    /// Goes on without the engine, which could not be read, as a call for many does.
    fn load_past_engine(&mut self, checked: Checked, error: Error) -> Result<()> {
        let key = self.key.clone()?;
        let order = self.order.take().ok_or(Error::Closed)?;
        let cause = order.options.store().cause_of(self.call.as_ref());
        let load = order.load_past_engine(checked, cause, vec![key], error);
        self.state = State::Slow(Box::pin(load));
        Ok(())
    }

    /// Goes on with the answer to a read.
    fn go_on(&mut self, checked: Checked, read: Read<'_>) -> Result<Option<Loaded<T>>> {
        let (order, _) = asked(&self.order, &self.key)?;
        let store = order.options.store();
        match read {
            Read::Entry(entry) => {
                store.inner.loads.note_read(!entry.is_absent());
                self.serve(checked, &entry)
            }
            Read::Leased(claim) => {
                store.inner.loads.note_read(false);
                let order = self.order.take().ok_or(Error::Closed)?;
                let cause = store.cause_of(self.call.as_ref());
                match order.load_under(claim, checked, cause) {
                    Ok(outcome) => {
                        self.state = State::Direct(outcome);
                        Ok(None)
                    }
                    Err(order) => {
                        self.order = Some(*order);
                        self.serve(checked, &Entry::Absent)
                    }
                }
            }
            Read::WithoutAge => {
                store.inner.reads.look_again(1);
                self.read(checked, true).map(|()| None)
            }
            Read::Lost => self.read(checked, true).map(|()| None),
        }
    }

    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<Result<Loaded<T>, LoadError<E>>> {
        loop {
            let loaded = match &mut self.state {
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
                    let Some(order) = &self.order else {
                        return Poll::Ready(Err(Error::Closed.into()));
                    };
                    let checked = order.options.check()?;
                    let (order, key) = asked(&self.order, &self.key)?;
                    let near = ready!(look_near(order.options.store(), key, cx));
                    if let Some(entry) = near {
                        self.serve(checked, &entry)?
                    } else {
                        let aged = self.aged || order.options.serving().needs_age();
                        let call = self.call.insert(order.options.store().call(CallName::GetOrLoad));
                        match Reading::begin(order, call, key, aged) {
                            Some(reading) => self.state = State::Reading(checked, reading),
                            None => self.read(checked, self.aged)?,
                        }
                        None
                    }
                }
                State::Reading(checked, reading) => {
                    let (checked, read) = (*checked, ready!(reading.poll(cx)));
                    match read {
                        Ok(read) => self.go_on(checked, read)?,
                        Err(error) => {
                            self.load_past_engine(checked, error)?;
                            None
                        }
                    }
                }
            };
            if let Some(loaded) = loaded {
                return Poll::Ready(Ok(loaded));
            }
        }
    }
}

/// What was asked for, or why it is refused. A future that has ended answers [`Error::Closed`].
fn asked<'f, O>(order: &'f Option<O>, key: &'f Result<Key>) -> Result<(&'f O, &'f Key)> {
    match (order, key) {
        (Some(order), Ok(key)) => Ok((order, key)),
        (_, Err(error)) => Err(error.clone()),
        (None, _) => Err(Error::Closed),
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
        let loaded = ready!(this.poll_load(cx));
        Poll::Ready(match this.call.take() {
            Some(mut call) => call.end(loaded),
            None => loaded,
        })
    }
}

impl<T, E, F> fmt::Debug for LoadFuture<'_, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadFuture")
    }
}
