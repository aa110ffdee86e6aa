//! What `top` shows, made of readings: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::trend::Trend;
use crate::escape;
use crate::metrics::Process;
use crate::server::Server;
use crate::source::{Reading, Sources};
use crate::stats::{LATE, MEDIAN, about, memory, quantile, whole_bytes};
use crate::units::{self, UNKNOWN};

#[derive(Debug)]
pub(super) struct Board {
    pub(super) every: Duration,
    pub(super) panels: Vec<Panel>,
    pub(super) calls: Vec<CallRow>,
    server: Option<(Instant, Server)>,
    process: Option<(Instant, Process)>,
}

/// The figures of one source.
#[derive(Debug, Default)]
pub(super) struct Panel {
    source: Source,
    /// Where the source is.
    pub(super) address: String,
    /// What it is.
    pub(super) about: String,
    /// Why the last reading failed. The figures are those of the one before.
    pub(super) trouble: Option<String>,
    pub(super) rows: Vec<Row>,
    trends: BTreeMap<&'static str, Trend>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Server,
    Process,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) now: String,
    /// What the trend is made of, if it is known.
    value: Option<f64>,
    /// The value of a full bar.
    full: Option<f64>,
}

/// One call of a process since the reading before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallRow {
    pub(super) name: String,
    /// Calls a second, failed ones, and the times within which half and 99 % of the calls ended.
    pub(super) figures: [String; 4],
}

impl Board {
    pub(super) fn new(sources: &Sources, every: Duration) -> Self {
        let server = sources
            .address()
            .map(|address| Panel::new(Source::Server, address.to_owned()));
        let process = sources
            .endpoint()
            .map(|endpoint| Panel::new(Source::Process, endpoint));
        Self {
            every,
            panels: server.into_iter().chain(process).collect(),
            calls: Vec::new(),
            server: None,
            process: None,
        }
    }

    pub(super) fn update(&mut self, reading: Reading, now: Instant) {
        for panel in &mut self.panels {
            match panel.source {
                Source::Server => {
                    let Some(server) = panel.read(&reading.server) else {
                        continue;
                    };
                    panel.about = about(server);
                    panel.show(server_rows(server, self.server.as_ref(), now));
                    self.server = Some((now, server.clone()));
                }
                Source::Process => {
                    let Some(process) = panel.read(&reading.process) else {
                        continue;
                    };
                    let grown = self.process.as_ref().map(|(then, before)| {
                        let seconds = now.duration_since(*then).as_secs_f64();
                        (process.since(before), seconds)
                    });
                    panel.show(process_rows(process, grown.as_ref()));
                    self.calls = call_rows(process, grown.as_ref());
                    self.process = Some((now, process.clone()));
                }
            }
        }
    }
}

impl Panel {
    fn new(source: Source, address: String) -> Self {
        Self {
            source,
            address,
            ..Self::default()
        }
    }

    /// What was read, or its trouble.
    fn read<'a, T>(&mut self, reading: &'a Option<Result<T>>) -> Option<&'a T> {
        let reading = reading.as_ref()?.as_ref();
        self.trouble = reading.err().map(|error| escape::key(&format!("{error:#}")));
        reading.ok()
    }

    fn show(&mut self, rows: Vec<Row>) {
        for row in &rows {
            if let Some(value) = row.value {
                self.trends.entry(row.name).or_default().push(value);
            }
        }
        self.rows = rows;
    }

    pub(super) fn bars(&self, row: &Row, width: usize) -> String {
        let trend = self.trends.get(row.name);
        trend.map_or_else(String::new, |trend| trend.bars(width, row.full))
    }
}

impl Row {
    fn unknown(name: &'static str) -> Self {
        let now = UNKNOWN.to_owned();
        let (value, full) = (None, None);
        Self {
            name,
            now,
            value,
            full,
        }
    }

    /// A figure, by what shows it.
    fn of(name: &'static str, value: Option<f64>, show: impl FnOnce(f64) -> String) -> Self {
        match value {
            Some(value) => Self {
                now: show(value),
                value: Some(value),
                ..Self::unknown(name)
            },
            None => Self::unknown(name),
        }
    }

    /// A part of a whole.
    fn ratio(name: &'static str, parts: Option<(f64, f64)>) -> Self {
        let parts = parts.filter(|(_, all)| *all > 0.0);
        let row = Self::of(name, parts.map(|(part, all)| part / all), |ratio| {
            units::ratio(ratio, 1.0)
        });
        Self {
            full: Some(1.0),
            ..row
        }
    }
}

fn server_rows(server: &Server, before: Option<&(Instant, Server)>, now: Instant) -> Vec<Row> {
    // By how much a counter has grown, and a second.
    let grown = |read: fn(&Server) -> Option<u64>| {
        let (now, before) = (read(server)?, read(&before?.1)?);
        Some(now.checked_sub(before).unwrap_or(now) as f64)
    };
    let rate = |read: fn(&Server) -> Option<u64>| {
        let seconds = now.duration_since(before?.0).as_secs_f64();
        Some(grown(read)? / seconds)
    };
    let hits = grown(|server| server.hits).zip(grown(|server| server.misses));
    let level = |figure: Option<u64>| figure.map(|figure| figure as f64);
    vec![
        Row::ratio(
            "look-ups that hit",
            hits.map(|(hits, misses)| (hits, hits + misses)),
        ),
        Row::of("commands / s", rate(|server| server.commands), units::number),
        Row::of("memory", level(server.memory), |_| memory(server)),
        Row::of("keys", Some(server.keys as f64), units::number),
        Row::of("clients", level(server.clients), units::number),
        Row::of("evicted / s", rate(|server| server.evicted), units::number),
        Row::of("expired / s", rate(|server| server.expired), units::number),
        Row::of(
            "round trip",
            Some(server.round_trip.as_secs_f64()),
            units::seconds,
        ),
    ]
}

fn process_rows(process: &Process, grown: Option<&(Process, f64)>) -> Vec<Row> {
    let rate = |name: &str| {
        let (grown, seconds) = grown?;
        Some(grown.figure(name)? / seconds)
    };
    let reads = grown.and_then(|(grown, _)| grown.reads());
    let reads_rate = reads.zip(grown).map(|((_, _, all), (_, seconds))| all / seconds);
    let calls = grown.map(|(grown, seconds)| grown.ended() / seconds);
    let held = process.figure("locks_held");
    let waiters = |waiting: f64| match held {
        Some(held) => format!("{}, {} held", units::number(waiting), units::number(held)),
        None => units::number(waiting),
    };
    let capacity = process.figure("capacity_bytes").filter(|bytes| *bytes > 0.0);
    let memory = |bytes: f64| match capacity {
        Some(capacity) => format!("{} of {}", whole_bytes(bytes), whole_bytes(capacity)),
        None => whole_bytes(bytes),
    };
    let mut rows = vec![
        Row::ratio("reads that hit", reads.map(|(hits, _, all)| (hits, all))),
        Row::ratio("near cache hits", reads.map(|(_, near, all)| (near, all))),
        Row::of("reads / s", reads_rate, units::number),
        // Those that the near cache does not answer.
        Row::of("calls / s", calls, units::number),
        Row::of("lock waiters", process.figure("locks_waiting"), waiters),
        Row::of("waiting requests", process.figure("queue_depth"), units::number),
        Row::of("loads / s", rate("loads_total"), units::number),
    ];
    // A process whose entries are on a server does not tell their size.
    if let Some(bytes) = process.figure("memory_bytes") {
        rows.push(Row::of("memory", Some(bytes), memory));
    }
    rows
}

/// The calls that have been most frequent since the process began stay at the top.
fn call_rows(process: &Process, grown: Option<&(Process, f64)>) -> Vec<CallRow> {
    let row = |name: &str| {
        let figures = grown.and_then(|(grown, seconds)| {
            let call = grown.call(name)?;
            let [ended, failed] = [call.ended, call.failed].map(|count| units::number(count / seconds));
            Some([ended, failed, quantile(call, MEDIAN), quantile(call, LATE)])
        });
        CallRow {
            name: escape::key(name),
            figures: figures.unwrap_or_else(|| [UNKNOWN; 4].map(str::to_owned)),
        }
    };
    process.calls().into_iter().map(|(name, _)| row(name)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::top) fn board() -> Board {
        let panel = |source, address: &str| Panel::new(source, address.to_owned());
        Board {
            every: Duration::from_secs(1),
            panels: vec![
                panel(Source::Server, "redis://host:6379"),
                panel(Source::Process, "http://host:9000/metrics"),
            ],
            calls: Vec::new(),
            server: None,
            process: None,
        }
    }

    /// What both sources tell after so many seconds.
    pub(in crate::top) fn reading(second: u64) -> Reading {
        let server = Server {
            version: "Redis 7.0.15".to_owned(),
            role: Some("primary".to_owned()),
            uptime: Some(Duration::from_secs(60)),
            round_trip: Duration::from_micros(250),
            keys: 12,
            clients: Some(3),
            memory: Some(1 << 20),
            max_memory: Some(64 << 20),
            policy: None,
            commands: Some(1000 + 100 * second),
            hits: Some(5 + 3 * second),
            misses: Some(7 + second),
            expired: Some(3 * second / 2),
            evicted: Some(4),
        };
        let text = format!(
            "cachestore_hits_total{{tier=\"near\"}} {}\ncachestore_hits_total{{tier=\"engine\"}} {}\n\
             cachestore_misses_total {}\ncachestore_loads_total {}\n\
             cachestore_locks_waiting {second}\ncachestore_locks_held 12\n\
             cachestore_calls_total{{call=\"get\",outcome=\"ok\"}} {}\n\
             cachestore_calls_total{{call=\"get\",outcome=\"timeout\"}} {}\n\
             cachestore_calls_total{{call=\"set\",outcome=\"ok\"}} {}\n\
             cachestore_call_duration_seconds_bucket{{call=\"get\",le=\"0.001\"}} {}\n",
            40 * second,
            40 * second,
            20 * second,
            10 * second,
            195 * second,
            5 * second,
            50 * second,
            100 * second,
        );
        Reading {
            server: Some(Ok(server)),
            process: Some(Process::read(&text)),
        }
    }

    #[test]
    fn rates_need_two_readings() {
        let (mut board, now) = (board(), Instant::now());
        board.update(reading(0), now);
        let commands = |board: &Board| board.panels[0].rows[1].now.clone();
        assert_eq!(commands(&board), UNKNOWN);
        board.update(reading(4), now + Duration::from_secs(2));
        assert_eq!(commands(&board), "200");
        // The server has started again, and counts anew.
        let restarted = Server {
            commands: Some(30),
            ..Server::default()
        };
        let reading = Reading {
            server: Some(Ok(restarted)),
            process: None,
        };
        board.update(reading, now + Duration::from_secs(3));
        assert_eq!(commands(&board), "30");
    }
}
