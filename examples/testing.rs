//! Testing a service while its cache is down, in no time: `cargo run --features testing --example testing`.
//!
//! The clock is paused, so that a timeout of seconds takes none. In a test, write
//! `#[tokio::test(start_paused = true)]` in place of `#[tokio::main(..)]`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use cachestore::testing::Faults;
use cachestore::{Config, LoadError, Result, Store};
use tokio::time::Instant;

/// What is tested: a service that must answer without its cache too, only slower.
struct Prices {
    cache: Store,
}

impl Prices {
    async fn price(&self, item: &str) -> std::result::Result<u32, String> {
        let key = format!("price:{item}");
        let load = self.cache.get_or_load(key, source).ttl(Duration::from_secs(60));
        match load.await {
            // The cache cannot be asked: the source can.
            Err(LoadError::Store(error)) if error.is_retryable() => source().await,
            answer => answer.map_err(|error| error.to_string()),
        }
    }
}

/// The database of prices.
async fn source() -> std::result::Result<u32, String> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(42)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let faults = Faults::default();
    let cache = Store::open(Config::memory().faults(&faults)).await?;
    let prices = Prices { cache };

    faults.down();
    assert_eq!(prices.price("tea").await, Ok(42));
    println!("the cache is down: the price comes from the source");

    faults.up();
    assert_eq!(prices.price("tea").await, Ok(42));
    assert_eq!(prices.price("tea").await, Ok(42));
    let log = faults.log();
    let reads = log.iter().filter(|call| call.key() == Some("price:tea")).count();
    println!("the cache is up again: {reads} requests were about the price");

    faults.delay(Duration::from_secs(3600));
    let began = Instant::now();
    assert_eq!(prices.price("tea").await, Ok(42));
    println!("the cache hangs: the price takes {:?}", began.elapsed());

    faults.delay(Duration::ZERO);
    prices.cache.close().await
}
