//! A job lock by message: actors ask for a lock and go on with their mailboxes until the answer comes.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::convert::Infallible;
use std::time::Duration;

use cachestore::kameo::prelude::*;
use cachestore::{Config, LockOutcome, Store};
use clap::Parser;

/// Lets three actors do one job after another, under one lock.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

struct Worker(&'static str, Store);

impl Actor for Worker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(worker: Self, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        // Returns at once. The guard comes as a message.
        let lock = worker.1.lock("report").wait(Duration::from_secs(10));
        lock.send_to(myself.recipient());
        Ok(worker)
    }
}

impl Message<LockOutcome> for Worker {
    type Reply = ();

    async fn handle(&mut self, LockOutcome { key, result }: LockOutcome, ctx: &mut Context<Self, ()>) {
        let Worker(name, store) = self;
        match result {
            Ok(guard) => match store.incr("reports", 1).await {
                Ok(n) => println!("{name:<8} report {n}, fencing token {}", guard.fencing_token()),
                Err(error) => println!("{name:<8} failed: {error}"),
            },
            Err(error) => println!("{name:<8} does not hold {key}: {error}"),
        }
        // The guard has been dropped, so that the next worker holds the lock.
        ctx.stop();
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(Config::from_url(&Options::parse().url)?).await?;
    let workers = ["Ada", "Grace", "Barbara"].map(|name| Worker::spawn(Worker(name, store.clone())));
    for worker in &workers {
        worker.wait_for_shutdown().await;
    }
    Ok(store.close().await?)
}
