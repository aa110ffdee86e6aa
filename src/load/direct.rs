//! Direct loads: the loads that their callers run with the lease that their read was given, past the coordinator. Here the
//! coordinator finds one when another caller wants to join it.
//!
//! The locks are held for a few instructions, never while a caller's code runs.

mod failed;
mod load;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use self::failed::FailedKeys;
use self::load::State;
pub(super) use self::load::{Denied, DirectLoad, Met};
use super::coordinator::Bounds;
use super::flight::{Doubt, LoadId, Marks};
use super::sources::Sources;
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{LeaseTerms, Token};
use crate::spans::LoadLink;

const SHARDS: usize = 64;

/// The direct loads of one store, and the reads that may become one. A key's hash chooses the shard.
#[derive(Debug)]
pub(crate) struct DirectLoads {
    /// What tells the tokens of this store from those of others.
    store: u64,
    numbers: AtomicU64,
    bounds: Bounds,
    shards: [Mutex<Shard>; SHARDS],
    running: AtomicUsize,
    /// The callers of direct loads that have not gone.
    waiting: AtomicUsize,
    /// What the coordinator has under way.
    led: AtomicUsize,
    callers: AtomicUsize,
    failed: FailedKeys,
    sources: Sources,
    /// How many loads were looked at to mark those that depend on a key.
    #[cfg(test)]
    looked: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    /// At most one for each key, by the hash of the key.
    loads: Map<u64, DirectLoad>,
    /// The store has been closed.
    closed: bool,
}

impl Shard {
    fn find(&mut self, load: LoadId, key: &Key) -> Option<&mut DirectLoad> {
        let found = self.loads.get_mut(&key.hash());
        found.filter(|found| found.load == load)
    }

    fn remove(&mut self, load: LoadId, key: &Key) -> Option<DirectLoad> {
        self.find(load, key)?;
        self.loads.remove(&key.hash())
    }
}

impl DirectLoads {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            store: rand::random(),
            numbers: AtomicU64::new(0),
            bounds,
            shards: std::array::from_fn(|_| Mutex::default()),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            led: AtomicUsize::new(0),
            callers: AtomicUsize::new(0),
            failed: FailedKeys::default(),
            sources: Sources::default(),
            #[cfg(test)]
            looked: AtomicUsize::new(0),
        }
    }

    /// A number that no other load and no other caller of the store has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The token of a load of this store.
    pub(super) fn token(&self, load: LoadId) -> Token {
        Token::new(self.store, load)
    }

    /// The load of this store that has a token.
    pub(super) fn load_of(&self, token: Token) -> Option<LoadId> {
        token.load_of(self.store)
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.hash() as usize % SHARDS])
    }

    /// The keys whose loads have failed.
    pub(super) fn failed(&self) -> &FailedKeys {
        &self.failed
    }

    /// Enters a read before the engine is asked. Returns `false` if there is another for the key already: a later
    /// caller can only join that one. Also returns `false` if the store has been closed.
    pub(super) fn ask(&self, load: LoadId, key: &Key, terms: &LeaseTerms, retry_after: Duration) -> bool {
        let asked = DirectLoad {
            load,
            key: key.clone(),
            names: terms.names.clone(),
            retry_after,
            has_contexts: terms.late_names,
            link: LoadLink::default(),
            state: State::Asked,
        };
        let mut shard = self.shard(key);
        if shard.closed || shard.loads.contains_key(&key.hash()) {
            return false;
        }
        shard.loads.insert(key.hash(), asked);
        self.sources.add(&terms.names, terms.late_names);
        true
    }

    /// Takes a read out that does not become a load. Returns it unless the coordinator has ended its lease.
    pub(super) fn withdraw(&self, load: LoadId, key: &Key) -> Option<DirectLoad> {
        let withdrawn = self.shard(key).remove(load, key)?;
        self.sources.remove(&withdrawn.names, withdrawn.has_contexts);
        Some(withdrawn).filter(|withdrawn| !matches!(withdrawn.state, State::Revoked))
    }

    /// Makes a load of a read that was given the lease. If that is denied, the read stays entered.
    pub(super) fn begin(&self, load: LoadId, key: &Key) -> Result<(), Denied> {
        let mut shard = self.shard(key);
        let Some(asked) = shard.find(load, key) else {
            return Err(Denied::Revoked);
        };
        if matches!(asked.state, State::Revoked) {
            return Err(Denied::Revoked);
        }
        let running = self.running();
        let loads = running + self.led.load(Ordering::Relaxed);
        let callers = self.waiting() + self.callers.load(Ordering::Relaxed);
        if loads >= self.bounds.loads || callers >= self.bounds.callers {
            return Err(Denied::Full);
        }
        asked.state = State::Running {
            task: None,
            joined: false,
            marks: Marks::default(),
        };
        self.running.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What links the span of a load to the calls that join it.
    pub(super) fn link(&self, load: LoadId, key: &Key, link: LoadLink) {
        if let Some(load) = self.shard(key).find(load, key) {
            load.link = link;
        }
    }

    /// The task that a load runs in: it is stopped when the store is closed.
    pub(super) fn attach(&self, load: LoadId, key: &Key, handle: AbortHandle) {
        let mut shard = self.shard(key);
        if let Some(State::Running { task, .. }) = shard.find(load, key).map(|load| &mut load.state) {
            *task = Some(handle);
        } else if shard.closed {
            drop(shard);
            handle.abort();
        }
        // Else the load has ended already. Its task may still wait for the coordinator's answer to its caller.
    }

    /// Ends a load unless others wait for it. Returns `true` if it has ended.
    pub(super) fn end(&self, load: LoadId, key: &Key) -> bool {
        let mut shard = self.shard(key);
        let found = shard.find(load, key).map(|load| &load.state);
        if matches!(found, Some(State::Running { joined: true, .. })) {
            return false;
        }
        self.take_out(&mut shard, load, key);
        true
    }

    /// Whether the value of a load is not to be stored: its lease has been ended, or is about to be. `late` says that the
    /// value depends on names that the lease did not have.
    pub(super) fn is_dead(&self, load: LoadId, key: &Key, late: bool) -> bool {
        let mut shard = self.shard(key);
        let bound = if late { Doubt::IfLate } else { Doubt::Dead };
        match shard.find(load, key).map(|load| &load.state) {
            Some(State::Running { marks, .. }) => marks.doubt >= bound,
            _ => false,
        }
    }

    /// Takes out a load whose end the coordinator has been told. Returns its marks, and whether its loader was given a
    /// context.
    pub(super) fn remove(&self, load: LoadId, key: &Key) -> (Marks, bool) {
        self.take_out(&mut self.shard(key), load, key)
    }

    fn take_out(&self, shard: &mut Shard, load: LoadId, key: &Key) -> (Marks, bool) {
        let Some(load) = shard.remove(load, key) else {
            return (Marks::default(), false);
        };
        self.sources.remove(&load.names, load.has_contexts);
        let State::Running { marks, .. } = load.state else {
            return (Marks::default(), false);
        };
        self.running.fetch_sub(1, Ordering::Relaxed);
        (marks, load.has_contexts)
    }

    /// Looks for the load that has the lease of a key, so that others can join it.
    pub(super) fn meet(&self, load: LoadId, key: &Key) -> Met {
        let mut shard = self.shard(key);
        let Some(met) = shard.find(load, key) else {
            return Met::Ended;
        };
        match &mut met.state {
            State::Asked | State::Revoked => {
                met.state = State::Revoked;
                Met::Revoked(met.clone())
            }
            State::Running { joined, marks, .. } => {
                *joined = true;
                let marks = *marks;
                let load = met.clone();
                Met::Running { load, marks }
            }
        }
    }

    /// Whether a key has a direct load.
    pub(super) fn knows(&self, key: &Key) -> bool {
        let shard = self.shard(key);
        let found = shard.loads.get(&key.hash());
        found.is_some_and(DirectLoad::runs)
    }

    /// Marks the loads whose values depend on `key`, so that they are not stored. Returns those whose leases are to be
    /// ended: the flights end the leases of loads that other callers have joined.
    pub(super) fn disown(&self, key: &Key) -> Vec<DirectLoad> {
        let mut disowned = Vec::new();
        if !self.sources.may_have(key) {
            return disowned;
        }
        for shard in &self.shards {
            for load in lock(shard).loads.values_mut() {
                let (is_made_from, has_contexts) = (load.names.contains(key), load.has_contexts);
                let State::Running { joined, marks, .. } = &mut load.state else {
                    continue;
                };
                if has_contexts {
                    marks.doubt = marks.doubt.max(Doubt::IfLate);
                }
                if is_made_from && std::mem::replace(&mut marks.doubt, Doubt::Dead) != Doubt::Dead && !*joined
                {
                    disowned.push(load.clone());
                }
            }
        }
        disowned
    }

    /// Marks the loads whose values depend on `key`: a value of it was given out that may be older than a change.
    pub(super) fn outdate(&self, key: &Key) {
        if !self.sources.have(key) {
            return;
        }
        for shard in &self.shards {
            for load in lock(shard).loads.values_mut() {
                #[cfg(test)]
                self.looked.fetch_add(1, Ordering::Relaxed);
                let is_made_from = load.names.contains(key);
                if let State::Running { marks, .. } = &mut load.state {
                    marks.outdated |= is_made_from;
                }
            }
        }
    }

    /// Stops all loads, and lets none begin. Returns those that may have leases.
    pub(super) fn close(&self) -> Vec<DirectLoad> {
        let mut stopped = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.closed = true;
            stopped.extend(std::mem::take(&mut shard.loads).into_values());
        }
        for load in &stopped {
            if let State::Running { task: Some(task), .. } = &load.state {
                task.abort();
            }
        }
        self.running.store(0, Ordering::Relaxed);
        stopped
    }

    /// How many direct loads run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// How many callers wait for their own direct loads.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The caller of a direct load does not wait any more.
    pub(super) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes note of what the coordinator has under way, for the bounds that hold for both.
    pub(super) fn publish(&self, led: usize, callers: usize) {
        self.led.store(led, Ordering::Relaxed);
        self.callers.store(callers, Ordering::Relaxed);
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing that could panic runs under the lock.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
