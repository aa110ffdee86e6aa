//! A direct load: one that its caller begins with the lease that its first read was given.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::super::One;
use super::answers::{origin_of, times_of};
use super::found::Times;
use super::loader::{Loader, Model, loaded_by};
use super::order::Order;
use super::plan::Checked;
use crate::actor::{Guarded, contained};
use crate::error::Error;
use crate::key::Key;
use crate::load::{Answer, Claim, Failure, Loaded, Made, Place, Solo};
use crate::request::{GetOrLease, Names};
use crate::spans::{Cause, LoadSpan, Tie};
use crate::ttl::whole_millis;

/// What a direct load gives its caller. The loader runs on if this is dropped.
pub(super) struct Outcome<T> {
    told: oneshot::Receiver<Result<Loaded<T>, Failure>>,
    _place: Place,
}

impl<T> Outcome<T> {
    /// The outcome. [`Error::Closed`] if the store has been closed, or its runtime has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Loaded<T>, Failure>> {
        let told = ready!(Pin::new(&mut self.told).poll(cx));
        Poll::Ready(told.unwrap_or(Err(Failure::Store(Error::Closed))))
    }
}

impl<'a, T: Model, L> Order<'a, T, L> {
    /// A claim on the lease of the key, and the request that reads the key or takes the lease. `None` if a plain read is
    /// better.
    pub(super) fn claim<E>(&self, key: &Key) -> Option<(Claim<'a>, GetOrLease)>
    where
        L: Loader<One, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let loads = &self.options.store().inner.loads;
        if !loads.expects_miss() {
            return None;
        }
        let shared = &self.options.shared;
        loads.claim(
            key,
            self.options.write.to_names(),
            L::HAS_CONTEXTS,
            whole_millis(shared.timeout),
            shared.retry_after,
        )
    }

    /// Begins the load under the lease that the read was given. Gives the order back if the coordinator is to be asked.
    pub(super) fn load_under<E>(
        self,
        claim: Claim<'_>,
        checked: Checked,
        cause: Cause,
    ) -> Result<Outcome<T>, Box<Self>>
    where
        L: Loader<One, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let names: Names = self.options.write.to_names();
        let Some((solo, place)) = claim.begin(names, self.options.shared.retry_after) else {
            return Err(Box::new(self));
        };
        let within = whole_millis(self.options.shared.timeout);
        let plan = self.options.plan(checked);
        let (seal, describe) = (plan.seal(), plan.describe);
        let (sender, receiver) = oneshot::channel();
        let (loader, span) = (self.loader, cause.open(Tie::Awaited));
        solo.link(span.link());
        let key = solo.key().clone();
        // Others need no name for their one key.
        let name = L::HAS_CONTEXTS.then(|| self.names.of(&key).to_owned());
        let load = async move {
            let began = Instant::now();
            let fetched = loaded_by(loader, name, describe).await?;
            seal.seal(&key, fetched, began.elapsed())
        };
        // Made here, so that the task's future is moved as few times as can be.
        let load = Guarded::new(load);
        solo.spawn(|solo| run(solo, span, load, within, sender));
        Ok(Outcome {
            told: receiver,
            _place: place,
        })
    }
}

/// Runs a load, and tells its caller what came of it.
async fn run<T: Model, F>(
    solo: Solo,
    span: LoadSpan,
    load: Guarded<F>,
    within: Duration,
    caller: oneshot::Sender<Result<Loaded<T>, Failure>>,
) where
    F: Future<Output = Result<(Made, T), Failure>>,
{
    let limit = Instant::now() + within;
    let running = solo.meters().load_begins();
    let load = async {
        match timeout_at(limit, load).await {
            Ok(ended) => ended.unwrap_or(Err(Failure::Panicked)),
            Err(_) => Err(Failure::Timeout),
        }
    };
    let ended = span.over(load).await;
    running.end();
    let (made, value) = match ended {
        Ok((made, value)) => (Ok(made), Some(value)),
        Err(failure) => (Err(failure), None),
    };
    let told = match (solo.finish(made, limit).await, value) {
        (Answer::Loaded { made, fate, .. }, Some(value)) => {
            let times: Times = times_of(&made, fate);
            Ok(times.of(value, origin_of(fate, true)))
        }
        (Answer::Failed(failure), _) => Err(failure),
        // No other answer is given to the caller of a load.
        _ => Err(Failure::Store(Error::Closed)),
    };
    // The caller may have gone, and the drop of a value is the user's code.
    contained(|| drop(caller.send(told)));
}
