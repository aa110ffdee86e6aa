//! Loads past an engine that cannot be read: a few at once, and nothing of them is stored.
//!
//! Callers do not share them. Only the engine can tell whether a load began after the last change. So a caller that joined
//! one could get a value that is older than a change which was acknowledged before its call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::work::{AnyLoader, Failure, Made, ToLoad};
use super::{Handle, Notice, Shared, count};
use crate::actor::Guarded;
use crate::error::Error;
use crate::key::Key;
use crate::spans::Tie;

/// The right to run one loader past the engine.
#[derive(Debug)]
pub(crate) struct Bypass {
    shared: Arc<Shared>,
    /// Held until the loader has ended.
    place: OwnedSemaphorePermit,
}

impl Handle {
    /// A bypass, unless as many as may be are under way.
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        let place = self.shared.bypasses.clone().try_acquire_owned().ok()?;
        let shared = self.shared.clone();
        Some(Bypass { shared, place })
    }
}

/// Waits until no load that runs and depends on these keys will be stored: the engine knows nothing of these values, so an
/// invalidation of what they were made from would not reach what is being made from them.
async fn give_out(shared: &Shared, made: &[(Key, Made)]) {
    let keys = made.iter().map(|(key, _)| key.clone()).collect();
    let (noted, answer) = oneshot::channel();
    shared.inbox.notify(Notice::GivenOut { keys, noted });
    // A coordinator that has ended stores nothing.
    let _ = answer.await;
}

impl Bypass {
    /// Runs a loader in a task of its own, on the runtime that the store was opened on. It ends with the store.
    pub(crate) async fn run(
        self,
        loader: AnyLoader,
        keys: Vec<Key>,
        within: Duration,
    ) -> Result<Vec<(Key, Made)>, Failure> {
        let Self { shared, place } = self;
        let (sender, made) = oneshot::channel();
        let keys = keys.into_iter().map(|key| ToLoad { key, held: None }).collect();
        shared.clone().home.spawn(async move {
            count(&shared.counters.loads);
            let running = shared.counters.meters.load_begins();
            let span = loader.open_span(Tie::Awaited);
            let load = timeout(within, Guarded::new(loader.call(keys, None)));
            let load = async {
                tokio::select! {
                    made = load => match made {
                        Ok(made) => made.unwrap_or(Err(Failure::Panicked)),
                        Err(_) => Err(Failure::Timeout),
                    },
                    () = shared.engine.gone() => Err(Failure::Store(Error::Closed)),
                }
            };
            let made = span.over(load).await;
            running.end();
            match &made {
                Ok(made) => give_out(&shared, made).await,
                Err(_) => count(&shared.counters.failures),
            }
            // Before its caller is told, who may call again.
            drop(place);
            // The caller may have gone.
            let _ = sender.send(made);
        });
        made.await.unwrap_or(Err(Failure::Store(Error::Closed)))
    }
}
