//! A scheduler whose engine and whose notifications are the test's.

use kameo::actor::Spawn;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::*;
use crate::actor::queue::{self, QueueReceiver, Stamp};
use crate::key::{KeyMaker, Namespace};
use crate::lock::{Handle, channel};
use crate::request::{Asked, EntryRequest, Lock, Request};
use crate::spans::Spans;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const TTL: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) handle: Handle,
    pub(super) actor: ActorRef<Scheduler>,
    pub(super) keys: KeyMaker,
    pub(super) engine: QueueReceiver,
    pub(super) notifications: mpsc::Sender<Notification>,
    pub(super) subscriptions: mpsc::UnboundedReceiver<Subscription>,
}

pub(super) fn bounds() -> Bounds {
    Bounds { each: 10, all: 10 }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_room(16)
    }

    /// Its engine's queue has room for so many.
    pub(super) fn with_room(length: usize) -> Self {
        let (handle, ends) = channel(16, PATIENCE, tokio::runtime::Handle::current(), Spans::default());
        let room = queue::Bounds {
            length,
            bytes: 1 << 20,
            patience: PATIENCE,
        };
        let (sender, engine) = queue::request_queue(&room, Stamp::All, &tokio::runtime::Handle::current());
        let (subscribe, subscriptions) = mpsc::unbounded_channel();
        let (told, received) = mpsc::channel(16);
        let notifications = Notifications {
            subscriptions: subscribe,
            received,
            beside_pollers: false,
            may_not_announce: "",
        };
        let actor = Scheduler::spawn(Start {
            meters: Meters::default(),
            ends,
            engine: Some(sender),
            notifications: Some(notifications),
            bounds: bounds(),
        });
        Self {
            handle,
            actor,
            keys: KeyMaker::new(100, false),
            engine,
            notifications: told,
            subscriptions,
        }
    }

    pub(super) fn lock(&self, wait: Duration) -> JoinHandle<Result<LockGuard>> {
        let wish = wish(&self.keys, wait);
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.lock(wish).await })
    }

    /// The next question.
    pub(super) async fn asked(&mut self) -> Asked<Lock> {
        poll_fn(|cx| self.engine.poll_batch(cx, 1)).await;
        match self.engine.next().unwrap().request {
            Request::Entry(EntryRequest::Lock(asked)) => asked,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is asked for a while.
    pub(super) async fn is_silent(&mut self) {
        let asked = timeout(100 * MS, self.asked()).await;
        assert!(asked.is_err(), "{asked:?}");
    }

    /// The scheduler has taken in all that it was told, and no time has passed.
    pub(super) async fn is_idle(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn has_subscribed(&mut self) -> Instant {
        assert!(matches!(
            self.subscriptions.recv().await,
            Some(Subscription::Begin(_))
        ));
        Instant::now()
    }

    pub(super) async fn tell(&self, notification: Notification) {
        self.notifications.send(notification).await.unwrap();
    }
}

pub(super) fn wish(keys: &KeyMaker, wait: Duration) -> Wish {
    Wish {
        key: keys.lock(&Namespace::default(), "k").unwrap(),
        prefix: 0,
        ttl: TTL,
        until: (!wait.is_zero()).then(|| Instant::now() + wait),
        secret: Secret::random().unwrap(),
        own_secret: false,
        by_secret: false,
        renew: None,
        keep: Arc::new(()),
    }
}

pub(super) fn granted(token: u64) -> Result<LockAnswer> {
    let (renewed, announces) = (false, true);
    Ok(LockAnswer::Granted {
        token,
        renewed,
        announces,
    })
}

pub(super) fn busy(token: u64) -> Result<LockAnswer> {
    Ok(LockAnswer::Busy {
        remaining: TTL,
        token,
        announces: true,
    })
}

pub(super) fn released(token: u64) -> Notification {
    Notification::Released {
        key: "k".into(),
        token: Some(token),
    }
}

pub(super) fn subscribed(since: Instant) -> Notification {
    Notification::Subscribed {
        key: "k".into(),
        since,
    }
}

/// How often the engine is asked within a second, and answers that the lock is busy.
pub(super) async fn questions(world: &mut World, announces: bool) -> u32 {
    let end = Instant::now() + Duration::from_secs(1);
    let mut count = 0;
    while let Ok(asked) = tokio::time::timeout_at(end, world.asked()).await {
        asked.reply.send(Ok(LockAnswer::Busy {
            remaining: TTL,
            token: 7,
            announces,
        }));
        count += 1;
    }
    count
}
