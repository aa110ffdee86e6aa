//! The tracking, and the connections that a test plays.

use super::*;
use crate::key::{KeyMaker, Namespace};
use crate::near::{Near, near};

pub(super) const AGE: Duration = Duration::from_secs(1);
pub(super) const TTL: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) near: Arc<Near>,
    pub(super) tracking: Tracking,
    pub(super) keys: KeyMaker,
    pub(super) now: Instant,
}

impl World {
    pub(super) fn new(capacity: usize) -> Self {
        let (near, writer) = near(capacity);
        Self {
            near,
            tracking: Tracking::new(writer, AGE),
            keys: KeyMaker::new(1000, false),
            now: Instant::now(),
        }
    }

    pub(super) fn key(&self, name: &str) -> Key {
        self.keys.key(&Namespace::default(), name).unwrap()
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.tracking.open(self.now)
    }

    /// Reads a key until it is to be fetched, and launches the fetch.
    pub(super) fn begin(&mut self, over: ConnectionId, name: &str) -> (u64, Instant) {
        let key = self.key(name);
        let begun = (0..3).any(|_| self.tracking.begin_fetch(over, &key, self.now));
        assert!(begun, "{name} is fetched");
        (self.tracking.launched(over, self.now, true), self.now)
    }

    pub(super) fn end(
        &mut self,
        over: ConnectionId,
        name: &str,
        value: &str,
        (launch, sent): (u64, Instant),
    ) {
        let key = self.key(name);
        self.answered(over, (launch, sent));
        let value = Value::from(value);
        self.tracking
            .fetched(over, &key, Some((&value, Some(TTL))), sent, self.now);
    }

    pub(super) fn fetch(&mut self, over: ConnectionId, name: &str, value: &str) {
        let launch = self.begin(over, name);
        self.end(over, name, value, launch);
    }

    pub(super) fn seen(&self, name: &str) -> Option<String> {
        let text = |value: &Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.near.read(&self.key(name), |value, _| text(value))
    }

    pub(super) fn ping(&mut self, over: ConnectionId) {
        let launch = self.tracking.launched(over, self.now, true);
        self.answered(over, (launch, self.now));
    }

    /// A request is answered, and proves that the entries of the connection are good.
    pub(super) fn answered(&mut self, over: ConnectionId, (launch, sent): (u64, Instant)) {
        self.tracking.answered(over, launch);
        self.tracking.proven(over, sent);
    }

    /// A request is answered that proves nothing.
    pub(super) fn answered_without_a_key(&mut self, over: ConnectionId) {
        let launch = self.tracking.launched(over, self.now, false);
        self.tracking.answered(over, launch);
    }

    /// The server says that a key was changed.
    pub(super) fn pushed(&mut self, name: &str) {
        self.tracking.invalidated(name, true, self.now);
    }

    /// What listeners are told of changes by others.
    pub(super) fn foreign(&mut self) -> Vec<String> {
        let foreign = self.tracking.take_foreign();
        foreign.iter().map(ToString::to_string).collect()
    }

    pub(super) async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.now = Instant::now();
    }
}
