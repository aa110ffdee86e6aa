//! Two processes share values and invalidations through one Redis server: this one, and a child that it
//! starts of itself.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cachestore::{Config, Store};
use clap::Parser;
use tokio::process::{Child, Command};

/// Shares values and invalidations between two processes.
#[derive(Parser)]
struct Options {
    /// A Redis server, such as redis://localhost:6379 [default: a `redis-server` of its own, while it runs]
    // In the environment of the child, because an argument is for everyone to see, and the URL may hold a password.
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    url: Option<String>,
    /// The second process
    #[arg(long, hide = true, requires = "url")]
    child: bool,
}

const COUNTS: i64 = 1000;

async fn open(url: &str) -> Result<Store> {
    let opened = Store::open(Config::from_url(url)?).await;
    let store = opened.context("cannot open the store: is the server of --url running?")?;
    Ok(store.namespace("shared-example")?)
}

/// Prints what a process did.
fn tell(what: &str) {
    println!("process {:<8} {what}", std::process::id());
}

async fn parent(url: &str) -> Result<()> {
    let store = open(url).await?;
    store.clear().await?;
    store.set("user:1", "Ada").ttl(Duration::from_secs(60)).await?;
    store.set("page:1", "<h1>Ada</h1>").depends_on(["user:1"]).await?;
    tell("wrote user:1, and page:1 which was made from it");

    let mut other = Command::new(std::env::current_exe()?)
        .arg("--child")
        .env("CACHESTORE_URL", url)
        .spawn()?;
    for _ in 0..COUNTS {
        store.incr("count", 1).await?;
    }
    ensure!(other.wait().await?.success(), "the other process failed");
    let page = store.get_string("page:1").await?;
    let count = store.counter("count").await?;
    tell(&format!("reads page:1: {page:?}"));
    tell(&format!("reads the count of both: {count:?}"));
    store.clear().await?;
    store.close().await?;
    ensure!(
        page.is_none() && count == Some(2 * COUNTS),
        "the processes do not share a store: does --url name a Redis server?"
    );
    Ok(())
}

async fn child(url: &str) -> Result<()> {
    let store = open(url).await?;
    let page = store.get_string("page:1").await?;
    tell(&format!("reads page:1: {page:?}"));
    let removed = store.invalidate(["user:1"]).await?;
    tell(&format!("invalidates user:1, which removes {removed} entries"));
    for _ in 0..COUNTS {
        store.incr("count", 1).await?;
    }
    Ok(store.close().await?)
}

/// A server on a free port, once it answers, and its URL. It ends when it is dropped.
async fn start_server() -> Result<(Child, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port()
        .to_string();
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start redis-server: install it, or name a running server by --url")?;
    let url = format!("redis://127.0.0.1:{port}");
    for _ in 0..100 {
        if Store::open(Config::from_url(&url)?).await.is_ok() {
            return Ok((server, url));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the redis-server that was started does not answer: name a running one by --url")
}

#[tokio::main]
async fn main() -> Result<()> {
    match Options::parse() {
        Options {
            url: Some(url),
            child: true,
        } => child(&url).await,
        Options { url: Some(url), .. } => parent(&url).await,
        Options { url: None, .. } => {
            let (_server, url) = start_server().await?;
            parent(&url).await
        }
    }
}
