//! Counts the words of the files under a folder, three times: with an empty cache, with a full one, and
//! after one folder was invalidated. `quickstart [FOLDER] [--url URL]`; by default this project's `src`, and
//! the memory engine. Over Redis it works in a namespace of its own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its reader"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachestore::{Config, LoadError, Store};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The model: how often each word occurs in a file.
#[derive(Serialize, Deserialize)]
struct Counts(HashMap<String, u64>);

/// A file's counts: from the cache, or else from the disk and then cached.
async fn counts(store: &Store, file: &Path) -> Result<Counts> {
    // Quoting keeps names apart that are not Unicode, or that differ in blanks at their end.
    let (key, folder) = (
        format!("{file:?}"),
        format!("{:?}", file.parent().unwrap_or(file)),
    );
    let path = file.to_owned();
    let count = async move || {
        let bytes = tokio::fs::read(path).await?;
        let mut counts = Counts(HashMap::new());
        for word in String::from_utf8_lossy(&bytes).split_whitespace() {
            *counts.0.entry(word.to_owned()).or_default() += 1;
        }
        Ok::<_, std::io::Error>(counts)
    };
    let load = store
        .get_or_load(key, count)
        .ttl(Duration::from_secs(600))
        .depends_on([folder]);
    load.await.map_err(|error| match error {
        LoadError::Loader(error) => format!("{}: {error}", file.display()).into(),
        error => error.into(),
    })
}

/// Counts all files once, and prints a row of the table.
async fn pass(store: &Store, name: &str, files: &[PathBuf]) -> Result<()> {
    let (before, began) = (store.stats().await?, tokio::time::Instant::now());
    let mut words = 0;
    for file in files {
        words += counts(store, file).await?.0.values().sum::<u64>();
    }
    let (time, after) = (began.elapsed(), store.stats().await?);
    let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
    println!("{name:<18} {time:>10.1?} {hits:>8} {misses:>8} {words:>12}");
    Ok(())
}

/// Adds the files at or under `path`. Links are not followed.
fn find_files(path: PathBuf, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_dir() {
        for entry in path.read_dir()? {
            find_files(entry?.path(), files)?;
        }
    } else if kind.is_file() {
        files.push(path);
    }
    Ok(())
}

async fn run() -> Result<()> {
    let (mut root, mut config) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../src"),
        Config::memory(),
    );
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--url" {
            let url = arguments
                .next()
                .ok_or("--url needs a URL, such as redis://localhost:6379 or memory://?capacity=64MiB")?;
            config = Config::from_url(&url.to_string_lossy())?;
        } else {
            root = argument.into();
        }
    }
    let mut files = Vec::new();
    let found = root.canonicalize().and_then(|root| find_files(root, &mut files));
    found.map_err(|error| format!("{}: {error}", root.display()))?;
    files.sort();
    let folder = files
        .last()
        .and_then(|file| file.parent())
        .ok_or("the folder holds no files")?;

    let store = Store::open(config).await?.namespace("quickstart")?;
    // A server may still hold what an earlier run has left.
    store.clear().await?;
    println!(
        "{:<18} {:>10} {:>8} {:>8} {:>12}",
        "pass", "time", "hits", "misses", "words"
    );
    pass(&store, "empty cache", &files).await?;
    pass(&store, "full cache", &files).await?;
    let removed = store.invalidate([format!("{folder:?}")]).await?;
    pass(&store, "after invalidation", &files).await?;

    let entries = store.scan("").try_fold(0, async |count, _| Ok(count + 1)).await?;
    println!("\n{removed} entries depended on {}", folder.display());
    println!("{entries} entries are cached");
    // Only the server knows these figures on Redis.
    let stats = store.stats().await?;
    if let (Some(bytes), Some(evicted)) = (stats.bytes, stats.evicted) {
        println!("they take {} KiB, {evicted} were evicted", bytes / 1024);
    }
    Ok(store.close().await?)
}

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("quickstart: {error}");
        std::process::exit(1);
    }
}
