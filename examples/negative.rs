//! Negative caching: the absence of a product is cached too, for a shorter time. Requests for products that do not
//! exist then spare the database.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cachestore::{Config, LoadError, Store};
use clap::Parser;

/// Caches the absence of values.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

struct Products {
    store: Store,
    queries: Arc<AtomicU32>,
}

impl Products {
    /// A product's name, or `None` if there is no such product.
    async fn name(&self, number: u32) -> Result<Option<String>, LoadError<Infallible>> {
        let queries = self.queries.clone();
        let query = async move || {
            queries.fetch_add(1, Ordering::Relaxed);
            Ok((number == 1).then(|| "Teapot".to_owned()))
        };
        let load = self.store.get_or_load(format!("product:{number}"), query);
        load.ttl_for(|found| match found {
            Some(_) => Duration::from_secs(600),
            // A new product is seen this late, unless its key is invalidated.
            None => Duration::from_secs(5),
        })
        .await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(Config::from_url(&Options::parse().url)?).await?;
    let (store, queries) = (store.namespace("products")?, Arc::default());
    let products = Products { store, queries };
    for number in [1, 1, 404, 404, 404] {
        let name = products.name(number).await?;
        let queries = products.queries.load(Ordering::Relaxed);
        let name = name.as_deref().unwrap_or("-");
        println!("product {number:>3}  {name:<8} queries so far: {queries}");
    }
    Ok(products.store.close().await?)
}
