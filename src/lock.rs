//! Locks: who waits, who holds, and for how long. On Redis the scheduler asks the engine through its queue. The locks of
//! a memory store are in a table of the scheduler's own, and its engine is not asked.

mod backend;
mod guard;
mod hold;
mod name;
mod queue;
mod releases;
mod scheduler;
mod table;
mod tokens;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kameo::actor::Recipient;
use kameo::error::SendError;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::guard::{LockGuard, LockInfo, LockLost, LockOutcome, Release};
#[cfg(feature = "testing")]
pub(crate) use self::name::Name;
pub(crate) use self::queue::Bounds;
pub(crate) use self::scheduler::{Scheduler, Start};
#[cfg(feature = "testing")]
pub(crate) use self::table::Table as LockTable;
use crate::actor::inbox::{InboxReceiver, InboxSender, Refused, inbox};
use crate::actor::queue::EngineFailed;
use crate::calls::{Answered, CallName};
use crate::error::{Cause, Error, Phase, Result};
use crate::key::Key;
use crate::request::{Effect, LockAction, LockAnswer};
use crate::secret::Secret;
use crate::spans::{OpenSpan, Spans};
use crate::watch::Watch;

/// Keeps the actors of a store alive while it is held.
pub(crate) type Keep = Arc<dyn Any + Send + Sync>;

/// A request for a lock.
pub(crate) struct Wish {
    pub(crate) key: Key,
    /// How many bytes of the key are its namespace.
    pub(crate) prefix: usize,
    /// In whole milliseconds.
    pub(crate) ttl: Duration,
    /// Until when to wait; `None` asks once.
    pub(crate) until: Option<Instant>,
    pub(crate) secret: Secret,
    /// The caller chose the secret, so that it may hold the lock already.
    pub(crate) own_secret: bool,
    /// The caller wants only the secret, and no guard that releases the lock.
    pub(crate) by_secret: bool,
    /// How long to renew it at most.
    pub(crate) renew: Option<Duration>,
    pub(crate) keep: Keep,
}

/// The key as its caller gave it: without the `prefix` bytes of its namespace.
pub(crate) fn own_part(key: &Key, prefix: usize) -> &str {
    key.as_str().get(prefix..).unwrap_or_default()
}

/// Where a grant goes.
enum Sink {
    Caller(oneshot::Sender<Result<LockGuard>>),
    Actor {
        recipient: Recipient<LockOutcome>,
        key: String,
        /// The runtime of the store: the caller may have none.
        home: runtime::Handle,
        /// The span of the call, until the actor is told.
        span: Option<OpenSpan>,
    },
}

/// A request to the scheduler.
enum Command {
    Lock {
        id: u64,
        wish: Box<Wish>,
        sink: Sink,
        handle: Handle,
    },
    /// A new TTL for a hold.
    Extend {
        id: u64,
        ttl: Duration,
        reply: oneshot::Sender<Result<()>>,
    },
    /// A step of a call by secret, without a guard.
    Step {
        key: Key,
        action: LockAction,
        reply: oneshot::Sender<Result<LockAnswer>>,
    },
    #[cfg(test)]
    Panic,
}

/// A notice to the scheduler: at most one from each waiter, and one from each guard.
enum Notice {
    /// The caller of a wish has gone.
    Left(u64),
    /// A guard was dropped, or released by a caller who waits for the answer.
    Released(u64, Option<oneshot::Sender<Result<Release>>>),
    /// A guard's secret was handed out, and the guard ended without a release.
    Forgotten(u64),
}

/// A handle to the scheduler: a part of every handle of a store and of every guard.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Door>);

struct Door {
    inbox: InboxSender<Command, Notice>,
    /// Numbers of waiters; a guard keeps that of the waiter it was granted to.
    numbers: AtomicU64,
    /// The runtime that the store was opened on.
    home: runtime::Handle,
    spans: Spans,
}

/// The scheduler's end of its handles.
#[derive(Debug)]
pub(crate) struct Ends {
    inbox: InboxReceiver<Command, Notice>,
    patience: Duration,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// Returns a handle and its end, which will be on the runtime `home`. At most `length` commands wait, each for at most
/// `patience`.
pub(crate) fn channel(
    length: usize,
    patience: Duration,
    home: runtime::Handle,
    spans: Spans,
) -> (Handle, Ends) {
    let (sender, receiver) = inbox(length, patience);
    let door = Door {
        inbox: sender,
        numbers: AtomicU64::new(0),
        home,
        spans,
    };
    let handle = Handle(Arc::new(door));
    let ends = Ends {
        inbox: receiver,
        patience,
    };
    (handle, ends)
}

impl Handle {
    fn home(&self) -> runtime::Handle {
        self.0.home.clone()
    }

    fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for a lock. Dropping the future at any time leaves no request behind.
    pub(crate) async fn lock(&self, wish: Wish) -> Result<LockGuard> {
        let (sender, receiver) = oneshot::channel();
        let id = self.number();
        let handle = self.clone();
        let command = Command::Lock {
            id,
            wish: Box::new(wish),
            sink: Sink::Caller(sender),
            handle,
        };
        let mut place = PlaceInLine {
            handle: self,
            id: None,
        };
        self.0.inbox.call(command, || place.id = Some(id)).await?;
        let granted = receiver.await;
        place.id = None;
        granted.unwrap_or(Err(Error::Closed))
    }

    /// Asks for a lock on behalf of an actor, which is told.
    pub(crate) fn lock_for(&self, wish: Wish, key: String, recipient: Recipient<LockOutcome>) {
        let command = Command::Lock {
            id: self.number(),
            wish: Box::new(wish),
            sink: self.sink(key, recipient, self.0.spans.begin(CallName::Lock)),
            handle: self.clone(),
        };
        let (error, command) = match self.0.inbox.try_call(command) {
            Ok(()) => return,
            Err(Refused::Closed(command)) => (Error::Closed, command),
            Err(Refused::Full(command)) => (Error::Timeout { phase: Phase::Queue }, command),
        };
        if let Command::Lock { sink, .. } = command {
            let _ = sink.send(Err(error));
        }
    }

    /// Tells an actor that its request was refused.
    pub(crate) fn refuse(&self, error: Error, key: String, recipient: Recipient<LockOutcome>) {
        drop(self.sink(key, recipient, None).send(Err(error)));
    }

    fn sink(&self, key: String, recipient: Recipient<LockOutcome>, span: Option<OpenSpan>) -> Sink {
        Sink::Actor {
            recipient,
            key,
            home: self.home(),
            span,
        }
    }

    /// Sees a call of a guard. Metrics do not count it.
    fn watch(&self, name: CallName) -> Watch<'_> {
        Watch::new(None, &self.0.spans, name)
    }

    /// One step by secret.
    pub(crate) async fn step(&self, key: Key, action: LockAction) -> Result<LockAnswer> {
        let changes = action.effect() != Effect::Question;
        self.ask(changes, |reply| Command::Step { key, action, reply })
            .await
    }

    async fn extend(&self, id: u64, ttl: Duration) -> Result<()> {
        self.ask(true, |reply| Command::Extend { id, ttl, reply }).await
    }

    async fn ask<T>(
        &self,
        changes: bool,
        make: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.inbox.call(make(sender), || {}).await?;
        match receiver.await {
            Ok(answer) => answer,
            Err(_) if changes && !self.0.inbox.is_closed() => Err(Error::OutcomeUnknown(failed())),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Without a scheduler nobody is told: the lock ends with its TTL.
    fn notify(&self, notice: Notice) {
        self.0.inbox.notify(notice);
    }
}

/// A place in a line, left when the caller goes.
struct PlaceInLine<'a> {
    handle: &'a Handle,
    id: Option<u64>,
}

impl Drop for PlaceInLine<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.handle.notify(Notice::Left(id));
        }
    }
}

impl Sink {
    fn is_closed(&self) -> bool {
        match self {
            Sink::Caller(caller) => caller.is_closed(),
            Sink::Actor { recipient, .. } => !recipient.is_alive(),
        }
    }

    /// Answers the caller. Returns the guard if nobody takes it.
    fn send(self, granted: Result<LockGuard>) -> Option<LockGuard> {
        match self {
            Sink::Caller(caller) => caller.send(granted).err()?.ok(),
            Sink::Actor {
                recipient,
                key,
                home,
                span,
            } => {
                let outcome = granted.outcome();
                if let Some(span) = span {
                    span.end(outcome);
                }
                match recipient.tell(LockOutcome { key, result: granted }).try_send() {
                    Ok(()) => None,
                    Err(SendError::MailboxFull(outcome)) => {
                        // A task waits for room in the actor's mailbox, until the actor ends.
                        home.spawn(async move { drop(recipient.tell(outcome).await) });
                        None
                    }
                    Err(SendError::ActorNotRunning(outcome)) => outcome.result.ok(),
                    // Nothing comes back: if a guard was sent, its drop tells the scheduler.
                    Err(_) => None,
                }
            }
        }
    }
}

fn failed() -> Cause {
    Cause::new(EngineFailed)
}
