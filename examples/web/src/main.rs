//! A web service over a SQLite file: books and their votes, read through the cache.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

mod history;
mod page;
mod service;
mod visit;

use std::fmt::Display;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use cachestore::{Config, Store};
use clap::Parser;
use rusqlite::Connection;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use service::{Book, SCHEMA, Service};

/// Serves the rows of a SQLite file through a cache.
///
/// Without --listen it visits itself by HTTP, prints what happened, and ends.
#[derive(Parser)]
struct Options {
    /// Serve until Ctrl-C, such as on 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(
        long,
        env = "CACHESTORE_URL",
        hide_env_values = true,
        default_value = "memory://"
    )]
    url: String,
}

/// What strangers are told of an error.
fn refused(error: impl Display) -> StatusCode {
    println!("refused: {error}");
    StatusCode::SERVICE_UNAVAILABLE
}

async fn book(State(service): State<Service>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let found = service.books(Some(id)).await.map_err(refused)?;
    let Book { title, votes, .. } = found.value.first().ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{title}: {votes} votes ({:?})", found.origin))
}

async fn vote(State(service): State<Service>, Path(id): Path<u32>) -> Result<Redirect, StatusCode> {
    service.vote(id).await.map_err(refused)?;
    Ok(Redirect::to("/"))
}

/// Fifty readers at once, of whom at most one asks the database for each book.
async fn readers(State(service): State<Service>) -> Result<Redirect, StatusCode> {
    let readers = (0..50).map(|reader| {
        let service = service.clone();
        tokio::spawn(async move { service.books(Some(1 + reader % 4)).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.map_err(refused)?.map_err(refused)?;
    }
    Ok(Redirect::to("/"))
}

async fn page(State(service): State<Service>) -> Result<Html<String>, StatusCode> {
    let books = service.books(None).await.map_err(refused)?;
    let stats = service.store.stats().await.map_err(refused)?;
    let (log, history) = (service.log.lock().await, service.history.lock().await);
    Ok(Html(page::render(
        service.store.engine(),
        &books,
        &stats,
        &log,
        &history,
    )))
}

/// The counts of the cache, as text.
async fn stats(State(service): State<Service>) -> Result<String, StatusCode> {
    let stats = service.store.stats().await.map_err(refused)?;
    let counts = page::counts(&stats).map(|(name, count)| format!("{count} {name}"));
    Ok(counts.join(", ") + "\n")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { listen, url } = Options::parse();
    let opened = Store::open(Config::from_url(&url)?).await;
    let store = opened.context("cannot open the store: is the server of --url running?")?;
    let store = store.namespace("web-example")?;
    // A server may still hold what an earlier run has left.
    store.clear().await?;
    let address = listen.as_deref().unwrap_or("127.0.0.1:0");
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {address}: choose another by --listen"))?;
    let address = listener.local_addr()?;
    let file = std::env::temp_dir().join(format!("cachestore-web-{}.sqlite", std::process::id()));
    // A process of the same number may have been killed.
    let _ = std::fs::remove_file(&file);
    let database = Connection::open(&file)?;
    database.execute_batch(SCHEMA)?;
    let service = Service::new(store.clone(), database);
    let routes = Router::new()
        .route("/", get(page))
        .route("/stats", get(stats))
        .route("/readers", post(readers))
        .route("/books/{id}", get(book))
        .route("/books/{id}/vote", post(vote))
        .with_state(service.clone());
    let sampler = tokio::spawn(service.sample());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    let tell = async { println!("http://{address}/") };
    let visited = match listen {
        // Whoever has read the address may press Ctrl-C at once, so that is listened to first.
        Some(_) => Ok(tokio::join!(biased; tokio::signal::ctrl_c(), tell).0?),
        None => {
            tell.await;
            visit::visit(address).await
        }
    };
    // The store is closed after the last request was answered.
    drop(stop);
    server.await??;
    sampler.abort();
    store.close().await?;
    std::fs::remove_file(file)?;
    visited
}
