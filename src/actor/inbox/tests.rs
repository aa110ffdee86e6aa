//! The order of calls and notices, room, and what leaves an inbox.

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

/// Threads send notices as fast as they can while the receiver is dropped.
#[test]
fn each_notice_that_enters_as_its_actor_ends_is_dropped() {
    use std::sync::mpsc;
    use std::thread;

    for _ in 0..200 {
        let (sender, receiver) = inbox::<u32, oneshot::Sender<()>>(1, PATIENCE);
        let (begun, begin) = mpsc::channel();
        let senders = [(); 2].map(|()| {
            let (sender, begun) = (sender.clone(), begun.clone());
            thread::spawn(move || {
                let mut answers = Vec::new();
                while !sender.is_closed() {
                    let (answer, dropped) = oneshot::channel();
                    sender.notify(answer);
                    answers.push(dropped);
                    let _ = begun.send(());
                }
                answers
            })
        });
        for _ in 0..10 {
            begin.recv().unwrap();
        }
        drop(receiver);
        for mut dropped in senders.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert!(
                dropped
                    .try_recv()
                    .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
            );
        }
    }
}

/// A caller that leaves tells so, and only if its call is in the queue.
#[test]
fn a_caller_that_leaves_is_never_before_its_call() {
    let (sender, mut receiver) = numbers(1);
    let caller = std::thread::spawn(move || {
        let mut nobody = Context::from_waker(Waker::noop());
        for number in 1..=200_000 {
            // The inbox is full, so that the receiver lets the next one in.
            while sender.try_call(0).is_ok() {}
            let has_entered = Cell::new(false);
            let mut call = Box::pin(sender.call(number, || has_entered.set(true)));
            let _ = call.as_mut().poll(&mut nobody);
            (0..number % 64).for_each(|_| std::hint::spin_loop());
            drop(call);
            if has_entered.get() {
                sender.notify(number);
            }
        }
    });
    let mut nobody = Context::from_waker(Waker::noop());
    let mut last = 0;
    loop {
        match receiver.poll(&mut nobody) {
            Poll::Ready(Some(Received::Call(number))) => last = last.max(number),
            Poll::Ready(Some(Received::Notice(number))) => assert_eq!(last, number, "its call comes later"),
            Poll::Ready(None) => break,
            Poll::Pending => std::hint::spin_loop(),
        }
    }
    caller.join().unwrap();
}
