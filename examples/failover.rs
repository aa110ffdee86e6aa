//! A failover, as callers see it: a primary, its replica and a Sentinel on the loopback, a workload, and a `kill -9`.
//! Needs `redis-server`, `redis-cli` and `kill` on the path, so a Unix.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use cachestore::{Config, Error, Event, Store};
use clap::Parser;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

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

const SLICE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// A `redis-server` process, which ends with this.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("redis-server cannot be started: is it installed?")?;
        Ok(Self { port, process })
    }

    fn plain(folder: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let usual = ["--save", "", "--repl-diskless-sync-delay", "0"];
        Self::start(folder, &[&usual, more].concat())
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let process = self.process.id().context("the server has ended")?;
        let status = std::process::Command::new("kill")
            .args([format!("-{name}"), process.to_string()])
            .status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Waits until the server's answer to a command contains `words`.
    async fn says(&self, command: &[&str], words: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let output = Command::new("redis-cli")
                .args(["-p", &self.port.to_string()])
                .args(command)
                .output()
                .await?;
            if String::from_utf8_lossy(&output.stdout).contains(words) {
                return Ok(());
            }
            ensure!(began.elapsed() < LONGEST, "no server says {words}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What has happened in each slice of time.
#[derive(Clone)]
struct Timeline {
    began: Instant,
    slices: Arc<Mutex<BTreeMap<u128, Slice>>>,
}

#[derive(Default)]
struct Slice {
    calls: u64,
    errors: BTreeMap<&'static str, u64>,
    notes: Vec<String>,
}

impl Timeline {
    fn change(&self, change: impl FnOnce(&mut Slice)) {
        let number = self.began.elapsed().as_millis() / SLICE.as_millis();
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        change(slices.entry(number).or_default());
    }

    fn note(&self, note: impl Into<String>) {
        self.change(|slice| slice.notes.push(note.into()));
    }

    fn print(&self) {
        println!("   time   calls  errors");
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let last = slices.keys().last().copied().unwrap_or_default();
        let nothing = Slice::default();
        for number in 0..=last {
            let slice = slices.get(&number).unwrap_or(&nothing);
            let errors: Vec<String> = slice
                .errors
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            let seconds = number as f64 * SLICE.as_secs_f64();
            println!("{seconds:6.1} s  {:6}  {}", slice.calls, errors.join(", "));
            for note in &slice.notes {
                println!("          -> {note}");
            }
        }
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Unavailable(_) => "unavailable",
        Error::OutcomeUnknown(_) => "outcome unknown",
        Error::Timeout { .. } => "timed out",
        _ => "other",
    }
}

async fn work(store: Store, timeline: Timeline, task: usize) {
    for n in 0_u64.. {
        match store.set(format!("{task}:{}", n % 1000), n.to_string()).await {
            Ok(()) => timeline.change(|slice| slice.calls += 1),
            Err(Error::Closed) => return,
            Err(error) => {
                timeline.change(|slice| *slice.errors.entry(kind(&error)).or_default() += 1);
                // A caller that fails at once and asks again at once helps nobody.
                sleep(Duration::from_millis(10)).await;
            }
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

/// The folder of the servers. It is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = std::env::temp_dir().join(format!("cachestore-failover-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let folder = Folder(folder);
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

    let timeline = Timeline {
        began: Instant::now(),
        slices: Arc::default(),
    };
    let mut events = store.events();
    for task in 0..options.tasks {
        tokio::spawn(work(store.clone(), timeline.clone(), task));
    }
    sleep(SLICE * 5).await;
    if options.stop {
        primary.signal("STOP")?;
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
        primary.signal("CONT")?;
        timeline.note("the old primary goes on");
    }
    sleep(SLICE * 10).await;
    store.close().await?;
    timeline.print();
    Ok(())
}
