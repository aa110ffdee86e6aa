//! The seam between a store and its engine: how an engine is started, and what the rest of the store may know of it.
//!
//! [`Profile`] holds all that handles, loads and locks have to know. They never ask which engine it is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kameo::Actor;
use kameo::actor::{ActorId, ActorRef};

use crate::actor::queue::{QueueReceiver, Stamp};
use crate::config::EngineKind;
use crate::events::Listeners;
use crate::key::Namespace;
use crate::meters::Meters;
use crate::near::NearWriter;
use crate::request::Notifications;

/// What a store has to know of its engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// What [`Store::engine`](crate::Store::engine) returns.
    pub(crate) kind: EngineKind,
    /// A write is complete once it is in the request queue, so that it needs no reply.
    pub(crate) completes_when_queued: bool,
    /// Requests are carried out in the order in which they are sent, whatever their keys are.
    pub(crate) keeps_order: bool,
    /// Which time a request carries, and so who keeps its deadline.
    pub(crate) stamp: Stamp,
    /// The most bytes that entries may hold. `None` if the engine has no such bound of ours.
    pub(crate) capacity_bytes: Option<usize>,
    /// The engine keeps the locks. If it does not, they are all in this process, and the lock scheduler keeps them.
    pub(crate) keeps_locks: bool,
    /// The engine writes a near cache of at most so many bytes. `None` if it has none.
    pub(crate) near_bytes: Option<usize>,
}

/// A configured engine that has not been started.
pub(crate) trait Engine: Send {
    fn profile(&self) -> Profile;

    /// Starts the engine's actors as members of `crew`. The actor that serves the request queue is added first, so
    /// that it is stopped last.
    fn start<S: Actor>(
        self,
        start: Start,
        crew: &mut Crew<S>,
    ) -> impl Future<Output = EngineNotifications> + Send;
}

/// What an engine is started with.
#[derive(Debug)]
pub(crate) struct Start {
    /// The engine's end of the request queue.
    pub(crate) queue: QueueReceiver,
    /// The stored data is shared with go-cachestore.
    pub(crate) go_compatible: bool,
    pub(crate) max_value_bytes: usize,
    pub(crate) removals: RemovalLimits,
    /// Where the store was opened.
    pub(crate) namespace: Namespace,
    /// The engine's end of the near cache, if its profile asks for one.
    pub(crate) near: Option<NearWriter>,
    /// Those who hear of what happens to entries and connections.
    pub(crate) listeners: Arc<Listeners>,
    /// What the engine tells of its connections.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only the Redis engine has connections")
    )]
    pub(crate) meters: Meters,
}

/// How many removals an engine keeps while it has no connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemovalLimits {
    /// The most keys and names. With 0, nothing is kept.
    pub(crate) keys: usize,
    /// The most bytes that they take.
    pub(crate) bytes: usize,
}

/// How the lock scheduler and the load coordinator learn of what other processes do. `None` if there are none.
#[derive(Debug, Default)]
pub(crate) struct EngineNotifications {
    pub(crate) locks: Option<Notifications>,
    pub(crate) leases: Option<Notifications>,
}

/// The actors of a store, each linked to its supervisor `S`. They are stopped in the reverse order of their start.
pub(crate) struct Crew<S: Actor> {
    supervisor: ActorRef<S>,
    members: Vec<Member>,
}

/// An actor of a store, of whatever type.
pub(crate) struct Member {
    name: &'static str,
    id: ActorId,
    actor: Box<dyn Stop>,
}

impl<S: Actor> Crew<S> {
    pub(crate) fn new(supervisor: ActorRef<S>) -> Self {
        Self {
            supervisor,
            members: Vec::new(),
        }
    }

    /// Links an actor to the supervisor. `name` is for the log.
    pub(crate) async fn add<A: Actor>(&mut self, name: &'static str, actor: ActorRef<A>) {
        self.supervisor.link(&actor).await;
        self.members.push(Member {
            name,
            id: actor.id(),
            actor: Box::new(actor),
        });
    }

    /// The members, without the reference to their supervisor, which would keep it alive.
    pub(crate) fn into_members(self) -> Vec<Member> {
        self.members
    }
}

impl Member {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    /// Stops the actor, and waits until it has ended.
    pub(crate) async fn stop(&self) {
        self.actor.stop().await;
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

trait Stop: Send + Sync {
    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<A: Actor> Stop for ActorRef<A> {
    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            // An actor that has ended already needs no telling.
            let _ = self.stop_gracefully().await;
            self.wait_for_shutdown_with_result(|_| ()).await;
        })
    }
}
