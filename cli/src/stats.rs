//! Prints figures once.

use std::io::{self, Write};

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use crate::escape;
use crate::metrics::{Call, Process};
use crate::output::{self, Table};
use crate::server::Server;
use crate::source::{Reading, Sources};
use crate::units::{self, UNKNOWN};

/// The quantiles that are shown.
pub(crate) const MEDIAN: f64 = 0.5;
pub(crate) const LATE: f64 = 0.99;

/// Prints what the sources tell. If one of them cannot be read, prints the other before it fails.
pub(crate) async fn print(sources: &Sources, as_json: bool, out: &mut impl Write) -> Result<()> {
    let Reading { server, process } = sources.read().await;
    let mut failures = Vec::new();
    let server = server.and_then(|server| server.map_err(|error| failures.push(error)).ok());
    let process = process.and_then(|process| process.map_err(|error| failures.push(error)).ok());
    let server = sources.address().zip(server);
    let process = sources.endpoint().zip(process);
    if as_json {
        let mut told = Map::new();
        if let Some((address, server)) = &server {
            told.insert("server".to_owned(), server_json(address, server));
        }
        if let Some((endpoint, process)) = &process {
            told.insert("process".to_owned(), process_json(endpoint, process));
        }
        if !told.is_empty() {
            output::json(out, &told)?;
        }
    } else {
        if let Some((address, server)) = &server {
            output::figures(out, &server_figures(address, server))?;
        }
        if server.is_some() && process.is_some() {
            writeln!(out)?;
        }
        if let Some((endpoint, process)) = &process {
            output::figures(out, &process_figures(endpoint, process))?;
            calls(process, out)?;
        }
    }
    let failures: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(anyhow!(failures.join("; "))),
    }
}

fn server_figures(address: &str, server: &Server) -> Vec<(&'static str, String)> {
    let count = |figure: Option<u64>| figure.map_or_else(|| UNKNOWN.to_owned(), units::count);
    let reads = server.reads().map_or_else(
        || UNKNOWN.to_owned(),
        |(hits, all)| {
            format!(
                "{} of {}",
                units::ratio(hits as f64, all as f64),
                units::count(all)
            )
        },
    );
    vec![
        ("server", address.to_owned()),
        ("version", about(server)),
        ("round trip", units::seconds(server.round_trip.as_secs_f64())),
        ("keys", units::count(server.keys)),
        ("memory", memory(server)),
        (
            "when it is full",
            server.policy.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        ),
        ("clients", count(server.clients)),
        ("commands", count(server.commands)),
        ("look-ups that hit", reads),
        ("expired", count(server.expired)),
        ("evicted", count(server.evicted)),
    ]
}

/// Version, role and age: `Redis 7.0.15, primary, up 3 d 4 h`.
pub(crate) fn about(server: &Server) -> String {
    let mut about = server.version.clone();
    if let Some(role) = &server.role {
        about = format!("{about}, {role}");
    }
    if let Some(uptime) = server.uptime {
        about = format!("{about}, up {}", units::span(uptime));
    }
    about
}

/// `1.2 MiB of 64 MiB`
pub(crate) fn memory(server: &Server) -> String {
    let used = server.memory.map_or_else(|| UNKNOWN.to_owned(), units::bytes);
    match server.max_memory {
        Some(0) => format!("{used}, no limit"),
        Some(most) => format!("{used} of {}", units::bytes(most)),
        None => used,
    }
}

/// What makes a text of a figure.
type Show = fn(f64) -> String;

/// What is printed of a process: a figure's name here, its name in the metrics, and how it is shown.
const FIGURES: [(&str, &str, Show); 17] = [
    ("stale answers", "stale_hits_total", units::number),
    ("loads", "loads_total", units::number),
    ("loads that failed", "loads_failed_total", units::number),
    ("invalidated", "invalidated_total", units::number),
    ("expired", "expired_total", units::number),
    ("evicted", "evicted_total", units::number),
    ("entries", "entries", units::number),
    ("memory", "memory_bytes", whole_bytes),
    ("capacity", "capacity_bytes", whole_bytes),
    ("near entries", "near_entries", units::number),
    ("near memory", "near_bytes", whole_bytes),
    ("waiting requests", "queue_depth", units::number),
    ("lock waiters", "locks_waiting", units::number),
    ("locks held", "locks_held", units::number),
    ("locks lost", "locks_lost_total", units::number),
    ("connections", "connections", units::number),
    ("reconnects", "reconnects_total", units::number),
];

fn process_figures(endpoint: &str, process: &Process) -> Vec<(&'static str, String)> {
    let mut figures = vec![("process", endpoint.to_owned())];
    if let Some((hits, near, all)) = process.reads() {
        let [ratio, near] = [hits, near].map(|part| units::ratio(part, all));
        let all = units::number(all);
        figures.push((
            "reads that hit",
            format!("{ratio} of {all}, {near} in the near cache"),
        ));
    }
    let known = FIGURES
        .into_iter()
        .filter_map(|(shown, name, show)| Some((shown, show(process.figure(name)?))));
    figures.extend(known);
    figures
}

pub(crate) fn whole_bytes(bytes: f64) -> String {
    units::bytes(bytes as u64)
}

fn calls(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let calls = process.calls();
    if calls.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(["call", "calls", "failed", "p50", "p99"]);
    for (name, call) in calls {
        table.row([
            escape::key(name),
            units::number(call.ended),
            units::number(call.failed),
            quantile(call, MEDIAN),
            quantile(call, LATE),
        ]);
    }
    table.write(out)
}

pub(crate) fn quantile(call: &Call, quantile: f64) -> String {
    let seconds = call.durations.quantile(quantile);
    seconds.map_or_else(|| UNKNOWN.to_owned(), units::seconds)
}

/// Names have units. What is not known is `null`.
fn server_json(address: &str, server: &Server) -> Value {
    json!({
        "address": address,
        "version": server.version,
        "role": server.role,
        "uptime_seconds": server.uptime.map(|uptime| uptime.as_secs()),
        "round_trip_seconds": server.round_trip.as_secs_f64(),
        "keys": server.keys,
        "clients": server.clients,
        "memory_bytes": server.memory,
        "max_memory_bytes": server.max_memory,
        "policy": server.policy,
        "commands": server.commands,
        "hits": server.hits,
        "misses": server.misses,
        "expired": server.expired,
        "evicted": server.evicted,
    })
}

/// The figures have the names of the metrics, without `cachestore_`.
fn process_json(endpoint: &str, process: &Process) -> Value {
    let calls: Map<String, Value> = process
        .calls()
        .into_iter()
        .map(|(name, call)| {
            let figures = json!({
                "calls": call.ended,
                "failed": call.failed,
                "p50_seconds": call.durations.quantile(MEDIAN),
                "p99_seconds": call.durations.quantile(LATE),
            });
            (name.to_owned(), figures)
        })
        .collect();
    json!({ "endpoint": endpoint, "figures": process.figures(), "near_hits": process.near_hits(), "calls": calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_that_are_shown_are_those_of_the_documentation() {
        let page = include_str!("../../docs/observability.md");
        let of_calls = [
            "calls_total",
            "call_duration_seconds",
            "hits_total",
            "misses_total",
        ];
        for name in FIGURES.iter().map(|(_, name, _)| *name).chain(of_calls) {
            assert!(page.contains(&format!("| `cachestore_{name}` |")), "{name}");
        }
    }
}
