//! The root actor of one store: starts the engine, watches it, and stops it.

use std::ops::ControlFlow;

use kameo::Actor;
use kameo::actor::{ActorId, ActorRef, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible};
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::config::EngineConfig;
use crate::lane::{LaneReceiver, LaneSender};
use crate::load::{self, Coordinator};
use crate::lock::{self, Scheduler};
use crate::memory::{self, MemoryEngine};
use crate::redis::{self, Generation, RedisEngine, Subscriber};
use crate::request::Watcher;

/// How much news may wait for the actor that it is for.
const NEWS: usize = 1024;

/// What a store is started with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) engine: EngineConfig,
    pub(crate) lane: LaneReceiver,
    pub(crate) ended: watch::Sender<()>,
    pub(crate) go_compatible: bool,
    /// The lane's sending end, for those who ask the engine on their own account.
    pub(crate) sender: LaneSender,
    pub(crate) locks: lock::Ends,
    pub(crate) lock_bounds: lock::Bounds,
    pub(crate) loads: load::Ends,
    pub(crate) load_bounds: load::Bounds,
}

/// The one engine of a store.
#[derive(Debug)]
enum Engine {
    Memory(ActorRef<MemoryEngine>),
    Redis(ActorRef<RedisEngine>),
}

/// Lives as long as the store's last handle. The engine ends by itself when the handles have gone
/// and their lane is empty; an engine that ends otherwise takes the store with it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    engine: Engine,
    scheduler: ActorRef<Scheduler>,
    coordinator: ActorRef<Coordinator>,
    /// Tells of what other processes do. Without one there are none.
    subscriber: Option<ActorRef<Subscriber>>,
    /// Whether it has been stopped: its runtime may end before.
    stopped: bool,
    /// Dropped when all has ended, be it with the runtime: those who close the store wait for that.
    _ended: watch::Sender<()>,
}

impl Actor for Supervisor {
    type Args = Plan;
    type Error = Infallible;

    async fn on_start(plan: Plan, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        let Plan {
            engine,
            lane,
            go_compatible,
            ended,
            sender,
            locks,
            lock_bounds,
            loads,
            load_bounds,
        } = plan;
        let (mut keeper, mut subscriber) = (None, None);
        let (mut lock_watcher, mut lease_watcher) = (None, None);
        let engine = match engine {
            EngineConfig::Memory { capacity_bytes } => {
                let engine = MemoryEngine::spawn(memory::Start { lane, capacity_bytes });
                myself.link(&engine).await;
                tracing::debug!(capacity_bytes, "the memory engine has started");
                Engine::Memory(engine)
            }
            EngineConfig::Redis(options) => {
                let generation = Generation::first();
                let (actor, watchers) = watch(options.clone(), generation.clone(), go_compatible);
                myself.link(&actor).await;
                subscriber = Some(actor);
                (lock_watcher, lease_watcher) = (Some(watchers.locks), Some(watchers.leases));
                keeper = Some(sender.clone());
                let engine = RedisEngine::spawn(redis::Start {
                    lane,
                    options,
                    generation,
                    go_compatible,
                });
                myself.link(&engine).await;
                tracing::debug!("the Redis engine has started");
                Engine::Redis(engine)
            }
        };
        let scheduler = Scheduler::spawn(lock::Start {
            ends: locks,
            engine: keeper,
            watcher: lock_watcher,
            bounds: lock_bounds,
        });
        myself.link(&scheduler).await;
        let coordinator = Coordinator::spawn(load::Start {
            ends: loads,
            engine: sender,
            watcher: lease_watcher,
            bounds: load_bounds,
        });
        myself.link(&coordinator).await;
        Ok(Self {
            engine,
            scheduler,
            coordinator,
            subscriber,
            stopped: false,
            _ended: ended,
        })
    }

    async fn on_link_died(
        &mut self,
        _: WeakActorRef<Self>,
        _: ActorId,
        reason: ActorStopReason,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        if !reason.is_normal() {
            tracing::error!(?reason, "the engine has ended: the store is closed");
        }
        Ok(ControlFlow::Break(ActorStopReason::Normal))
    }

    /// Waits until what is held is released, and the engine has served its lane and ended.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Infallible> {
        self.stopped = true;
        // Leases and locks are given back through the engine: it goes last.
        stop(&self.coordinator).await;
        stop(&self.scheduler).await;
        if let Some(subscriber) = &self.subscriber {
            stop(subscriber).await;
        }
        match &self.engine {
            Engine::Memory(engine) => stop(engine).await,
            Engine::Redis(engine) => stop(engine).await,
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.stopped {
            tracing::info!("the runtime that opened the store has ended: the store is closed");
        }
    }
}

/// How each of those who wait for other processes learns of them.
struct Watchers {
    locks: Watcher,
    leases: Watcher,
}

/// Starts what tells of locks and leases that other processes end: one connection for both.
fn watch(
    options: Box<crate::config::RedisOptions>,
    generation: Generation,
    go_compatible: bool,
) -> (ActorRef<Subscriber>, Watchers) {
    let (watch, watches) = mpsc::unbounded_channel();
    let (locks, lock_news) = mpsc::channel(NEWS);
    let (leases, lease_news) = mpsc::channel(NEWS);
    let subscriber = Subscriber::spawn(redis::Subscriptions {
        options,
        generation,
        watches,
        locks,
        leases,
    });
    let watchers = Watchers {
        locks: Watcher {
            watch: watch.clone(),
            news: lock_news,
            beside_pollers: go_compatible,
            may_not_announce: redis::MAY_NOT_PUBLISH,
        },
        leases: Watcher {
            watch,
            news: lease_news,
            beside_pollers: false,
            may_not_announce: redis::MAY_NOT_PUBLISH,
        },
    };
    (subscriber, watchers)
}

async fn stop<A: Actor>(engine: &ActorRef<A>) {
    // An engine that has ended already needs no telling.
    let _ = engine.stop_gracefully().await;
    engine.wait_for_shutdown_with_result(|_| ()).await;
}
