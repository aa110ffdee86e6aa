//! The request queue: bounded, with its sender in the handles and its receiver in an engine.
//!
//! Why not the actor's mailbox: a `kameo` ask costs two to three times as much as this, and throws
//! away a reply whose caller has gone. See ARCHITECTURE.md, *The request queue*.

mod call;
#[cfg(feature = "testing")]
mod forwarder;
mod receiver;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

pub(crate) use self::call::{Answer, Call, until};
#[cfg(feature = "testing")]
pub(crate) use self::forwarder::Forwarder;
pub(crate) use self::receiver::QueueReceiver;
use crate::error::{Cause, Error, Result};
use crate::near::{Near, Ticket};
use crate::request::Request;
use crate::ttl::LONGEST;
use crate::watch::Watch;

/// A request in the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) request: Request,
    /// The time that the request carries, if it needs one; see [`Stamp`].
    pub(crate) time: Option<Time>,
    /// Held while the request waits: its drop makes room for others.
    pub(crate) room: Option<Room>,
    /// Keeps readers of the near cache away from the keys of a write that is complete and not yet served. It is
    /// dropped last.
    pub(crate) ticket: Option<Ticket>,
}

impl Queued {
    /// When the call was made, if a TTL counts from there.
    pub(crate) fn made(&self) -> Option<Instant> {
        match self.time {
            Some(Time::Made(at)) => Some(at),
            _ => None,
        }
    }

    /// The deadline of the call, if the engine keeps it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.time {
            Some(Time::Deadline(at)) => Some(at),
            _ => None,
        }
    }
}

/// The time that a request carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Time {
    /// When the call was made.
    Made(Instant),
    /// When the call must be answered.
    Deadline(Instant),
}

/// Room in the queue.
pub(crate) type Room = OwnedSemaphorePermit;

/// Which requests carry a time. Reading a clock is a tenth of a request to an engine that answers in
/// its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// Writes that are complete when enqueued and have a TTL, which counts from the call.
    TimedWrites,
    /// All requests carry the deadline of their call, and the engine keeps it: it may have to wait for a server.
    All,
    /// The engine keeps all deadlines. Callers keep them too, a little later, because the engine may forget a request.
    #[cfg(feature = "testing")]
    Watched,
}

impl Stamp {
    /// Whether the engine keeps deadlines.
    fn has_deadlines(self) -> bool {
        self != Stamp::TimedWrites
    }

    /// Whether callers keep the deadline of an engine that keeps it too.
    fn is_watched(self) -> bool {
        match self {
            #[cfg(feature = "testing")]
            Stamp::Watched => true,
            Stamp::TimedWrites | Stamp::All => false,
        }
    }
}

/// The arguments of a queue.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// The most requests in it.
    pub(crate) length: usize,
    /// The most bytes in it.
    pub(crate) bytes: usize,
    /// How long a caller waits.
    pub(crate) patience: Duration,
}

/// A queue to an engine that will live on the runtime `home`.
pub(crate) fn request_queue(bounds: &Bounds, stamp: Stamp, home: &Handle) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::channel(bounds.length);
    // A weight is a `u32` of permits: more than 4 GiB may not be waited for at once.
    let most = u32::try_from(bounds.bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(most as usize));
    let patience = bounds.patience.min(LONGEST);
    let (alive, gone) = watch::channel(());
    let sender = QueueSender {
        sender,
        gone,
        room,
        most,
        turn: Arc::new(Semaphore::new(1)),
        patience,
        stamp,
        home: home.id(),
        runtime: home.clone(),
        near: None,
    };
    (sender, QueueReceiver::new(receiver, alive))
}

/// The sending end, shared by all handles of a store.
#[derive(Clone, Debug)]
pub(crate) struct QueueSender {
    sender: mpsc::Sender<Queued>,
    /// Ends after the receiver has been dropped.
    gone: watch::Receiver<()>,
    room: Arc<Semaphore>,
    /// The whole room in bytes. A request that weighs more takes all of it.
    most: u32,
    /// One permit: the turn to wait for room in bytes.
    turn: Arc<Semaphore>,
    patience: Duration,
    stamp: Stamp,
    /// The number of the runtime that the engine lives on, which most calls look at.
    home: runtime::Id,
    runtime: Handle,
    /// What answers reads past the queue, if anything does.
    near: Option<Arc<Near>>,
}

impl QueueSender {
    /// Writes that complete when queued close the gates of this near cache.
    pub(crate) fn beside(self, near: Option<Arc<Near>>) -> Self {
        Self { near, ..self }
    }

    /// The ticket of a request, taken before the request enters the queue. A read that begins when the write is complete
    /// finds the gate closed.
    fn ticket(&self, request: &Request) -> Option<Ticket> {
        let near = self.near.as_ref()?;
        request
            .is_complete_when_queued()
            .then(|| near.ticket(request.keys()))
    }

    /// Whether the engine has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// How many requests wait in the queue.
    #[cfg(feature = "metrics")]
    pub(crate) fn depth(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Begins a call, which ends by `request_timeout`.
    pub(crate) fn call(&self) -> Call<'_> {
        self.watched_call(Watch::default())
    }

    /// Begins a call, which ends by `request_timeout`, and of which metrics and spans tell.
    pub(crate) fn watched_call<'a>(&'a self, watch: Watch<'a>) -> Call<'a> {
        Call {
            queue: self,
            deadline: None,
            watch,
        }
    }

    /// Begins a call, which ends by `request_timeout`, and by `limit` if the engine may have to wait.
    pub(crate) fn call_until(&self, limit: Instant) -> Call<'_> {
        let deadline = self.stamp.has_deadlines().then(|| limit.min(self.limit()));
        Call {
            deadline,
            ..self.call()
        }
    }

    /// Makes a call of one request that has no reply: see [`Call::send`].
    pub(crate) async fn send(&self, request: Request) -> Result<()> {
        self.call().send(request).await
    }

    /// Puts `request` into the queue if there is room for it now.
    pub(crate) fn try_send(&self, request: Request) -> std::result::Result<(), Refused> {
        self.call().try_send(request)
    }

    fn try_enter(&self, request: Request, time: Option<Time>) -> std::result::Result<(), Refused> {
        let room = match request.weight() {
            0 => None,
            weight => match self.try_room(weight) {
                Some(room) => Some(room),
                None => {
                    let waiting = Queued {
                        request,
                        time,
                        room: None,
                        ticket: None,
                    };
                    return Err(Refused::Full(Box::new(waiting)));
                }
            },
        };
        let ticket = self.ticket(&request);
        let queued = Queued {
            request,
            time,
            room,
            ticket,
        };
        self.sender.try_send(queued).map_err(|refused| match refused {
            TrySendError::Full(queued) => {
                // A future that waits for room keeps no gate closed.
                let ticket = None;
                Refused::Full(Box::new(Queued { ticket, ..queued }))
            }
            TrySendError::Closed(_) => Refused::Closed,
        })
    }

    /// Takes room in bytes, if there is enough and no other request waits for some.
    fn try_room(&self, weight: usize) -> Option<Room> {
        if self.turn.available_permits() == 0 {
            return None;
        }
        let room = self.room.clone();
        room.try_acquire_many_owned(self.permits(weight)).ok()
    }

    fn permits(&self, weight: usize) -> u32 {
        u32::try_from(weight).unwrap_or(u32::MAX).min(self.most)
    }

    /// Why a reply was dropped.
    fn dropped(&self, changes: bool) -> Error {
        if self.sender.is_closed() {
            Error::Closed
        } else if changes {
            // The engine failed while it served this very request.
            Error::OutcomeUnknown(Cause::new(EngineFailed))
        } else {
            Error::Unavailable(Cause::new(EngineFailed))
        }
    }

    /// The deadline of a call that begins now.
    pub(crate) fn limit(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Whether the caller is on another runtime than the engine's, or on none. It may outlive the engine.
    fn is_abroad(&self) -> bool {
        !Handle::try_current().is_ok_and(|here| here.id() == self.home)
    }

    /// Waits until the receiver has been dropped.
    pub(crate) async fn gone(&self) {
        // Nothing is ever sent: an error is the end.
        while self.gone.clone().changed().await.is_ok() {}
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the engine failed while it served this request")]
pub(crate) struct EngineFailed;

/// Why a request did not enter the queue.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no room for it now.
    Full(Box<Queued>),
    /// The engine has gone.
    Closed,
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::error::Phase;
    use crate::request;
    use crate::request::{Operation, Reply};

    fn ping() -> Request {
        let (reply, _) = Reply::new();
        request::Ping {}.into_request(reply)
    }

    /// A future that is held without being polled has waited longest.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_not_polled_holds_up_nobody() {
        let bounds = Bounds {
            length: 1,
            bytes: 1024,
            patience: Duration::from_secs(1),
        };
        let (sender, mut receiver) = request_queue(&bounds, Stamp::TimedWrites, &Handle::current());
        sender.send(ping()).await.unwrap();
        let mut held = Box::pin(sender.send(ping()));
        assert!(futures_util::poll!(&mut held).is_pending());
        tokio::spawn(async move {
            while poll_fn(|cx| receiver.poll_batch(cx, 1)).await > 0 {
                receiver.next();
            }
        });
        let later = sender.send(ping()).await;
        assert!(later.is_ok(), "{later:?}");
        held.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_waits_for_room_of_one_call_share_its_deadline() {
        let bounds = Bounds {
            length: 1,
            bytes: 1024,
            patience: Duration::from_secs(1),
        };
        let (sender, mut receiver) = request_queue(&bounds, Stamp::TimedWrites, &Handle::current());
        let began = Instant::now();
        let mut call = sender.call();
        call.send(ping()).await.unwrap();
        let serve_one = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            poll_fn(|cx| receiver.poll_batch(cx, 1)).await;
            receiver.next()
        };
        let (sent, _) = tokio::join!(call.send(ping()), serve_one);
        sent.unwrap();
        let late = call.send(ping()).await;
        assert!(
            matches!(late, Err(Error::Timeout { phase: Phase::Queue })),
            "{late:?}"
        );
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1010), "the call took {took:?}");
    }
}
