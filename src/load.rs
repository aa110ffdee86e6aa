//! Loads: one loader for all callers of a key. A value is not stored if a source of it changed during the load. The
//! coordinator asks the engine through its queue.

mod bypass;
mod coordinator;
mod direct;
mod flight;
mod outcome;
mod policy;
mod refreshes;
mod solo;
mod sources;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

pub(crate) use self::coordinator::{Bounds, Coordinator, Start};
use self::direct::DirectLoads;
use self::flight::{CallerId, LoadId, Wanted};
pub use self::outcome::{LoadError, Loaded, Loading, Origin};
pub(crate) use self::policy::{Seen, Serving, Verdict, head, jittered};
use self::refreshes::Refreshes;
pub(crate) use self::solo::{Claim, Place, Solo};
pub(crate) use self::work::{
    Answer, AnyLoader, Failure, Fate, Form, HeldLeases, Made, SharedError, ToLoad, Work,
};
use crate::actor::inbox::{InboxReceiver, InboxSender, inbox};
use crate::actor::queue::QueueSender;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::meters::Meters;
use crate::request::Names;
use crate::stats::Stats;

/// A request to the coordinator.
struct Command {
    load: LoadId,
    wanted: Vec<Wanted>,
    /// The channels of the callers in `wanted` that wait, in their order.
    callers: Vec<oneshot::Sender<Answer>>,
    work: Work,
}

/// A notice to the coordinator. There is at most one for each caller that waits, and one for each direct load or read that
/// may become one.
enum Notice {
    /// A caller does not wait any more.
    Left {
        key: Key,
        caller: CallerId,
        /// The caller got a stale value, and the load goes on as if the caller still waited.
        load_goes_on: bool,
    },
    /// The caller of a read has gone, and the engine may have granted it the lease.
    Abandoned { load: LoadId, key: Key, names: Names },
    /// A direct load of a key has succeeded. The key may have failed before.
    Succeeded(Key),
    /// A direct load has ended, and there is more to do than to answer its caller.
    Landed(Box<Landed>),
    /// Values of these keys were loaded past the engine, and are given out as soon as `noted` is answered.
    GivenOut {
        keys: Vec<Key>,
        noted: oneshot::Sender<()>,
    },
}

/// A direct load that has ended.
struct Landed {
    load: LoadId,
    key: Key,
    names: Names,
    retry_after: Duration,
    made: std::result::Result<Made, Failure>,
    /// Whether the value was stored. `None` if the engine was not asked to store it.
    fate: Option<Fate>,
    caller: oneshot::Sender<Answer>,
}

/// The counters of loads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    loads: AtomicU64,
    joins: AtomicU64,
    stale: AtomicU64,
    failures: AtomicU64,
    dead_leases: AtomicU64,
    unreadable: AtomicU64,
    meters: Meters,
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

    /// A caller got the value of another caller's loader.
    pub(crate) fn joined(&self) {
        count(&self.joins);
    }

    /// A caller got a stale value.
    pub(crate) fn served_stale(&self) {
        count(&self.stale);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A handle to the coordinator: a part of every handle of a store.
#[derive(Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

/// The state that the handles of a store share with its direct loads.
struct Shared {
    inbox: InboxSender<Command, Notice>,
    engine: QueueSender,
    /// The runtime that the store was opened on.
    home: runtime::Handle,
    direct: Arc<DirectLoads>,
    refreshes: Arc<Refreshes>,
    /// The places for loads past an engine that cannot be read.
    bypasses: Arc<Semaphore>,
    /// How many of the next reads are expected to find nothing.
    expected: AtomicU64,
    counters: Arc<Counters>,
}

/// The coordinator's end of its handles.
#[derive(Debug)]
pub(crate) struct Ends {
    inbox: InboxReceiver<Command, Notice>,
    direct: Arc<DirectLoads>,
    counters: Arc<Counters>,
    patience: Duration,
}

/// The arguments for a handle and its end.
pub(crate) struct Setup {
    /// The most commands that wait, and for how long each.
    pub(crate) length: usize,
    pub(crate) patience: Duration,
    pub(crate) bounds: Bounds,
    /// The most loads at once past an engine that cannot be read.
    pub(crate) bypasses: usize,
    pub(crate) engine: QueueSender,
    pub(crate) home: runtime::Handle,
    pub(crate) meters: Meters,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// A handle and its end.
pub(crate) fn channel(setup: Setup) -> (Handle, Ends) {
    let (sender, receiver) = inbox(setup.length, setup.patience);
    let counters = Arc::new(Counters {
        meters: setup.meters,
        ..Counters::default()
    });
    let direct = Arc::new(DirectLoads::new(setup.bounds));
    let shared = Arc::new(Shared {
        inbox: sender,
        engine: setup.engine,
        home: setup.home,
        direct: direct.clone(),
        refreshes: Refreshes::new(),
        bypasses: Arc::new(Semaphore::new(setup.bypasses)),
        // A new store is empty.
        expected: AtomicU64::new(1),
        counters: counters.clone(),
    });
    let ends = Ends {
        inbox: receiver,
        direct,
        counters,
        patience: setup.patience,
    };
    (Handle { shared }, ends)
}

impl Handle {
    /// The counters of loads.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    fn number(&self) -> u64 {
        self.shared.direct.number()
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
                mark: None,
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
        wanted.extend(self.idle(refreshed, retry_after));
        let command = self.command(wanted, callers, work);
        let line_up = || waiting.iter_mut().for_each(|waiting| waiting.in_line = true);
        self.shared.inbox.call(command, line_up).await?;
        Ok(waiting)
    }

    /// Whether a refresh of the key is under way.
    pub(crate) fn is_refreshing(&self, key: &Key) -> bool {
        self.shared.refreshes.contains(key)
    }

    /// Asks for a load of `keys`, for which nobody waits. If there is no room for it now, another caller
    /// will ask.
    pub(crate) fn refresh(&self, keys: impl IntoIterator<Item = (Key, Seen)>, work: Work) {
        let wanted: Vec<Wanted> = self.idle(keys, work.retry_after).collect();
        if !wanted.is_empty() {
            drop(self.shared.inbox.try_call(self.command(wanted, Vec::new(), work)));
        }
    }

    /// Requests to refresh those keys that are not being refreshed yet.
    fn idle(
        &self,
        keys: impl IntoIterator<Item = (Key, Seen)>,
        retry_after: Duration,
    ) -> impl Iterator<Item = Wanted> {
        let marked = move |(key, seen): (Key, Seen)| {
            let mark = self.shared.refreshes.mark(&key)?;
            Some(Wanted {
                key,
                caller: None,
                seen,
                patience: Some(retry_after),
                mark: Some(mark),
            })
        };
        keys.into_iter().filter_map(marked)
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

    /// Lets the load go on as if the caller still waited. The caller got a stale value. Other callers with a stale value need
    /// not wait for the load.
    pub(crate) fn let_go(mut self) {
        if std::mem::take(&mut self.in_line) {
            self.leave(true);
        }
    }

    fn leave(&self, load_goes_on: bool) {
        self.handle.shared.inbox.notify(Notice::Left {
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
