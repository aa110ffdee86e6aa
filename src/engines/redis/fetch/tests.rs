//! What the near cache keeps of the replies to a fetch.

use std::sync::Arc;

use super::*;
use crate::config::NearCache;
use crate::engines::redis::tracker::Tracker;
use crate::key::{KeyMaker, Namespace};
use crate::near::near;

/// Fetches a key whose `CLIENT CACHING YES` is answered so. Returns whether the values are found, and whether near.
fn fetch(caching: Wire, max_age: Duration) -> (bool, bool) {
    let (near, writer) = near(10_000);
    let connection = Tracker::new(writer, max_age, Arc::default()).open();
    let keys = [KeyMaker::new(100, false).key(&Namespace::default(), "k").unwrap()];
    let now = Instant::now();
    assert!((0..2).any(|_| connection.begin_fetch(&keys[0], now)));
    connection.proven(now);
    let queued = Wire::SimpleString("QUEUED".to_owned());
    let value = Wire::BulkString(b"v".to_vec());
    let both = Wire::Array(vec![Wire::Int(-1), Wire::Array(vec![value])]);
    let replies = vec![caching, Wire::Okay, queued.clone(), queued, both];
    let origin = Origin {
        connection: &connection,
        sent: now,
    };
    let found = found(&keys, replies, Some(&origin));
    (found.is_some(), near.read(&keys[0], |_, _| ()).is_some())
}

#[test]
fn a_value_that_the_server_does_not_track_is_answered_and_not_near() {
    let age = Duration::from_secs(1);
    assert_eq!(fetch(Wire::Okay, age), (true, true));
    let refused = redis::parse_redis_value(b"-NOPERM no right to CLIENT\r\n").unwrap();
    assert_eq!(fetch(refused, age), (true, false));
}

#[test]
fn the_greatest_age_of_all_is_one_that_the_clock_reaches() {
    let age = NearCache::default().max_age(Duration::MAX).greatest_age();
    assert_eq!(fetch(Wire::Okay, age), (true, true));
}

/// The reply of the script of a load's first read, after `CLIENT CACHING YES` was answered so. Returns whether it is near.
fn look_up(caching: Wire, reply: Wire) -> bool {
    let (near, writer) = near(10_000);
    let connection = Tracker::new(writer, Duration::from_secs(1), Arc::default()).open();
    let key = KeyMaker::new(100, false).key(&Namespace::default(), "k").unwrap();
    let now = Instant::now();
    assert!((0..2).any(|_| connection.begin_fetch(&key, now)));
    connection.proven(now);
    let fetch = Fetch {
        keys: vec![key.clone()],
        shape: None,
    };
    let origin = Origin {
        connection: &connection,
        sent: now,
    };
    let replies = fetch.settle(vec![caching, reply.clone()], Some(&origin));
    assert_eq!(replies, Some(vec![reply]));
    assert!(connection.begin_fetch(&key, now) != near.read(&key, |_, _| ()).is_some());
    near.read(&key, |_, _| ()).is_some()
}

#[test]
fn a_value_that_a_load_finds_is_near_if_the_server_tracks_it() {
    let value = Wire::BulkString(b"v".to_vec());
    let found = Wire::Array(vec![Wire::Int(2), Wire::Int(60_000), value]);
    assert!(look_up(Wire::Okay, found.clone()));
    let refused = redis::parse_redis_value(b"-NOPERM no right to CLIENT\r\n").unwrap();
    assert!(!look_up(refused, found));
    let leased = Wire::Array(vec![Wire::Int(1), Wire::Int(0), Wire::Nil]);
    assert!(!look_up(Wire::Okay, leased));
}
