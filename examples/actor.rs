//! Actors that share one store and take locks by message: none blocks its mailbox to wait.
#![allow(clippy::print_stdout, reason = "an example")]

use std::convert::Infallible;
use std::time::Duration;

use cachestore::kameo::prelude::*;
use cachestore::{Config, LockOutcome, Store};

struct Worker {
    name: &'static str,
    store: Store,
}

impl Actor for Worker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(worker: Self, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        // Returns at once; the grant is a message.
        let lock = worker.store.lock("report").wait(Duration::from_secs(10));
        lock.send_to(myself.recipient());
        Ok(worker)
    }
}

impl Message<LockOutcome> for Worker {
    type Reply = ();

    async fn handle(&mut self, outcome: LockOutcome, ctx: &mut Context<Self, ()>) {
        let LockOutcome { key, result } = outcome;
        match result {
            Ok(guard) => {
                let count = self.store.incr("reports", 1).await;
                println!(
                    "{} holds {key} with fencing token {}: report {count:?}",
                    self.name,
                    guard.fencing_token()
                );
            }
            Err(error) => println!("{} does not hold {key}: {error}", self.name),
        }
        // The guard has been dropped: the next worker is told.
        ctx.stop();
    }
}

#[tokio::main]
async fn main() -> cachestore::Result<()> {
    let store = Store::open(Config::from_env()?).await?;
    let workers = ["Ada", "Grace", "Barbara"].map(|name| {
        let store = store.clone();
        Worker::spawn(Worker { name, store })
    });
    for worker in &workers {
        worker.wait_for_shutdown().await;
    }
    // What the guards have released is sent before the program ends.
    store.close().await
}
