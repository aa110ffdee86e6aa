//! Counts the words of the files under a folder, three times: with an empty cache, with a full one, and
//! after one folder was invalidated.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its reader"
)]

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cachestore::{Config, Error, LoadError, Store};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

const USAGE: &str = "\
Counts the words of the files under a folder, and caches the counts of each file.

Usage: quickstart [OPTIONS] [FOLDER]

Arguments:
  [FOLDER]         Its files are counted [default: the sources of this project]

Options:
      --url <URL>  The store: memory://?capacity=64MiB, redis://localhost:6379, .. [default: memory://]
                   On a server, the namespace `quickstart` is cleared before the first pass
  -h, --help       Print help";

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
    println!("{name:<20} {time:>10.1?} {hits:>8} {misses:>8} {words:>12}");
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

/// What the command line asks for: the folder and the store.
fn options() -> Result<(PathBuf, Config)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    let (mut folder, mut config) = (source, Config::memory());
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--url") => {
                let url = arguments
                    .next()
                    .ok_or("--url needs a URL, such as redis://localhost:6379")?;
                config = Config::from_url(&url.to_string_lossy())?;
            }
            Some("-h" | "--help") => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            Some(unknown) if unknown.starts_with('-') => {
                return Err(format!("unknown option {unknown}; try --help").into());
            }
            _ => folder = argument.into(),
        }
    }
    Ok((folder, config))
}

async fn run() -> Result<()> {
    let (root, config) = options()?;
    let mut files = Vec::new();
    let found = root.canonicalize().and_then(|root| find_files(root, &mut files));
    found.map_err(|error| format!("cannot read {}: {error}", root.display()))?;
    files.sort();
    let folder = files.last().and_then(|file| file.parent());
    let folder = folder.ok_or_else(|| format!("there are no files in {}", root.display()))?;

    let opened = Store::open(config).await;
    let store = opened.map_err(|error| match error {
        Error::Unavailable(cause) => format!("the server of --url does not answer: {cause}"),
        error => error.to_string(),
    })?;
    let store = store.namespace("quickstart")?;
    // A server may still hold what an earlier run has left.
    store.clear().await?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let (bold, reset) = match std::io::stdout().is_terminal() && !no_color {
        true => ("\x1b[1m", "\x1b[0m"),
        false => ("", ""),
    };
    println!(
        "{bold}{:<20} {:>10} {:>8} {:>8} {:>12}{reset}",
        "pass", "time", "hits", "misses", "words"
    );
    pass(&store, "empty cache", &files).await?;
    pass(&store, "full cache", &files).await?;
    let removed = store.invalidate([format!("{folder:?}")]).await?;
    pass(&store, "after invalidation", &files).await?;

    let entries = store.scan("").try_fold(0, async |count, _| Ok(count + 1)).await?;
    println!("\n{removed:>8} entries depended on {}", folder.display());
    println!("{entries:>8} entries are cached");
    // Only the server knows these figures on Redis.
    let stats = store.stats().await?;
    if let (Some(bytes), Some(evicted)) = (stats.bytes, stats.evicted) {
        println!("{:>8} KiB of memory hold them", bytes / 1024);
        println!("{evicted:>8} entries were evicted");
    }
    Ok(store.close().await?)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}
