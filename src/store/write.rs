//! The builders of writes, awaited like calls.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::options::{Lifetime, Options};
use super::{IntoNames, Store, chunks};
use crate::actor::queue::Refused;
use crate::calls::CallName;
use crate::error::Result;
use crate::key::Key;
use crate::request::{self, Condition, Operation, Reply, Request, Write};
use crate::value::Value;

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The options of a write, the same on every builder of one.
macro_rules! write_options {
    ($builder:ident $(<$($generic:ident),+>)?) => {
        impl<'a $(, $($generic),+)?> $builder<'a $(, $($generic),+)?> {
            /// Sets how long the entry lives: over zero, at most 100 years, in whole milliseconds, rounded up. Default:
            /// `default_ttl`.
            pub fn ttl(mut self, ttl: Duration) -> Self {
                self.options.ttl = Lifetime::For(ttl);
                self
            }

            /// Makes the entry persistent: it lives until it is removed, and `default_ttl` does not apply.
            pub fn persistent(mut self) -> Self {
                self.options.ttl = Lifetime::Persistent;
                self
            }

            /// Makes the entry depend on other keys, one or many: [`invalidate`](crate::Store::invalidate) of any of
            /// them removes the entry.
            ///
            /// The other keys need not exist. Further calls add names. A write without `depends_on` clears the
            /// dependencies of the entry. On Redis, an invalidation of a former dependency may still remove the entry,
            /// once.
            pub fn depends_on<M>(mut self, names: impl IntoNames<M>) -> Self {
                self.options.depends_on(names);
                self
            }
        }
    };
}

pub(super) use write_options;

write_options!(Set);
write_options!(SetIf);
write_options!(SetMany);
write_options!(Swap);

/// A write of one entry: see [`Store::set`] and [`Store::set_model`].
#[derive(Debug)]
#[must_use = "a write does nothing until it is awaited"]
pub struct Set<'a> {
    options: Options<'a>,
    entry: Result<(Key, Value)>,
}

impl<'a> Set<'a> {
    pub(super) fn new(store: &'a Store, entry: Result<(Key, Value)>) -> Self {
        Self {
            options: Options::new(store),
            entry,
        }
    }

    fn checked(self) -> Result<(&'a Store, Write)> {
        let (key, value) = self.entry?;
        let (store, ttl, depends_on) = self.options.checked()?;
        store.check_size(&key, value.len(), &depends_on)?;
        Ok((
            store,
            Write {
                key,
                value,
                ttl,
                depends_on,
            },
        ))
    }
}

impl<'a> IntoFuture for Set<'a> {
    type Output = Result<()>;
    type IntoFuture = SetFuture<'a>;

    fn into_future(self) -> SetFuture<'a> {
        SetFuture(match self.checked() {
            Ok((store, write)) if store.profile().completes_when_queued => {
                State::New(store, request::Set { write }.into_request(Reply::Nobody))
            }
            Ok((store, write)) => {
                let set = request::Set { write };
                State::Waiting(Box::pin(async move { store.call(CallName::Set).ask(set).await }))
            }
            Err(error) => State::Ended(Err(error)),
        })
    }
}

/// The future of a [`Set`]. On the memory engine, it allocates only if it waits for room in the queue.
#[must_use = "futures do nothing unless awaited"]
pub struct SetFuture<'a>(State<'a>);

enum State<'a> {
    New(&'a Store, Request),
    Waiting(BoxFuture<'a, ()>),
    Ended(Result<()>),
}

impl Future for SetFuture<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let ended = || State::Ended(Err(crate::Error::Closed));
        match std::mem::replace(&mut self.0, ended()) {
            State::Ended(result) => Poll::Ready(result),
            State::New(store, request) => {
                let mut call = store.call(CallName::Set);
                match call.try_send(request) {
                    Ok(()) => Poll::Ready(call.end(Ok(()))),
                    Err(Refused::Closed) => Poll::Ready(call.end(Err(crate::Error::Closed))),
                    Err(refused @ Refused::Full(_)) => {
                        let waiting = async move {
                            let sent = call.send_refused(refused).await;
                            call.end(sent)
                        };
                        self.0 = State::Waiting(Box::pin(waiting));
                        self.poll(cx)
                    }
                }
            }
            State::Waiting(mut waiting) => {
                let polled = waiting.as_mut().poll(cx);
                if polled.is_pending() {
                    self.0 = State::Waiting(waiting);
                }
                polled
            }
        }
    }
}

impl fmt::Debug for SetFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetFuture")
    }
}

/// A write under a condition: see [`Store::add`], [`Store::replace`] and
/// [`Store::compare_and_set`].
#[derive(Debug)]
#[must_use = "a write does nothing until it is awaited"]
pub struct SetIf<'a> {
    options: Options<'a>,
    entry: Result<(Key, Value)>,
    condition: Condition,
}

impl<'a> SetIf<'a> {
    pub(super) fn new(store: &'a Store, entry: Result<(Key, Value)>, condition: Condition) -> Self {
        Self {
            options: Options::new(store),
            entry,
            condition,
        }
    }
}

impl<'a> IntoFuture for SetIf<'a> {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'a, bool>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            options,
            entry,
            condition,
        } = self;
        Box::pin(async move {
            let (store, write) = Set { options, entry }.checked()?;
            let write = Box::new(write);
            let name = match condition {
                Condition::Absent => CallName::Add,
                Condition::Present => CallName::Replace,
                Condition::Holds(_) => CallName::CompareAndSet,
            };
            store.call(name).ask(request::SetIf { write, condition }).await
        })
    }
}

/// A write that returns what the key held: see [`Store::swap`].
#[derive(Debug)]
#[must_use = "a write does nothing until it is awaited"]
pub struct Swap<'a> {
    options: Options<'a>,
    entry: Result<(Key, Value)>,
}

impl<'a> Swap<'a> {
    pub(super) fn new(store: &'a Store, entry: Result<(Key, Value)>) -> Self {
        Self {
            options: Options::new(store),
            entry,
        }
    }
}

impl<'a> IntoFuture for Swap<'a> {
    type Output = Result<Option<Bytes>>;
    type IntoFuture = BoxFuture<'a, Option<Bytes>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { options, entry } = self;
        Box::pin(async move {
            let (store, write) = Set { options, entry }.checked()?;
            let write = Box::new(write);
            let value = store.call(CallName::Swap).ask(request::Swap { write }).await?;
            Ok(value.map(Bytes::from))
        })
    }
}

/// A write of many entries: see [`Store::set_many`] and [`Store::set_models`].
#[derive(Debug)]
#[must_use = "a write does nothing until it is awaited"]
pub struct SetMany<'a> {
    options: Options<'a>,
    entries: Result<Vec<(Key, Value)>>,
}

impl<'a> SetMany<'a> {
    pub(super) fn new(store: &'a Store, entries: Result<Vec<(Key, Value)>>) -> Self {
        Self {
            options: Options::new(store),
            entries,
        }
    }
}

impl<'a> IntoFuture for SetMany<'a> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'a, ()>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let entries = self.entries?;
            let (store, ttl, depends_on) = self.options.checked()?;
            for (key, value) in &entries {
                store.check_size(key, value.len(), &depends_on)?;
            }
            let writes = entries.into_iter().map(|(key, value)| Write {
                key,
                value,
                ttl,
                depends_on: depends_on.clone(),
            });
            chunks::write(store, &mut store.call(CallName::SetMany), writes.collect()).await
        })
    }
}
