//! Fills a cache from a CSV file before the service opens its door, in batches, with a progress bar.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use cachestore::{Config, Store};
use clap::Parser;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Fills a cache from a CSV file.
#[derive(Parser)]
struct Options {
    /// Two columns without a head: key and value
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/products.csv"))]
    file: PathBuf,
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
    /// Rows written by one call
    #[arg(long, default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { file, url, batch } = Options::parse();
    let input = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = input.metadata()?.len();
    let store = Store::open(Config::from_url(&url)?).await?.namespace("warm-up")?;
    // Not drawn unless standard error is a terminal.
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {bytes_per_sec}  {eta} left")?;
    let bar = ProgressBar::new(bytes).with_style(style);
    let (mut csv, mut written) = (csv::ReaderBuilder::new(), 0);
    let mut reader = csv.has_headers(false).from_reader(bar.wrap_read(input));
    let mut rows = reader.deserialize::<(String, String)>().peekable();
    while rows.peek().is_some() {
        let pairs = rows
            .by_ref()
            .take(batch as usize)
            .collect::<Result<Vec<_>, _>>()?;
        written += pairs.len() as u64;
        store.set_many(pairs).ttl(Duration::from_secs(3600)).await?;
    }
    bar.finish_and_clear();
    println!("{} rows in {:.1?}", HumanCount(written), bar.elapsed());
    Ok(store.close().await?)
}
