//! The near cache over Redis without a server: a test plays the connections.

mod world;

use self::world::{AGE, TTL, World};
use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_read_again_is_near() {
    let mut world = World::new(10_000);
    let over = world.open();
    let key = world.key("a");
    assert!(!world.tracking.begin_fetch(over, &key, world.now), "read once");
    world.fetch(over, "a", "1");
    assert_eq!(world.seen("a").as_deref(), Some("1"));
    assert_eq!(world.tracking.writer().len(), 1);
    assert!(world.tracking.writer().bytes() > 0);
    assert!(
        !world.tracking.begin_fetch(over, &key, world.now),
        "it is near already"
    );
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_counts_before_and_after_the_reply() {
    let mut world = World::new(10_000);
    let over = world.open();
    let launch = world.begin(over, "a");
    world.pushed("a");
    world.end(over, "a", "old", launch);
    assert_eq!(world.seen("a"), None, "push, then reply");
    world.fetch(over, "a", "new");
    assert_eq!(world.seen("a").as_deref(), Some("new"));
    world.pushed("a");
    assert_eq!(world.seen("a"), None, "reply, then push");
    let launch = world.begin(over, "a");
    world.pushed("b");
    world.end(over, "a", "newer", launch);
    assert_eq!(world.seen("a").as_deref(), Some("newer"), "another key's");
}

#[tokio::test(start_paused = true)]
async fn own_writes_spoil_fetches_when_accepted_and_when_answered() {
    let mut world = World::new(10_000);
    let [one, two] = [world.open(), world.open()];
    let key = world.key("a");
    world.fetch(one, "a", "1");
    world.tracking.changed(&key);
    assert_eq!(world.seen("a"), None, "accepted");
    // Launched over another connection before the server has made the write.
    world.fetch(two, "a", "1");
    world.tracking.changed(&key);
    assert_eq!(world.seen("a"), None, "answered");
    let launch = world.begin(two, "a");
    world.tracking.changed(&key);
    world.end(two, "a", "1", launch);
    assert_eq!(world.seen("a"), None, "answered before the fetch was");
}

#[tokio::test(start_paused = true)]
async fn a_read_over_another_connection_removes_what_may_be_older() {
    let mut world = World::new(10_000);
    let [one, two] = [world.open(), world.open()];
    let key = world.key("a");
    world.fetch(one, "a", "1");
    world.tracking.read_over(one, &key);
    assert_eq!(world.seen("a").as_deref(), Some("1"), "the same connection");
    world.tracking.read_over(two, &key);
    assert_eq!(world.seen("a"), None);
    let launch = world.begin(one, "a");
    world.tracking.read_over(two, &key);
    world.end(one, "a", "1", launch);
    assert_eq!(world.seen("a"), None, "a fetch that was under way");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_a_null_drop_what_came_over_it() {
    for is_lost in [true, false] {
        let mut world = World::new(10_000);
        let [one, two] = [world.open(), world.open()];
        world.fetch(one, "a", "1");
        world.fetch(two, "b", "2");
        let launch = world.begin(one, "c");
        if is_lost {
            world.tracking.lost(one);
        } else {
            world.tracking.flushed(one);
        }
        world.end(one, "c", "3", launch);
        assert_eq!((world.seen("a"), world.seen("c")), (None, None));
        assert_eq!(world.seen("b").as_deref(), Some("2"));
        assert_eq!(world.tracking.writer().flushes(), 1);
        // A new connection fetches the same key, and is not mistaken for the one that was lost.
        let three = world.open();
        world.fetch(three, "a", "4");
        assert_eq!(world.seen("a").as_deref(), Some("4"));
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_count_from_before_the_fetch_was_sent() {
    let mut world = World::new(10_000);
    let over = world.open();
    let (launch, key) = (world.begin(over, "a"), world.key("a"));
    world.pass(Duration::from_millis(40)).await;
    world.answered(over, launch);
    let (value, left) = (Value::from("1"), Some(Duration::from_millis(100)));
    world
        .tracking
        .fetched(over, &key, Some((&value, left)), launch.1, world.now);
    world.pass(Duration::from_millis(58)).await;
    assert!(world.seen("a").is_some());
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(
        world.seen("a"),
        None,
        "a millisecond before the server's deadline"
    );
    let launch = world.begin(over, "a");
    world.pass(Duration::from_millis(5)).await;
    let left = Some(Duration::from_millis(6));
    world
        .tracking
        .fetched(over, &key, Some((&value, left)), launch.1, world.now);
    assert_eq!(world.seen("a"), None, "its time was over when the reply came");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_stops_hits_at_the_greatest_age() {
    let mut world = World::new(10_000);
    let over = world.open();
    world.fetch(over, "a", "1");
    world.pass(AGE - Duration::from_nanos(1)).await;
    assert!(world.seen("a").is_some());
    // A request that is sent and not answered proves nothing, and an answer counts from when it was sent.
    let (launch, sent) = (world.tracking.launched(over, world.now, true), world.now);
    world.pass(AGE / 2).await;
    assert_eq!(world.seen("a"), None);
    world.answered(over, (launch, sent));
    assert!(world.seen("a").is_some());
    world.pass(AGE / 2).await;
    assert_eq!(world.seen("a"), None);
}

#[tokio::test(start_paused = true)]
async fn one_silent_connection_stops_hits_until_it_is_lost() {
    let mut world = World::new(10_000);
    let [one, two] = [world.open(), world.open()];
    world.fetch(one, "a", "1");
    world.fetch(two, "b", "2");
    world.pass(AGE).await;
    world.ping(one);
    assert_eq!((world.seen("a"), world.seen("b")), (None, None));
    world.tracking.lost(two);
    assert_eq!(world.seen("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_with_entries_are_pinged_at_half_the_age() {
    let mut world = World::new(10_000);
    let over = world.open();
    assert_eq!(world.tracking.ping_at(over, world.now), None, "nothing is near");
    world.fetch(over, "a", "1");
    assert_eq!(world.tracking.ping_at(over, world.now), Some(world.now + AGE / 2));
    world.pass(AGE / 2).await;
    let launch = (world.tracking.launched(over, world.now, true), world.now);
    assert_eq!(world.tracking.ping_at(over, world.now), None, "an answer is owed");
    world.answered(over, launch);
    assert_eq!(world.tracking.ping_at(over, world.now), Some(world.now + AGE / 2));
}

/// In a cluster, a node that has lost the others answers what names no key.
#[tokio::test(start_paused = true)]
async fn an_answer_that_proves_nothing_puts_off_neither_the_ping_nor_the_end() {
    let mut world = World::new(10_000);
    let over = world.open();
    world.fetch(over, "a", "1");
    let (due, step) = (world.now + AGE / 2, AGE / 8);
    for _ in 0..7 {
        world.pass(step).await;
        world.answered_without_a_key(over);
        world.tracking.launched(over, world.now, false);
        assert_eq!(world.tracking.ping_at(over, world.now), Some(due));
        assert!(world.seen("a").is_some());
    }
    world.pass(step).await;
    assert_eq!(world.seen("a"), None);
    // It ends a barrier all the same: all that was told before its answer was taken in.
    world.ping(over);
    world.tracking.raise_barrier();
    assert_eq!(world.seen("a"), None);
    world.answered_without_a_key(over);
    assert!(world.seen("a").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_barrier_stands_until_each_connection_has_answered_what_was_sent_later() {
    let mut world = World::new(10_000);
    let [one, two] = [world.open(), world.open()];
    world.tracking.raise_barrier();
    world.fetch(one, "a", "1");
    world.fetch(two, "b", "2");
    assert!(world.seen("a").is_some(), "no connection had anything to tell");
    let early = world.tracking.launched(one, world.now, true);
    world.tracking.raise_barrier();
    assert_eq!(world.tracking.ping_at(one, world.now), Some(world.now));
    world.answered(one, (early, world.now));
    world.ping(two);
    assert_eq!(world.seen("a"), None, "what was sent before does not count");
    world.pushed("b");
    world.ping(one);
    assert_eq!(world.seen("a").as_deref(), Some("1"));
    assert_eq!(world.seen("b"), None);
    world.tracking.raise_barrier();
    world.tracking.lost(one);
    world.tracking.lost(two);
    let three = world.open();
    world.fetch(three, "a", "3");
    assert!(world.seen("a").is_some(), "lost connections are not waited for");
}

#[tokio::test(start_paused = true)]
async fn it_stays_within_its_bytes_and_keeps_what_is_read_most() {
    let mut world = World::new(2_000);
    let over = world.open();
    let names: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    for round in 0..200_usize {
        for (at, name) in names.iter().enumerate() {
            // Five keys are read each round, the others now and then.
            if at >= 5 && !(round + at).is_multiple_of(20) {
                continue;
            }
            let key = world.key(name);
            if world.seen(name).is_none() && world.tracking.begin_fetch(over, &key, world.now) {
                let launch = (world.tracking.launched(over, world.now, true), world.now);
                world.end(over, name, "value", launch);
            }
            assert!(world.tracking.writer().bytes() <= 2_000);
        }
    }
    let hot = names[..5]
        .iter()
        .filter(|name| world.seen(name).is_some())
        .count();
    assert!(hot >= 4, "{hot} of 5");
}

#[tokio::test(start_paused = true)]
async fn after_a_fault_nothing_is_left_and_it_goes_on() {
    let mut world = World::new(10_000);
    let one = world.open();
    world.fetch(one, "a", "1");
    world.tracking.raise_barrier();
    world.tracking.reset();
    world.tracking.lost(one);
    let two = world.open();
    world.fetch(two, "a", "2");
    assert_eq!(world.seen("a").as_deref(), Some("2"));
    world.tracking.close();
    assert_eq!(world.seen("a"), None);
}

/// The server tells nobody of writes over a connection that it does not track. So no connection may serve near values.
#[test]
fn a_refused_connection_turns_the_near_cache_off() {
    let mut world = World::new(1 << 20);
    let over = world.open();
    world.fetch(over, "k", "1");
    assert_eq!(world.seen("k").as_deref(), Some("1"));
    let key = world.key("late");
    let (launch, sent) = world.begin(over, "late");
    world.tracking.turn_off();
    assert_eq!(world.seen("k"), None);
    world.end(over, "late", "2", (launch, sent));
    assert_eq!(world.seen("late"), None, "what was under way is not published");
    assert!((0..3).all(|_| !world.tracking.begin_fetch(over, &key, world.now)));
    assert_eq!(world.tracking.writer().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_by_others_of_what_is_near_is_told_once() {
    let mut world = World::new(10_000);
    let over = world.open();
    world.pushed("a");
    assert_eq!(world.foreign(), [""; 0], "it was not near");
    world.fetch(over, "a", "1");
    world.pushed("a");
    world.pushed("a");
    assert_eq!(world.foreign(), ["a"]);
    let key = world.key("a");
    world.fetch(over, "a", "2");
    world.tracking.changed(&key);
    world.pushed("a");
    assert_eq!(world.foreign(), [""; 0], "an own write");
    world.fetch(over, "a", "3");
    world.tracking.invalidated("a", false, world.now);
    assert_eq!(world.foreign(), [""; 0], "nobody listens");
    world.fetch(over, "a", "4");
    world.pass(TTL).await;
    world.pushed("a");
    assert_eq!(world.foreign(), [""; 0], "it has expired");
}

#[tokio::test(start_paused = true)]
async fn what_own_work_removes_is_told_apart_from_changes_by_others() {
    let mut world = World::new(10_000);
    let over = world.open();
    for name in ["a", "b", "c", "p:d", "e"] {
        world.fetch(over, name, "1");
    }
    world.tracking.begin_work();
    world.tracking.begin_work();
    for name in ["a", "b", "p:d"] {
        world.pushed(name);
    }
    world.tracking.removed("a");
    // The server's message comes after the reply of the work.
    world.tracking.removed("c");
    world.tracking.cleared("p:");
    world.tracking.raise_barrier();
    world.tracking.end_work();
    world.pushed("c");
    world.pushed("e");
    world.ping(over);
    assert_eq!(world.foreign(), [""; 0], "one of both still runs");
    world.tracking.end_work();
    let mut told = world.foreign();
    told.sort();
    assert_eq!(told, ["b", "e"]);
    // Behind a barrier, what the work has removed may come later.
    world.fetch(over, "f", "1");
    world.fetch(over, "g", "1");
    world.tracking.begin_work();
    world.tracking.raise_barrier();
    world.tracking.end_work();
    world.pushed("f");
    assert_eq!(world.foreign(), [""; 0]);
    world.ping(over);
    assert_eq!(world.foreign(), ["f"]);
    // Each is told at once again.
    world.pushed("g");
    assert_eq!(world.foreign(), ["g"]);
}

/// What a queued invalidation covers is not known here. Nothing is near until it has been replayed, because nothing is
/// read before.
#[test]
fn nothing_is_near_once_an_invalidation_is_queued() {
    let mut world = World::new(1 << 20);
    let over = world.open();
    world.fetch(over, "a", "old");
    let fetch = world.begin(over, "b");
    world.tracking.forget();
    assert_eq!(world.seen("a"), None);
    world.end(over, "b", "old", fetch);
    assert_eq!(world.seen("b"), None, "it was read before");
    world.fetch(over, "a", "new");
    assert_eq!(world.seen("a").as_deref(), Some("new"));
}
