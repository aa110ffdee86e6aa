//! Loaders that a test counts and steers.

#![allow(dead_code, reason = "each test file uses some of these")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{LoadError, Loaded, Origin};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// What a loader does, for errors that are texts.
pub(crate) type Loading<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// What became of all the loaders that it made.
#[derive(Clone)]
pub(crate) struct Loaders {
    calls: watch::Sender<u32>,
    ended: watch::Sender<u32>,
    cut_off: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
}

/// A loader that runs. One that is dropped before its end was cut off.
struct Running {
    of: Loaders,
    finished: bool,
}

impl Running {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished {
            self.of.cut_off.fetch_add(1, SeqCst);
        }
        self.of.ended.send_modify(|ended| *ended += 1);
    }
}

impl Loaders {
    pub(crate) fn new() -> Self {
        Self {
            calls: watch::Sender::new(0),
            ended: watch::Sender::new(0),
            cut_off: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// One that runs `load`.
    pub(crate) fn runs<T, F>(&self, load: F) -> impl FnOnce() -> Loading<T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let of = self.clone();
        move || {
            of.calls.send_modify(|calls| *calls += 1);
            let running = Running { of, finished: false };
            Box::pin(async move {
                let loaded = load.await;
                running.finish();
                loaded
            })
        }
    }

    /// One that has its value at once.
    pub(crate) fn at_once<T: Send + 'static>(&self, value: T) -> impl FnOnce() -> Loading<T> + Send + use<T> {
        self.runs(async move { Ok(value) })
    }

    /// One that takes so long.
    pub(crate) fn after<T: Send + 'static>(
        &self,
        time: Duration,
        value: T,
    ) -> impl FnOnce() -> Loading<T> + Send + use<T> {
        self.runs(async move {
            tokio::time::sleep(time).await;
            Ok(value)
        })
    }

    /// One that has read its value, and does not hand it over before it is [let go](Self::let_go).
    pub(crate) fn held<T: Send + 'static>(&self, value: T) -> impl FnOnce() -> Loading<T> + Send + use<T> {
        let gate = self.gate.clone();
        self.runs(async move {
            gate.acquire().await.expect("the gate stays").forget();
            Ok(value)
        })
    }

    /// One that fails at once.
    pub(crate) fn fails(&self) -> impl FnOnce() -> Loading<u32> + Send + use<> {
        self.runs(async { Err("the source is down".to_owned()) })
    }

    /// One that panics.
    pub(crate) fn panics(&self) -> impl FnOnce() -> Loading<u32> + Send + use<> {
        self.runs(async { panic!("in the loader") })
    }

    /// Lets so many go on that are held, or will be.
    pub(crate) fn let_go(&self, loaders: usize) {
        self.gate.add_permits(loaders);
    }

    /// How many were called.
    pub(crate) fn calls(&self) -> u32 {
        *self.calls.borrow()
    }

    /// How many were dropped while they ran.
    pub(crate) fn cut_off(&self) -> u32 {
        self.cut_off.load(SeqCst)
    }

    /// Waits until so many have been called.
    pub(crate) async fn called(&self, times: u32) {
        let mut calls = self.calls.subscribe();
        calls
            .wait_for(|calls| *calls >= times)
            .await
            .expect("its sender is here");
    }

    /// Waits until so many have ended, whichever way.
    pub(crate) async fn ended(&self, times: u32) {
        let mut ended = self.ended.subscribe();
        ended
            .wait_for(|ended| *ended >= times)
            .await
            .expect("its sender is here");
    }
}

/// What a loader of many gives.
pub(crate) type Values = HashMap<String, u32>;
/// Loaders that remember the keys that they were called with, sorted.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<Vec<String>>>>);

impl Asked {
    /// One that gives `value` for each key.
    pub(crate) fn gives(&self, value: u32) -> impl FnOnce(Vec<String>) -> Loading<Values> + Send + use<> {
        let asked = self.clone();
        move |mut keys| {
            keys.sort_unstable();
            asked.0.lock().expect("nobody panics with it").push(keys.clone());
            Box::pin(async move { Ok(keys.into_iter().map(|key| (key, value)).collect()) })
        }
    }

    /// One that does so once `loaders` has let it go.
    pub(crate) fn held(
        &self,
        loaders: &Loaders,
        value: u32,
    ) -> impl FnOnce(Vec<String>) -> Loading<Values> + Send + use<> {
        let (gives, held) = (self.gives(value), loaders.held(()));
        move |keys| {
            let given = gives(keys);
            Box::pin(async move {
                held().await?;
                given.await
            })
        }
    }

    /// One that fails.
    pub(crate) fn fails(&self) -> impl FnOnce(Vec<String>) -> Loading<Values> + Send + use<> {
        let gives = self.gives(0);
        move |keys| {
            drop(gives(keys));
            Box::pin(async { Err("the source is down".to_owned()) })
        }
    }

    /// The keys of each call.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

/// An outcome as a tuple, which is told apart at a glance.
pub(crate) fn seen<T, E: Debug>(outcome: Result<Loaded<T>, LoadError<E>>) -> (T, Origin, Duration) {
    let Loaded {
        value, origin, age, ..
    } = outcome.expect("a value");
    (value, origin, age)
}

/// The time since a test's own beginning, which it moves.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Goes on to this time, if it is still to come.
    pub(crate) async fn at(&self, time: Duration) {
        tokio::time::advance((self.0 + time).saturating_duration_since(Instant::now())).await;
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Gives all tasks that can run their turn.
pub(crate) async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
