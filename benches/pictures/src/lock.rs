//! Times from a release to the next holder's start, on a logarithmic scale: the median, and a line to the p99.

use crate::Result;
use crate::record::Record;
use crate::svg::{Anchor, Colour, Font, Picture};

const WAITERS: [u32; 4] = [1, 16, 64, 1000];

/// One engine and those that it is compared with.
struct Panel<'a> {
    left: f64,
    title: &'a str,
    record: &'a Record,
    /// How the bench names the rows, what they are of, and a colour.
    peers: [(&'a str, &'a str, Colour); 2],
    /// Powers of ten of a microsecond at both ends.
    scale: (i32, i32),
}

pub(crate) fn draw(memory: &Record, redis: &Record) -> Result<Picture> {
    let description = format!("In memory: {}. Over Redis: {}.", memory.run, redis.run);
    let mut picture = Picture::new(
        "Lock hand-off: from a release to the next holder",
        description,
        512.0,
    );
    let panels = [
        Panel {
            left: 24.0,
            title: "In memory",
            record: memory,
            peers: [
                (
                    "memory hand-off / tokio Mutex",
                    "tokio Mutex: no key, TTL or token",
                    Colour::Peer,
                ),
                (
                    "memory hand-off / bare task",
                    "bare task: a queue and channels",
                    Colour::Third,
                ),
            ],
            scale: (-1, 1),
        },
        Panel {
            left: 432.0,
            title: "Over Redis",
            record: redis,
            peers: [
                (
                    "Redis hand-off / 10 ms poller",
                    "poller, every 10 ms",
                    Colour::Peer,
                ),
                ("Redis hand-off / rslock", "rslock", Colour::Second),
            ],
            scale: (1, 6),
        },
    ];
    for panel in panels {
        panel.draw(&mut picture)?;
    }
    picture.notes(&[
        "Dot: median. Line: to the 99th percentile. Logarithmic scale; shorter is better.",
        &format!("In memory: {}.", memory.run),
        &format!("Over Redis: {}.", redis.run),
    ]);
    Ok(picture)
}

impl Panel<'_> {
    fn draw(&self, picture: &mut Picture) -> Result<()> {
        let (left, width) = (self.left + 62.0, 304.0);
        let (low, high) = self.scale;
        let x = |micros: f64| left + width * (micros.log10() - f64::from(low)) / f64::from(high - low);
        picture.text((self.left, 72.0), Anchor::Start, Font::HEAD, self.title);

        let contestants = [(self.peers[0].0, 1, "cachestore", Colour::Ours)]
            .into_iter()
            .chain(self.peers.map(|(row, name, colour)| (row, 2, name, colour)));
        let contestants: Vec<_> = contestants.collect();
        for (row, (_, _, name, colour)) in contestants.iter().enumerate() {
            let y = 96.0 + 20.0 * row as f64;
            picture.dot((self.left + 8.0, y - 5.0), 5.0, *colour);
            let font = if row == 0 { Font::STRONG } else { Font::BODY };
            picture.text((self.left + 22.0, y), Anchor::Start, font, name);
        }

        let (top, bottom) = (156.0, 396.0);
        for power in low..=high {
            let x = x(10f64.powi(power));
            picture.line(&[(x, top), (x, bottom)], Colour::Line, 1.0, "");
            picture.text((x, bottom + 18.0), Anchor::Middle, Font::QUIET, &micros(power));
        }
        for (group, waiters) in WAITERS.iter().enumerate() {
            let y = top + 14.0 + 60.0 * group as f64;
            let many = if *waiters == 1 { "waiter" } else { "waiters" };
            let count = if *waiters == 1000 {
                "1,000".to_owned()
            } else {
                waiters.to_string()
            };
            picture.text((left - 8.0, y + 12.0), Anchor::End, Font::BODY, &count);
            picture.text((left - 8.0, y + 28.0), Anchor::End, Font::QUIET, many);
            for (row, (begin, column, _, colour)) in contestants.iter().enumerate() {
                let y = y + 4.0 + 14.0 * row as f64;
                let of = |part: &str| {
                    self.record
                        .number(&[&format!("{begin}, {waiters} {many}, {part}")], *column)
                };
                let (p50, p99) = (of("p50")?, of("p99")?);
                picture.line(&[(x(p50), y), (x(p99), y)], *colour, 2.0, "");
                picture.line(&[(x(p99), y - 4.0), (x(p99), y + 4.0)], *colour, 2.0, "");
                picture.dot((x(p50), y), 5.0, *colour);
            }
        }
        Ok(())
    }
}

/// A power of ten of a microsecond.
fn micros(power: i32) -> String {
    match power {
        ..0 => format!("{} ns", 10i32.pow((power + 3).unsigned_abs())),
        0..3 => format!("{} µs", 10i32.pow(power.unsigned_abs())),
        6.. => format!("{} s", 10i32.pow((power - 6).unsigned_abs())),
        _ => format!("{} ms", 10i32.pow((power - 3).unsigned_abs())),
    }
}
