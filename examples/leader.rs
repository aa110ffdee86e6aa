//! Several processes elect a leader by a renewed lock, and fence what it writes.
//!
//! Start it several times with `CACHESTORE_URL=redis://localhost:6379`, and stop the leader for a while
//! (`kill -STOP`, `kill -CONT`): another leads, and what the first still wants to write is refused.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use cachestore::{Config, Error, LockGuard, Result, Store};

const TERMS: u32 = 3;

/// Writes for the cluster, unless somebody who came later has written: then this leader is none any more.
async fn write(store: &Store, guard: &LockGuard, text: &str) -> Result<bool> {
    loop {
        let before = store.get_string("leader:state").await?;
        let seen = before
            .as_deref()
            .and_then(|state| state.split(' ').next()?.parse().ok());
        if seen.is_some_and(|seen: u64| seen > guard.fence()) {
            return Ok(false);
        }
        // The fence and what it protects change together, or not at all.
        let after = format!("{} {text}", guard.fence());
        let written = match before {
            Some(before) => store.compare_and_set("leader:state", before, after).await?,
            None => store.add("leader:state", after).await?,
        };
        if written {
            return Ok(true);
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let me = std::process::id();
    let store = Store::open(Config::from_env()?).await?;
    for term in 1..=TERMS {
        let lock = store
            .lock("leader")
            .ttl(Duration::from_secs(2))
            .renew(Duration::from_secs(3600));
        let guard = match lock.wait(Duration::from_secs(60)).await {
            Ok(guard) => guard,
            Err(Error::LockHeld) => continue,
            Err(error) => return Err(error),
        };
        println!("{me} leads, term {term}, fence {}", guard.fence());
        // Work that must not go on when the lease is lost.
        let led = guard.run(async {
            for step in 0..5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                println!(
                    "{me} wrote step {step}: {}",
                    write(&store, &guard, &format!("by {me}")).await?
                );
            }
            Ok::<(), Error>(())
        });
        match led.await {
            Ok(done) => done?,
            Err(lost) => println!("{me}: {lost}"),
        }
        guard.release().await?;
    }
    store.close().await
}
