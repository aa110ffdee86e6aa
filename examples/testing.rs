//! Testing a service while its cache is down. The clock is paused, so that a timeout of seconds takes no time: in a
//! test, write `#[tokio::test(start_paused = true)]` in place of `#[tokio::main(..)]`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use cachestore::testing::{Call, Faults};
use cachestore::{Config, LoadError, Result, Store};
use clap::Parser;
use tokio::time::Instant;

/// Tests a service while its cache is down, and while it hangs.
#[derive(Parser)]
struct Options;

/// What is tested: a service that must answer without its cache too, only slower.
struct Prices(Store);

impl Prices {
    async fn price(&self, item: &str) -> std::result::Result<u32, String> {
        let key = format!("price:{item}");
        let load = self.0.get_or_load(key, source).ttl(Duration::from_secs(60));
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
    Options::parse();
    let faults = Faults::default();
    let prices = Prices(Store::open(Config::memory().faults(&faults)).await?);

    faults.down();
    assert_eq!(prices.price("tea").await, Ok(42));
    println!("the cache is down: the price comes from the source");

    faults.up();
    assert_eq!(prices.price("tea").await, Ok(42));
    assert_eq!(prices.price("tea").await, Ok(42));
    let is_read = |call: &Call| call.key() == Some("price:tea");
    let reads = faults.log().into_iter().filter(is_read).count();
    println!("the cache is up again: {reads} requests were about the price");

    faults.delay(Duration::from_secs(3600));
    let began = Instant::now();
    assert_eq!(prices.price("tea").await, Ok(42));
    println!("the cache hangs: the price takes {:?}", began.elapsed());
    faults.delay(Duration::ZERO);
    prices.0.close().await
}
