//! A web service over a SQLite file: books and their votes, read through the cache.
//!
//! `web [--listen 127.0.0.1:8080] [--url redis://localhost:6379]` serves until Ctrl-C if it is told where to
//! listen; else it visits itself by HTTP, prints what happened, and ends.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

mod visit;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use cachestore::{Config, LoadError, Loaded, Store};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

const TTL: Duration = Duration::from_secs(2);
/// Votes have no index, so that counting them is worth a cache.
const SCHEMA: &str = "
    CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    CREATE TABLE votes (book INTEGER NOT NULL);
    INSERT INTO books (title) VALUES ('Emma'), ('Middlemarch'), ('Orlando'), ('Ulysses');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
    INSERT INTO votes SELECT 1 + i * i % 89 % 4 FROM n";
const SELECT: &str = "
    SELECT id, title, (SELECT count(*) FROM votes WHERE book = id) FROM books WHERE id = ?1 OR ?1 IS NULL";
const VOTE: &str = "INSERT INTO votes SELECT id FROM books WHERE id = ?1";

#[derive(Serialize, Deserialize)]
struct Book {
    id: u32,
    title: String,
    votes: u32,
}

#[derive(Clone)]
struct Service {
    store: Store,
    database: Arc<Mutex<Connection>>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Service {
    /// The book with this number, if there is one, or all: from the cache, or else from the database.
    async fn books(&self, id: Option<u32>) -> Result<Loaded<Vec<Book>>, LoadError<Failure>> {
        let key = id.map_or("books".to_owned(), |id| format!("book:{id}"));
        let (this, name, began) = (self.clone(), key.clone(), Instant::now());
        let load = async move || {
            let began = Instant::now();
            let books = this.with_database(move |database| {
                let mut select = database.prepare(SELECT)?;
                let books = select.query_map([id], |row| {
                    let (id, title, votes) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(Book { id, title, votes })
                });
                books?.collect()
            });
            let books = books.await;
            let time = began.elapsed();
            this.note(format!("{name} loaded in {time:.1?}")).await;
            books
        };
        let load = self
            .store
            .get_or_load(&key, load)
            .ttl(TTL)
            .jitter(0.1)
            .stale_while_revalidate(TTL * 5)
            .stale_if_error(TTL * 100)
            // The list changes with each vote, a book only with its own.
            .depends_on(id.is_none().then_some("votes"));
        let found = load.outcome().await?;
        let (origin, age, time) = (found.origin, found.age, began.elapsed());
        let line = format!("{key} served in {time:.1?}: {origin:?}, {age:.1?} old");
        self.note(line).await;
        Ok(found)
    }

    /// Changes the source first, then invalidates what was made from it.
    async fn vote(&self, id: u32) -> Result<u64> {
        let write = self.with_database(move |database| database.execute(VOTE, [id]));
        write.await?;
        Ok(self.store.invalidate([&*format!("book:{id}"), "votes"]).await?)
    }

    /// Runs where it may block what may block.
    async fn with_database<T, F>(&self, run: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let database = self.database.clone();
        Ok(tokio::task::spawn_blocking(move || run(&database.blocking_lock())).await??)
    }

    async fn note(&self, line: String) {
        let mut log = self.log.lock().await;
        log.push_front(line);
        log.truncate(12);
    }
}

/// What strangers are told of an error.
fn refused(error: impl Display) -> StatusCode {
    println!("refused: {error}");
    StatusCode::SERVICE_UNAVAILABLE
}

async fn book(State(service): State<Service>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let found = service.books(Some(id)).await.map_err(refused)?;
    let book = found.value.first().ok_or(StatusCode::NOT_FOUND)?;
    let (Book { title, votes, .. }, origin) = (book, found.origin);
    Ok(format!("{title}: {votes} votes ({origin:?})"))
}

async fn vote(State(service): State<Service>, Path(id): Path<u32>) -> Result<Redirect, StatusCode> {
    service.vote(id).await.map_err(refused)?;
    Ok(Redirect::to("/"))
}

async fn page(State(service): State<Service>) -> Result<Html<String>, StatusCode> {
    let books = service.books(None).await.map_err(refused)?.value;
    let stats = service.store.stats().await.map_err(refused)?;
    let log = Vec::from(service.log.lock().await.clone()).join("\n");
    let row = |Book { id, title, votes }| format!(include_str!("row.html"), id, title, votes);
    Ok(Html(format!(
        include_str!("page.html"),
        rows = books.into_iter().map(row).collect::<String>(),
        hits = stats.hits,
        misses = stats.misses,
        loads = stats.loads,
        joins = stats.load_joins,
        stale = stats.stale_answers,
        invalidated = stats.invalidated,
        log = log,
    )))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut config, mut listen) = (Config::memory(), None);
    let mut arguments = std::env::args().skip(1);
    while let (Some(flag), value) = (arguments.next(), arguments.next()) {
        match (&*flag, value) {
            ("--url", Some(url)) => config = Config::from_url(&url)?,
            ("--listen", Some(address)) => listen = Some(address),
            _ => return Err("usage: web [--listen ADDRESS] [--url URL]".into()),
        }
    }
    let file = std::env::temp_dir().join(format!("cachestore-web-{}.sqlite", std::process::id()));
    // A process of the same number may have been killed.
    let _ = std::fs::remove_file(&file);
    let database = Connection::open(&file)?;
    database.execute_batch(SCHEMA)?;
    let store = Store::open(config).await?.namespace("web-example")?;
    // A server may still hold what an earlier run has left.
    store.clear().await?;
    let (database, log) = (Arc::new(Mutex::new(database)), Arc::default());
    let routes = Router::new()
        .route("/", get(page))
        .route("/books/{id}", get(book))
        .route("/books/{id}/vote", post(vote))
        .with_state(Service {
            store: store.clone(),
            database,
            log,
        });
    let listener = TcpListener::bind(listen.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?;
    println!("http://{address}/");
    let server = tokio::spawn(axum::serve(listener, routes).into_future());
    let visited = match listen {
        Some(_) => Ok(tokio::signal::ctrl_c().await?),
        None => visit::visit(address).await,
    };
    server.abort();
    store.close().await?;
    std::fs::remove_file(file)?;
    visited
}
