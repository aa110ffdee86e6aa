//! Every setting of every table: its bounds, and its row in the documentation.

use std::time::Duration;

use super::options::REDIS;
use super::setting::{Field, Kind, OFF, Setting, apply};
use super::*;
use crate::error::Error;

/// The values to try between and beyond the bounds, and whether each is one that fits.
fn around<T: Copy + PartialOrd>(
    zero: T,
    below: Option<T>,
    (least, most): (T, T),
    above: Option<T>,
) -> Vec<(T, bool)> {
    let mut values = vec![(zero, zero >= least), (least, true), (most, true)];
    values.extend([below, above].into_iter().flatten().map(|beyond| (beyond, false)));
    values
}

/// Tries one value by its setter and, if it can be written, by text.
fn try_one<C: Clone>(
    setting: &'static Setting<C>,
    config: &C,
    set: impl Fn(&mut C),
    text: Option<&str>,
    fits: bool,
) {
    let name = setting.name;
    let mut by_setter = config.clone();
    set(&mut by_setter);
    let mut results = vec![setting.check(&by_setter)];
    if let Some(text) = text {
        results.push(setting.apply(&mut config.clone(), text));
    }
    for result in results {
        match result {
            Ok(()) => assert!(fits, "{name} takes {text:?}"),
            Err(Error::InvalidConfig { reason }) => {
                assert!(!fits, "{name} refuses {text:?}: {reason}");
                assert!(
                    reason.starts_with(&format!("{name} must be {}", setting.takes())),
                    "{reason}"
                );
            }
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

fn try_all<C: Clone>(table: &'static [Setting<C>], config: &C) {
    for setting in table {
        match &setting.kind {
            Kind::Number(range, Field { set, .. }) | Kind::Size(range, Field { set, .. }) => {
                let (least, most) = (*range.start(), *range.end());
                for (value, fits) in around(0, least.checked_sub(1), (least, most), most.checked_add(1)) {
                    try_one(setting, config, |c| set(c, value), Some(&value.to_string()), fits);
                }
                let fits = most == usize::MAX;
                try_one(setting, config, |c| set(c, usize::MAX), None, fits);
            }
            Kind::SizeOrOff(range, Field { set, .. }) => {
                let (least, most) = (*range.start(), *range.end());
                for (value, fits) in around(0, least.checked_sub(1), (least, most), most.checked_add(1)) {
                    try_one(
                        setting,
                        config,
                        |c| set(c, Some(value)),
                        Some(&value.to_string()),
                        fits,
                    );
                }
                try_one(setting, config, |c| set(c, None), Some("off"), true);
                for text in ["", "Off", "none", "on", "off ", "-1"] {
                    assert!(setting.apply(&mut config.clone(), text).is_err(), "{text}");
                }
            }
            Kind::Time(range, Field { set, .. }) => {
                let (least, most) = (*range.start(), *range.end());
                let nano = Duration::from_nanos(1);
                let values = around(
                    Duration::ZERO,
                    least.checked_sub(nano),
                    (least, most),
                    most.checked_add(nano),
                );
                for (time, fits) in values {
                    let whole = time.subsec_nanos().is_multiple_of(1_000_000);
                    let text = whole.then(|| format!("{}ms", time.as_millis()));
                    try_one(setting, config, |c| set(c, time), text.as_deref(), fits);
                }
                let fits = most == Duration::MAX;
                try_one(setting, config, |c| set(c, Duration::MAX), None, fits);
            }
            Kind::Text(rule, Field { set, .. }) => {
                let long = "x".repeat(65_536);
                for text in [
                    "", " ", "a b", "a\nb", "a\r\nb", "a\0b", "a\u{e9}", "a:b", "a/b", "a", &long,
                ] {
                    let fits = (rule.holds)(text);
                    assert!(!fits || text == "a" || text.is_ascii(), "{text:?}");
                    try_one(setting, config, |c| set(c, text.to_owned()), Some(text), fits);
                }
            }
            Kind::Word(words, _) => {
                for text in words
                    .iter()
                    .copied()
                    .chain(["", "True", "yes", "1", "MessagePack"])
                {
                    let fits = words.contains(&text);
                    let mut config = config.clone();
                    assert_eq!(setting.apply(&mut config, text).is_ok(), fits, "{text}");
                }
            }
        }
    }
}

fn redis() -> RedisConfig {
    RedisConfig::new("redis://host").unwrap()
}

#[test]
fn every_setting_holds_its_bounds_by_setter_and_by_text() {
    try_all(SHARED, &Settings::default());
    try_all(MEMORY, &MemoryConfig::default().options);
    try_all(REDIS, &redis().options);
}

#[test]
fn names_are_unique_over_all_tables() {
    fn all<C>(table: &'static [Setting<C>]) -> impl Iterator<Item = &'static str> {
        table
            .iter()
            .flat_map(|setting| [Some(setting.name), setting.short])
            .flatten()
    }
    for own in [all(MEMORY).collect::<Vec<_>>(), all(REDIS).collect()] {
        let mut names: Vec<_> = all(SHARED).chain(own).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

#[test]
fn what_is_given_twice_is_refused_whatever_it_is_called() {
    for (first, second) in [("ttl", "ttl"), ("ttl", "default_ttl"), ("default_ttl", "ttl")] {
        let given = [first, second].map(|name| (name.to_owned(), "5s".to_owned()));
        let mut config = MemoryConfig::default();
        let error = apply(&given, &mut config.settings, &mut config.options, MEMORY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration: default_ttl is given twice"
        );
    }
}

/// A size in its largest whole unit.
fn size(bytes: usize) -> String {
    match [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, unit)| bytes.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

fn table<C>(title: &str, settings: &'static [Setting<C>], defaults: &C) -> String {
    let mut text = format!("\n{title}\n\n| parameter | takes | default |\n|---|---|---|\n");
    for setting in settings {
        let default = match &setting.kind {
            Kind::Number(_, field) => (field.get)(defaults).map(|number| number.to_string()),
            Kind::Size(_, field) => (field.get)(defaults).map(size),
            Kind::SizeOrOff(_, field) => {
                let given = (field.get)(defaults);
                Some(given.map_or(
                    "a 64th of the capacity over 4 MiB, at least a 256th".to_owned(),
                    |bytes| bytes.map_or_else(|| OFF.to_owned(), size),
                ))
            }
            Kind::Time(_, field) => (field.get)(defaults).map(units::time_shown),
            Kind::Text(_, field) => (field.get)(defaults),
            Kind::Word(words, field) => (field.get)(defaults).map(|place| words[place].to_owned()),
        };
        let short = setting
            .short
            .map(|short| format!(" or `{short}`"))
            .unwrap_or_default();
        text.push_str(&format!(
            "| `{}`{short} | {} | {} |\n",
            setting.name,
            setting.takes(),
            default.as_deref().unwrap_or("none")
        ));
    }
    text
}

/// The documentation of [`Config::from_url`] says what the tables say. With `CACHESTORE_WRITE_SETTINGS` set, the
/// test writes it anew.
#[test]
#[cfg(target_pointer_width = "64")]
fn the_documentation_has_every_setting() {
    let mut text =
        "A number is written in digits. A size is a number of bytes, or of `KiB`, `MiB` or `GiB`; a time \
                    is a number with `ms`, `s`, `m`, `h` or `d` behind it.\n"
            .to_owned();
    text += &table("Every engine takes these:", SHARED, &Settings::default());
    text += &table(
        "`memory://` takes these too:",
        MEMORY,
        &MemoryConfig::default().options,
    );
    text += &table(
        "A Redis URL takes these too, and `protocol`:",
        REDIS,
        &redis().options,
    );
    if std::env::var_os("CACHESTORE_WRITE_SETTINGS").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/settings.md");
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(include_str!("settings.md"), text, "see CACHESTORE_WRITE_SETTINGS");
    let settings = include_str!("../../docs/settings.md");
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let name = line
            .trim_start_matches("| `")
            .split('`')
            .next()
            .unwrap_or_default();
        let name = name.trim_end_matches("_min").trim_end_matches("_max");
        assert!(
            settings.contains(&format!("| `{name}` |")),
            "the settings page has no {name}"
        );
    }
}
