//! Leaders are elected by a renewed lock, and their writes are fenced.
//!
//! Start it in several processes with `CACHESTORE_URL=redis://localhost:6379`, and stop one that leads for a
//! while (`kill -STOP`, `kill -CONT`): another leads, and what the first still wants to write is refused.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use cachestore::{Config, LockGuard, Result, Store};

/// Waits until it leads.
async fn elected(store: &Store) -> Result<LockGuard> {
    let (ttl, long) = (Duration::from_millis(500), Duration::from_secs(3600));
    let guard = store.lock("leader").ttl(ttl).renew(long).wait(long).await?;
    println!(
        "{} leads, fencing token {}",
        std::process::id(),
        guard.fencing_token()
    );
    Ok(guard)
}

/// Writes for the cluster, unless somebody with a later fencing token has written: what became of it.
async fn write(store: &Store, guard: &LockGuard, text: &str) -> Result<&'static str> {
    loop {
        let before = store.get_string("leader:state").await?;
        let seen = before.as_deref().and_then(|state| state.split(' ').next());
        if seen.and_then(|fence| fence.parse().ok()).unwrap_or(0) > guard.fencing_token() {
            return Ok("refused: its fencing token is stale");
        }
        // The fencing token and what it protects change together, or not at all.
        let after = format!("{} {text}", guard.fencing_token());
        let written = match before {
            Some(before) => store.compare_and_set("leader:state", before, after).await?,
            None => store.add("leader:state", after).await?,
        };
        if written {
            return Ok("written");
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::open(Config::from_env()?).await?;
    let first = elected(&store).await?;
    // Work that must not go on when the lease is lost: here, because an operator takes it away.
    let work = async {
        for step in 1..=4 {
            println!("  step {step}: {}", write(&store, &first, "early").await?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        store.force_release("leader").await?;
        std::future::pending::<Result<()>>().await
    };
    match first.run(work).await {
        Ok(done) => done?,
        Err(lost) => println!("  {lost}"),
    }
    let second = elected(&store).await?;
    println!("  the second: {}", write(&store, &second, "now").await?);
    println!("  the first, late: {}", write(&store, &first, "late").await?);
    // Releases what is held: another process need not wait until the TTL ends.
    store.close().await
}
