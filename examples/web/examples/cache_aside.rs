//! Cache-aside over SQL: reads go through the cache. A write changes the database first and then invalidates.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;
use std::time::Duration;

use cachestore::{Config, LoadError, Store};
use clap::Parser;
use rusqlite::{Connection, Params};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// Reads SQL rows through a cache.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

type Database = Arc<Mutex<Connection>>;

const TTL: Duration = Duration::from_secs(60);
const CREATE: &str = "CREATE TABLE stock (warehouse INTEGER, count INTEGER)";
const INSERT: &str = "INSERT INTO stock VALUES (?1, ?2) RETURNING count";
const COUNT: &str = "SELECT coalesce(sum(count), 0) FROM stock WHERE warehouse = ?1";

/// Runs SQL on a thread that may block, and returns the number that it gives.
async fn sql(db: Database, sql: &'static str, values: impl Params + Send + 'static) -> anyhow::Result<u32> {
    let run = move || db.blocking_lock().query_row(sql, values, |row| row.get(0));
    Ok(spawn_blocking(run).await??)
}

/// How many items a warehouse has: from the cache, or else from the database.
async fn count(store: &Store, db: &Database, warehouse: u32) -> Result<u32, LoadError<anyhow::Error>> {
    let db = db.clone();
    let load = async move || {
        println!("the database is asked");
        sql(db, COUNT, [warehouse]).await
    };
    let load = store.get_or_load(format!("count:{warehouse}"), load).ttl(TTL);
    load.depends_on([format!("warehouse:{warehouse}")]).await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let db = Arc::new(Mutex::new(Connection::open_in_memory()?));
    db.lock().await.execute_batch(CREATE)?;
    let store = Store::open(Config::from_url(&Options::parse().url)?).await?;
    let store = store.namespace("stock")?;
    for delivery in [12, 30] {
        sql(db.clone(), INSERT, [1, delivery]).await?;
        // After the write: a load that has read the old rows is not stored.
        store.invalidate(["warehouse:1"]).await?;
        let counts = [count(&store, &db, 1).await?, count(&store, &db, 1).await?];
        println!("items in warehouse 1: {counts:?}");
    }
    Ok(store.close().await?)
}
