//! What the command line is given.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::units;

const ENDING: &str = "\
Control characters of keys and values are printed escaped. JSON has the exact text.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the key is absent.";

/// Looks into a cachestore on a Redis server, and into the processes that use it.
#[derive(Parser)]
#[command(name = "cachestore-cli", version, about, after_help = ENDING, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which store.
#[derive(Args)]
pub(crate) struct StoreArguments {
    /// The store, such as redis://localhost:6379/0
    ///
    /// All URLs of the library: redis://, rediss://, unix:// and those of Sentinels, with settings as parameters. Other
    /// users of the machine can read the arguments of a process. Give a URL with a password by the environment.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CACHESTORE_URL",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// The namespace, such as tenant-1 or outer/inner [default: the root, which sees all keys]
    #[arg(short, long, global = true, value_name = "PATH")]
    pub(crate) namespace: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Prints the figures of the server and of a process
    Stats {
        #[command(flatten)]
        metrics: Metrics,
        #[command(flatten)]
        format: Format,
    },
    /// Shows the figures of the server and of a process as they change
    ///
    /// It shows no keys. Press q to quit.
    Top {
        #[command(flatten)]
        metrics: Metrics,
        /// The time between two looks, such as 500ms or 10s
        #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
        interval: Duration,
    },
    #[command(flatten)]
    Entry(EntryCommand),
    /// Replays an access trace through memory engines of several capacities, and prints their hit ratios
    ///
    /// Beside them stand LRU and the best that any cache could reach. It runs in this process, and uses neither --url nor
    /// --namespace.
    Replay {
        /// A text file, gzipped or not: on each line the key of an access and, if entries differ in size, its value's bytes
        ///
        /// Each access reads its key and writes it on a miss. A key keeps its first size.
        trace: PathBuf,
        /// The capacities, in percent of the bytes that all entries need
        #[arg(
            long,
            value_name = "PERCENT",
            value_delimiter = ',',
            default_value = "1,2,5,10,25,50,100",
            value_parser = clap::value_parser!(u32).range(1..=1000)
        )]
        capacities: Vec<u32>,
        /// Draw the hit ratios against the capacity into this file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}

/// A command on what the store holds.
#[derive(Subcommand)]
pub(crate) enum EntryCommand {
    /// Prints the keys that begin with a prefix
    ///
    /// They come in no order, and a key may come twice. Printing all keys walks over the whole database.
    Scan {
        /// Only keys that begin so
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Print also how long each key still lives
        #[arg(short, long)]
        long: bool,
        /// Print at most so many keys
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
        #[command(flatten)]
        format: Format,
    },
    /// Prints the value of a key: text as it is, other bytes in hexadecimal
    Get {
        /// The key, without its namespace
        key: String,
        /// Decode a model, and print it as JSON
        ///
        /// A loaded value that is no longer fresh counts as absent.
        #[arg(long, conflicts_with_all = ["raw", "json"])]
        model: bool,
        /// Print exactly the bytes that are stored
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Prints how long a key still lives
    Ttl {
        /// The key, without its namespace
        key: String,
        #[command(flatten)]
        format: Format,
    },
    /// Removes keys and all entries that depend on them
    Invalidate {
        /// The keys, and the names on which entries depend
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        removal: Removal,
    },
    /// Removes every entry of the namespace, after a question
    ///
    /// At the root, it removes every value of the database. Locks stay.
    Clear {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        removal: Removal,
    },
    /// Prints the locks that are held
    Locks {
        /// Only locks whose keys begin so
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Args)]
pub(crate) struct Metrics {
    /// Where a process tells its metrics to Prometheus, such as http://localhost:9000/metrics
    #[arg(long, value_name = "URL", env = "CACHESTORE_METRICS", hide_env_values = true)]
    pub(crate) metrics: Option<String>,
}

#[derive(Args)]
pub(crate) struct Format {
    /// Print JSON, one value a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Removal {
    /// How long it may take, such as 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
