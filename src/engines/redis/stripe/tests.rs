//! Which of the two connections a job goes over.

use std::sync::Arc;

use super::*;
use crate::config::{Config, EngineConfig};
use crate::engines::redis::generation::Generation;
use crate::engines::redis::job::Task;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::resolver::Resolver;
use crate::engines::redis::scanner::Bounds;
use crate::key::{Key, KeyMaker, Namespace, Within};
use crate::prehashed::Set as HashSet;
use crate::request::{
    Delete, DeleteMany, Get, GetMany, Lock, LockAction, LockStep, Operation, Ping, Reply, Request, Set, Write,
};
use crate::value::Value;

fn stripe(now: Instant) -> Stripe {
    let config = Config::redis("redis://localhost:1").unwrap();
    let EngineConfig::Redis(options) = config.engine else {
        panic!("it is a configuration of Redis");
    };
    let (options, generation) = (Arc::new(*options), Generation::first());
    let link = || {
        let bounds = Bounds::for_values(1024);
        Link::new(
            options.clone(),
            Layout::new(false),
            bounds,
            Resolver::fixed(generation.clone()),
            None,
            now,
        )
    };
    Stripe::new(link(), link())
}

fn job(operation: impl Operation, now: Instant) -> Job {
    let Request::Entry(request) = operation.into_request(Reply::Nobody) else {
        panic!("it is sent");
    };
    Job::new(Task::Request(request), now + Duration::from_secs(5))
}

fn delete(key: Key) -> Delete {
    let within = Within::default();
    Delete { key, within }
}

fn delete_many(keys: Vec<Key>) -> DeleteMany {
    let within = Within::default();
    DeleteMany { keys, within }
}

#[test]
fn a_job_follows_its_key_to_the_connection_beside() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    let waiting = |stripe: &Stripe| (stripe.main.waiting(), stripe.side.waiting());

    stripe.late = Some(now);
    stripe.large.insert(key("large").hash());
    stripe.push(job(Get { key: key("large") }, now), now);
    assert_eq!(waiting(&stripe), (0, 1), "its answer was late before");

    // Nobody knows any more that it is large, but the connection beside has a job of that key.
    stripe.large.clear();
    stripe.push(job(delete(key("large")), now), now);
    assert_eq!(waiting(&stripe), (0, 2), "the order of its jobs is kept");
    stripe.push(job(Get { key: key("small") }, now), now);
    assert_eq!(waiting(&stripe), (1, 2));
}

#[test]
fn a_job_of_keys_on_both_connections_waits_for_the_other() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    stripe.late = Some(now);
    stripe.large.insert(key("large").hash());
    stripe.push(job(Get { key: key("large") }, now), now);
    stripe.push(job(delete(key("small")), now), now);
    let keys = vec![key("large"), key("small")];
    stripe.push(job(delete_many(keys), now), now);
    assert_eq!((stripe.main.waiting(), stripe.side.waiting()), (1, 2));
    let last = job(delete(key("small")), now);
    stripe.push(last, now);
    assert_eq!(stripe.side.waiting(), 3, "it follows");

    stripe.side.take_batch(now, &stripe.main);
    assert_eq!(stripe.side.waiting(), 2, "the main link has yet to delete");
    stripe.main.abandon();
    stripe.side.take_batch(now, &stripe.main);
    assert_eq!(stripe.side.waiting(), 0);
}

/// What follows a job to the connection beside keeps its place also when that job ends without being sent.
#[test]
fn a_job_of_one_key_waits_for_the_other_connection_when_what_it_followed_has_gone() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let later = now + Duration::from_secs(1);
    let ends_soon = |operation| Job {
        deadline: later,
        ..job(operation, now)
    };
    let keys = || vec![key("large"), key("small")];
    let mut stripe = stripe(now);
    stripe.late = Some(now);
    stripe.large.insert(key("large").hash());
    stripe.push(job(Get { key: key("large") }, now), now);
    stripe.push(job(delete(key("small")), now), now);
    stripe.push(ends_soon(delete_many(keys())), now);
    stripe.push(job(delete(key("small")), now), now);
    assert_eq!((stripe.main.waiting(), stripe.side.waiting()), (1, 3));
    stripe.expire(later);
    stripe.side.take_batch(later, &stripe.main);
    assert_eq!(stripe.side.waiting(), 1, "the main link has yet to delete");

    // The same for what waits when the connections change places.
    let (mut stripe, mut beside) = (self::stripe(now), HashSet::default());
    stripe.push(job(Get { key: key("large") }, now), now);
    stripe.main.send_in_vain(now);
    stripe.push(job(delete(key("small")), now), now);
    stripe.push(ends_soon(delete_many(keys())), now);
    stripe.push(job(delete(key("small")), now), now);
    stripe.main.hand_over(&mut stripe.side, &mut beside);
    assert_eq!((stripe.main.waiting(), stripe.side.waiting()), (2, 1));
    stripe.expire(later);
    stripe.main.take_batch(later, &stripe.side);
    assert_eq!(stripe.main.waiting(), 1, "the other link has yet to delete");
}

fn write(key: Key, depends_on: &[Key]) -> Set {
    Set {
        write: Write {
            key,
            value: Value::from("v"),
            ttl: None,
            depends_on: depends_on.iter().cloned().collect(),
        },
    }
}

/// The server may make a change after its caller has left. No later change may overtake it on the other connection.
#[test]
fn a_change_keeps_its_place_after_its_caller_has_left() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    stripe.push(job(delete(key("deleted")), now), now);
    stripe.push(job(write(key("plain"), &[]), now), now);
    stripe.push(job(write(key("scripted"), &[key("name")]), now), now);
    stripe.main.send_in_vain(now);
    assert_eq!(stripe.main.waiting(), 0);
    assert_eq!(
        stripe.expire(now + Duration::from_secs(6)),
        None,
        "all callers left"
    );

    stripe.late = Some(now);
    let changed = ["deleted", "plain", "scripted"];
    for text in changed.into_iter().chain(["other"]) {
        stripe.large.insert(key(text).hash());
        stripe.push(job(delete(key(text)), now), now);
    }
    assert_eq!((stripe.main.waiting(), stripe.side.waiting()), (3, 1));

    // The same for what waits when the connections change places.
    let (mut other, mut beside) = (stripe.side, HashSet::default());
    other.abandon();
    stripe.main.hand_over(&mut other, &mut beside);
    assert_eq!((stripe.main.waiting(), other.waiting()), (3, 0));
}

/// A held lock must be renewed, however long a replay takes.
#[test]
fn a_replay_and_locks_pass_what_is_held() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    stripe.hold(true, None, now);
    stripe.push(job(Get { key: key("a") }, now), now);
    stripe.push(job(write(key("a"), &[]), now), now);
    stripe.push(job(delete(key("a")), now), now);
    let step = Box::new(LockStep {
        key: key("lock"),
        action: LockAction::Info,
    });
    stripe.push(job(Lock { step }, now), now);
    stripe.push(job(Ping {}, now), now);
    stripe.push_replay(Job {
        is_replay: true,
        ..job(delete(key("b")), now)
    });
    stripe.main.take_batch(now, &stripe.side);
    assert_eq!(stripe.main.waiting(), 3, "what reads and writes entries waits");
    stripe.hold(false, None, now);
    stripe.main.take_batch(now, &stripe.side);
    assert_eq!(stripe.main.waiting(), 0);
}

/// The removal is on the other connection, and is replayed once that is lost.
#[test]
fn nothing_overtakes_a_replay_that_has_yet_to_begin() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    stripe.main = stripe.main.keeping_removals(true);
    stripe.push(job(delete(key("k")), now), now);
    stripe.main.send_in_vain(now);
    stripe.late = Some(now);
    stripe.large.insert(key("large").hash());
    stripe.push(job(Get { key: key("large") }, now), now);
    let keys = vec![key("large"), key("k")];
    stripe.push(job(GetMany { keys, peek: false }, now), now);
    stripe.push(job(write(key("k"), &[]), now), now);
    stripe.side.take_batch(now, &stripe.main);
    assert_eq!(stripe.side.waiting(), 2, "the main link has yet to delete");

    stripe.main.reset(now);
    stripe.side.take_batch(now, &stripe.main);
    assert_eq!(stripe.side.waiting(), 2, "the key is yet to be deleted");
    assert_eq!(stripe.take_unsent().count(), 1);
    stripe.side.take_batch(now, &stripe.main);
    assert_eq!(stripe.side.waiting(), 0);
}

/// The removal is given up before it is sent, and the connection lives.
#[test]
fn what_waits_on_the_same_connection_does_not_overtake_it_either() {
    let (maker, root, now) = (KeyMaker::new(100, false), Namespace::default(), Instant::now());
    let key = |text: &str| maker.key(&root, text).unwrap();
    let mut stripe = stripe(now);
    stripe.main = stripe.main.keeping_removals(true);
    let late = Job {
        deadline: now,
        ..job(delete(key("k")), now)
    };
    stripe.push(late, now);
    stripe.push(job(Get { key: key("k") }, now), now);
    stripe.main.take_batch(now, &stripe.side);
    assert_eq!(stripe.main.waiting(), 1);
    assert_eq!(stripe.take_unsent().count(), 1);
}
