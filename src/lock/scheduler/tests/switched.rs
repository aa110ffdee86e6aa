//! Held locks when another server becomes the primary, on a paused clock.

use super::*;

/// A world in which one lock is held.
async fn holding() -> (World, LockGuard) {
    let mut world = World::new();
    let waiter = world.lock(Duration::ZERO);
    world.asked().await.reply.send(granted(7));
    let guard = waiter.await.unwrap().unwrap();
    (world, guard)
}

/// The engine is asked to take the lock again, with the highest token that is known.
async fn checked(world: &mut World) -> crate::request::Asked<crate::request::Lock> {
    let asked = timeout(TTL, world.asked()).await.expect("the lock is checked");
    match &asked.operation.step.action {
        LockAction::Acquire { ttl, known, .. } => assert!(*ttl <= TTL && *known == 7),
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
    checked(&mut world).await.reply.send(granted(9));
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
        checked(&mut world).await.reply.send(busy(8));
        timeout(MS, guard.lost()).await.expect("it is told");
    }
}

/// An extension that finds no lock does not lose it while the check is open, whichever was asked first.
#[tokio::test(start_paused = true)]
async fn an_extension_that_meets_an_open_check_loses_nothing() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    checked(&mut world).await.reply.send(unavailable());
    tokio::time::advance(10 * MS).await;
    let extending = tokio::spawn(async move {
        let extended = guard.extend(TTL).await;
        (guard, extended)
    });
    let extension = timeout(MS, world.asked()).await.unwrap();
    assert!(matches!(
        extension.operation.step.action,
        LockAction::Extend { .. }
    ));
    extension.reply.send(Ok(LockAnswer::NotHeld));
    let (guard, extended) = extending.await.unwrap();
    assert!(matches!(extended, Err(Error::Unavailable(_))), "{extended:?}");
    while let Ok(asked) = timeout(100 * MS, world.asked()).await {
        asked.reply.send(granted(9));
    }
    assert!(guard.remaining() > Duration::ZERO, "it is held");
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_over_is_not_taken_anew() {
    let (mut world, guard) = holding().await;
    world.tell(Notification::Switched).await;
    let check = checked(&mut world).await;
    tokio::time::advance(TTL).await;
    check.reply.send(granted(9));
    let release = timeout(MS, world.asked()).await.expect("it is released");
    assert!(matches!(
        release.operation.step.action,
        LockAction::Release { .. }
    ));
    drop(guard);
}
