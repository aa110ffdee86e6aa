//! The queue of an actor that is called and told: one FIFO for both.
//!
//! A *call* takes room in the queue and waits for it if there is none. A *notice* says what its
//! sender has done already: it takes no room and never waits, so that a `Drop` can send it. Both are received
//! in the order in which they were sent. A task that drops a guard and then calls is therefore served in
//! that order, which two channels would not guarantee.
//!
//! Callers that wait for room are let in by the receiver, oldest first. They need not be polled for that: a
//! future that nobody polls holds up nobody else, and no later caller overtakes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

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

    /// Lets a call in, now or when those who wait already have been let in.
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
        drop(waiting);
        std::iter::from_fn(|| self.queue.try_recv().ok()).collect()
    }

    /// Gives the room of a call to the one who has waited longest.
    fn make_room(&mut self) {
        let mut room = lock(&self.room);
        let Some((_, next)) = room.waiting.pop_first() else {
            room.free += 1;
            return;
        };
        drop(room);
        // Nobody overtakes it here: there is no free room, and only the receiver makes some.
        if let Some(sender) = self.sender.upgrade() {
            let _ = sender.send(Received::Call(next.call));
        }
        // It may run a waker of the caller's, whose panic must not take along what was received.
        contained(|| next.entered.send(()));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::{Wake, Waker};

    use tokio::task::yield_now;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// An inbox of numbers, odd ones for calls and even ones for notices.
    fn numbers(calls: usize) -> (InboxSender<u32, u32>, InboxReceiver<u32, u32>) {
        inbox(calls, PATIENCE)
    }

    async fn next(receiver: &mut InboxReceiver<u32, u32>) -> u32 {
        match poll_fn(|cx| receiver.poll(cx)).await {
            Some(Received::Call(number) | Received::Notice(number)) => number,
            None => panic!("the queue has ended"),
        }
    }

    #[tokio::test]
    async fn calls_and_notices_keep_their_order() {
        let (sender, mut receiver) = numbers(8);
        for number in 0..8 {
            if number % 2 == 0 {
                sender.notify(number);
            } else {
                sender.call(number, || {}).await.unwrap();
            }
        }
        for number in 0..8 {
            assert_eq!(next(&mut receiver).await, number);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_overtakes_a_caller_that_waits() {
        let (sender, mut receiver) = numbers(2);
        sender.try_call(1).unwrap();
        sender.try_call(3).unwrap();
        assert!(matches!(sender.try_call(99), Err(Refused::Full(99))));
        let waiting: Vec<_> = [5, 7]
            .map(|number| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.call(number, || {}).await })
            })
            .into();
        yield_now().await;
        // Notices need no room.
        sender.notify(4);
        assert_eq!(next(&mut receiver).await, 1);
        // There is room for one, and the one who waits longest has it, although it was not polled.
        assert!(matches!(sender.try_call(99), Err(Refused::Full(99))));
        assert_eq!(next(&mut receiver).await, 3);
        assert_eq!(next(&mut receiver).await, 4);
        assert_eq!(next(&mut receiver).await, 5);
        sender.try_call(9).unwrap();
        assert_eq!(next(&mut receiver).await, 7);
        assert_eq!(next(&mut receiver).await, 9);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
    }

    /// A caller's waker is the caller's code.
    #[tokio::test(start_paused = true)]
    async fn a_waker_that_panics_takes_no_call_along() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a fault of a caller's waker");
            }
        }
        let (sender, mut receiver) = numbers(1);
        sender.try_call(1).unwrap();
        let mut waiting = Box::pin(sender.call(3, || {}));
        let waker = Waker::from(Arc::new(Panics));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(next(&mut receiver).await, 1);
        assert_eq!(next(&mut receiver).await, 3);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_for_so_long_and_leaves_nothing_behind() {
        let (sender, mut receiver) = numbers(1);
        sender.try_call(1).unwrap();
        let began = Instant::now();
        let refused = sender.call(3, || panic!("it is not let in")).await;
        assert!(matches!(refused, Err(Error::Timeout { phase: Phase::Queue })));
        assert_eq!(began.elapsed(), PATIENCE);
        // Another is dropped while it waits.
        let dropped = tokio::time::timeout(PATIENCE / 2, sender.call(5, || panic!("it is not let in"))).await;
        assert!(dropped.is_err());
        assert!(lock(&sender.room).waiting.is_empty());
        assert_eq!(next(&mut receiver).await, 1);
        sender.call(7, || {}).await.unwrap();
        assert_eq!(next(&mut receiver).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_when_the_queue_closes_is_told() {
        let (sender, mut receiver) = numbers(1);
        sender.try_call(1).unwrap();
        sender.notify(2);
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.call(3, || {}).await }
        });
        yield_now().await;
        let left = receiver.close();
        assert!(matches!(left[..], [Received::Call(1), Received::Notice(2)]));
        assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(sender.call(5, || {}).await, Err(Error::Closed)));
        assert!(matches!(sender.try_call(5), Err(Refused::Closed(5))));
        assert!(sender.is_closed());
        sender.notify(6);
    }

    /// A call whose drop looks whether the lock is free: a loader may hold another load, which leaves its line then.
    struct LooksAtDrop<'t> {
        sender: InboxSender<LooksAtDrop<'t>, ()>,
        seen: &'t Cell<Vec<bool>>,
    }

    impl Drop for LooksAtDrop<'_> {
        fn drop(&mut self) {
            let mut seen = self.seen.take();
            seen.push(self.sender.room.try_lock().is_ok());
            self.seen.set(seen);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_dropped_outside_the_lock() {
        let seen = Cell::new(Vec::new());
        let (sender, mut receiver) = inbox(0, PATIENCE);
        let call = || LooksAtDrop {
            sender: sender.clone(),
            seen: &seen,
        };
        let refused = sender.call(call(), || panic!("it is not let in")).await;
        assert!(matches!(refused, Err(Error::Timeout { .. })));
        let waiting = sender.line_up(call(), || ());
        drop(receiver.close());
        assert!(waiting.is_ok(), "it waited when the queue was closed");
        assert!(matches!(sender.line_up(call(), || ()), Err(Error::Closed)));
        assert_eq!(seen.take(), [true; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_dropped_after_it_was_let_in_knows() {
        let (sender, mut receiver) = numbers(1);
        sender.try_call(1).unwrap();
        let mut is_in = false;
        let mut waiting = Box::pin(sender.call(3, || is_in = true));
        let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        assert_eq!(next(&mut receiver).await, 1);
        drop(waiting);
        assert!(is_in);
        assert_eq!(next(&mut receiver).await, 3);
    }
}
