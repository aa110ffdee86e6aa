//! The same tests over the memory engine, on a paused clock, and over servers.
//!
//! Tests of this binary that are not listed by [`over_all_engines`] judge times to the millisecond, or step through them. They
//! need the paused clock. A server counts TTLs by its own clock, which cannot be paused, so they do not run over one,
//! whatever the topology. `tests/redis/loads.rs` has those that allow for lateness, over each topology.

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

/// An empty store of the engine that the test runs over.
pub(crate) async fn fresh() -> Store {
    fresh_with(|config| config).await
}

/// The same with settings.
#[cfg(feature = "redis")]
pub(crate) async fn fresh_with(settings: fn(Config) -> Config) -> Store {
    let Some(topology) = Topology::of_this_thread() else {
        return open(settings(Config::memory())).await;
    };
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

#[cfg(not(feature = "redis"))]
pub(crate) async fn fresh_with(settings: fn(Config) -> Config) -> Store {
    open(settings(Config::memory())).await
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
