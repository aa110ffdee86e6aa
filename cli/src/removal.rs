//! The commands that remove entries.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, anyhow};
use cachestore::Store;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::arguments::Removal;
use crate::output::json;
use crate::source::Target;
use crate::{Ended, Usage, escape, units};

#[derive(Serialize)]
struct Removed {
    removed: u64,
}

/// Asks on the terminal whether to clear. Without a terminal nobody can be asked.
pub(crate) fn confirm(target: &Target) -> Result<()> {
    if !io::stdin().is_terminal() {
        let what = "nothing was removed: `clear` asks first, and standard input is no terminal. Give --yes";
        return Err(Usage::new(what).into());
    }
    let address = &target.address;
    let what = match &target.namespace {
        Some(path) => format!("every entry of the namespace {} at {address}", escape::key(path)),
        None => format!("every value of the whole database at {address}"),
    };
    let mut stderr = io::stderr();
    write!(stderr, "This removes {what}. Type yes to go on: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(anyhow!("nothing was removed")),
    }
}

pub(crate) async fn clear(store: &Store, removal: &Removal, out: &mut impl Write) -> Result<Ended> {
    let bar = counter();
    let cleared = store.clear().timeout(removal.timeout);
    let removed = cleared.on_progress(|removed| bar.set_position(removed)).await;
    bar.finish_and_clear();
    print(removed?, removal, out)
}

pub(crate) async fn invalidate(
    store: &Store,
    names: Vec<String>,
    removal: &Removal,
    out: &mut impl Write,
) -> Result<Ended> {
    let bar = counter();
    let invalidated = store.invalidate(names).timeout(removal.timeout);
    let removed = invalidated.on_progress(|removed| bar.set_position(removed)).await;
    bar.finish_and_clear();
    print(removed?, removal, out)
}

/// Shows on standard error how many entries are gone, if that is a terminal.
fn counter() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} entries removed");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn print(removed: u64, removal: &Removal, out: &mut impl Write) -> Result<Ended> {
    if removal.format.json {
        json(out, &Removed { removed })?;
    } else {
        let noun = if removed == 1 { "entry" } else { "entries" };
        writeln!(out, "removed {} {noun}", units::count(removed))?;
    }
    Ok(Ended::Done)
}
