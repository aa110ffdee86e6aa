//! Loads: one loader for all who want a key, and nothing stored that has changed meanwhile. The engine is
//! asked through its queue, whichever it is.

mod coordinator;
mod flight;
mod outcome;
mod policy;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use self::coordinator::{Bounds, Coordinator, Start};
use self::flight::{CallerId, LoadId, Wanted};
pub use self::outcome::{LoadError, Loaded, Origin};
pub(crate) use self::policy::{Seen, Serving, Verdict, head, jittered};
pub(crate) use self::work::{Answer, AnyLoader, Failure, Fate, Form, Made, SharedError, Work};
use crate::actor::inbox::{InboxReceiver, InboxSender, inbox};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::stats::Stats;

/// What the coordinator is asked.
struct Command {
    load: LoadId,
    wanted: Vec<Wanted>,
    /// Where the answers go to those of `wanted` who wait, in their order.
    callers: Vec<oneshot::Sender<Answer>>,
    work: Work,
}

/// A caller who does not wait any more. At most one for each.
struct Left {
    key: Key,
    caller: CallerId,
    /// The caller was given something stale, and the load goes on as if the caller still waited.
    load_goes_on: bool,
}

/// What is counted about loads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    loads: AtomicU64,
    joins: AtomicU64,
    stale: AtomicU64,
    failures: AtomicU64,
    dead_leases: AtomicU64,
    unreadable: AtomicU64,
}

impl Counters {
    /// Writes them into a store's statistics.
    pub(crate) fn report(&self, stats: &mut Stats) {
        stats.loads = self.loads.load(Ordering::Relaxed);
        stats.load_joins = self.joins.load(Ordering::Relaxed);
        stats.load_failures = self.failures.load(Ordering::Relaxed);
        stats.stale_answers = self.stale.load(Ordering::Relaxed);
        stats.dead_leases = self.dead_leases.load(Ordering::Relaxed);
        stats.unreadable_values = self.unreadable.load(Ordering::Relaxed);
    }

    /// A caller was given what another's loader had stored.
    pub(crate) fn joined(&self) {
        count(&self.joins);
    }

    /// A caller was given a stale value.
    pub(crate) fn served_stale(&self) {
        count(&self.stale);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What talks to the coordinator: part of every handle of a store.
#[derive(Clone)]
pub(crate) struct Handle {
    inbox: InboxSender<Command, Left>,
    numbers: Arc<AtomicU64>,
    pub(crate) counters: Arc<Counters>,
}

/// The coordinator's end of what its handles hold.
#[derive(Debug)]
pub(crate) struct Ends {
    inbox: InboxReceiver<Command, Left>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// A handle and its end: at most `length` commands wait, each for `patience` at most.
pub(crate) fn channel(length: usize, patience: Duration) -> (Handle, Ends) {
    let (sender, receiver) = inbox(length, patience);
    let counters = Arc::new(Counters::default());
    let handle = Handle {
        inbox: sender,
        numbers: Arc::new(AtomicU64::new(0)),
        counters: counters.clone(),
    };
    let ends = Ends {
        inbox: receiver,
        counters,
    };
    (handle, ends)
}

impl Handle {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks for a load of `keys`, for each of which the caller waits, in their order.
    pub(crate) async fn load(
        &self,
        keys: impl IntoIterator<Item = Wish>,
        refreshed: impl IntoIterator<Item = (Key, Seen)>,
        work: Work,
    ) -> Result<Vec<Waiting<'_>>> {
        let mut waiting = Vec::new();
        let mut callers = Vec::new();
        let mut wanted = Vec::new();
        let retry_after = work.retry_after;
        for Wish {
            key,
            seen,
            has_candidate,
        } in keys
        {
            let (sender, answer) = oneshot::channel();
            let caller = self.number();
            wanted.push(Wanted {
                key: key.clone(),
                caller: Some(caller),
                seen,
                patience: has_candidate.then_some(retry_after),
            });
            callers.push(sender);
            waiting.push(Waiting {
                handle: self,
                key,
                caller,
                in_line: false,
                answer,
            });
        }
        wanted.extend(refreshed.into_iter().map(|key| idle(key, retry_after)));
        let command = self.command(wanted, callers, work);
        let line_up = || waiting.iter_mut().for_each(|waiting| waiting.in_line = true);
        self.inbox.call(command, line_up).await?;
        Ok(waiting)
    }

    /// Asks for a load of `keys`, for which nobody waits. If there is no room for it now, another caller
    /// will ask.
    pub(crate) fn refresh(&self, keys: impl IntoIterator<Item = (Key, Seen)>, work: Work) {
        let retry_after = work.retry_after;
        let wanted = keys.into_iter().map(|key| idle(key, retry_after)).collect();
        drop(self.inbox.try_call(self.command(wanted, Vec::new(), work)));
    }

    fn command(&self, wanted: Vec<Wanted>, callers: Vec<oneshot::Sender<Answer>>, work: Work) -> Command {
        Command {
            load: self.number(),
            wanted,
            callers,
            work,
        }
    }
}

fn idle((key, seen): (Key, Seen), retry_after: Duration) -> Wanted {
    Wanted {
        key,
        caller: None,
        seen,
        patience: Some(retry_after),
    }
}

/// A key that a caller waits for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) seen: Seen,
    /// Whether the caller has something stale to serve if no load succeeds.
    pub(crate) has_candidate: bool,
}

/// A caller's place in the line for a key, left when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    handle: &'a Handle,
    key: Key,
    caller: CallerId,
    /// The coordinator has been asked, and waits for this caller to be answered or to leave.
    in_line: bool,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting<'_> {
    /// Waits for the answer.
    ///
    /// Cancel safe: it can be waited for again.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = (&mut self.answer).await;
        self.in_line = false;
        answer.unwrap_or(Answer::Failed(Failure::Store(Error::Closed)))
    }

    /// Lets the load go on as if the caller still waited, who has been given something stale. Others who have
    /// something stale need not wait for the same load.
    pub(crate) fn let_go(mut self) {
        if std::mem::take(&mut self.in_line) {
            self.leave(true);
        }
    }

    fn leave(&self, load_goes_on: bool) {
        self.handle.inbox.notify(Left {
            key: self.key.clone(),
            caller: self.caller,
            load_goes_on,
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.in_line {
            self.leave(false);
        }
    }
}
