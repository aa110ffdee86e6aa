//! The near cache's writer, shared by what feeds it on the engine's task: the connections, whose drivers hand on what
//! the server pushes, and the engine.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use redis::{PushInfo, PushKind, RedisResult, Value as Wire};
use tokio::time::Instant;

use super::removals::Removal;
use super::tracking::{ConnectionId, Tracking};
use crate::events::{Event, Listeners};
use crate::key::Key;
use crate::near::NearWriter;
use crate::request::{KeyChange, Keys};
use crate::stats::Stats;
use crate::value::Value;

/// What writes the near cache. Clones share it. Its lock is never contended: all that take it run on one task.
#[derive(Clone)]
pub(super) struct Tracker(Arc<Shared>);

struct Shared {
    tracking: Mutex<Tracking>,
    listeners: Arc<Listeners>,
    /// It was told that the server refuses.
    warned: AtomicBool,
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracker")
    }
}

impl Tracker {
    pub(super) fn new(writer: NearWriter, max_age: Duration, listeners: Arc<Listeners>) -> Self {
        Self(Arc::new(Shared {
            tracking: Mutex::new(Tracking::new(writer, max_age)),
            listeners,
            warned: AtomicBool::new(false),
        }))
    }

    /// A panic may leave it torn: the engine resets it then.
    fn lock(&self) -> MutexGuard<'_, Tracking> {
        self.0.tracking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change, and tells listeners if it has lost entries that were near, and which keys others have changed.
    fn change<T>(&self, change: impl FnOnce(&mut Tracking) -> T) -> T {
        let mut tracking = self.lock();
        let before = tracking.writer().flushes();
        let made = change(&mut tracking);
        let is_flushed = tracking.writer().flushes() > before;
        let foreign = tracking.take_foreign();
        // Listeners may run code of the caller's.
        drop(tracking);
        let listeners = &self.0.listeners;
        if is_flushed {
            listeners.tell_all(&Event::NearCacheFlushed);
        }
        for key in foreign {
            listeners.tell_of(&key, KeyChange::Invalidated);
        }
        made
    }

    /// An invalidation or a clearing of this store begins. It ends when this is dropped.
    pub(super) fn begin_work(&self) -> OwnWork {
        self.lock().begin_work();
        OwnWork(self.clone())
    }

    /// A connection that is being opened.
    pub(super) fn open(&self) -> TrackedConnection {
        TrackedConnection {
            id: self.lock().open(Instant::now()),
            tracker: self.clone(),
        }
    }

    /// Turns the near cache off, because the server does not track what is read over a connection. Says so once.
    pub(super) fn refused(&self, why: &dyn fmt::Display) {
        self.change(Tracking::turn_off);
        if !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %why,
                "Redis does not track what is read: the near cache is off. It needs a server of version 6 or later, \
                 RESP3, and the rights to CLIENT, MULTI and EXEC"
            );
        }
    }

    /// A write of these keys was accepted.
    pub(super) fn changes(&self, keys: Keys<'_>) {
        let mut tracking = self.lock();
        keys.for_each(|key| tracking.changed(key));
    }

    /// What a removal covers is to go as soon as the server is reached.
    pub(super) fn is_to_go(&self, removal: &Removal) {
        match removal {
            Removal::Entries(keys, _) => self.changes(Keys::Many(keys)),
            // Nobody here knows which entries these are.
            Removal::Dependents(..) | Removal::Prefixes(_) => self.change(Tracking::forget),
        }
    }

    /// Keeps readers away until each connection has caught up with what the server has done so far.
    pub(super) fn raise_barrier(&self) {
        self.change(Tracking::raise_barrier);
    }

    /// This store has changed a key by a command of its own, or has removed it.
    pub(super) fn removed(&self, key: &str) {
        self.lock().removed(key);
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        let tracking = self.lock();
        let writer = tracking.writer();
        stats.near_entries = writer.len() as u64;
        stats.near_bytes = writer.bytes() as u64;
        stats.near_flushes = writer.flushes();
    }

    pub(super) fn reset(&self) {
        self.change(Tracking::reset);
    }

    pub(super) fn close(&self) {
        self.lock().close();
    }
}

/// Held by an invalidation or a clearing of this store while it runs.
#[derive(Debug)]
pub(super) struct OwnWork(Tracker);

impl OwnWork {
    /// It has removed a key, and listeners are told of that.
    pub(super) fn removed(&self, key: &str) {
        self.0.removed(key);
    }

    /// It has removed all keys with this prefix.
    pub(super) fn cleared(&self, prefix: &str) {
        self.0.lock().cleared(prefix);
    }

    /// Keeps readers away until each connection has caught up with what the work has removed.
    pub(super) fn raise_barrier(&self) {
        self.0.raise_barrier();
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        self.0.change(Tracking::end_work);
    }
}

/// An open connection whose reads the server tracks. Its drop drops what was read over it.
#[derive(Debug)]
pub(super) struct TrackedConnection {
    tracker: Tracker,
    id: ConnectionId,
}

impl TrackedConnection {
    /// Takes in what the server pushes, as the connection's driver reads it: before any later reply is handed out.
    pub(super) fn receiver(&self) -> impl Fn(PushInfo) -> RedisResult<()> + Send + Sync + use<> {
        let (tracker, id) = (self.tracker.clone(), self.id);
        move |push| {
            if push.kind == PushKind::Invalidate {
                let tells = tracker.0.listeners.any();
                tracker.change(|tracking| invalidate(tracking, id, &push.data, tells));
            }
            Ok(())
        }
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Counts a read of a key. Whether it is to be fetched for the near cache.
    pub(super) fn begin_fetch(&self, key: &Key, now: Instant) -> bool {
        self.tracker.lock().begin_fetch(self.id, key, now)
    }

    pub(super) fn fetched(&self, key: &Key, found: Option<(&Value, Option<Duration>)>, sent: Instant) {
        let mut tracking = self.tracker.lock();
        tracking.fetched(self.id, key, found, sent, Instant::now());
    }

    /// The server has answered a read of these keys.
    pub(super) fn read(&self, key: &Key) {
        self.tracker.lock().read_over(self.id, key);
    }

    /// The server has answered a write of this key.
    pub(super) fn changed(&self, key: &Key) {
        self.tracker.lock().changed(key);
    }

    /// A pipeline is sent: the number of its launch. `is_proof` tells that its answer may prove what [`proven`](Self::proven)
    /// takes in.
    pub(super) fn launched(&self, now: Instant, is_proof: bool) -> u64 {
        self.tracker.lock().launched(self.id, now, is_proof)
    }

    pub(super) fn answered(&self, launch: u64) {
        self.tracker.change(|tracking| tracking.answered(self.id, launch));
    }

    /// What was sent then was answered by a server that tells of changes to all that was read over this.
    pub(super) fn proven(&self, sent: Instant) {
        self.tracker.change(|tracking| tracking.proven(self.id, sent));
    }

    /// A key is read over a connection that the server does not track.
    pub(super) fn read_elsewhere(&self, key: &Key) {
        self.tracker.lock().read_elsewhere(key);
    }

    /// Drops what was read over it: the server may not own the keys any more.
    pub(super) fn disowned(&self) {
        self.tracker.change(|tracking| tracking.flushed(self.id));
    }

    /// A key whose owner the server has to be for what was read over this.
    pub(super) fn key(&self) -> Option<CompactString> {
        self.tracker.lock().key_of(self.id)
    }

    /// When it is to be asked for a sign of life.
    pub(super) fn ping_at(&self, now: Instant) -> Option<Instant> {
        self.tracker.lock().ping_at(self.id, now)
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.tracker.change(|tracking| tracking.lost(self.id));
    }
}

/// Keys that were changed, or null for all of them. `tells` says that somebody listens to changes by others.
fn invalidate(tracking: &mut Tracking, connection: ConnectionId, data: &[Wire], tells: bool) {
    let Some(Wire::Array(keys)) = data.first() else {
        return tracking.flushed(connection);
    };
    let now = Instant::now();
    for key in keys {
        // A key that is not text was never asked for.
        if let Wire::BulkString(key) = key
            && let Ok(key) = std::str::from_utf8(key)
        {
            tracking.invalidated(key, tells, now);
        }
    }
}
