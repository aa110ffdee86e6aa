//! The order in which requests enter that wait for room, and what becomes of those whose callers leave.

use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::{consume_budget, unconstrained};

use super::super::{Bounds, QueueReceiver, Refused, Stamp, request_queue};
use super::*;
use crate::key::Key;
use crate::request::{self, Names, Operation, Reply, Request, Write};
use crate::value::Value;

/// The room in bytes, for three large requests.
const BYTES: usize = 1_000;
const LARGE: usize = 300;
const ROUNDS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(5);

fn queue(length: usize) -> (QueueSender, QueueReceiver) {
    let bounds = Bounds {
        length,
        bytes: BYTES,
        patience: PATIENCE,
    };
    request_queue(&bounds, Stamp::TimedWrites, &Handle::current())
}

/// A request with a number and a value.
fn numbered(number: u64, bytes: usize) -> Request {
    let write = Write {
        key: Key::with_hash("k", number),
        value: Value::from(vec![0; bytes]),
        ttl: None,
        depends_on: Names::default(),
    };
    request::Set { write }.into_request(Reply::Nobody)
}

fn small(number: u64) -> Request {
    numbered(number, 0)
}

fn large(number: u64) -> Request {
    numbered(number, LARGE)
}

fn number(queued: &Queued) -> u64 {
    queued.request.keys().first().unwrap().hash()
}

/// Serves the next request if there is one now. Its room is free then.
fn serve(receiver: &mut QueueReceiver) -> Option<u64> {
    let batch = pin!(unconstrained(poll_fn(|cx| receiver.poll_batch(cx, 1))));
    match poll(batch) {
        Poll::Ready(1..) => receiver.next().as_ref().map(number),
        _ => None,
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn is_full(refused: std::result::Result<(), Refused>) -> bool {
    matches!(refused, Err(Refused::Full(_)))
}

/// The first poll lines a request up, before any task runs, also in a task that has used up its budget.
#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_caller_that_polled_once() {
    for budget_is_left in [true, false] {
        let (sender, mut receiver) = queue(1);
        sender.try_send(small(1)).unwrap();
        if !budget_is_left {
            while poll(pin!(consume_budget())).is_ready() {}
        }
        let mut waits = pin!(sender.send(small(2)));
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(serve(&mut receiver), Some(1));
        assert!(is_full(sender.try_send(small(3))), "the free place belongs to 2");
        waits.await.unwrap();
        assert_eq!(serve(&mut receiver), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_large_request_that_waits() {
    let (sender, mut receiver) = queue(8);
    sender.try_send(numbered(1, BYTES)).unwrap();
    let mut second = pin!(sender.send(large(2)));
    let mut third = pin!(sender.send(large(3)));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    sender.try_send(small(4)).unwrap();
    assert_eq!(serve(&mut receiver), Some(1));
    assert!(is_full(sender.try_send(large(5))), "2 and 3 come first");
    sender.send(large(6)).await.unwrap();
    second.await.unwrap();
    third.await.unwrap();
    assert_eq!([4, 2, 3, 6].map(Some), [(); 4].map(|()| serve(&mut receiver)));
}

/// The tasks that wait may run in any order.
#[tokio::test(start_paused = true)]
async fn large_requests_enter_in_the_order_in_which_they_came() {
    let (sender, mut receiver) = queue(8);
    sender.try_send(numbered(1, BYTES)).unwrap();
    let waiting = [2, 3].map(|number| {
        let queued = Queued {
            request: large(number),
            time: None,
            room: None,
            ticket: None,
        };
        let weight = queued.request.weight();
        Box::pin(sender.clone().enter(Waiting::new(queued), weight))
    });
    let [mut second, mut third] = waiting;
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    assert_eq!(serve(&mut receiver), Some(1));
    assert!(poll(third.as_mut()).is_pending(), "2 comes first");
    second.await.unwrap();
    third.await.unwrap();
    assert_eq!([2, 3].map(Some), [(); 2].map(|()| serve(&mut receiver)));
}

/// Once its caller has left, a request is in the queue or never will be.
#[test]
fn a_request_never_enters_after_its_caller_has_left() {
    let home = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let _home = home.enter();
    let (sender, mut receiver) = queue(4);
    let engine = home.spawn(async move {
        let (mut last, mut entered) = (0, 0);
        while poll_fn(|cx| receiver.poll_batch(cx, 1)).await > 0 {
            let number = receiver.next().as_ref().map_or(0, number);
            assert!(number == 0 || number > last, "{number} comes after {last}");
            last = last.max(number);
            entered += u64::from(number > 0 && number % 2 == 0);
        }
        entered
    });
    for round in 1..=ROUNDS {
        // The queue is full, so that the next one waits.
        while sender.try_send(small(0)).is_ok() {}
        let mut call = Box::pin(sender.send(small(2 * round)));
        let _ = poll(call.as_mut());
        (0..round % 512).for_each(|_| std::hint::spin_loop());
        drop(call);
        if home.block_on(sender.send(small(2 * round + 1))).is_err() {
            // The engine has failed by an assertion.
            break;
        }
    }
    drop(sender);
    let entered = home.block_on(engine).unwrap();
    assert!(entered > 0, "each caller left before its request entered");
}
