//! What the Redis engine is to a store.

use std::sync::Arc;

use kameo::Actor;
use kameo::actor::Spawn;
use tokio::sync::mpsc;

use super::cluster::{Directory, SlotOwner};
use super::engine::{RedisEngine, Setup};
use super::generation::Generation;
use super::layout::Layout;
use super::lock::MAY_NOT_PUBLISH;
use super::resolver::Resolver;
use super::sentinel::{Discovery, Watcher, WatcherStart};
use super::spread::{self, SpreadEngine};
use super::subscriber::{Subscriber, SubscriberStart};
use super::tracker::Tracker;
use crate::actor::queue::Stamp;
use crate::config::{EngineKind, RedisOptions, Target};
use crate::engine::{Crew, Engine, EngineNotifications, Profile, Start};
use crate::events::Listeners;
use crate::near::NearWriter;
use crate::request::Notifications;

/// How many notifications may wait for an actor.
const NOTIFICATIONS: usize = 1024;

/// The Redis engine, configured.
#[derive(Debug)]
pub(crate) struct Redis {
    options: Box<RedisOptions>,
}

impl Redis {
    pub(crate) fn new(options: Box<RedisOptions>) -> Self {
        Self { options }
    }
}

impl Engine for Redis {
    fn profile(&self) -> Profile {
        Profile {
            kind: EngineKind::Redis,
            completes_when_queued: false,
            // Connections do not wait for each other.
            keeps_order: self.options.connections == 1 && !self.options.target.is_spread(),
            stamp: Stamp::All,
            capacity_bytes: None,
            keeps_locks: true,
            near_bytes: self.options.near_bytes(),
        }
    }

    async fn start<S: Actor>(self, start: Start, crew: &mut Crew<S>) -> EngineNotifications {
        if let Target::Cluster(cluster) = &self.options.target
            && self.options.target.is_spread()
        {
            let directory = Directory::new(cluster.clone(), (*self.options).clone());
            return start_spread(self.options, directory, start, crew).await;
        }
        let layout = Layout::of(&self.options.target.root(), start.go_compatible);
        let generation = Generation::first();
        let discovery =
            Discovery::new(&self.options, generation.clone(), start.listeners.clone()).map(Arc::new);
        let owner = SlotOwner::new(&self.options, generation.clone(), start.listeners.clone());
        let resolver = match (&discovery, owner) {
            (Some(discovery), _) => Resolver::sentinel(generation, discovery.clone()),
            (None, Some(owner)) => Resolver::slot(generation, Arc::new(owner)),
            (None, None) => Resolver::fixed(generation),
        };
        let engine = RedisEngine::spawn(Setup {
            queue: start.queue,
            options: self.options.clone(),
            resolver: resolver.clone(),
            max_value_bytes: start.max_value_bytes,
            removals: start.removals,
            namespace: start.namespace,
            layout: layout.clone(),
            tracker: tracker(start.near, &self.options, &start.listeners),
            listeners: start.listeners,
            meters: start.meters,
        });
        crew.add("Redis engine", engine).await;
        let notifications = subscriber(self.options, layout, resolver, start.go_compatible, crew).await;
        if let Some(discovery) = discovery {
            let watcher = Watcher::spawn(WatcherStart { discovery });
            crew.add("Redis watcher", watcher).await;
        }
        tracing::debug!("the Redis engine has started");
        notifications
    }
}

/// Starts the engine of a store that is spread over all nodes of a cluster.
async fn start_spread<S: Actor>(
    options: Box<RedisOptions>,
    directory: Directory,
    start: Start,
    crew: &mut Crew<S>,
) -> EngineNotifications {
    let (layout, directory, generation) = (Layout::spread(), Arc::new(directory), Generation::first());
    // A message that is published on one node reaches all of them.
    let resolver = Resolver::any_node(generation.clone(), directory.clone());
    let engine = SpreadEngine::spawn(spread::Setup {
        queue: start.queue,
        options: options.clone(),
        directory,
        tracker: tracker(start.near, &options, &start.listeners),
        max_value_bytes: start.max_value_bytes,
        layout: layout.clone(),
        listeners: start.listeners,
        meters: start.meters,
        generation,
    });
    crew.add("Redis engine", engine).await;
    let notifications = subscriber(options, layout, resolver, false, crew).await;
    tracing::debug!("the Redis engine has started over all nodes of a cluster");
    notifications
}

/// What writes the near cache, if there is one.
fn tracker(near: Option<NearWriter>, options: &RedisOptions, listeners: &Arc<Listeners>) -> Option<Tracker> {
    let max_age = options.near_cache.greatest_age();
    near.map(|writer| Tracker::new(writer, max_age, listeners.clone()))
}

/// Starts the subscriber.
async fn subscriber<S: Actor>(
    options: Box<RedisOptions>,
    layout: Layout,
    resolver: Resolver,
    go_compatible: bool,
    crew: &mut Crew<S>,
) -> EngineNotifications {
    let (subscribe, subscriptions) = mpsc::unbounded_channel();
    let (locks, lock_notifications) = mpsc::channel(NOTIFICATIONS);
    let (leases, lease_notifications) = mpsc::channel(NOTIFICATIONS);
    let subscriber = Subscriber::spawn(SubscriberStart {
        options,
        layout,
        resolver,
        subscriptions,
        locks,
        leases,
    });
    crew.add("Redis subscriber", subscriber).await;
    EngineNotifications {
        locks: Some(Notifications {
            subscriptions: subscribe.clone(),
            received: lock_notifications,
            beside_pollers: go_compatible,
            may_not_announce: MAY_NOT_PUBLISH,
        }),
        leases: Some(Notifications {
            subscriptions: subscribe,
            received: lease_notifications,
            beside_pollers: false,
            may_not_announce: MAY_NOT_PUBLISH,
        }),
    }
}
