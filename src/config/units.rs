//! Numbers, sizes and times as a URL or a map of settings writes them.

use std::time::Duration;

const SIZES: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Units of time in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// A whole number: digits and nothing else.
pub(super) fn number(text: &str) -> Option<usize> {
    match split(text) {
        (digits, "") => digits.parse().ok(),
        _ => None,
    }
}

/// A number of bytes: `1048576`, `1024KiB`, `1MiB`.
pub(super) fn size(text: &str) -> Option<usize> {
    let (digits, unit) = split(text);
    let number: usize = digits.parse().ok()?;
    match unit {
        "" => Some(number),
        unit => number.checked_mul(factor(&SIZES, unit)?),
    }
}

/// A time: `200ms`, `5s`, `1m`, `2h`, `1d`. A number without a unit is none.
pub(super) fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = split(text);
    let number: u64 = digits.parse().ok()?;
    number
        .checked_mul(factor(&TIMES, unit)?)
        .map(Duration::from_millis)
}

/// Writes a time in the largest unit that shows it exactly. [`time`] reads it back.
pub(super) fn time_shown(time: Duration) -> String {
    let millis = time.as_millis();
    let whole = |unit: u64| millis > 0 && millis.is_multiple_of(u128::from(unit));
    match TIMES.iter().find(|(_, unit)| whole(*unit)) {
        Some((name, unit)) if time.subsec_nanos().is_multiple_of(1_000_000) => {
            format!("{}{name}", millis / u128::from(*unit))
        }
        _ => format!("{time:?}"),
    }
}

/// The digits at the front, and what follows them.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn factor<T: Copy>(units: &[(&str, T)], name: &str) -> Option<T> {
    let (_, factor) = units.iter().find(|(unit, _)| *unit == name)?;
    Some(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_NUMBERS: [&str; 9] = ["", "-1", "+1", "1.5", " 1", "1 ", "1_000", "\u{661}", "x"];

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("0042"), Some(42));
        assert_eq!(number(&usize::MAX.to_string()), Some(usize::MAX));
        for text in NO_NUMBERS
            .into_iter()
            .chain(["1MiB", "1s", "18446744073709551616"])
        {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_take_binary_units() {
        for (text, bytes) in [
            ("1000", 1000),
            ("3KiB", 3 << 10),
            ("64MiB", 64 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in NO_NUMBERS.into_iter().chain([
            "MiB",
            "1MB",
            "1mib",
            "64 MiB",
            "1s",
            "17179869184GiB",
            "18446744073709551615KiB",
        ]) {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_require_a_unit() {
        for (text, millis) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1500ms", 1500),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(time_shown(Duration::from_millis(millis)), text);
        }
        assert_eq!(time("120s").map(time_shown).as_deref(), Some("2m"));
        assert_eq!(time_shown(Duration::from_nanos(1)), "1ns");
        for text in NO_NUMBERS.into_iter().chain([
            "5",
            "s",
            "5S",
            "5sec",
            "5 s",
            "1h30m",
            "5us",
            "18446744073709551615s",
        ]) {
            assert_eq!(time(text), None, "{text:?}");
        }
    }
}
