//! A caching HTTP proxy: a page is fresh as long as its `Cache-Control` says, and is then confirmed by its ETag.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::time::Duration;

use cachestore::{Bytes, Config, Fetched, LoadContext, Store};
use clap::{CommandFactory, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Caches the pages of an origin: --origin example.org:80.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
    /// The host and port of the origin
    #[arg(long)]
    origin: Option<String>,
}

/// Gets a page from the origin, or learns that the stored one is still good.
pub(crate) async fn fetch(origin: String, page: LoadContext<Bytes>) -> io::Result<Fetched<Bytes>> {
    let etag = page.validator().map(|etag| format!("If-None-Match: {etag}\r\n"));
    let (path, etag) = (page.key(), etag.unwrap_or_default());
    let mut connection = TcpStream::connect(&origin).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {origin}\r\n{etag}\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = String::from_utf8_lossy(&answer[..end.ok_or(io::ErrorKind::InvalidData)?]).into_owned();
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let control = header("Cache-Control").unwrap_or("max-age=60");
    let fetched = match head.split(' ').nth(1) {
        Some("304") => Fetched::not_modified(),
        Some("200") if !control.contains("no-store") => Fetched::new(answer.into()),
        _ => return Ok(Fetched::new(answer.into()).do_not_store()),
    };
    let (_, age) = control.split_once("max-age=").unwrap_or_default();
    let age = age.split(',').next().and_then(|age| age.parse().ok());
    // What is stale at once is stored too, so that the origin can confirm it.
    let fetched = fetched.ttl(Duration::from_secs(age.unwrap_or(0)).max(Duration::from_millis(1)));
    Ok(header("ETag").into_iter().fold(fetched, Fetched::validator))
}

/// Answers the requests of clients.
pub(crate) async fn serve(store: Store, origin: String, listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        let (store, origin) = (store.clone(), origin.clone());
        tokio::spawn(async move {
            let mut request = [0; 8192];
            let length = client.read(&mut request).await?;
            let request = String::from_utf8_lossy(&request[..length]);
            let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
            let load = store.get_or_load_with(&path, move |page| fetch(origin.clone(), page));
            // A stale page is kept for a day: to be confirmed, and in case the origin is down.
            let page = load.stale_if_error(Duration::from_secs(86_400)).outcome().await?;
            println!("{path}: {:?}", page.origin);
            anyhow::Ok(client.write_all(&page.value).await?)
        });
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { url, origin } = Options::parse();
    let Some(origin) = origin else {
        return Ok(Options::command().print_help()?);
    };
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("the proxy of {origin} listens on {}", listener.local_addr()?);
    Ok(serve(Store::open(Config::from_url(&url)?).await?, origin, listener).await?)
}
