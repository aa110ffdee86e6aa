//! What a caller needs for a direct load: the claim on the lease that its read asks for, and the load itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::direct::{Denied, DirectLoads};
use super::flight::LoadId;
use super::work::{Answer, Failure, Fate, Made};
use super::{Handle, Landed, Notice, Shared, count};
use crate::error::Error;
use crate::key::Key;
use crate::meters::Meters;
use crate::request::{GetOrLease, Lease, LeaseAction, LeaseAnswer, LeaseTerms, Names, Write};
use crate::spans::LoadLink;

/// For so many reads after one that found nothing, the next are expected to find nothing too: a read that asks for the
/// lease costs more than a plain one, and far less than what it saves if there is no value.
const EXPECTED: u64 = 32;

impl Handle {
    /// Whether the next read that a load begins with had better ask for the lease too.
    pub(crate) fn expects_miss(&self) -> bool {
        self.shared.expected.load(Ordering::Relaxed) > 0
    }

    /// Takes note of what a read found that a load began with.
    pub(crate) fn note_read(&self, found: bool) {
        let expected = &self.shared.expected;
        if !found {
            expected.store(EXPECTED, Ordering::Relaxed);
        } else if let left @ 1.. = expected.load(Ordering::Relaxed) {
            expected.store(left - 1, Ordering::Relaxed);
        }
    }

    /// A claim on the lease of a key, and the request that asks for it. `None` if another call may have the lease
    /// already, or if the store has been closed: a plain read is better then.
    pub(crate) fn claim(
        &self,
        key: &Key,
        names: Names,
        has_context: bool,
        timeout: Duration,
        retry_after: Duration,
    ) -> Option<(Claim<'_>, GetOrLease)> {
        let direct = &self.shared.direct;
        let load = direct.number();
        let terms = Box::new(LeaseTerms {
            token: direct.token(load),
            names,
            ttl: timeout,
            late_names: has_context,
        });
        if !direct.ask(load, key, &terms, retry_after) {
            return None;
        }
        let claim = Claim {
            shared: &self.shared,
            load,
            key: key.clone(),
            open: true,
        };
        let key = key.clone();
        Some((claim, GetOrLease { key, terms }))
    }
}

/// A read's claim on a lease. If it is dropped before the answer is known, the lease is ended.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    shared: &'a Arc<Shared>,
    load: LoadId,
    key: Key,
    open: bool,
}

impl Claim<'_> {
    /// The read was not given the lease.
    pub(crate) fn withdraw(mut self) {
        self.open = false;
        self.shared.direct.withdraw(self.load, &self.key);
    }

    /// The read was given the lease: begins the load. `None` if the coordinator is to be asked for one.
    pub(crate) fn begin(mut self, names: Names, retry_after: Duration) -> Option<(Solo, Place)> {
        match self.shared.direct.begin(self.load, &self.key) {
            Ok(()) => self.open = false,
            // The drop of the claim ends the lease that it still has.
            Err(Denied::Full | Denied::Revoked) => return None,
        }
        count(&self.shared.counters.loads);
        let place = Place(self.shared.direct.clone());
        let solo = Solo {
            shared: self.shared.clone(),
            load: self.load,
            key: self.key.clone(),
            names,
            retry_after,
        };
        Some((solo, place))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Some(asked) = self.shared.direct.withdraw(self.load, &self.key) {
            self.shared.inbox.notify(Notice::Abandoned {
                load: self.load,
                key: asked.key,
                names: asked.names,
            });
        }
    }
}

/// The place of a direct load's caller among all who wait for loads.
#[derive(Debug)]
pub(crate) struct Place(Arc<DirectLoads>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A direct load that runs.
#[derive(Debug)]
pub(crate) struct Solo {
    shared: Arc<Shared>,
    load: LoadId,
    key: Key,
    names: Names,
    retry_after: Duration,
}

impl Solo {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The metrics of the store.
    pub(crate) fn meters(&self) -> &Meters {
        &self.shared.counters.meters
    }

    /// Lets calls that join the load link to its span.
    pub(crate) fn link(&self, link: LoadLink) {
        if !link.is_idle() {
            self.shared.direct.link(self.load, &self.key, link);
        }
    }

    /// Runs the load in a task of its own, on the runtime that the store was opened on.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(self, run: impl FnOnce(Self) -> F) {
        let shared = self.shared.clone();
        let (load, key) = (self.load, self.key.clone());
        let task: AbortHandle = shared.home.spawn(run(self)).abort_handle();
        shared.direct.attach(load, &key, task);
    }

    /// Stores what the loader made, while its lease lives and until `limit`. Returns what its caller is answered.
    ///
    /// The coordinator does all that is not usual: it knows who has joined, and what follows from a failure.
    pub(crate) async fn finish(self, made: Result<Made, Failure>, limit: Instant) -> Answer {
        let made = match made {
            Ok(made) if made.stored && !self.is_dead(&made) => made,
            made => return self.hand_over(made, None).await,
        };
        let write = Write {
            key: self.key.clone(),
            value: made.value.clone(),
            ttl: made.ttl,
            depends_on: made.depends_on(&self.names),
        };
        let token = self.shared.direct.token(self.load);
        let step = Box::new(LeaseAction::Fulfil { token, write });
        let answer = self.shared.engine.call_until(limit).ask(Lease { step }).await;
        let fate = match answer {
            Ok(LeaseAnswer::Stored(true)) => Fate::Stored,
            Ok(_) => Fate::Superseded,
            Err(error) => {
                let key = &self.key;
                tracing::debug!(?key, %error, "a loaded value could not be stored");
                return self.hand_over(Ok(made), Some(Fate::NotStored)).await;
            }
        };
        if fate == Fate::Superseded {
            count(&self.shared.counters.dead_leases);
            // Before the value is given out, the loads that may be made from it are marked.
            return self.hand_over(Ok(made), Some(fate)).await;
        }
        let direct = &self.shared.direct;
        if !direct.end(self.load, &self.key) {
            return self.hand_over(Ok(made), Some(fate)).await;
        }
        if direct.failed().may_have(&self.key) {
            self.shared.inbox.notify(Notice::Succeeded(self.key));
        }
        Answer::Loaded {
            made,
            fate,
            own: true,
        }
    }

    fn is_dead(&self, made: &Made) -> bool {
        self.shared
            .direct
            .is_dead(self.load, &self.key, made.has_late_names())
    }

    async fn hand_over(self, made: Result<Made, Failure>, fate: Option<Fate>) -> Answer {
        let (caller, answer) = oneshot::channel();
        self.shared.inbox.notify(Notice::Landed(Box::new(Landed {
            load: self.load,
            key: self.key,
            names: self.names,
            retry_after: self.retry_after,
            made,
            fate,
            caller,
        })));
        answer
            .await
            .unwrap_or(Answer::Failed(Failure::Store(Error::Closed)))
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use tokio::runtime;

    use super::super::coordinator::Bounds;
    use super::super::{Ends, Setup, channel};
    use super::*;
    use crate::actor::inbox::Received;
    use crate::actor::queue::{self, Stamp, request_queue};
    use crate::key::{KeyMaker, Namespace};

    const SECOND: Duration = Duration::from_secs(1);

    fn handle() -> (Handle, Ends) {
        let home = runtime::Handle::current();
        let bounds = queue::Bounds {
            length: 1,
            bytes: 1,
            patience: SECOND,
        };
        channel(Setup {
            length: 1,
            patience: SECOND,
            bounds: Bounds { loads: 9, callers: 9 },
            bypasses: 1,
            engine: request_queue(&bounds, Stamp::TimedWrites, &home).0,
            home,
            meters: Meters::default(),
        })
    }

    /// What a claim left behind would keep the later reads of its key from the lease.
    #[tokio::test]
    async fn a_claim_is_free_again_however_it_ends() {
        let (handle, mut ends) = handle();
        let key = KeyMaker::new(10, false).key(&Namespace::default(), "k").unwrap();
        let claim = || {
            let claimed = handle.claim(&key, Names::default(), false, SECOND, SECOND);
            claimed.map(|(claim, _)| claim)
        };
        let mut told = || ends.inbox.poll(&mut Context::from_waker(Waker::noop()));

        claim().unwrap().withdraw();
        assert!(told().is_pending(), "a lease that was not given is not ended");

        drop(claim().unwrap());
        let abandoned = told();
        assert!(
            matches!(
                &abandoned,
                Poll::Ready(Some(Received::Notice(Notice::Abandoned { .. })))
            ),
            "a lease that may have been given is ended"
        );

        let (_solo, place) = claim().unwrap().begin(Names::default(), SECOND).unwrap();
        assert!(told().is_pending(), "the lease of a load that runs is not ended");
        assert!(claim().is_none(), "and is not given twice");
        drop(place);
        assert_eq!(handle.shared.direct.waiting(), 0);
    }
}
