//! Bars: the memory engine beside moka and quick_cache, the Redis engine beside redis-rs, fred and a pool.

use crate::Result;
use crate::record::Record;
use crate::svg::{Anchor, Colour, Font, Picture};

const COLUMN: f64 = 268.0;
const LEFT: f64 = 24.0;
/// Where the bars of a column begin, and how long the longest one is.
const NAMES: f64 = 96.0;
const LONGEST: f64 = 98.0;
/// The column of the record over Redis that is drawn: other programs on the machine disturb it least.
const CLIENT_CPU: usize = 5;

/// Bars that are compared with one another.
struct Group {
    title: String,
    bars: Vec<(&'static str, f64)>,
}

pub(crate) fn draw(memory: &Record, redis: &Record) -> Result<Picture> {
    let description = format!("In memory: {}. Over Redis: {}.", memory.run, redis.run);
    let mut picture = Picture::new("Speed beside other crates", description, 494.0);

    head(&mut picture, 70.0, "In memory: nanoseconds a key");
    let calls = [
        ("get", "moka"),
        ("set", "moka"),
        ("get_many of 100", "quick_cache"),
    ];
    for (column, (call, peer)) in calls.into_iter().enumerate() {
        let mut groups = Vec::new();
        for tasks in ["1 task", "64 tasks"] {
            let title = format!("{call}, {tasks}");
            let row = format!("{title}, current thread: {peer}");
            let bars = vec![
                ("cachestore", memory.number(&[&row], 1)?),
                (peer, memory.number(&[&row], 2)?),
            ];
            groups.push(Group { title, bars });
        }
        let most = longest(&groups);
        for (row, group) in groups.iter().enumerate() {
            group.draw(&mut picture, column, 98.0 + 82.0 * row as f64, most, |ns| {
                format!("{ns:.0} ns")
            });
        }
    }

    head(&mut picture, 284.0, "Over Redis: the client's microseconds a get");
    let peers = [
        ("cachestore", "ours"),
        ("redis-rs", "MultiplexedConnection"),
        ("fred", "fred"),
        ("bb8 pool", "bb8"),
    ];
    let mut groups = Vec::new();
    for (tasks, shown) in [("64", "64"), ("256", "256"), ("1024", "1,024")] {
        let what = format!("get, {tasks} tasks, current thread");
        let bars = peers
            .iter()
            .map(|(name, row)| Ok((*name, redis.number(&[&what, row], CLIENT_CPU)?)));
        groups.push(Group {
            title: format!("{shown} tasks"),
            bars: bars.collect::<Result<_>>()?,
        });
    }
    let most = longest(&groups);
    for (column, group) in groups.iter().enumerate() {
        group.draw(&mut picture, column, 312.0, most, |micros| {
            format!("{micros:.1} µs")
        });
    }
    picture.notes(&[
        &format!("In memory: {}.", memory.run),
        &format!("Over Redis: {}.", redis.run),
    ]);
    Ok(picture)
}

fn head(picture: &mut Picture, y: f64, what: &str) {
    picture.text((LEFT, y), Anchor::Start, Font::HEAD, what);
    let measure = "processor time, one thread; shorter is better";
    picture.text((816.0, y), Anchor::End, Font::QUIET, measure);
}

fn longest(groups: &[Group]) -> f64 {
    let bars = groups.iter().flat_map(|group| &group.bars);
    bars.map(|(_, value)| *value).fold(0.0, f64::max)
}

impl Group {
    fn draw(&self, picture: &mut Picture, column: usize, y: f64, most: f64, show: impl Fn(f64) -> String) {
        let x = LEFT + COLUMN * column as f64;
        picture.text((x, y), Anchor::Start, Font::QUIET, &self.title);
        for (row, (name, value)) in self.bars.iter().enumerate() {
            let top = y + 9.0 + 24.0 * row as f64;
            let (font, colour) = match row {
                0 => (Font::STRONG, Colour::Ours),
                _ => (Font::BODY, Colour::Peer),
            };
            let length = (LONGEST * value / most).max(1.0);
            picture.text((x + NAMES - 6.0, top + 14.0), Anchor::End, font, name);
            picture.rect([x + NAMES, top, length, 18.0], colour, None);
            picture.text(
                (x + NAMES + length + 6.0, top + 14.0),
                Anchor::Start,
                font,
                &show(*value),
            );
        }
    }
}
