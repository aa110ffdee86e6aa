//! The page, as HTML. Its pictures are SVG, drawn here.

use std::fmt::Write as _;

use cachestore::{EngineKind, Loaded, Stats};

use crate::history::{History, Log, ago, ratio};
use crate::service::Book;

/// The size of the curve, in units of its own.
const CURVE: (f64, f64) = (300.0, 160.0);

pub(crate) fn render(
    engine: EngineKind,
    books: &Loaded<Vec<Book>>,
    stats: &Stats,
    log: &Log,
    history: &History,
) -> String {
    let hit_ratio = ratio(stats.hits, stats.misses).unwrap_or(0.0) * 100.0;
    let engine = match engine {
        EngineKind::Redis => "a Redis server",
        _ => "the memory of this process",
    };
    format!(
        include_str!("page.html"),
        style = include_str!("page.css"),
        script = include_str!("page.js"),
        engine = engine,
        percent = hit_ratio,
        curve = curve(history),
        seconds = History::SECONDS,
        counts = list(&counts(stats)),
        age = ago(books.age),
        origin = books.origin,
        books = table(&books.value),
        log = lines(log),
    )
}

/// Counts of the cache with their names.
pub(crate) fn counts(stats: &Stats) -> [(&'static str, u64); 6] {
    [
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("loads", stats.loads),
        ("joined a load", stats.load_joins),
        ("stale answers", stats.stale_answers),
        ("invalidated", stats.invalidated),
    ]
}

fn list(counts: &[(&str, u64)]) -> String {
    let item = |(name, count)| format!("<div><dt>{name}<dd>{count}</div>\n");
    counts.iter().copied().map(item).collect()
}

fn table(books: &[Book]) -> String {
    let most = books.iter().map(|book| book.votes).max().unwrap_or(1).max(1);
    let mut rows = String::new();
    for Book { id, title, votes } in books {
        let (title, share) = (escaped(title), 100.0 * f64::from(*votes) / f64::from(most));
        // Writing to a string does not fail.
        let _ = writeln!(
            rows,
            r#"<tr><td><a href="/books/{id}">{title}</a><td class="votes"><meter value="{share:.1}" max="100"></meter>
<td class="number">{votes} votes<td><form method="post" action="/books/{id}/vote"><button>Vote</button></form>"#
        );
    }
    rows
}

fn lines(log: &Log) -> String {
    let line = |(age, line)| format!("<li><time>{}</time> {}\n", ago(age), escaped(line));
    log.lines().map(line).collect()
}

/// The hit ratio of the last seconds, the newest at the right end. Seconds without reads are gaps.
fn curve(history: &History) -> String {
    let (width, height) = CURVE;
    let step = width / (History::SECONDS - 1) as f64;
    let ratios = history.ratios();
    let first = History::SECONDS - ratios.len();
    let (mut path, mut is_drawing) = (String::new(), false);
    for (second, ratio) in (first..).zip(ratios) {
        if let Some(ratio) = ratio {
            let (x, y) = (step * second as f64, height * (1.0 - ratio));
            let command = if is_drawing { 'L' } else { 'M' };
            // A point alone is a dot, by the round ends of the line.
            let _ = write!(path, "{command}{x:.1} {y:.1}h0");
        }
        is_drawing = ratio.is_some();
    }
    path
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
