//! Numbers as people read and write them.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

/// Stands where nothing is known.
pub(crate) const UNKNOWN: &str = "–";

/// `1,234`
pub(crate) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A count or a rate, with one decimal if it is small and no whole number.
pub(crate) fn number(number: f64) -> String {
    if number < 9.95 && (0.05..0.95).contains(&number.fract()) {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// `1.21 MiB`
pub(crate) fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// A part of a whole: `98.1 %`.
pub(crate) fn ratio(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1} %", 100.0 * part / whole)
    } else {
        UNKNOWN.to_owned()
    }
}

/// Seconds, with three digits or so: `12.3 ms`.
pub(crate) fn seconds(seconds: f64) -> String {
    for (unit, size) in [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)] {
        let scaled = seconds / size;
        if scaled >= 1.0 {
            let decimals = usize::from(scaled < 100.0) + usize::from(scaled < 10.0);
            return format!("{scaled:.decimals$} {unit}");
        }
    }
    format!("{:.0} ns", seconds * 1e9)
}

/// A long time by its two largest units: `3 d 4 h`.
pub(crate) fn span(time: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = time.as_secs();
    if seconds == 0 {
        return format!("{} ms", time.as_millis());
    }
    let largest = UNITS
        .iter()
        .position(|(_, size)| seconds >= *size)
        .unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in UNITS.iter().skip(largest).take(2) {
        if rest >= *size {
            parts.push(format!("{} {unit}", rest / size));
            rest %= size;
        }
    }
    parts.join(" ")
}

/// Reads `500ms`, `10s`, `5m` or `1h`, over zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and ms, s, m or h, such as 500ms or 10s".to_owned()),
    };
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    match number.and_then(|number| number.checked_mul(millis)) {
        Some(0) => Err("it must be over zero".to_owned()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err("the number is missing or too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            [0.0, 0.04, 2.5, 9.99, 12_345.6].map(number),
            ["0", "0", "2.5", "10", "12,346"]
        );
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(ratio(3.0, 4.0), "75.0 %");
        assert_eq!(ratio(0.0, 0.0), UNKNOWN);
        assert_eq!(
            [1.5e-9, 2.345e-6, 12.34e-6, 0.1234, 3.0].map(seconds),
            ["2 ns", "2.35 µs", "12.3 µs", "123 ms", "3.00 s"]
        );
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        let spans = [0, 59, 60, 3_661, 90_000, 86_460].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["0 ms", "59 s", "1 min", "1 h 1 min", "1 d 1 h", "1 d"]);
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "0s", "-1s", "1.5s", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
