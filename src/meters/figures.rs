//! The metrics that follow the statistics of a store.

use std::sync::OnceLock;

use metrics::Unit;

use super::follow::{Level, Total};
use super::series::{Label, Series};
use crate::stats::Stats;

/// One metric that follows a figure of [`Stats`].
struct Figure {
    name: &'static str,
    about: &'static str,
    unit: Unit,
    labels: &'static [Label],
    /// Whether it is a count, or else a level.
    counts: bool,
    /// `None` if the engine does not know the figure.
    read: fn(&Stats) -> Option<u64>,
}

const fn count(name: &'static str, about: &'static str, read: fn(&Stats) -> Option<u64>) -> Figure {
    Figure {
        name,
        about,
        unit: Unit::Count,
        labels: &[],
        counts: true,
        read,
    }
}

const fn level(name: &'static str, about: &'static str, read: fn(&Stats) -> Option<u64>) -> Figure {
    Figure {
        counts: false,
        ..count(name, about, read)
    }
}

impl Figure {
    const fn with(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }

    const fn in_bytes(self) -> Self {
        let unit = Unit::Bytes;
        Self { unit, ..self }
    }

    fn register(&self, series: Series<'_>) -> Following {
        let Self {
            name,
            about,
            unit,
            labels,
            ..
        } = *self;
        if self.counts {
            Following::Count(Total::new(series.counter(name, labels, unit, about)))
        } else {
            Following::Level(Level::new(series.gauge(name, unit, about)))
        }
    }
}

const HITS: &str = "Reads that were answered with a stored value, fresh or stale";

/// The table. `docs/observability.md` has a row for each.
static FIGURES: &[Figure] = &[
    count("cachestore_hits_total", HITS, |stats| Some(stats.near_hits)).with(&[("tier", "near")]),
    count("cachestore_hits_total", HITS, |stats| {
        Some(stats.hits.saturating_sub(stats.near_hits))
    })
    .with(&[("tier", "engine")]),
    count(
        "cachestore_misses_total",
        "Reads that found no value of use",
        |stats| Some(stats.misses),
    ),
    count(
        "cachestore_stale_hits_total",
        "Reads that were answered with a stale value",
        |stats| Some(stats.stale_answers),
    ),
    count("cachestore_written_total", "Entries written", |stats| {
        Some(stats.sets)
    }),
    count(
        "cachestore_deleted_total",
        "Entries removed by deletions and clearings",
        |stats| Some(stats.deletes),
    ),
    count(
        "cachestore_invalidated_total",
        "Entries removed by invalidations",
        |stats| Some(stats.invalidated),
    ),
    count(
        "cachestore_expired_total",
        "Entries removed at the end of their TTL",
        |stats| stats.expired,
    ),
    count(
        "cachestore_evicted_total",
        "Entries removed to make room",
        |stats| stats.evicted,
    ),
    count(
        "cachestore_refused_total",
        "Calls refused for their arguments",
        |stats| Some(stats.refused),
    ),
    count(
        "cachestore_resets_total",
        "Times that the engine lost all entries to a fault",
        |stats| Some(stats.resets),
    ),
    count("cachestore_loads_total", "Loaders called", |stats| {
        Some(stats.loads)
    }),
    count("cachestore_loads_failed_total", "Loads that failed", |stats| {
        Some(stats.load_failures)
    }),
    count(
        "cachestore_loads_joined_total",
        "Callers that were given the value of another call's loader",
        |stats| Some(stats.load_joins),
    ),
    count(
        "cachestore_loads_superseded_total",
        "Loaded values not stored because of a change",
        |stats| Some(stats.dead_leases),
    ),
    count(
        "cachestore_loads_unreadable_total",
        "Loaded values not stored because they do not decode",
        |stats| Some(stats.unreadable_values),
    ),
    count(
        "cachestore_near_flushes_total",
        "Times that the near cache lost all entries",
        |stats| Some(stats.near_flushes),
    ),
    level("cachestore_entries", "Entries", |stats| stats.entries),
    level(
        "cachestore_memory_bytes",
        "Bytes that entries and all beside them take",
        |stats| stats.bytes,
    )
    .in_bytes(),
    level("cachestore_near_entries", "Entries of the near cache", |stats| {
        Some(stats.near_entries)
    }),
    level("cachestore_near_bytes", "Bytes of the near cache", |stats| {
        Some(stats.near_bytes)
    })
    .in_bytes(),
    level(
        "cachestore_queued_invalidations",
        "Keys of invalidations that wait for a connection",
        |stats| Some(stats.queued_invalidations),
    ),
];

/// The metrics of one store that follow its statistics. One that the engine does not know is never registered.
#[derive(Debug)]
pub(super) struct Figures(Box<[OnceLock<Following>]>);

#[derive(Debug)]
enum Following {
    Count(Total),
    Level(Level),
}

impl Figures {
    pub(super) fn new() -> Self {
        Self(FIGURES.iter().map(|_| OnceLock::new()).collect())
    }

    pub(super) fn follow(&self, engine: &'static str, stats: &Stats) {
        for (figure, following) in FIGURES.iter().zip(&self.0) {
            let Some(value) = (figure.read)(stats) else {
                continue;
            };
            let register = || Series::make(engine, |series| figure.register(series));
            match following.get_or_init(register) {
                Following::Count(total) => total.follow(value),
                Following::Level(level) => level.set(value),
            }
        }
    }

    /// Takes all levels back. None is published any more.
    pub(super) fn end(&self) {
        for (figure, following) in FIGURES.iter().zip(&self.0) {
            if figure.counts {
                continue;
            }
            if let Following::Level(level) = following.get_or_init(|| Following::Level(Level::ended())) {
                level.end();
            }
        }
    }
}
