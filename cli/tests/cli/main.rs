//! The program, run over real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../../../tests/support/redis/mod.rs"]
mod harness;

mod commands;
mod endpoint;
mod failures;
mod replay;
#[cfg(unix)]
mod terminal;

#[cfg(unix)]
#[path = "../support/pty.rs"]
mod pty;

use std::process::{Command, Stdio};

/// How a run of the program ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: Vec<u8>,
    errors: String,
}

impl Run {
    /// What a run printed that ended well and had nothing to complain about.
    fn text(self) -> String {
        assert_eq!((self.code, &*self.errors), (0, ""));
        String::from_utf8(self.out).unwrap()
    }

    /// The lines of such a run, sorted: scans have no order.
    fn sorted(self) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

/// The program with these arguments, and nothing of the environment that it would take for one.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachestore-cli"));
    command.args(arguments).stdin(Stdio::null());
    command
        .env_remove("CACHESTORE_URL")
        .env_remove("CACHESTORE_METRICS");
    command
}

/// Runs it over a store.
fn run(url: &str, arguments: &[&str]) -> Run {
    ended(program(arguments).env("CACHESTORE_URL", url))
}

fn ended(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: output.stdout,
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}
