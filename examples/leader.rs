//! Leader election: a renewed lock makes one process the leader, and its fencing token guards what it writes.
//! Start several with `--url redis://localhost:6379`: one leads at a time.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use cachestore::{Config, LockGuard, Result, Store};
use clap::Parser;

/// Elects a leader. The late writes of a former one are refused.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

const TTL: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(3600);

/// Waits until it leads.
async fn elected(store: &Store) -> Result<LockGuard> {
    let guard = store.lock("leader").ttl(TTL).renew(LONG).wait(LONG).await?;
    println!(
        "process {} leads, token {}",
        std::process::id(),
        guard.fencing_token()
    );
    Ok(guard)
}

/// Writes a state unless a later leader has written. The token and the state change together, or not at all.
async fn write(store: &Store, guard: &LockGuard, state: &str) -> Result<bool> {
    let (mine, text) = (guard.fencing_token(), state.to_owned());
    let newest = store.update_model("leader:state", move |old: Option<(u64, String)>| match old {
        Some(newer) if newer.0 > mine => Some(newer),
        _ => Some((mine, text.clone())),
    });
    Ok(newest.await?.is_some_and(|(token, _)| token == mine))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(Config::from_url(&Options::parse().url)?).await?;
    let first = elected(&store).await?;
    println!("  written: {}", write(&store, &first, "early").await?);
    // An operator takes the lock away: `run` stops work that must not go on.
    store.force_release("leader").await?;
    if let Err(lost) = first.run(std::future::pending::<()>()).await {
        println!("  stopped: {lost}");
    }
    let second = elected(&store).await?;
    println!("  written: {}", write(&store, &second, "now").await?);
    println!(
        "  written late by the first: {}",
        write(&store, &first, "late").await?
    );
    Ok(store.close().await?)
}
