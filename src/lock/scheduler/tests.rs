//! The scheduler between an engine and notifications that a test makes up, on a paused clock.

mod switched;
mod world;

use kameo::actor::Spawn;
use kameo::message::Message;
use tokio::sync::mpsc;

use self::world::*;
use super::*;
use crate::error::Cause;
use crate::key::{KeyMaker, Namespace};
use crate::lock::{LockOutcome, channel};
use crate::spans::Spans;

/// A lingering channel is faster than the engine's answer.
#[tokio::test(start_paused = true)]
async fn notifications_that_overtake_a_refusal_are_not_lost() {
    let mut world = World::new();
    let waiter = world.lock(TTL);
    let first = world.asked().await;
    world.tell(released(7)).await;
    tokio::task::yield_now().await;
    first.reply.send(busy(7));
    let second = timeout(MS, world.asked()).await.expect("the head asks again");
    second.reply.send(granted(8));
    assert_eq!(waiter.await.unwrap().unwrap().fencing_token(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_head_refused_after_the_subscription_began_does_not_ask_again() {
    let mut world = World::new();
    let since = Instant::now();
    tokio::time::advance(MS).await;
    let waiter = world.lock(TTL);
    world.asked().await.reply.send(busy(7));
    world.has_subscribed().await;
    let key: Arc<str> = "k".into();
    world
        .tell(Notification::Subscribed {
            key: key.clone(),
            since,
        })
        .await;
    world.is_silent().await;
    // A release from before it was refused.
    world.tell(released(6)).await;
    world.is_silent().await;
    // There was a gap.
    let since = Instant::now();
    world.tell(Notification::Subscribed { key, since }).await;
    timeout(MS, world.asked()).await.unwrap().reply.send(busy(7));
    world
        .tell(Notification::Missed {
            lost: false,
            switched: false,
        })
        .await;
    timeout(MS, world.asked()).await.unwrap().reply.send(busy(7));
    world.tell(released(7)).await;
    timeout(MS, world.asked()).await.unwrap().reply.send(granted(8));
    drop(waiter.await.unwrap().unwrap());
}

/// Moves the clock, and runs no task meanwhile: as if they all had been kept from running.
fn pass_unnoticed(time: Duration) {
    let mut advance = std::pin::pin!(tokio::time::advance(time));
    let mut nobody = Context::from_waker(std::task::Waker::noop());
    assert!(advance.as_mut().poll(&mut nobody).is_pending());
}

/// The scheduler learns of its deadline and of a release in one turn. The answer to its last question decides.
#[tokio::test(start_paused = true)]
async fn a_waiter_asks_once_more_at_its_deadline() {
    let mut world = World::new();
    let (late, next) = (world.lock(10 * MS), world.lock(TTL));
    world.asked().await.reply.send(busy(7));
    world.has_subscribed().await;
    pass_unnoticed(10 * MS);
    world.notifications.try_send(released(7)).unwrap();
    world.asked().await.reply.send(busy(8));
    world.asked().await.reply.send(granted(9));
    let refused = late.await.unwrap();
    assert!(matches!(refused, Err(Error::LockHeld)), "{refused:?}");
    assert_eq!(next.await.unwrap().unwrap().fencing_token(), 9);
    // One who waits alone is granted by it.
    let waiter = world.lock(10 * MS);
    world.asked().await.reply.send(busy(9));
    world.asked().await.reply.send(granted(10));
    assert_eq!(waiter.await.unwrap().unwrap().fencing_token(), 10);
}

/// What was lost is released a second time, but a stop does not wait a second time.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_as_long_as_one_request_may_take() {
    let mut world = World::new();
    let waiter = world.lock(TTL);
    world.asked().await.reply.send(granted(1));
    let guard = waiter.await.unwrap().unwrap();
    let waiter = world.lock(TTL);
    let asked = world.asked().await;
    world.actor.stop_gracefully().await.unwrap();
    let actor = world.actor.clone();
    // As an engine whose server is silent.
    let engine = tokio::spawn(async move {
        loop {
            let request = world.asked().await;
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                request.reply.send(Err(Error::OutcomeUnknown(Cause::new(Silent))));
            });
        }
    });
    let ended = timeout(PATIENCE + 2 * GRACE, actor.wait_for_shutdown_with_result(|_| ()));
    ended.await.expect("it ends in time");
    engine.abort();
    drop(asked);
    assert!(matches!(waiter.await.unwrap(), Err(Error::Closed)));
    assert_eq!(guard.remaining(), Duration::ZERO);
}

#[derive(Debug, thiserror::Error)]
#[error("silent")]
struct Silent;

/// An actor that passes on what it is told.
struct Listener(mpsc::UnboundedSender<Result<LockGuard>>);

impl Actor for Listener {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(listener: Self, _: ActorRef<Self>) -> std::result::Result<Self, Infallible> {
        Ok(listener)
    }
}

impl Message<LockOutcome> for Listener {
    type Reply = ();

    async fn handle(&mut self, outcome: LockOutcome, _: &mut kameo::message::Context<Self, ()>) {
        self.0.send(outcome.result).unwrap();
    }
}

/// Whatever else is in the queue when the store closes.
#[tokio::test(start_paused = true)]
async fn all_in_the_queue_are_told_of_the_end() {
    let world = World::with_room(1);
    let (sender, mut told) = mpsc::unbounded_channel();
    let listener = Listener::spawn(Listener(sender));
    listener.wait_for_startup().await;
    // With one question in the engine's queue and one that has no room there, the others wait in ours.
    let steps = (0..3).map(|_| {
        let key = world.keys.lock(&Namespace::default(), "k").unwrap();
        let handle = world.handle.clone();
        tokio::spawn(async move { handle.step(key, LockAction::Info).await })
    });
    let steps: Vec<_> = steps.collect();
    tokio::task::yield_now().await;
    world.handle.lock_for(
        wish(&world.keys, TTL),
        "k".to_owned(),
        listener.clone().recipient(),
    );
    tokio::task::yield_now().await;
    world.actor.stop_gracefully().await.unwrap();
    for step in steps {
        let answer = step.await.unwrap();
        assert!(answer.is_err(), "{answer:?}");
    }
    let outcome = timeout(MS, told.recv()).await.expect("the actor is told");
    assert!(matches!(outcome, Some(Err(Error::Closed))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn locks_of_this_process_are_still_held_after_a_panic() {
    let (handle, ends) = channel(16, PATIENCE, tokio::runtime::Handle::current(), Spans::default());
    let keys = KeyMaker::new(100, false);
    let _actor = Scheduler::spawn(Start {
        meters: Meters::default(),
        ends,
        engine: None,
        notifications: None,
        bounds: bounds(),
    });
    let guard = handle.lock(wish(&keys, Duration::ZERO)).await.unwrap();
    let waiter = tokio::spawn({
        let (handle, wish) = (handle.clone(), wish(&keys, TTL));
        async move { handle.lock(wish).await }
    });
    tokio::task::yield_now().await;
    handle.0.inbox.call(Command::Panic, || {}).await.unwrap();
    let refused = handle.lock(wish(&keys, Duration::ZERO)).await;
    assert!(matches!(refused, Err(Error::LockHeld)), "{refused:?}");
    assert!(guard.remaining() > TTL / 2 && !waiter.is_finished());
    let token = guard.fencing_token();
    assert_eq!(guard.release().await.unwrap(), Release::Released);
    assert!(waiter.await.unwrap().unwrap().fencing_token() > token);
}

#[tokio::test(start_paused = true)]
async fn a_head_polls_unless_it_would_hear_of_the_release() {
    let mut world = World::new();
    let waiter = world.lock(TTL);
    assert!((20..=41).contains(&questions(&mut world, true).await), "not yet");
    world.tell(subscribed(Instant::now())).await;
    // Twice if it was asking already when it was told.
    assert!(
        (1..=2).contains(&questions(&mut world, true).await),
        "what it may have missed"
    );
    assert_eq!(questions(&mut world, true).await, 0);
    world.tell(Notification::Lost).await;
    assert!(
        (20..=41).contains(&questions(&mut world, true).await),
        "the connection is lost"
    );
    world.tell(subscribed(Instant::now())).await;
    assert!(
        (20..=41).contains(&questions(&mut world, false).await),
        "the holder is silent"
    );
    // An overflow hides which of both was told last.
    world
        .tell(Notification::Missed {
            lost: false,
            switched: false,
        })
        .await;
    assert!((1..=2).contains(&questions(&mut world, true).await));
    world
        .tell(Notification::Missed {
            lost: true,
            switched: false,
        })
        .await;
    assert!((20..=41).contains(&questions(&mut world, true).await));
    waiter.abort();
}

/// A channel that lingers is confirmed after the refusal, for a time before it.
#[tokio::test(start_paused = true)]
async fn a_head_that_missed_nothing_stops_to_poll() {
    let mut world = World::new();
    let since = Instant::now();
    tokio::time::advance(MS).await;
    let waiter = world.lock(TTL);
    world.asked().await.reply.send(busy(7));
    world.has_subscribed().await;
    world.tell(subscribed(since)).await;
    assert_eq!(questions(&mut world, true).await, 0);
    world.tell(released(7)).await;
    timeout(MS, world.asked()).await.unwrap().reply.send(granted(8));
    drop(waiter.await.unwrap().unwrap());
}

/// Its pauses get longer, up to a second, and a server that works again is noticed.
#[tokio::test(start_paused = true)]
async fn a_waiter_asks_a_failing_engine_ever_more_seldom() {
    let mut world = World::new();
    let waiter = world.lock(TTL);
    let end = Instant::now() + Duration::from_secs(10);
    let mut count = 0;
    while let Ok(asked) = tokio::time::timeout_at(end, world.asked()).await {
        asked.reply.send(Err(Error::Unavailable(Cause::new(Silent))));
        count += 1;
    }
    assert!((10..=20).contains(&count), "{count}");
    timeout(Duration::from_secs(1), world.asked())
        .await
        .unwrap()
        .reply
        .send(granted(8));
    drop(waiter.await.unwrap().unwrap());
}

/// A server that lost the last token gave a lower one to a holder that did not know it.
#[tokio::test(start_paused = true)]
async fn a_holder_with_a_lower_token_is_heard_of() {
    let mut world = World::new();
    let waiter = world.lock(TTL);
    world.asked().await.reply.send(busy(100));
    world.has_subscribed().await;
    tokio::time::advance(MS).await;
    world.tell(subscribed(Instant::now())).await;
    timeout(MS, world.asked()).await.unwrap().reply.send(busy(5));
    // Of a holder before that.
    world.tell(released(4)).await;
    world.is_silent().await;
    world.tell(released(5)).await;
    timeout(MS, world.asked()).await.unwrap().reply.send(granted(6));
    drop(waiter.await.unwrap().unwrap());
}

/// A caller gives up while the engine is asked, and tries again with the same secret. What the first question was
/// granted is the second one's to renew.
#[tokio::test(start_paused = true)]
async fn a_hold_that_its_secret_asks_for_again_is_not_released() {
    let mut world = World::new();
    let secret = Secret::random().unwrap();
    let lock = |world: &World| {
        let mut wish = wish(&world.keys, TTL);
        (wish.secret, wish.own_secret) = (secret.clone(), true);
        let handle = world.handle.clone();
        tokio::spawn(async move { handle.lock(wish).await })
    };
    let first = lock(&world);
    let asked_first = world.asked().await;
    first.abort();
    let second = lock(&world);
    let asked_second = world.asked().await;
    let action = &asked_second.operation.step.action;
    assert!(matches!(action, LockAction::Renew { .. }), "{action:?}");
    asked_first.reply.send(granted(1));
    world.is_silent().await;
    asked_second.reply.send(Ok(LockAnswer::Granted {
        token: 1,
        renewed: true,
        announces: true,
    }));
    let guard = second.await.unwrap().unwrap();
    assert!(guard.remaining() > TTL / 2);
    drop(guard);
    let action = world.asked().await.operation.step.action;
    assert!(matches!(action, LockAction::Release { .. }), "{action:?}");
}
