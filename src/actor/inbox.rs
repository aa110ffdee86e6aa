//! The queue of an actor that is called and told: one FIFO for both.
//!
//! A *call* takes room in the queue and waits for it if there is none. A *notice* says what its
//! sender has done already: it takes no room and never waits, so that a `Drop` can send it. Both are received
//! in the order in which they were sent. A task that drops a guard and then calls is therefore served in
//! that order, which two channels would not guarantee.
//!
//! Callers that wait for room are let in by the receiver, oldest first. They need not be polled for that: a
//! future that nobody polls holds up nobody else, and no later caller overtakes it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::actor::contained;
use crate::actor::queue::until;
use crate::error::{Error, Phase, Result};

/// What the actor receives.
#[derive(Debug)]
pub(crate) enum Received<Call, Notice> {
    Call(Call),
    Notice(Notice),
}

/// Why a call did not enter the queue.
#[derive(Debug)]
pub(crate) enum Refused<Call> {
    /// There is no room for it now.
    Full(Call),
    /// The actor has gone.
    Closed(Call),
}

/// An empty queue with room for `calls`, each of which waits for room for `patience` at most.
pub(crate) fn inbox<Call, Notice>(
    calls: usize,
    patience: Duration,
) -> (InboxSender<Call, Notice>, InboxReceiver<Call, Notice>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Mutex::new(Room {
        free: calls,
        waiting: BTreeMap::new(),
        numbers: 0,
        closed: false,
    }));
    let receiver = InboxReceiver {
        queue: receiver,
        sender: sender.downgrade(),
        room: room.clone(),
    };
    let sender = InboxSender {
        queue: sender,
        room,
        patience,
    };
    (sender, receiver)
}

/// Who may enter. The lock is held for a few instructions, never while anything of a call runs.
struct Room<Call> {
    /// Zero while anybody waits.
    free: usize,
    /// Callers that wait, by the order in which they came.
    waiting: BTreeMap<u64, Waiting<Call>>,
    numbers: u64,
    closed: bool,
}

struct Waiting<Call> {
    call: Call,
    entered: oneshot::Sender<()>,
}

impl<Call> Room<Call> {
    /// Takes room for a call, which is given back with it.
    fn take(&mut self, call: Call) -> std::result::Result<Call, Refused<Call>> {
        if self.closed {
            return Err(Refused::Closed(call));
        }
        if self.free == 0 {
            return Err(Refused::Full(call));
        }
        self.free -= 1;
        Ok(call)
    }
}

fn lock<Call>(room: &Mutex<Room<Call>>) -> MutexGuard<'_, Room<Call>> {
    // Nothing that could panic runs under the lock.
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end, shared by all who call and tell the actor.
pub(crate) struct InboxSender<Call, Notice> {
    queue: mpsc::UnboundedSender<Received<Call, Notice>>,
    room: Arc<Mutex<Room<Call>>>,
    patience: Duration,
}

impl<Call, Notice> InboxSender<Call, Notice> {
    /// Whether the actor has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Tells the actor. Once it has gone, this does nothing.
    pub(crate) fn notify(&self, notice: Notice) {
        let _ = self.queue.send(Received::Notice(notice));
    }

    /// Queues a call if there is room for it now.
    pub(crate) fn try_call(&self, call: Call) -> std::result::Result<(), Refused<Call>> {
        let call = lock(&self.room).take(call)?;
        self.enter(call)
    }

    /// Queues a call, after waiting for room if need be.
    ///
    /// Cancel safe: `on_entry` runs once the call is in the queue, also if this is dropped just then. If it has
    /// not run, the call is not in the queue. It may also run where the queue was closed meanwhile.
    pub(crate) async fn call(&self, call: Call, on_entry: impl FnOnce()) -> Result<()> {
        match self.try_call(call) {
            Ok(()) => {
                on_entry();
                Ok(())
            }
            Err(Refused::Closed(_)) => Err(Error::Closed),
            Err(Refused::Full(call)) => Box::pin(self.wait_and_call(call, on_entry)).await,
        }
    }

    async fn wait_and_call(&self, call: Call, on_entry: impl FnOnce()) -> Result<()> {
        let limit = Instant::now() + self.patience;
        let mut place = self.line_up(call, on_entry)?;
        let entered = async { (&mut place.entered).await.map_err(|_| Error::Closed) };
        match until(limit, Phase::Queue, entered).await {
            // It was let in at the last moment.
            Err(Error::Timeout { .. }) if !place.leave() => Ok(()),
            entered => entered,
        }
    }

    /// Lets a call in, after the calls that wait already.
    fn line_up<F: FnOnce()>(&self, call: Call, on_entry: F) -> Result<PlaceInLine<'_, Call, F>> {
        let (sender, entered) = oneshot::channel();
        let mut room = lock(&self.room);
        room.numbers += 1;
        let number = room.numbers;
        match room.take(call) {
            // Room became free meanwhile.
            Ok(call) => {
                drop(room);
                self.enter(call).map_err(|_| Error::Closed)?;
                let _ = sender.send(());
            }
            Err(Refused::Full(call)) => {
                let entered = sender;
                room.waiting.insert(number, Waiting { call, entered });
            }
            Err(Refused::Closed(call)) => {
                drop(room);
                drop(call);
                return Err(Error::Closed);
            }
        }
        Ok(PlaceInLine {
            room: &self.room,
            number,
            entered,
            on_entry: Some(on_entry),
        })
    }

    fn enter(&self, call: Call) -> std::result::Result<(), Refused<Call>> {
        match self.queue.send(Received::Call(call)) {
            Err(mpsc::error::SendError(Received::Call(call))) => Err(Refused::Closed(call)),
            _ => Ok(()),
        }
    }
}

impl<Call, Notice> Clone for InboxSender<Call, Notice> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            room: self.room.clone(),
            patience: self.patience,
        }
    }
}

/// A place in the line for room, left when it is dropped.
struct PlaceInLine<'a, Call, F: FnOnce()> {
    room: &'a Mutex<Room<Call>>,
    number: u64,
    entered: oneshot::Receiver<()>,
    on_entry: Option<F>,
}

impl<Call, F: FnOnce()> PlaceInLine<'_, Call, F> {
    /// Leaves the line with the call. Returns `false` if the call has been let in.
    fn leave(&mut self) -> bool {
        // Bound, so that the call is dropped after the lock is released: it holds a caller's loader, whose drop may
        // come back here.
        let left = lock(self.room).waiting.remove(&self.number);
        if let Some(on_entry) = self.on_entry.take()
            && left.is_none()
        {
            on_entry();
        }
        left.is_some()
    }
}

impl<Call, F: FnOnce()> Drop for PlaceInLine<'_, Call, F> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The receiving end, part of the actor's state.
pub(crate) struct InboxReceiver<Call, Notice> {
    queue: mpsc::UnboundedReceiver<Received<Call, Notice>>,
    /// Weak, so that the queue ends when its senders have gone.
    sender: mpsc::WeakUnboundedSender<Received<Call, Notice>>,
    room: Arc<Mutex<Room<Call>>>,
}

impl<Call, Notice> InboxReceiver<Call, Notice> {
    /// The next call or notice; `None` when all senders have gone.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received<Call, Notice>>> {
        let received = self.queue.poll_recv(cx);
        if let Poll::Ready(Some(Received::Call(_))) = &received {
            self.make_room();
        }
        received
    }

    /// Refuses all that is sent from now on, and all who wait for room. Returns what is in the queue.
    pub(crate) fn close(&mut self) -> Vec<Received<Call, Notice>> {
        let mut room = lock(&self.room);
        room.closed = true;
        let waiting = std::mem::take(&mut room.waiting);
        drop(room);
        self.queue.close();
        for waiting in waiting.into_values() {
            // It may run a waker of the caller's.
            contained(|| drop(waiting));
        }
        let mut left = Vec::new();
        loop {
            match self.queue.try_recv() {
                Ok(received) => left.push(received),
                // Another thread is about to send, which takes a few instructions and never waits.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
                Err(TryRecvError::Disconnected) => return left,
            }
        }
    }

    /// Gives the room of a call to the one who has waited longest.
    fn make_room(&mut self) {
        let mut room = lock(&self.room);
        let Some((_, next)) = room.waiting.pop_first() else {
            room.free += 1;
            return;
        };
        let Waiting { call, entered } = next;
        // Sent under the lock, so that a caller who finds that it does not wait any more is in the queue already. Nobody
        // overtakes it here: there is no free room, and only the receiver makes some.
        let refused = match self.sender.upgrade() {
            Some(sender) => sender.send(Received::Call(call)).map_err(|refused| refused.0),
            None => Err(Received::Call(call)),
        };
        drop(room);
        drop(refused);
        // It may run a waker of the caller's, whose panic must not take along what was received.
        contained(|| entered.send(()));
    }
}

impl<Call, Notice> Drop for InboxReceiver<Call, Notice> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<Call, Notice> fmt::Debug for InboxReceiver<Call, Notice> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxReceiver")
    }
}
