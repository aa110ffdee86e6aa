//! The bounded lane of requests: its sender in the handle, its receiver in an engine.
//!
//! Why not the actor's mailbox: a `kameo` ask costs two to three times as much as this, and throws
//! away a reply whose caller has gone. See ARCHITECTURE.md, *The request lane*.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::error::{Cause, Error, Phase, Result};
use crate::request::{Reply, Request};

/// A request in the lane, with the room that it takes there.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) request: Request,
    /// When its caller is to be answered, for engines that wait for others; see [`Stamp`].
    pub(crate) deadline: Option<Instant>,
    /// Held while the request waits: its drop makes room for others.
    pub(crate) room: Option<Room>,
}

/// Room in the lane.
pub(crate) type Room = OwnedSemaphorePermit;

/// Whether requests carry a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// They do not: the engine answers in its turn, and no clock is read.
    None,
    /// They do, and the engine keeps it: it may have to wait for a server.
    Deadline,
}

/// A lane of at most `length` requests that weigh at most `bytes` together.
pub(crate) fn lane(
    length: usize,
    bytes: usize,
    patience: Duration,
    stamp: Stamp,
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
            stamp,
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
    /// How long a sender waits for room.
    patience: Duration,
    stamp: Stamp,
}

impl LaneSender {
    /// Whether the engine has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// When the caller of a request that is made now is to be answered.
    fn deadline(&self) -> Option<Instant> {
        match self.stamp {
            Stamp::None => None,
            Stamp::Deadline => Some(Instant::now() + self.patience),
        }
    }

    /// Puts `request` into the lane, if need be after waiting for room.
    ///
    /// Cancel safe: the request is in the lane when this resolves, and not before.
    pub(crate) async fn send(&self, request: Request) -> Result<()> {
        let deadline = self.deadline();
        match self.enter(request, deadline) {
            Ok(()) => Ok(()),
            Err(Refused::Closed) => Err(Error::Closed),
            Err(Refused::Full(request)) => self.wait_and_send(*request, deadline).await,
        }
    }

    /// Puts `request` into the lane if there is room for it now.
    pub(crate) fn try_send(&self, request: Request) -> std::result::Result<(), Refused> {
        self.enter(request, self.deadline())
    }

    fn enter(&self, request: Request, deadline: Option<Instant>) -> std::result::Result<(), Refused> {
        let room = match request.weight() {
            0 => None,
            weight => match self.room.clone().try_acquire_many_owned(self.permits(weight)) {
                Ok(room) => Some(room),
                Err(_) => return Err(Refused::Full(Box::new(request))),
            },
        };
        self.sender
            .try_send(Envelope {
                request,
                deadline,
                room,
            })
            .map_err(|refused| match refused {
                TrySendError::Full(envelope) => Refused::Full(Box::new(envelope.request)),
                TrySendError::Closed(_) => Refused::Closed,
            })
    }

    async fn wait_and_send(&self, request: Request, deadline: Option<Instant>) -> Result<()> {
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
            place.send(Envelope {
                request,
                deadline,
                room,
            });
            Ok(())
        };
        tokio::time::timeout(self.patience, enter)
            .await
            .unwrap_or(Err(Error::Timeout { phase: Phase::Queue }))
    }

    fn permits(&self, weight: usize) -> u32 {
        u32::try_from(weight).unwrap_or(u32::MAX).min(self.most)
    }

    /// Sends the request that `make` builds around its reply, and waits for the answer.
    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        self.begin(make).await?.await
    }

    /// Sends the request that `make` builds around its reply: its answer, to be awaited later.
    pub(crate) async fn begin<T>(
        &self,
        make: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<impl Future<Output = Result<T>>> {
        let (reply, answer) = Reply::new();
        let request = make(reply);
        let changes = request.changes();
        let deadline = self.deadline();
        // Most requests find room at once, and never become part of this future's state.
        match self.enter(request, deadline) {
            Ok(()) => {}
            Err(Refused::Closed) => return Err(Error::Closed),
            Err(Refused::Full(request)) => self.wait_and_send(*request, deadline).await?,
        }
        Ok(async move {
            match answer.await {
                Ok(answer) => answer,
                Err(_) if self.sender.is_closed() => Err(Error::Closed),
                // The engine dropped the reply: it failed while it served this very request.
                Err(_) if changes => Err(Error::OutcomeUnknown(Cause::new(Failed))),
                Err(_) => Err(Error::Unavailable(Cause::new(Failed))),
            }
        })
    }

    /// As [`ask`](Self::ask), for work that may take an engine longer than its turn.
    pub(crate) async fn ask_for_long<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        tokio::time::timeout(self.patience, self.ask(make))
            .await
            .unwrap_or(Err(Error::Timeout { phase: Phase::Reply }))
    }
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

    /// The next request of the batch, with its deadline and its room.
    pub(crate) fn next_envelope(&mut self) -> Option<Envelope> {
        self.batch.pop_front()
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
