//! Lines: hit ratio by capacity, a plot for each trace.

use crate::Result;
use crate::record::Record;
use crate::svg::{Anchor, Colour, Font, Picture};

/// The traces as the bench names them, and what they are of.
const TRACES: [(&str, &str); 5] = [
    ("orm-busy", "orm-busy: a shop's objects"),
    ("web12", "web12: product pages"),
    ("w106", "w106: a virtual disk"),
    ("multi3", "multi3: mixed programs"),
    ("cdn-weighted", "cdn-weighted: by size"),
];
const CAPACITIES: [u32; 4] = [1, 5, 10, 25];
/// What a line is of, its column in the record, its colour, width and dashes. Ours is drawn last, above the others.
const LINES: [(&str, usize, Colour, f64, &str); 4] = [
    ("LRU", 5, Colour::Peer, 2.0, "2 3"),
    ("moka", 3, Colour::Second, 2.0, "7 4"),
    ("quick_cache", 4, Colour::Third, 2.0, ""),
    ("cachestore", 2, Colour::Ours, 3.2, ""),
];
const PLOT: (f64, f64) = (206.0, 148.0);

pub(crate) fn draw(record: &Record) -> Result<Picture> {
    let mut picture = Picture::new(
        "Hit ratio by capacity, over recorded traces",
        record.run.clone(),
        534.0,
    );
    for (place, (trace, title)) in TRACES.iter().enumerate() {
        let origin = (
            60.0 + 270.0 * (place % 3) as f64,
            90.0 + 212.0 * (place / 3) as f64,
        );
        let mut lines = Vec::new();
        for (_, column, ..) in LINES {
            let of = |percent: &u32| record.number(&[trace, &format!("{percent} %")], column);
            lines.push(CAPACITIES.iter().map(of).collect::<Result<Vec<f64>>>()?);
        }
        plot(&mut picture, origin, title, &lines);
    }
    legend(&mut picture, (610.0, 330.0), record)?;
    picture.notes(&[
        "Capacity in percent of all entries, on a logarithmic scale. Higher is better.",
        &format!("Recorded: {}.", record.run),
    ]);
    Ok(picture)
}

fn plot(picture: &mut Picture, (left, top): (f64, f64), title: &str, lines: &[Vec<f64>]) {
    let all = || lines.iter().flatten().copied();
    let (least, most) = (all().fold(100.0, f64::min), all().fold(0.0, f64::max));
    let step = if most - least > 32.0 { 20.0 } else { 10.0 };
    let (low, high) = ((least / step).floor() * step, (most / step).ceil() * step);
    let (width, height) = PLOT;
    let x = |percent: f64| left + width * percent.ln() / 25f64.ln();
    let y = |ratio: f64| top + height * (high - ratio) / (high - low);

    picture.text((left - 36.0, top - 14.0), Anchor::Start, Font::HEAD, title);
    let mut ratio = low;
    while ratio <= high {
        picture.line(
            &[(left, y(ratio)), (left + width, y(ratio))],
            Colour::Line,
            1.0,
            "",
        );
        picture.text(
            (left - 6.0, y(ratio) + 4.5),
            Anchor::End,
            Font::QUIET,
            &format!("{ratio:.0}%"),
        );
        ratio += step;
    }
    for percent in CAPACITIES {
        let x = x(f64::from(percent));
        picture.line(
            &[(x, top + height), (x, top + height + 4.0)],
            Colour::Quiet,
            1.0,
            "",
        );
        picture.text(
            (x, top + height + 18.0),
            Anchor::Middle,
            Font::QUIET,
            &format!("{percent}%"),
        );
    }
    for ((_, _, colour, thick, dashes), ratios) in LINES.iter().zip(lines) {
        let points = CAPACITIES
            .iter()
            .zip(ratios)
            .map(|(percent, ratio)| (x(f64::from(*percent)), y(*ratio)));
        let points: Vec<_> = points.collect();
        picture.line(&points, *colour, *thick, dashes);
        for point in points {
            picture.dot(point, thick + 0.4, *colour);
        }
    }
}

/// What the lines are, and the mean of each.
fn legend(picture: &mut Picture, (left, top): (f64, f64), record: &Record) -> Result<()> {
    picture.text((left, top), Anchor::Start, Font::QUIET, "mean of all points");
    let mut means = Vec::new();
    for line in LINES {
        let mut sum = 0.0;
        for (trace, _) in TRACES {
            for percent in CAPACITIES {
                sum += record.number(&[trace, &format!("{percent} %")], line.1)?;
            }
        }
        means.push((line, sum / (TRACES.len() * CAPACITIES.len()) as f64));
    }
    means.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (row, ((name, _, colour, thick, dashes), mean)) in means.into_iter().enumerate() {
        let y = top + 28.0 + 26.0 * row as f64;
        let font = if name == "cachestore" {
            Font::STRONG
        } else {
            Font::BODY
        };
        picture.line(&[(left, y - 5.0), (left + 34.0, y - 5.0)], colour, thick, dashes);
        picture.dot((left + 17.0, y - 5.0), thick + 0.4, colour);
        picture.text((left + 46.0, y), Anchor::Start, font, name);
        picture.text((left + 196.0, y), Anchor::End, font, &format!("{mean:.1}%"));
    }
    Ok(())
}
