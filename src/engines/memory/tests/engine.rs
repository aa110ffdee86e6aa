//! The engine's recovery from faults of its own, which only a crate-internal request can cause.

use std::sync::Arc;
use std::time::Duration;

use kameo::actor::{ActorRef, Spawn};

use tokio::runtime::Handle;

use super::super::engine::{MemoryEngine, Setup};
use super::Keys;
use crate::actor::queue::{Bounds, QueueSender, Stamp, request_queue};
use crate::error::{Error, Result};
use crate::key::Within;
use crate::request::{
    Get, Invalidate, Operation, Panic, Progress, Reply, Request, Set, Stats as GetStats, Write,
};
use crate::stats::Stats;
use crate::value::Value;

struct Engine {
    actor: ActorRef<MemoryEngine>,
    queue: QueueSender,
    keys: Keys,
}

fn set(write: Write) -> Request {
    Set { write }.into_request(Reply::Nobody)
}

impl Engine {
    fn new() -> Self {
        let bounds = Bounds {
            length: 4096,
            bytes: 1 << 20,
            patience: Duration::from_secs(5),
        };
        let (sender, receiver) = request_queue(&bounds, Stamp::TimedWrites, &Handle::current());
        let actor = MemoryEngine::spawn(Setup {
            queue: receiver,
            capacity_bytes: 16 << 20,
            near: None,
            listeners: Arc::default(),
        });
        Self {
            actor,
            queue: sender,
            keys: Keys::new(),
        }
    }

    async fn set<D: AsRef<str>>(&self, key: &str, depends_on: impl IntoIterator<Item = D>) {
        self.queue
            .send(set(self.keys.write(key, depends_on)))
            .await
            .unwrap();
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let key = self.keys.key(key);
        self.queue.call().ask(Get { key }).await
    }

    async fn fault(&self, inside_the_table: bool) -> Result<()> {
        self.queue.call().ask(Panic { inside_the_table }).await
    }

    async fn stats(&self) -> Stats {
        self.queue.call().ask(GetStats {}).await.unwrap()
    }

    /// Sends without letting the engine run: what is sent so is served in one batch.
    fn enqueue<O: Operation>(&self, operation: O) -> impl Future<Output = Option<Result<O::Answer>>> {
        let (reply, answer) = Reply::new();
        let request = operation.into_request(reply);
        self.queue.try_send(request).expect("there is room");
        async { answer.await.ok() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_outside_the_table_costs_its_own_request_only() {
    let engine = Engine::new();
    engine.set("k", [""; 0]).await;
    for _ in 0..100 {
        assert!(matches!(engine.fault(false).await, Err(Error::Unavailable(_))));
        assert!(engine.get("k").await.unwrap().is_some());
    }
    let stats = engine.stats().await;
    assert_eq!((stats.entries, stats.resets, stats.hits), (Some(1), 0, 100));
}

#[tokio::test(start_paused = true)]
async fn a_fault_inside_the_table_drops_the_entries_and_is_counted() {
    let engine = Engine::new();
    for round in 1..=50 {
        engine.set("k", ["name"]).await;
        assert!(engine.get("k").await.unwrap().is_some());
        assert!(matches!(engine.fault(true).await, Err(Error::Unavailable(_))));
        assert_eq!(
            engine.get("k").await.unwrap(),
            None,
            "what may be torn is never served"
        );
        let stats = engine.stats().await;
        assert_eq!(
            (stats.entries, stats.bytes, stats.resets),
            (Some(0), Some(0), round)
        );
        assert_eq!(
            (stats.sets, stats.hits, stats.misses),
            (round, round, round),
            "the counters stay"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_batch_is_served_after_a_fault() {
    for inside_the_table in [false, true] {
        let engine = Engine::new();
        engine.set("old", [""; 0]).await;
        engine.stats().await;
        let key = |text: &str| engine.keys.key(text);
        let before = engine.enqueue(Get { key: key("old") });
        let fault = engine.enqueue(Panic { inside_the_table });
        engine
            .queue
            .try_send(set(engine.keys.write("new", [""; 0])))
            .unwrap();
        let old = engine.enqueue(Get { key: key("old") });
        let again = engine.enqueue(Panic {
            inside_the_table: false,
        });
        let new = engine.enqueue(Get { key: key("new") });
        assert!(before.await.unwrap().unwrap().is_some());
        assert!(fault.await.is_none(), "a request that failed has no answer");
        assert_eq!(old.await.unwrap().unwrap().is_some(), !inside_the_table);
        assert!(again.await.is_none());
        assert!(
            new.await.unwrap().unwrap().is_some(),
            "a write behind the fault is carried out"
        );
        assert_eq!(engine.stats().await.resets, u64::from(inside_the_table));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_does_not_lose_an_invalidation_under_way_unless_the_entries_are_gone() {
    for inside_the_table in [false, true] {
        let engine = Engine::new();
        for n in 0..2_000 {
            engine.set(&format!("k{n}"), ["name"]).await;
        }
        engine.stats().await;
        let names = vec![engine.keys.key("name")];
        let invalidated = engine.enqueue(Invalidate {
            within: Within::default(),
            names,
            progress: Progress::default(),
        });
        let fault = engine.enqueue(Panic { inside_the_table });
        assert!(fault.await.is_none());
        let invalidated = invalidated.await;
        let stats = engine.stats().await;
        assert_eq!((stats.entries, stats.bytes), (Some(0), Some(0)));
        if inside_the_table {
            assert!(
                invalidated.is_none(),
                "its caller learns that the outcome is unknown"
            );
        } else {
            assert_eq!(invalidated.unwrap().unwrap(), 2_000);
        }
        engine.set("k", ["name"]).await;
        let names = vec![engine.keys.key("name")];
        let again = engine
            .queue
            .call()
            .ask(Invalidate {
                within: Within::default(),
                names,
                progress: Progress::default(),
            })
            .await;
        assert_eq!(again.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_after_a_fault() {
    let engine = Engine::new();
    let expiring = |text: &str, millis| {
        let ttl = Some(Duration::from_millis(millis));
        set(Write {
            ttl,
            ..engine.keys.write(text, [""; 0])
        })
    };
    engine.queue.send(expiring("k", 100)).await.unwrap();
    engine.fault(false).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = engine.stats().await;
    assert_eq!(
        (stats.entries, stats.expired),
        (Some(0), Some(1)),
        "the alarm survives"
    );

    engine.queue.send(expiring("k", 60_000)).await.unwrap();
    engine.fault(true).await.unwrap_err();
    engine.queue.send(expiring("k", 100)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = engine.stats().await;
    assert_eq!(
        (stats.entries, stats.expired),
        (Some(0), Some(2)),
        "an alarm set before is no hindrance"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_the_engine_stops_leaves_nobody_waiting() {
    let engine = Engine::new();
    engine.stats().await;
    engine.actor.stop_gracefully().await.unwrap();
    let fault = engine.enqueue(Panic {
        inside_the_table: false,
    });
    let behind = engine.enqueue(GetStats {});
    assert!(fault.await.is_none());
    assert!(behind.await.is_some(), "what had entered the queue is served");
    engine.actor.wait_for_shutdown_with_result(|_| ()).await;
    assert!(matches!(engine.get("k").await, Err(Error::Closed)));
}

// Not in paused time, in which a slice of work never ends.
#[tokio::test]
async fn an_invalidation_is_answered_when_nothing_is_left_though_another_began_it() {
    let engine = Engine::new();
    for n in 0..20_000 {
        engine.set(&format!("k{n}"), ["name"]).await;
    }
    engine.stats().await;
    let invalidate = || {
        engine.enqueue(Invalidate {
            within: Within::default(),
            names: vec![engine.keys.key("name")],
            progress: Progress::default(),
        })
    };
    let (first, second) = (invalidate(), invalidate());
    let second = second.await.unwrap().unwrap();
    assert_eq!(
        engine.stats().await.entries,
        Some(0),
        "an acknowledged invalidation has removed everything"
    );
    assert_eq!(first.await.unwrap().unwrap() + second, 20_000);
}
