//! Held locks when another server becomes the primary, on a paused clock.

use tokio::task::JoinHandle;

use super::*;

/// A world in which one lock is held.
async fn holding() -> (World, LockGuard) {
    let mut world = World::new();
    let waiter = world.lock(Duration::ZERO);
    world.asked().await.reply.send(granted(7));
    let guard = waiter.await.unwrap().unwrap();
    (world, guard)
}

/// The engine is asked to make sure of the lock, under its token.
async fn checked(world: &mut World) -> crate::request::Asked<crate::request::Lock> {
    let asked = timeout(TTL, world.asked()).await.expect("the lock is checked");
    match &asked.operation.step.action {
        LockAction::Check { ttl, token: 7, .. } => assert!(*ttl <= TTL, "{ttl:?}"),
        other => panic!("{other:?}"),
    }
    asked
}

fn unavailable() -> Result<LockAnswer> {
    Err(Error::Unavailable(Cause::new("it is away")))
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_is_made_again() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    for failure in [unavailable(), Err(Error::OutcomeUnknown(Cause::new("cut")))] {
        checked(&mut world).await.reply.send(failure);
    }
    checked(&mut world).await.reply.send(Ok(LockAnswer::Restored));
    world.is_silent().await;
    assert!(guard.remaining() > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holds_is_lost() {
    for told in [
        Notification::Switched,
        Notification::Missed {
            lost: true,
            switched: true,
        },
    ] {
        let (mut world, guard) = holding().await;
        world.tell(told).await;
        checked(&mut world).await.reply.send(Ok(LockAnswer::Mismatch));
        timeout(MS, guard.lost()).await.expect("it is told");
    }
}

/// A waiter that asks first would be granted what a guard of the same store holds.
#[tokio::test(start_paused = true)]
async fn a_lock_is_checked_before_its_waiters_ask() {
    let (mut world, _guard) = holding().await;
    let waiter = world.lock(TTL);
    world.asked().await.reply.send(busy(7));
    world.is_idle().await;
    world
        .tell(Notification::Missed {
            lost: true,
            switched: true,
        })
        .await;
    checked(&mut world).await.reply.send(Ok(LockAnswer::Restored));
    let asked = timeout(MS, world.asked()).await.expect("the waiter asks");
    assert!(matches!(asked.operation.step.action, LockAction::Acquire { .. }));
    asked.reply.send(busy(7));
    waiter.abort();
}

/// Extends the lock in a task of its own.
fn extending(guard: LockGuard, ttl: Duration) -> JoinHandle<(LockGuard, Result<()>)> {
    tokio::spawn(async move {
        let extended = timeout(TTL, guard.extend(ttl)).await.expect("it is answered");
        (guard, extended)
    })
}

/// The engine is asked to release the lock, and does. Returns the token that the release names.
async fn released_with(world: &mut World) -> Option<u64> {
    let asked = timeout(MS, world.asked()).await.expect("it is released");
    let LockAction::Release { token, .. } = asked.operation.step.action else {
        panic!("{:?}", asked.operation.step.action);
    };
    asked.reply.send(Ok(LockAnswer::Done));
    token
}

/// An extension that finds no lock, or another token, does not lose it: the check tells.
#[tokio::test(start_paused = true)]
async fn an_extension_from_before_the_switch_loses_nothing() {
    for answer in [LockAnswer::NotHeld, LockAnswer::Mismatch] {
        let (mut world, guard) = holding().await;
        let extending = extending(guard, TTL);
        let extension = timeout(MS, world.asked()).await.unwrap();
        world.tell(Notification::Switched).await;
        world.is_idle().await;
        extension.reply.send(Ok(answer));
        let (guard, extended) = extending.await.unwrap();
        assert!(matches!(extended, Err(Error::Unavailable(_))), "{extended:?}");
        while let Ok(asked) = timeout(100 * MS, world.asked()).await {
            asked.reply.send(Ok(LockAnswer::Restored));
        }
        assert!(guard.remaining() > Duration::ZERO, "it is held");
    }
}

/// The new primary may not know the lock: an extension of it would tell nothing.
#[tokio::test(start_paused = true)]
async fn an_extension_is_not_sent_while_a_check_is_open() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    let check = checked(&mut world).await;
    let (guard, extended) = extending(guard, TTL).await.unwrap();
    assert!(matches!(extended, Err(Error::Unavailable(_))), "{extended:?}");
    check.reply.send(Err(Error::OutcomeUnknown(Cause::new("cut"))));
    world.is_idle().await;
    let (guard, extended) = extending(guard, TTL).await.unwrap();
    assert!(matches!(extended, Err(Error::Unavailable(_))), "{extended:?}");
    // The check was hastened.
    let again = timeout(MS, checked(&mut world))
        .await
        .expect("it is checked at once");
    again.reply.send(Ok(LockAnswer::Restored));
    world.is_idle().await;
    // An extension of the moment of the switch would count as one from before.
    tokio::time::advance(MS).await;
    let extending = extending(guard, TTL);
    let extension = timeout(MS, world.asked()).await.unwrap();
    let action = &extension.operation.step.action;
    assert!(
        matches!(action, LockAction::Extend { token: Some(7), .. }),
        "{action:?}"
    );
    extension.reply.send(Ok(LockAnswer::Done));
    let (guard, extended) = extending.await.unwrap();
    extended.unwrap();
    drop(guard);
    assert_eq!(released_with(&mut world).await, Some(7));
}

/// A check changes no token, so that the release finds the lock wherever the check has been carried out.
#[tokio::test(start_paused = true)]
async fn a_release_behind_an_open_check_names_the_token() {
    for failure in [
        None,
        Some(unavailable()),
        Some(Err(Error::OutcomeUnknown(Cause::new("cut")))),
    ] {
        let (mut world, guard) = holding().await;
        world.tell(Notification::Switched).await;
        let check = checked(&mut world).await;
        let (in_flight, failure) = match failure {
            None => (Some(check), None),
            Some(failure) => (None, Some((check, failure))),
        };
        if let Some((check, failure)) = failure {
            check.reply.send(failure);
            world.is_idle().await;
        }
        drop(guard);
        assert_eq!(released_with(&mut world).await, Some(7));
        drop(in_flight);
        world.is_silent().await;
    }
}

/// A switch that follows another: the check at the first new primary says nothing about the second.
#[tokio::test(start_paused = true)]
async fn of_two_checks_the_last_one_tells() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    let first = checked(&mut world).await;
    world.tell(Notification::Switched).await;
    let second = checked(&mut world).await;
    first.reply.send(Ok(LockAnswer::Restored));
    world.is_idle().await;
    let (guard, extended) = extending(guard, TTL).await.unwrap();
    assert!(matches!(extended, Err(Error::Unavailable(_))), "{extended:?}");
    second.reply.send(unavailable());
    checked(&mut world).await.reply.send(Ok(LockAnswer::Mismatch));
    timeout(MS, guard.lost()).await.expect("it is told");
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_over_is_not_taken_anew() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    let check = checked(&mut world).await;
    tokio::time::advance(TTL).await;
    check.reply.send(Ok(LockAnswer::Restored));
    assert_eq!(released_with(&mut world).await, Some(7));
    drop(guard);
}

/// Others may hold the lock under the secret that the caller chose.
#[tokio::test(start_paused = true)]
async fn a_guard_that_is_over_releases_nothing_under_a_shared_secret() {
    let mut world = World::new();
    let mut wish = wish(&world.keys, Duration::ZERO);
    wish.own_secret = true;
    let handle = world.handle.clone();
    let locking = tokio::spawn(async move { handle.lock(wish).await });
    world.asked().await.reply.send(granted(7));
    let guard = locking.await.unwrap().unwrap();
    world.tell(Notification::Switched).await;
    let check = checked(&mut world).await;
    tokio::time::advance(TTL).await;
    check.reply.send(Ok(LockAnswer::Restored));
    world.is_silent().await;
    drop(guard);
}

/// The request of a waiter may reach the new primary before the check does.
#[tokio::test(start_paused = true)]
async fn a_grant_to_a_waiter_ends_what_the_new_primary_does_not_know() {
    let (mut world, guard) = holding().await;
    let waiter = world.lock(TTL);
    let asked = timeout(MS, world.asked()).await.unwrap();
    world.tell(Notification::Switched).await;
    let _check = checked(&mut world).await;
    asked.reply.send(granted(8));
    let _granted = waiter.await.unwrap().unwrap();
    assert_eq!(guard.remaining(), Duration::ZERO);
}

/// The primary before may have extended it. The check that was sent meanwhile has the TTL from before.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_extended_after_the_switch_is_checked_again() {
    let (mut world, guard) = holding().await;
    let extending = extending(guard, 2 * TTL);
    let extension = timeout(MS, world.asked()).await.unwrap();
    world.tell(Notification::Switched).await;
    checked(&mut world).await.reply.send(Ok(LockAnswer::Restored));
    world.is_idle().await;
    extension.reply.send(Ok(LockAnswer::Done));
    let (guard, extended) = extending.await.unwrap();
    extended.unwrap();
    let asked = timeout(MS, world.asked()).await.expect("it is checked at once");
    match &asked.operation.step.action {
        LockAction::Check { ttl, token: 7, .. } => assert!(*ttl > TTL, "{ttl:?}"),
        other => panic!("{other:?}"),
    }
    asked.reply.send(Ok(LockAnswer::Done));
    world.is_silent().await;
    assert!(guard.remaining() > TTL);
}

/// A primary that is not the primary any more may have granted it.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_granted_after_the_switch_is_checked() {
    let mut world = World::new();
    let waiter = world.lock(Duration::ZERO);
    let asked = world.asked().await;
    world.tell(Notification::Switched).await;
    world.is_idle().await;
    asked.reply.send(granted(7));
    let guard = waiter.await.unwrap().unwrap();
    checked(&mut world).await.reply.send(Ok(LockAnswer::Restored));
    world.is_silent().await;
    assert!(guard.remaining() > Duration::ZERO);
    drop(guard);
    assert_eq!(released_with(&mut world).await, Some(7));
    world.is_idle().await;
    // One that was asked for later is not.
    let waiter = world.lock(Duration::ZERO);
    timeout(MS, world.asked()).await.unwrap().reply.send(granted(10));
    let _guard = waiter.await.unwrap().unwrap();
    world.is_silent().await;
}

/// A guard that is over shares nothing: its release must not end what the same secret has taken again.
#[tokio::test(start_paused = true)]
async fn a_guard_that_is_over_keeps_its_token() {
    let mut world = World::new();
    let secret = Secret::random().unwrap();
    let mut guards = Vec::new();
    for token in [6, 7] {
        let mut wish = wish(&world.keys, Duration::ZERO);
        (wish.secret, wish.own_secret) = (secret.clone(), true);
        let handle = world.handle.clone();
        let locking = tokio::spawn(async move { handle.lock(wish).await });
        world.asked().await.reply.send(granted(token));
        guards.push(locking.await.unwrap().unwrap());
        if token == 6 {
            tokio::time::advance(TTL).await;
        }
    }
    world.tell(Notification::Switched).await;
    checked(&mut world).await.reply.send(Ok(LockAnswer::Done));
    world.is_silent().await;
    drop(guards.remove(0));
    assert_eq!(released_with(&mut world).await, Some(6));
}
