//! A command line for stores of `cachestore` on a Redis server, and for the processes that use them.

mod arguments;
mod entries;
mod escape;
mod locks;
mod metrics;
mod output;
mod removal;
mod replay;
mod server;
mod source;
mod stats;
mod top;
mod units;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use cachestore::Store;
use clap::Parser;

use self::arguments::{Arguments, Command, EntryCommand, StoreArguments};
use self::entries::Shape;
use self::output::Output;
use self::source::{Sources, Target};

/// How a command ended, if it has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Absent,
}

/// The command line cannot be carried out as it is.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { store, command } = Arguments::parse();
    let mut out = Output::new();
    let ended = run(store, command, &mut out).await;
    let ended = ended.and_then(|ended| {
        out.flush()?;
        Ok(ended)
    });
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Absent) => ExitCode::from(3),
        // The reader has what it wanted, as `head` has.
        Err(error) if Output::has_lost_its_reader(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The output comes before the error. Neither may have a reader.
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "error: {}", escape::lines(&format!("{error:#}")));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

async fn run(store: StoreArguments, command: Command, out: &mut impl Write) -> Result<Ended> {
    match command {
        Command::Stats { metrics, format } => {
            let sources = Sources::named(store, metrics)?;
            let ended = stats::print(&sources, format.json, out).await;
            sources.close().await;
            ended.map(|()| Ended::Done)
        }
        Command::Top { metrics, interval } => {
            top::check_terminal()?;
            let sources = Sources::named(store, metrics)?;
            let ended = top::run(&sources, interval).await;
            sources.close().await;
            ended.map(|()| Ended::Done)
        }
        Command::Entry(command) => {
            let target = Target::read(store)?;
            match &command {
                EntryCommand::Clear { yes: false, .. } => removal::confirm(&target)?,
                EntryCommand::Locks { .. } => locks::check(&target)?,
                _ => {}
            }
            let namespace = target.namespace.clone();
            let store = target.open().await?;
            let ended = run_on(&store, namespace.as_deref(), command, out).await;
            // The answer has come: a failure to close changes nothing.
            let _ = store.close().await;
            ended
        }
        Command::Replay {
            trace,
            capacities,
            svg,
            format,
        } => {
            replay::run(&trace, capacities, svg.as_deref(), format.json, out).await?;
            Ok(Ended::Done)
        }
    }
}

async fn run_on(
    store: &Store,
    namespace: Option<&str>,
    command: EntryCommand,
    out: &mut impl Write,
) -> Result<Ended> {
    match command {
        EntryCommand::Scan {
            prefix,
            long,
            limit,
            format,
        } => entries::scan(store, &prefix, long, limit, format.json, out).await,
        EntryCommand::Get {
            key,
            model,
            raw,
            format,
        } => entries::get(store, &key, Shape::of(model, raw, format.json), out).await,
        EntryCommand::Ttl { key, format } => entries::ttl(store, &key, format.json, out).await,
        EntryCommand::Invalidate { names, removal } => removal::invalidate(store, names, &removal, out).await,
        EntryCommand::Clear { removal, .. } => removal::clear(store, &removal, out).await,
        EntryCommand::Locks { prefix, format } => {
            locks::print(store, namespace, &prefix, format.json, out).await
        }
    }
}
