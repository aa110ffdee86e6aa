//! Replays of traces, as a table, as JSON and as a picture.

use std::fs;
use std::path::PathBuf;

use roxmltree::{Document, Node};
use serde_json::Value;

use crate::{ended, program};

/// A trace of 3,000 accesses to 97 keys, in a file whose name a picture has to escape.
fn trace(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a<b>&\u{1b}.txt");
    let lines: String = (0..3000_u32).map(|n| format!("key-{}\n", n * n % 97)).collect();
    fs::write(&path, lines).unwrap();
    path
}

fn points(path: &str, capacities: &str, more: &[&str]) -> String {
    let arguments = [&["replay", path, "--capacities", capacities], more].concat();
    ended(&mut program(&arguments)).text()
}

#[test]
fn a_replay_prints_a_row_for_each_capacity() {
    let path = trace("rows");
    let path = path.to_str().unwrap();
    let table = points(path, "50,10,10,200", &[]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].ends_with(r"a<b>&\u{1b}.txt: 3,000 accesses, 49 keys, 9.22 KiB")
            || lines[0].contains("49 keys")
    );
    assert!(!table.contains('\u{1b}'));
    assert!(
        lines[2].starts_with("capacity") && lines[2].ends_with("cachestore      LRU   Belady"),
        "{table}"
    );
    let percents: Vec<&str> = lines[3..]
        .iter()
        .map(|line| line.split(" %").next().unwrap())
        .collect();
    assert_eq!(percents, ["10", "50", "200"]);
    // There is room for all: only first accesses miss.
    let most = format!("{:.2} %", 100.0 * f64::from(3000 - 49) / 3000.0);
    assert_eq!(lines[5].matches(&most).count(), 3, "{table}");

    let told: Vec<Value> = points(path, "10,50", &["--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for point in &told {
        let [ours, lru, best] = ["cachestore", "lru", "best"].map(|name| point[name].as_f64().unwrap());
        assert!(ours <= best && lru <= best && best < 100.0, "{point}");
    }
    assert!(told[0]["capacity_bytes"].as_u64() < told[1]["capacity_bytes"].as_u64());
}

/// The places of a line's points, from the left.
fn places(line: Node<'_, '_>) -> Vec<(f64, f64)> {
    let points = line.attribute("points").unwrap().split_ascii_whitespace();
    let place = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    points.map(place).collect()
}

#[test]
fn a_picture_has_the_points_of_the_table() {
    let path = trace("picture");
    let svg = path.with_extension("svg");
    let capacities = "5,10,25,50,100";
    let told = points(
        path.to_str().unwrap(),
        capacities,
        &["--json", "--svg", svg.to_str().unwrap()],
    );
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let picture = fs::read_to_string(&svg).unwrap();
    let picture = Document::parse(&picture).unwrap();
    let texts: Vec<&str> = picture
        .descendants()
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect();
    assert!(
        texts.iter().any(|text| text.ends_with(r"a<b>&\u{1b}.txt")),
        "{texts:?}"
    );
    for name in ["cachestore", "LRU", "Belady", "capacity"] {
        assert!(texts.contains(&name), "{name} in {texts:?}");
    }
    let lines: Vec<_> = picture
        .descendants()
        .filter(|node| node.has_tag_name("polyline"))
        .map(places)
        .filter(|places| places.len() == told.len())
        .collect();
    assert_eq!(lines.len(), 3);
    // 100 % is 100 units above 0 %: the map from ratios to heights is the same for all points.
    for (line, name) in lines.iter().zip(["best", "cachestore", "lru"]) {
        let ratios: Vec<f64> = told.iter().map(|point| point[name].as_f64().unwrap()).collect();
        assert!(line.is_sorted_by(|a, b| a.0 < b.0), "{line:?}");
        let unit = (line[0].1 - line[4].1) / (ratios[4] - ratios[0]);
        for (place, ratio) in line.iter().zip(&ratios) {
            let wanted = line[0].1 - unit * (ratio - ratios[0]);
            assert!((place.1 - wanted).abs() <= 2.0, "{name}: {place:?} for {ratio} %");
        }
    }
}

#[test]
fn a_trace_that_cannot_be_read_is_named() {
    let path = trace("refused");
    let wrong = path.with_file_name("wrong.txt");
    fs::write(&wrong, "key 1\nkey \u{1b}[2J\n").unwrap();
    let large = path.with_file_name("large.txt");
    fs::write(&large, "key 9999999999999999999\n").unwrap();
    let empty = path.with_file_name("empty.txt");
    fs::write(&empty, "\n").unwrap();
    for (file, said) in [
        (wrong, "line 2: `\\u{1b}[2J` is no number of bytes"),
        (large, "line 1: a value has at most 1073741824 bytes"),
        (empty, "no accesses"),
        (path.with_file_name("absent"), "No such file"),
    ] {
        let ended = ended(&mut program(&["replay", file.to_str().unwrap()]));
        assert_eq!((ended.code, ended.out.len()), (1, 0));
        assert!(
            ended.errors.contains(said) && ended.errors.contains("cannot read"),
            "{}",
            ended.errors
        );
    }
}
