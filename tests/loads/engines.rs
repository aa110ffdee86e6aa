//! The same tests over the memory engine, on a paused clock, and over servers.
//!
//! Tests of this binary that are not listed by [`over_all_engines`] judge times to the millisecond, or step through them. They
//! need the paused clock. A server counts TTLs by its own clock, which cannot be paused, so they do not run over one,
//! whatever the topology. `tests/redis/loads.rs` has those that allow for lateness, over each topology.

use std::cell::Cell;
use std::fmt::Debug;
use std::time::Duration;

use cachestore::{Config, LoadError, Loaded, Origin, Store};

#[cfg(feature = "redis")]
use crate::harness::{Place, Topology};
use crate::loads;
use crate::support::{open, secs};

/// Runs tests without arguments, whose stores [`fresh`] opens.
macro_rules! over_all_engines {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                let _on = crate::engines::OnMemory::chosen();
                super::$test().await;
            })*
        }
        #[cfg(feature = "redis")]
        crate::harness::place::over_each_topology! { $($test)* }
    };
}
pub(crate) use over_all_engines;

#[cfg(feature = "redis")]
thread_local! {
    /// Ends with the next test of the thread. A test gets a store and no more.
    static PLACE: std::cell::RefCell<Option<(Topology, Place)>> = const { std::cell::RefCell::new(None) };
}

thread_local! {
    /// Whether this thread runs a test over the memory engine.
    static ON_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// Lets [`fresh`] open stores of the memory engine in this thread's test, until this is dropped.
pub(crate) struct OnMemory(());

impl OnMemory {
    pub(crate) fn chosen() -> Self {
        ON_MEMORY.set(true);
        Self(())
    }
}

impl Drop for OnMemory {
    fn drop(&mut self) {
        ON_MEMORY.set(false);
    }
}

/// An empty store of the engine that the test runs over. Only for tests of [`over_all_engines`].
pub(crate) async fn fresh() -> Store {
    fresh_with(|config| config).await
}

/// The same with settings.
pub(crate) async fn fresh_with(settings: fn(Config) -> Config) -> Store {
    if ON_MEMORY.get() {
        return in_memory(settings).await;
    }
    #[cfg(feature = "redis")]
    return on_servers(settings).await;
    #[cfg(not(feature = "redis"))]
    panic!("no engine is chosen: list the test in `over_all_engines!`");
}

/// An empty store of the memory engine.
pub(crate) async fn in_memory(settings: fn(Config) -> Config) -> Store {
    open(settings(Config::memory())).await
}

#[cfg(feature = "redis")]
async fn on_servers(settings: fn(Config) -> Config) -> Store {
    let topology = Topology::of_this_thread();
    let topology = topology.expect("an engine is chosen: list the test in `over_all_engines!`");
    let before = PLACE.take().filter(|(kind, _)| *kind == topology);
    let place = match before {
        Some((_, place)) => {
            place.flush();
            place
        }
        None => Place::on(topology).await,
    };
    let store = open(settings(place.config().into())).await;
    PLACE.set(Some((topology, place)));
    store
}

/// Waits until all that tasks have asked the store is answered, and what they asked because of the answers.
pub(crate) async fn settled(store: &Store) {
    for _ in 0..3 {
        loads::settled().await;
        // One connection answers in order.
        store.ping().await.expect("the store answers");
    }
    loads::settled().await;
}

/// As [`loads::seen`]. Over servers time goes on, so an age is in whole seconds.
pub(crate) fn seen<T, E: Debug>(outcome: Result<Loaded<T>, LoadError<E>>) -> (T, Origin, Duration) {
    let (value, origin, age) = loads::seen(outcome);
    (value, origin, if is_paused() { age } else { secs(age.as_secs()) })
}

fn is_paused() -> bool {
    #[cfg(feature = "redis")]
    return Topology::of_this_thread().is_none();
    #[cfg(not(feature = "redis"))]
    true
}
