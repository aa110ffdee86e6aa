//! The age of a loaded value: what a call gets, and what it starts.

use crate::svg::{Anchor, Colour, Font, Picture};

struct Zone {
    end: f64,
    colour: Option<Colour>,
    name: [&'static str; 2],
    gets: [&'static str; 3],
    starts: [&'static str; 3],
}

const LEFT: f64 = 112.0;

const ZONES: [Zone; 5] = [
    Zone {
        end: 226.0,
        colour: Some(Colour::Fresh),
        name: ["fresh", ""],
        gets: ["the value", "", ""],
        starts: ["nothing", "", ""],
    },
    Zone {
        end: 376.0,
        colour: Some(Colour::Due),
        name: ["fresh,", "refreshed ahead"],
        gets: ["the value", "", ""],
        starts: ["at random, one load", "in the background:", "likelier with age"],
    },
    Zone {
        end: 524.0,
        colour: Some(Colour::Stale),
        name: ["stale,", "revalidated"],
        gets: ["the stale value,", "at once", ""],
        starts: ["one load", "in the background", ""],
    },
    Zone {
        end: 690.0,
        colour: Some(Colour::Late),
        name: ["stale,", "if the load fails"],
        gets: [
            "the loaded value;",
            "the stale one if the",
            "load fails or is slow",
        ],
        starts: ["one load,", "which callers wait for", ""],
    },
    Zone {
        end: 816.0,
        colour: None,
        name: ["gone", ""],
        gets: ["the loaded value,", "or an error", ""],
        starts: ["one load,", "which callers", "wait for"],
    },
];

/// What the ends of the zones are called. The last one has none.
const ENDS: [[&str; 2]; 4] = [
    ["refresh_ahead", "× ttl"],
    ["ttl", "± jitter"],
    ["ttl +", "stale_while_revalidate"],
    ["ttl +", "stale_if_error"],
];

pub(crate) fn draw() -> Picture {
    let description = "A loaded value is fresh until its TTL, refreshed ahead from a fraction of it on, stale but \
                       served at once while it is revalidated, served if a load fails, and then gone.";
    let mut picture = Picture::new("How a loaded value ages", description.to_owned(), 318.0);
    let (top, height) = (66.0, 58.0);
    let mut left = LEFT;
    for (number, zone) in ZONES.iter().enumerate() {
        let (width, middle) = (zone.end - left, left.midpoint(zone.end));
        picture.rect(
            [left, top, width, height],
            zone.colour.unwrap_or(Colour::Panel),
            Some(Colour::Line),
        );
        match zone.name {
            [name, ""] => picture.text((middle, top + 34.0), Anchor::Middle, Font::HEAD, name),
            [first, second] => {
                picture.text((middle, top + 25.0), Anchor::Middle, Font::HEAD, first);
                picture.text((middle, top + 44.0), Anchor::Middle, Font::HEAD, second);
            }
        }
        for (y, lines) in [(198.0, zone.gets), (264.0, zone.starts)] {
            for (row, line) in lines.iter().enumerate() {
                picture.text((middle, y + 17.0 * row as f64), Anchor::Middle, Font::QUIET, line);
            }
        }
        if let Some([first, second]) = ENDS.get(number) {
            picture.line(
                &[(zone.end, top + height), (zone.end, top + height + 8.0)],
                Colour::Quiet,
                1.5,
                "",
            );
            picture.text(
                (zone.end, top + height + 23.0),
                Anchor::Middle,
                Font::STRONG,
                first,
            );
            picture.text(
                (zone.end, top + height + 40.0),
                Anchor::Middle,
                Font::STRONG,
                second,
            );
        }
        left = zone.end;
    }
    picture.text(
        (LEFT, top + height + 23.0),
        Anchor::Middle,
        Font::STRONG,
        "loaded",
    );
    for (y, lines) in [(198.0, ["a call", "gets"]), (264.0, ["and it", "starts"])] {
        picture.line(&[(24.0, y - 18.0), (816.0, y - 18.0)], Colour::Line, 1.0, "");
        picture.text((24.0, y), Anchor::Start, Font::HEAD, lines[0]);
        picture.text((24.0, y + 17.0), Anchor::Start, Font::HEAD, lines[1]);
    }
    picture
}
