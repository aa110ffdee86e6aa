//! The root actor of one store: starts the other actors, watches them, and stops them.

use std::ops::ControlFlow;
use std::sync::Arc;

use kameo::Actor;
use kameo::actor::{ActorId, ActorRef, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible};
use tokio::sync::watch;

use crate::actor::queue::{QueueReceiver, QueueSender};
use crate::config::Config;
use crate::engine::{Crew, Member, RemovalLimits, Start};
use crate::engines;
use crate::events::{EndOfEvents, Listeners};
use crate::key::Namespace;
use crate::load::{self, Coordinator};
use crate::lock::{self, Scheduler};
use crate::meters::Meters;
use crate::near::NearWriter;

/// What a store is started with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) queue: QueueReceiver,
    pub(crate) ended: watch::Sender<()>,
    pub(crate) max_value_bytes: usize,
    /// Where the store is opened.
    pub(crate) namespace: Namespace,
    pub(crate) near: Option<NearWriter>,
    pub(crate) listeners: Arc<Listeners>,
    /// The queue's sending end, for actors that ask the engine themselves.
    pub(crate) sender: QueueSender,
    /// Whether locks are asked of the engine.
    pub(crate) engine_keeps_locks: bool,
    pub(crate) locks: lock::Ends,
    pub(crate) lock_bounds: lock::Bounds,
    pub(crate) loads: load::Ends,
    pub(crate) load_bounds: load::Bounds,
    pub(crate) meters: Meters,
}

/// Lives as long as the store's last handle. The engine ends by itself when the handles have gone
/// and their queue is empty; an actor that ends otherwise takes the store with it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// The actors of the store, in the order of their start.
    crew: Vec<Member>,
    /// Whether it has been stopped: its runtime may end before.
    stopped: bool,
    /// They end before `close` returns.
    meters: Meters,
    /// Dropped when every actor has ended, with the runtime at the latest. `close` waits for that.
    _ended: watch::Sender<()>,
    /// Ends what is told to listeners, after all who tell have ended.
    _end_of_events: EndOfEvents,
}

impl Actor for Supervisor {
    type Args = Plan;
    type Error = Infallible;

    async fn on_start(plan: Plan, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        let mut crew = Crew::new(myself);
        let start = Start {
            queue: plan.queue,
            go_compatible: plan.config.settings().go_compatible,
            max_value_bytes: plan.max_value_bytes,
            removals: RemovalLimits {
                keys: plan.config.settings().queue_invalidations,
                bytes: plan.config.settings().queue_bytes,
            },
            namespace: plan.namespace,
            near: plan.near,
            listeners: plan.listeners.clone(),
            meters: plan.meters.clone(),
        };
        let notifications = engines::start(plan.config, start, &mut crew).await;
        let scheduler = Scheduler::spawn(lock::Start {
            ends: plan.locks,
            engine: plan.engine_keeps_locks.then(|| plan.sender.clone()),
            notifications: notifications.locks,
            bounds: plan.lock_bounds,
            meters: plan.meters.clone(),
        });
        crew.add("lock scheduler", scheduler).await;
        let coordinator = Coordinator::spawn(load::Start {
            ends: plan.loads,
            engine: plan.sender,
            notifications: notifications.leases,
            bounds: plan.load_bounds,
        });
        crew.add("load coordinator", coordinator).await;
        Ok(Self {
            crew: crew.into_members(),
            stopped: false,
            meters: plan.meters,
            _ended: plan.ended,
            _end_of_events: EndOfEvents(plan.listeners),
        })
    }

    async fn on_link_died(
        &mut self,
        _: WeakActorRef<Self>,
        id: ActorId,
        reason: ActorStopReason,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        if !reason.is_normal() {
            let actor = self
                .crew
                .iter()
                .find(|member| member.id() == id)
                .map(Member::name);
            tracing::error!(
                actor,
                ?reason,
                "an actor of the store has ended: the store is closed"
            );
        }
        Ok(ControlFlow::Break(ActorStopReason::Normal))
    }

    /// Waits until locks and leases are released, and the engine has served its queue and ended.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Infallible> {
        self.stopped = true;
        // Leases and locks are given back through the engine, which was started first.
        for member in self.crew.iter().rev() {
            member.stop().await;
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.meters.end();
        if !self.stopped {
            tracing::info!("the runtime that opened the store has ended: the store is closed");
        }
    }
}
