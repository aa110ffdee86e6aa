//! A failover, as callers see it: a primary, its replica and a Sentinel on the loopback, a workload, and a `kill -9`.
//! Needs `redis-server`, `redis-cli` and `kill` on the path, so a Unix.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

#[path = "support/servers.rs"]
mod servers;
#[path = "support/timeline.rs"]
mod timeline;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use cachestore::{Config, Error, Event, Store};
use clap::Parser;
use tokio::time::sleep;

use servers::{Folder, LONGEST, Server};
use timeline::{SLICE, Timeline};

/// Kills a primary under load, and prints what callers see: the calls of each 100 ms, and the errors by kind.
#[derive(Parser)]
struct Options {
    /// How many tasks write at the same time.
    #[arg(long, default_value_t = 8)]
    tasks: usize,
    /// After how many milliseconds of silence the Sentinel takes the primary for dead.
    #[arg(long, default_value_t = 500)]
    down_after: u64,
    /// Stops the primary (SIGSTOP) in place of killing it, and lets it go on after the switch.
    #[arg(long)]
    stop: bool,
}

fn signal(server: &Server, name: &str) -> anyhow::Result<()> {
    let process = server.process.id().context("the server has ended")?;
    let status = std::process::Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status()?;
    ensure!(status.success(), "kill -{name} failed");
    Ok(())
}

async fn work(store: Store, timeline: Timeline, task: usize) {
    for n in 0_u64.. {
        let result = store.set(format!("{task}:{}", n % 1000), n.to_string()).await;
        if let Err(Error::Closed) = result {
            return;
        }
        timeline.count(&result);
        if result.is_err() {
            // A caller that fails at once and asks again at once helps nobody.
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Starts a primary, its replica, and a Sentinel that watches both.
async fn start(folder: &Path, down_after: u64) -> anyhow::Result<[Server; 3]> {
    let primary = Server::plain(folder, &[])?;
    primary.says(&["PING"], "PONG").await?;
    let port = primary.port.to_string();
    let replica = Server::plain(folder, &["--replicaof", "127.0.0.1", &port])?;
    replica
        .says(&["INFO", "replication"], "master_link_status:up")
        .await?;
    let file = folder.join("sentinel.conf");
    let lines = format!(
        "sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main {down_after}\n"
    );
    std::fs::write(&file, lines)?;
    let file = file.to_string_lossy();
    let sentinel = Server::start(folder, &[&file, "--sentinel"])?;
    let replicas = replica.port.to_string();
    sentinel
        .says(&["SENTINEL", "REPLICAS", "main"], &replicas)
        .await?;
    Ok([primary, replica, sentinel])
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = Folder::new("failover")?;
    let [mut primary, replica, sentinel] = start(&folder.0, options.down_after).await?;
    let url = format!(
        "redis-sentinel://127.0.0.1:{}?sentinelServiceName=main&request_timeout=1s",
        sentinel.port
    );
    let store = Store::open(Config::from_url(&url)?).await?;
    println!(
        "primary {}, replica {}, Sentinel {}",
        primary.port, replica.port, sentinel.port
    );

    let timeline = Timeline::begin();
    let mut events = store.events();
    for task in 0..options.tasks {
        tokio::spawn(work(store.clone(), timeline.clone(), task));
    }
    sleep(SLICE * 5).await;
    if options.stop {
        signal(&primary, "STOP")?;
        timeline.note("the primary stands still");
    } else {
        primary.process.start_kill()?;
        timeline.note("the primary is killed");
    }
    let noted = timeline.clone();
    let switched = async move {
        while let Some(event) = events.recv().await {
            match event {
                Event::SwitchedPrimary { node } => {
                    noted.note(format!("Sentinel names {node}"));
                    break;
                }
                Event::Disconnected { cause, .. } => noted.note(format!("disconnected: {cause}")),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LONGEST, switched)
        .await
        .context("no other primary was named")?;
    if options.stop {
        sleep(SLICE * 5).await;
        signal(&primary, "CONT")?;
        timeline.note("the old primary goes on");
    }
    sleep(SLICE * 10).await;
    store.close().await?;
    timeline.print();
    Ok(())
}
