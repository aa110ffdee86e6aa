//! What becomes of jobs that another node is asked.

use std::future::poll_fn;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot::Receiver;

use super::*;
use crate::config::{Access, Config, EngineConfig};
use crate::engines::redis::connect::introduction;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::parking::Parking;
use crate::engines::redis::stream::Pulse;
use crate::key::{Key, KeyMaker, Namespace};
use crate::near::near;
use crate::request::{Lock, LockAction, LockAnswer, LockStep, Operation, Reply, Request};
use crate::secret::Secret;
use crate::value::Value;

const SECOND: Duration = Duration::from_secs(1);

fn node() -> Node {
    Node {
        host: Some("h".to_owned()),
        port: 1,
    }
}

fn key(text: &str) -> Key {
    thread_local! {
        static MAKER: KeyMaker = KeyMaker::new(100, false);
    }
    MAKER.with(|maker| maker.key(&Namespace::default(), text).unwrap())
}

/// A lock that a node has sent to another one.
fn asked() -> (Vec<Asked>, Receiver<Result<LockAnswer>>) {
    let (reply, answer) = Reply::new();
    let action = LockAction::Acquire {
        secret: Secret::random().unwrap(),
        ttl: SECOND,
        known: 0,
    };
    let step = Box::new(LockStep {
        key: key("lock"),
        action,
    });
    let Request::Entry(request) = (Lock { step }).into_request(reply) else {
        panic!("it is sent");
    };
    let now = Instant::now();
    let mut batch = Batch::new(Layout::new(false));
    batch.push(Job::new(Task::Request(request), now + SECOND), None, now);
    batch.finish(0);
    let mut parking = Parking::default();
    let error = Error::Unavailable(reply::no_answer());
    for part in batch.parts {
        parking.refuse(part, &Redirect::Ask(node()), &error, 0, now);
    }
    let (_, jobs) = parking.take_asked(&Layout::new(false), 0).unwrap();
    (jobs, answer)
}

/// The caller who is granted a lock goes on after the one who held it, and must see what that one has written.
#[test]
fn a_lock_that_is_granted_by_another_node_keeps_readers_from_what_is_near() {
    let (cache, writer) = near(1 << 20);
    let tracker = Tracker::new(writer, 60 * SECOND, Arc::default());
    let (connection, now) = (tracker.open(), Instant::now());
    let begun = (0..3).any(|_| connection.begin_fetch(&key("k"), now));
    assert!(begun, "it is fetched");
    connection.proven(now);
    connection.fetched(&key("k"), Some((&Value::from("old"), Some(60 * SECOND))), now);
    assert!(cache.contains(&key("k")), "it is near");

    let (jobs, mut answer) = asked();
    let mut batch = Batch::new(Layout::new(false));
    let held = jobs.into_iter().map(|asked| {
        let (held, job) = asked.into_parts();
        batch.push(job, None, now);
        held
    });
    let held: Vec<Held> = held.collect();
    batch.finish(0);
    let parts = held.into_iter().zip(batch.parts).collect();
    let granted = [1, 7, 0, 1].map(Wire::Int).to_vec();
    let replies = vec![Wire::Okay, Wire::Array(granted)];
    settle(parts, replies, &mut Tally::default(), &node(), Some(&tracker));
    let granted = answer.try_recv().unwrap().unwrap();
    assert!(matches!(granted, LockAnswer::Granted { .. }), "{granted:?}");
    assert!(!cache.contains(&key("k")), "an older value may be near");
}

#[tokio::test]
async fn nothing_is_sent_over_a_connection_that_has_ended() {
    let EngineConfig::Redis(options) = Config::redis("redis://localhost:1").unwrap().engine else {
        panic!("it is a configuration of Redis");
    };
    let (ours, theirs) = tokio::io::duplex(1024);
    let introduction = introduction(&Access::default(), false);
    let config = AsyncConnectionConfig::new();
    let opened = MultiplexedConnection::new_with_config(&introduction, ours, config).await;
    let (connection, driver) = opened.unwrap();
    let connected = Connected::own(connection, Box::pin(driver), Pulse::default());
    let (jobs, mut answer) = asked();
    let now = Instant::now();
    let mut asking = Asking {
        node: node(),
        options: Arc::new(*options),
        layout: Layout::new(false),
        tracker: None,
        state: State::Open(connected),
        waiting: Vec::new(),
        flight: None,
        since: now,
    };
    // The connection was idle when the node was started again.
    drop(theirs);
    asking.ask(jobs, now);
    let mut finished = Vec::new();
    for _ in 0..10 {
        finished.extend(poll_fn(|cx| Poll::Ready(asking.poll(cx, now, &mut Tally::default()))).await);
    }
    let [Finished::Refused(refused)] = finished.as_slice() else {
        panic!(
            "it is not refused, and its caller is told {:?}",
            answer.try_recv()
        );
    };
    assert_eq!(refused.redirect, Redirect::Later);
    assert!(answer.try_recv().is_err(), "it is sent again");
}
