//! What a call goes through.

use crate::svg::{Anchor, Colour, Font, Picture};

pub(crate) fn draw() -> Picture {
    let description = "Tasks call a store's handle. It answers hot reads from the near cache and sends other requests \
                       to the store's actors: the engine, which keeps values in memory or asks a Redis server; the lock \
                       scheduler; and the load coordinator, which runs one loader a key. A supervisor watches them.";
    let mut picture = Picture::new("How cachestore works", description.to_owned(), 470.0);
    column(&mut picture, 24.0, 228.0, "Your application's tasks");
    column(&mut picture, 306.0, 252.0, "The store's actors (kameo)");
    column(&mut picture, 612.0, 204.0, "Outside the process");

    let store = ["a handle, cheap to clone:", "checks, encodes, decodes"];
    card(
        &mut picture,
        [38.0, 100.0, 200.0, 80.0],
        Colour::Ours,
        "Store",
        &store,
    );
    let near = ["answers hot reads here,", "without a request"];
    card(
        &mut picture,
        [38.0, 212.0, 200.0, 80.0],
        Colour::Line,
        "Near cache",
        &near,
    );
    let loader = ["get_or_load(key, loader):", "runs once for all callers"];
    card(
        &mut picture,
        [38.0, 328.0, 200.0, 80.0],
        Colour::Line,
        "Your loader",
        &loader,
    );

    let engine = ["memory: expiry, eviction", "Redis: batches, reconnects"];
    card(
        &mut picture,
        [322.0, 100.0, 220.0, 80.0],
        Colour::Ours,
        "Engine",
        &engine,
    );
    let locks = ["waiting lines, fencing tokens"];
    card(
        &mut picture,
        [322.0, 196.0, 220.0, 62.0],
        Colour::Line,
        "Lock scheduler",
        &locks,
    );
    let loads = ["one load a key, stale values"];
    card(
        &mut picture,
        [322.0, 274.0, 220.0, 62.0],
        Colour::Line,
        "Load coordinator",
        &loads,
    );
    let supervisor = ["starts, watches, stops them"];
    card(
        &mut picture,
        [322.0, 352.0, 220.0, 62.0],
        Colour::Line,
        "Supervisor",
        &supervisor,
    );

    let server = ["with the Redis engine"];
    card(
        &mut picture,
        [626.0, 100.0, 176.0, 80.0],
        Colour::Line,
        "Redis server",
        &server,
    );
    let others = ["share values, locks,", "loads, invalidations"];
    card(
        &mut picture,
        [626.0, 212.0, 176.0, 80.0],
        Colour::Line,
        "Other processes",
        &others,
    );
    let source = ["or API, or renderer"];
    card(
        &mut picture,
        [626.0, 328.0, 176.0, 80.0],
        Colour::Line,
        "Your database",
        &source,
    );

    // Requests from the handle to each actor, and the replies.
    both(&mut picture, [(240.0, 130.0), (320.0, 130.0)]);
    picture.text((280.0, 121.0), Anchor::Middle, Font::QUIET, "queues");
    for y in [227.0, 297.0] {
        picture.arrow(&[(290.0, 130.0), (290.0, y), (320.0, y)], Colour::Quiet);
    }
    both(&mut picture, [(138.0, 182.0), (138.0, 210.0)]);
    both(&mut picture, [(544.0, 130.0), (624.0, 130.0)]);
    picture.text((584.0, 121.0), Anchor::Middle, Font::QUIET, "batches");
    both(&mut picture, [(714.0, 182.0), (714.0, 210.0)]);
    // A load.
    picture.arrow(
        &[(320.0, 318.0), (272.0, 318.0), (272.0, 368.0), (240.0, 368.0)],
        Colour::Quiet,
    );
    picture.arrow(
        &[(138.0, 410.0), (138.0, 447.0), (714.0, 447.0), (714.0, 410.0)],
        Colour::Quiet,
    );
    picture
}

fn column(picture: &mut Picture, left: f64, width: f64, title: &str) {
    picture.rect([left, 62.0, width, 366.0], Colour::Panel, None);
    picture.text((left + 14.0, 87.0), Anchor::Start, Font::QUIET, title);
}

fn card(picture: &mut Picture, at: [f64; 4], border: Colour, title: &str, lines: &[&str]) {
    let [left, top, ..] = at;
    picture.rect(at, Colour::Page, Some(border));
    let font = if border == Colour::Ours {
        Font::of(16.0, true, Colour::Ours)
    } else {
        Font::HEAD
    };
    picture.text((left + 12.0, top + 25.0), Anchor::Start, font, title);
    for (row, line) in lines.iter().enumerate() {
        picture.text(
            (left + 12.0, top + 47.0 + 18.0 * row as f64),
            Anchor::Start,
            Font::QUIET,
            line,
        );
    }
}

/// An arrow in both directions.
fn both(picture: &mut Picture, [from, to]: [(f64, f64); 2]) {
    picture.arrow(&[from, to], Colour::Quiet);
    picture.arrow(&[to, from], Colour::Quiet);
}
