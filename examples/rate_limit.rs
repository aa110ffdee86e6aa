//! A rate limiter: each client may make so many calls in a window of time, over all processes of a service.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use cachestore::{Config, Result, Store, Ttl};
use clap::Parser;

/// Limits the calls of each client in a window of time.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
    /// Calls that a client may make in a window
    #[arg(long, default_value_t = 3)]
    limit: i64,
    /// The length of a window, in milliseconds
    #[arg(long, default_value_t = 500)]
    window: u64,
}

/// Counts a call of a client. Returns `None` if it is allowed, else how long the client should wait.
async fn check(store: &Store, client: &str, limit: i64, window: Duration) -> Result<Option<Duration>> {
    // The first call of a window creates the counter and sets its TTL. Later calls keep the TTL.
    if store.incr(client, 1).ttl(window).await? <= limit {
        return Ok(None);
    }
    match store.ttl(client).await? {
        Some(Ttl::Remaining(rest)) => Ok(Some(rest)),
        // The window has ended between the two calls.
        _ => Ok(Some(Duration::ZERO)),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { url, limit, window } = Options::parse();
    let store = Store::open(Config::from_url(&url)?).await?.namespace("limits")?;
    let window = Duration::from_millis(window);
    for client in ["ada", "ada", "ada", "ada", "grace", "ada"] {
        match check(&store, client, limit, window).await? {
            None => println!("{client:<6} allowed"),
            Some(wait) => {
                println!("{client:<6} refused, and waits {wait:.0?}");
                tokio::time::sleep(wait).await;
            }
        }
    }
    Ok(store.close().await?)
}
