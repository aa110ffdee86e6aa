//! The bounded lane of requests: its sender in the handle, its receiver in an engine.
//!
//! Why not the actor's mailbox: a `kameo` ask costs two to three times as much as this, and throws
//! away a reply whose caller has gone. See ARCHITECTURE.md, *The request lane*.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::error::{Cause, Error, Phase, Result};
use crate::request::{Reply, Request};
use crate::ttl::LONGEST;

/// A request in the lane, with the room that it takes there.
#[derive(Debug)]
struct Envelope {
    request: Request,
    /// Held while the request waits: its drop makes room for others.
    _room: Option<OwnedSemaphorePermit>,
}

/// A lane of at most `length` requests that weigh at most `bytes` together, to an engine that will
/// live on the runtime `home`.
pub(crate) fn lane(
    length: usize,
    bytes: usize,
    patience: Duration,
    home: &Handle,
) -> (LaneSender, LaneReceiver) {
    let (sender, receiver) = mpsc::channel(length);
    // A weight is a `u32` of permits: more than 4 GiB may not be waited for at once.
    let most = u32::try_from(bytes).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(most as usize));
    (
        LaneSender {
            sender,
            room,
            most,
            patience,
            home: home.id(),
        },
        LaneReceiver {
            receiver,
            batch: VecDeque::new(),
            buffer: Vec::new(),
        },
    )
}

/// The sending end, shared by all handles of a store.
#[derive(Clone, Debug)]
pub(crate) struct LaneSender {
    sender: mpsc::Sender<Envelope>,
    room: Arc<Semaphore>,
    /// All the room there is: what weighs more takes it whole.
    most: u32,
    /// How long a caller waits.
    patience: Duration,
    /// The runtime that the engine lives on.
    home: runtime::Id,
}

impl LaneSender {
    /// Puts `request` into the lane, if need be after waiting for room.
    ///
    /// Cancel safe: the request is in the lane when this resolves, and not before.
    pub(crate) async fn send(&self, request: Request) -> Result<()> {
        match self.try_send(request) {
            Ok(()) => Ok(()),
            Err(Refused::Closed) => Err(Error::Closed),
            Err(Refused::Full(request)) => self.wait_and_send(*request, self.limit()).await,
        }
    }

    /// Puts `request` into the lane if there is room for it now.
    pub(crate) fn try_send(&self, request: Request) -> std::result::Result<(), Refused> {
        let room = match request.weight() {
            0 => None,
            weight => match self.room.clone().try_acquire_many_owned(self.permits(weight)) {
                Ok(room) => Some(room),
                Err(_) => return Err(Refused::Full(Box::new(request))),
            },
        };
        self.sender
            .try_send(Envelope { request, _room: room })
            .map_err(|refused| match refused {
                TrySendError::Full(envelope) => Refused::Full(Box::new(envelope.request)),
                TrySendError::Closed(_) => Refused::Closed,
            })
    }

    /// Waits for room until `limit`, then puts `request` into the lane.
    async fn wait_and_send(&self, request: Request, limit: Instant) -> Result<()> {
        let enter = async {
            let room = match request.weight() {
                0 => None,
                weight => Some(
                    self.room
                        .clone()
                        .acquire_many_owned(self.permits(weight))
                        .await
                        .map_err(|_| Error::Closed)?,
                ),
            };
            let place = self.sender.reserve().await.map_err(|_| Error::Closed)?;
            place.send(Envelope { request, _room: room });
            Ok(())
        };
        until(limit, Phase::Queue, enter).await
    }

    fn permits(&self, weight: usize) -> u32 {
        u32::try_from(weight).unwrap_or(u32::MAX).min(self.most)
    }

    /// Sends the request that `make` builds around its reply, and waits for the answer.
    ///
    /// On the engine's own runtime, once there was room, that wait has no timer: whatever keeps the
    /// engine from its turn there is a turn away itself, and a timer for each request would cost a
    /// third of it.
    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let abroad = Handle::try_current().is_ok_and(|here| here.id() != self.home);
        let limit = abroad.then(|| self.limit());
        self.ask_until(limit, make).await
    }

    /// As [`ask`](Self::ask), for work that may take an engine longer than its turn.
    pub(crate) async fn ask_for_long<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        self.ask_until(Some(self.limit()), make).await
    }

    async fn ask_until<T>(
        &self,
        mut limit: Option<Instant>,
        make: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = Reply::new();
        let request = make(reply);
        let changes = request.changes();
        // Most requests find room at once, and never become part of this future's state.
        match self.try_send(request) {
            Ok(()) => {}
            Err(Refused::Closed) => return Err(Error::Closed),
            Err(Refused::Full(request)) => {
                let limit = *limit.get_or_insert_with(|| self.limit());
                Box::pin(self.wait_and_send(*request, limit)).await?;
            }
        }
        let answer = match limit {
            // Boxed, like the wait above: a timer would make the future of every call as large.
            Some(limit) => Box::pin(until(limit, Phase::Reply, async { Ok(answer.await) })).await?,
            None => answer.await,
        };
        match answer {
            Ok(answer) => answer,
            Err(_) if self.sender.is_closed() => Err(Error::Closed),
            // The engine dropped the reply: it failed while it served this very request.
            Err(_) if changes => Err(Error::OutcomeUnknown(Cause::new(Failed))),
            Err(_) => Err(Error::Unavailable(Cause::new(Failed))),
        }
    }

    /// When a caller who comes now has waited long enough.
    pub(crate) fn limit(&self) -> Instant {
        Instant::now() + self.patience.min(LONGEST)
    }
}

/// Waits until `limit` at most. Without a runtime there is no timer, and no limit.
pub(crate) async fn until<T>(
    limit: Instant,
    phase: Phase,
    wait: impl Future<Output = Result<T>>,
) -> Result<T> {
    if Handle::try_current().is_err() {
        return wait.await;
    }
    tokio::time::timeout_at(limit, wait)
        .await
        .unwrap_or(Err(Error::Timeout { phase }))
}

#[derive(Debug, thiserror::Error)]
#[error("the engine failed while it served this request")]
struct Failed;

/// Why a request did not enter the lane.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no room for it now.
    Full(Box<Request>),
    /// The engine has gone.
    Closed,
}

/// The receiving end, part of an engine's state: what it has received outlives a panic of the
/// engine and is served next.
#[derive(Debug)]
pub(crate) struct LaneReceiver {
    receiver: mpsc::Receiver<Envelope>,
    /// Received and not yet served.
    batch: VecDeque<Envelope>,
    /// Empty: where the next batch is received.
    buffer: Vec<Envelope>,
}

impl LaneReceiver {
    /// Waits until there is a batch to serve: its length, or 0 when the lane has ended.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<usize> {
        if !self.batch.is_empty() {
            return Poll::Ready(self.batch.len());
        }
        let received = ready!(self.receiver.poll_recv_many(cx, &mut self.buffer, limit));
        // A vector becomes a queue, and an empty queue a vector, without being copied.
        let batch = VecDeque::from(std::mem::take(&mut self.buffer));
        self.buffer = Vec::from(std::mem::replace(&mut self.batch, batch));
        Poll::Ready(received)
    }

    /// The next request of the batch.
    pub(crate) fn next(&mut self) -> Option<Request> {
        self.batch.pop_front().map(|envelope| envelope.request)
    }

    /// Refuses every further request; those in the lane stay.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
    }

    /// Requests that wait, the batch included.
    pub(crate) fn depth(&self) -> usize {
        self.receiver.len() + self.batch.len()
    }
}
