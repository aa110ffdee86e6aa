//! Two processes share values and invalidations through one Redis server: this one, and a child that it
//! starts of itself. `shared [--url URL]`; without a URL it starts a `redis-server` for as long as it runs.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its reader"
)]

use std::process::Stdio;
use std::time::Duration;

use cachestore::{Config, Store};
use tokio::process::{Child, Command};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const COUNTS: i64 = 1000;

async fn open(config: Config) -> cachestore::Result<Store> {
    Store::open(config).await?.namespace("shared-example")
}

async fn parent(url: &str) -> Result<()> {
    let (store, me) = (open(Config::from_url(url)?).await?, std::process::id());
    store.clear().await?;
    store.set("user:1", "Ada").ttl(Duration::from_secs(60)).await?;
    store.set("page:1", "<h1>Ada</h1>").depends_on(["user:1"]).await?;
    println!("process {me} has written user:1, and page:1 which was made from it");

    // By the environment, because an argument is for everyone to see, and the URL may hold a password.
    let mut other = Command::new(std::env::current_exe()?)
        .arg("--child")
        .env("CACHESTORE_URL", url)
        .spawn()?;
    for _ in 0..COUNTS {
        store.incr("count", 1).await?;
    }
    if !other.wait().await?.success() {
        return Err("the other process failed".into());
    }
    let page = store.get_string("page:1").await?;
    let count = store.incr("count", 0).await?;
    println!("process {me} reads page:1: {page:?}, and what both have counted: {count}");
    store.clear().await?;
    store.close().await?;
    if page.is_some() || count != 2 * COUNTS {
        return Err("the processes do not share a store: does the URL name a Redis server?".into());
    }
    Ok(())
}

async fn child() -> Result<()> {
    let (store, me) = (open(Config::from_env()?).await?, std::process::id());
    let page = store.get_string("page:1").await?;
    println!("process {me} reads page:1: {page:?}");
    let removed = store.invalidate(["user:1"]).await?;
    println!("process {me} has invalidated user:1: {removed} entries are gone");
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
        .map_err(|error| format!("redis-server does not start ({error}): name a server by --url"))?;
    let url = format!("redis://127.0.0.1:{port}");
    for _ in 0..100 {
        if Store::open(Config::from_url(&url)?).await.is_ok() {
            return Ok((server, url));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("redis-server does not answer".into())
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [flag] if flag == "--child" => child().await,
        [flag, url] if flag == "--url" => parent(url).await,
        [] => {
            let (_server, url) = start_server().await?;
            parent(&url).await
        }
        _ => Err("usage: shared [--url redis://host:port]".into()),
    }
}

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("shared: {error}");
        std::process::exit(1);
    }
}
