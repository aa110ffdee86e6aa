//! What a coordinator that stops asks its engine for, on a paused clock.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Wake, Waker};

use kameo::actor::Spawn;
use tokio::runtime;

use super::*;
use crate::actor::queue::{self, QueueReceiver, Stamp};
use crate::key::{KeyMaker, Namespace};
use crate::load::policy::Seen;
use crate::load::{Handle, Setup, Wish, channel};
use crate::meters::Meters;
use crate::request::{Asked as AskedOfEngine, EntryRequest, Request};
use crate::spans::{Cause as CauseOfLoad, Spans};
use crate::value::Value;

const PATIENCE: Duration = Duration::from_secs(2);

/// A coordinator whose engine is the test's.
struct World {
    handle: Handle,
    actor: ActorRef<Coordinator>,
    keys: KeyMaker,
    engine: QueueReceiver,
}

impl World {
    /// The queue of its engine has room for so many.
    fn with_room(length: usize) -> Self {
        let room = queue::Bounds {
            length,
            bytes: 1 << 20,
            patience: PATIENCE,
        };
        let home = runtime::Handle::current();
        let (sender, engine) = queue::request_queue(&room, Stamp::TimedWrites, &home);
        let bounds = Bounds {
            loads: 10,
            callers: 10,
        };
        let (handle, ends) = channel(Setup {
            length: 10,
            patience: PATIENCE,
            bounds,
            bypasses: 1,
            engine: sender.clone(),
            home,
            meters: Meters::default(),
        });
        let actor = Coordinator::spawn(Start {
            ends,
            engine: sender,
            notifications: None,
            bounds,
        });
        Self {
            handle,
            actor,
            keys: KeyMaker::new(100, false),
            engine,
        }
    }

    fn key(&self, key: &str) -> Key {
        self.keys.key(&Namespace::default(), key).unwrap()
    }

    /// Loads a key, for ever.
    fn load(&self, key: &str) {
        let (unused, _) = oneshot::channel();
        tokio::spawn(self.call(key, unused));
    }

    /// A call that loads a key, for ever.
    fn call(
        &self,
        key: &str,
        unused: oneshot::Sender<AnyLoader>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let wish = Wish {
            key: self.key(key),
            seen: Seen::Nothing,
            has_candidate: false,
        };
        let work = Work {
            names: Names::default(),
            timeout: Duration::from_secs(60),
            retry_after: Duration::ZERO,
            loader: AnyLoader::new(false, CauseOfLoad::new(&Spans::default(), None), |_, _| {
                std::future::pending()
            }),
            unused,
        };
        let handle = self.handle.clone();
        Box::pin(async move {
            for mut waiting in handle.load([wish], [], work).await.unwrap() {
                waiting.answer().await;
            }
        })
    }

    /// The next question; `None` if there is none for a while.
    async fn asked(&mut self) -> Option<AskedOfEngine<Lease>> {
        let batch = poll_fn(|cx| self.engine.poll_batch(cx, 1));
        timeout(PATIENCE / 4, batch).await.ok()?;
        match self.engine.next()?.request {
            Request::Entry(EntryRequest::Lease(asked)) => Some(asked),
            other => panic!("{other:?}"),
        }
    }

    async fn takes(&mut self) -> AskedOfEngine<Lease> {
        let asked = self.asked().await.unwrap();
        assert!(
            matches!(*asked.operation.step, LeaseAction::Take { .. }),
            "{asked:?}"
        );
        asked
    }

    /// The keys whose leases are ended from now on, sorted.
    async fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        while let Some(asked) = self.asked().await {
            if let LeaseAction::End { key, .. } = &*asked.operation.step {
                ended.push(key.as_str().to_owned());
            }
            asked.reply.send(Ok(LeaseAnswer::Ended));
        }
        ended.sort_unstable();
        ended
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_asked_for_is_ended_behind_the_question() {
    let mut world = World::with_room(16);
    world.load("k");
    let question = world.takes().await;
    world.actor.stop_gracefully().await.unwrap();
    assert_eq!(world.ended().await, ["k"]);
    drop(question);
}

#[tokio::test(start_paused = true)]
async fn leases_are_ended_that_find_no_room_in_the_queue() {
    let mut world = World::with_room(1);
    for key in ["a", "b", "c"] {
        world.load(key);
        let present = None;
        world.takes().await.reply.send(Ok(LeaseAnswer::Taken { present }));
    }
    tokio::task::yield_now().await;
    world.actor.stop_gracefully().await.unwrap();
    assert_eq!(world.ended().await, ["a", "b", "c"]);
}

/// A caller has left whose read may have been given the lease, and the coordinator has not heard of it.
#[tokio::test(start_paused = true)]
async fn the_lease_of_an_abandoned_read_is_ended() {
    let mut world = World::with_room(1);
    // The second has no room in the engine's queue: what comes now waits in the inbox.
    for key in ["a", "b"] {
        world.load(key);
        tokio::task::yield_now().await;
    }
    let (load, key) = (world.handle.number(), world.key("left"));
    let names = Names::default();
    world
        .handle
        .shared
        .inbox
        .notify(Notice::Abandoned { load, key, names });
    world.actor.stop_gracefully().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(world.ended().await, ["a", "b", "left"]);
}

/// A waker is the code of its caller, and may panic. All leases are ended all the same.
#[tokio::test(start_paused = true)]
async fn leases_are_ended_before_callers_are_told_of_the_end() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a fault of a caller's waker");
        }
    }
    let waker = Waker::from(Arc::new(Panics));
    for bad in ["a", "b", "c"] {
        let mut world = World::with_room(1);
        let mut calls = Vec::new();
        // The call of "c" waits in the inbox, because the engine's queue has no room for the lease of "b".
        for key in ["a", "b", "c"] {
            let (unused, _) = oneshot::channel();
            let mut call = world.call(key, unused);
            let waker = if key == bad { &waker } else { Waker::noop() };
            assert!(call.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            calls.push(call);
            tokio::task::yield_now().await;
        }
        world.actor.stop_gracefully().await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(world.ended().await, ["a", "b"], "the waker of {bad} panics");
    }
}

/// A caller that looks again may need its loader before it gives way to the coordinator.
#[tokio::test(start_paused = true)]
async fn a_loader_is_back_before_its_caller_is_told_to_look_again() {
    struct Looks {
        back: Mutex<oneshot::Receiver<AnyLoader>>,
        found: Mutex<Option<bool>>,
    }
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let is_back = self.back.lock().unwrap().try_recv().is_ok();
            self.found.lock().unwrap().get_or_insert(is_back);
        }
    }
    let mut world = World::with_room(1);
    let (unused, back) = oneshot::channel();
    let looks = Arc::new(Looks {
        back: Mutex::new(back),
        found: Mutex::new(None),
    });
    let waker = Waker::from(looks.clone());
    let mut call = world.call("k", unused);
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let present = Some(Aged {
        value: Value::from("stored meanwhile"),
        remaining: None,
    });
    world.takes().await.reply.send(Ok(LeaseAnswer::Taken { present }));
    assert_eq!(world.ended().await, ["k"]);
    assert_eq!(*looks.found.lock().unwrap(), Some(true));
}
