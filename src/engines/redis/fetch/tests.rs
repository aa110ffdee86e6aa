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
    connection.answered(connection.launched(now), now);
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
