//! The books: a database behind a cache, and what the page tells of both.

use std::sync::Arc;
use std::time::Duration;

use cachestore::{LoadError, Loaded, Store};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::history::{History, Log, ago};

pub(crate) const TTL: Duration = Duration::from_secs(2);
/// Votes have no index, so that counting them is worth a cache.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    CREATE TABLE votes (book INTEGER NOT NULL);
    INSERT INTO books (title) VALUES ('Emma'), ('Middlemarch'), ('Orlando'), ('Ulysses');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
    INSERT INTO votes SELECT 1 + i * i % 89 % 4 FROM n";
const SELECT: &str = "
    SELECT id, title, (SELECT count(*) FROM votes WHERE book = id) FROM books WHERE id = ?1 OR ?1 IS NULL";
const VOTE: &str = "INSERT INTO votes SELECT id FROM books WHERE id = ?1";

#[derive(Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) id: u32,
    pub(crate) title: String,
    pub(crate) votes: u32,
}

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Store,
    database: Arc<Mutex<Connection>>,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) history: Arc<Mutex<History>>,
}

impl Service {
    pub(crate) fn new(store: Store, database: Connection) -> Self {
        Self {
            store,
            database: Arc::new(Mutex::new(database)),
            log: Arc::default(),
            history: Arc::default(),
        }
    }

    /// The book with this number, if there is one, or all: from the cache, or else from the database.
    pub(crate) async fn books(&self, id: Option<u32>) -> Result<Loaded<Vec<Book>>, LoadError<anyhow::Error>> {
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
            this.log.lock().await.add(format!("{name} loaded in {time:.1?}"));
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
        let (origin, time) = (found.origin, began.elapsed());
        let mut line = format!("{key} served in {time:.1?}: {origin:?}");
        if origin.is_hit() {
            line = format!("{line}, loaded {}", ago(found.age));
        }
        self.log.lock().await.add(line);
        Ok(found)
    }

    /// Changes the source first, then invalidates what was made from it.
    pub(crate) async fn vote(&self, id: u32) -> anyhow::Result<u64> {
        let write = self.with_database(move |database| database.execute(VOTE, [id]));
        write.await?;
        Ok(self.store.invalidate([&*format!("book:{id}"), "votes"]).await?)
    }

    /// Takes a sample of the hit ratio each second, for ever.
    pub(crate) async fn sample(self) {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            clock.tick().await;
            // While the store does not answer there is nothing to draw.
            if let Ok(stats) = self.store.stats().await {
                self.history.lock().await.add(stats.hits, stats.misses);
            }
        }
    }

    /// Runs SQL on a thread that may block.
    async fn with_database<T, F>(&self, run: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let database = self.database.clone();
        Ok(tokio::task::spawn_blocking(move || run(&database.blocking_lock())).await??)
    }
}
