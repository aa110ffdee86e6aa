//! A request that waits for room, and its way into the queue.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{QueueSender, Queued, Room, until};
use crate::error::{Error, Phase, Result};

impl QueueSender {
    /// Waits for room until `limit`, then puts a request into the queue that had none.
    ///
    /// Requests enter in the order in which their callers polled first. One exception: a request without weight does not
    /// wait for room in bytes, and overtakes requests that do.
    ///
    /// Cancel safe: once this has ended or was dropped, the request is in the queue, or never will be. It may be in
    /// the queue before this is ready.
    ///
    /// A task of the engine's runtime waits. Room that becomes free goes to the one who has waited longest, and a
    /// caller's future may be held without being polled: it would keep the room from all others.
    pub(super) async fn wait_and_send(&self, queued: Queued, limit: Instant) -> Result<()> {
        let weight = queued.request.weight();
        let waiting = Waiting::new(queued);
        let caller = Caller(waiting.clone());
        let mut enter = Box::pin(self.clone().enter(waiting, weight));
        // The first poll lines the request up. It is made here, because the tasks of two calls may run in any order.
        if let Poll::Ready(entered) = poll_once(enter.as_mut()).await {
            return entered;
        }
        // The set ends its task when it is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(enter, &self.runtime);
        let entered = async {
            match task.join_next().await {
                Some(Ok(entered)) => entered,
                // The task was stopped with its runtime.
                Some(Err(_)) | None => Err(Error::Closed),
            }
        };
        match until(limit, Phase::Queue, entered).await {
            // It entered at the last moment.
            Err(Error::Timeout { .. }) if !caller.withdraw() => Ok(()),
            entered => entered,
        }
    }

    /// Puts a request into the queue that waits for room, unless its caller withdraws it.
    async fn enter(self, waiting: Waiting, weight: usize) -> Result<()> {
        let (turn, room) = if weight > 0 {
            let turn = self.turn.acquire().await.map_err(|_| Error::Closed)?;
            let room = self.room.clone().acquire_many_owned(self.permits(weight));
            (Some(turn), Some(room.await.map_err(|_| Error::Closed)?))
        } else {
            (None, None)
        };
        let mut place = pin!(self.sender.reserve());
        let polled = poll_once(place.as_mut()).await;
        // The request is in line for a place: the next one that waits for bytes comes after it.
        drop(turn);
        let place = match polled {
            Poll::Ready(place) => place,
            Poll::Pending => place.await,
        };
        waiting.enter(&self, room, place.map_err(|_| Error::Closed)?);
        Ok(())
    }
}

/// A request that waits for room. Its caller and the task that waits share it: the first to take it decides what becomes
/// of it.
#[derive(Clone, Debug)]
struct Waiting(Arc<Mutex<Option<Queued>>>);

impl Waiting {
    /// A request that waits for a place must not hold room in bytes that a request before it may wait for.
    fn new(queued: Queued) -> Self {
        let room = None;
        Self(Arc::new(Mutex::new(Some(Queued { room, ..queued }))))
    }

    /// Puts the request into the queue of `sender`, unless it was withdrawn.
    fn enter(&self, sender: &QueueSender, room: Option<Room>, place: mpsc::Permit<'_, Queued>) {
        // Held until the request is in the queue and its gate is closed, so that a caller who cannot withdraw it makes its
        // next call after it.
        let mut waiting = self.lock();
        if let Some(mut queued) = waiting.take() {
            queued.room = room;
            queued.ticket = sender.ticket(&queued.request);
            place.send(queued);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Queued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller's hold of a request that waits. Its drop withdraws the request.
struct Caller(Waiting);

impl Caller {
    /// Returns `false` if the request is in the queue.
    fn withdraw(&self) -> bool {
        // Bound, so that the request is dropped after the lock is released.
        let withdrawn = self.0.lock().take();
        withdrawn.is_some()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.withdraw();
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
