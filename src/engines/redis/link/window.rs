//! How much may be under way at once on a connection that was cut under load. Pure: times are arguments.
//!
//! A server closes a connection whose replies fill its output buffer. What was under way is asked again over the
//! next connection, and all of it at once would have that cut too. So after a cut less is asked at once, and more
//! again as long as the connection holds.

use std::time::Duration;

use tokio::time::Instant;

/// How long a connection has to hold before more is asked than is known to be safe. It doubles with each cut.
const HOLD: Duration = Duration::from_secs(2);
/// What is expected to bring fewer bytes than this fills no server's buffer.
const SMALL: u64 = 1024 * 1024;
/// With so many values at once there is no bound any more.
const PLENTY: usize = 4096;

/// The bound of one connection's values under way: keys that are read or written, and other commands.
#[derive(Debug, Clone)]
pub(super) struct Window {
    limit: usize,
    /// The limit grows up to here as fast as it is used.
    ceiling: usize,
    raise_at: Instant,
    cuts: u32,
    /// The most bytes that a value brought since the last cut.
    largest: u64,
}

impl Window {
    /// Without a bound.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            limit: usize::MAX,
            ceiling: usize::MAX,
            raise_at: now,
            cuts: 0,
            largest: 0,
        }
    }

    /// Takes over the bound of another connection to the same server, unless this one has its own.
    pub(super) fn learn_from(&mut self, other: &Self) {
        if self.limit == usize::MAX {
            self.clone_from(other);
        }
    }

    /// How many values may be sent beside those that are under way.
    pub(super) fn room(&self, under_way: usize) -> usize {
        self.limit.saturating_sub(under_way)
    }

    /// The connection was cut while so many values were under way.
    pub(super) fn cut(&mut self, values: usize, now: Instant) {
        if values < 2 {
            return;
        }
        self.limit = (values / 4).max(1);
        self.ceiling = (values / 2).max(1);
        self.raise_at = now + HOLD * (1 << self.cuts.min(6));
        self.cuts = self.cuts.saturating_add(1);
        self.largest = 0;
    }

    /// A pipeline of so many values was answered by so many bytes.
    pub(super) fn answered(&mut self, values: usize, bytes: u64, now: Instant) {
        if self.limit == usize::MAX {
            return;
        }
        self.largest = self.largest.max(bytes / values.max(1) as u64);
        let doubled = self.limit.saturating_mul(2);
        if self.largest.saturating_mul(doubled as u64) < SMALL {
            self.ceiling = self.ceiling.max(doubled);
        } else if now >= self.raise_at && self.limit >= self.ceiling {
            self.ceiling = doubled;
            self.raise_at = now + HOLD * (1 << self.cuts.min(6));
        }
        self.limit = doubled.min(self.ceiling);
        if self.limit >= PLENTY {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for `values` of so many bytes each from a server that has room for `room` bytes, for a while: how
    /// many were answered, and how often the connection was cut.
    fn ask(mut values: usize, bytes: u64, room: u64, seconds: u64) -> (usize, usize) {
        let began = Instant::now();
        let mut window = Window::new(began);
        let (mut answered, mut cuts) = (0, 0);
        // A round trip takes 10 ms.
        for round in 0..seconds * 100 {
            let now = began + Duration::from_millis(10) * round as u32;
            let sent = window.room(0).min(values);
            if sent == 0 {
                break;
            }
            if sent as u64 * bytes > room {
                cuts += 1;
                window.cut(sent, now);
            } else {
                answered += sent;
                values -= sent;
                window.answered(sent, sent as u64 * bytes, now);
            }
        }
        (answered, cuts)
    }

    #[test]
    fn large_values_are_all_read_with_few_cuts() {
        assert_eq!(ask(40, 1 << 20, 16 << 20, 1), (40, 2));
        let (answered, cuts) = ask(1_000_000, 1 << 20, 16 << 20, 600);
        assert!(
            answered > 300_000 && cuts <= 16,
            "{answered} answered, {cuts} cuts"
        );
    }

    #[test]
    fn small_values_are_soon_without_a_bound() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.cut(64, now);
        assert_eq!(window.room(0), 16);
        for _ in 0..8 {
            window.answered(16, 16 * 100, now);
        }
        assert_eq!(window.room(0), usize::MAX);
    }

    #[test]
    fn a_bound_is_learned_from_another_connection() {
        let now = Instant::now();
        let (mut cut, mut other) = (Window::new(now), Window::new(now));
        cut.cut(64, now);
        other.learn_from(&cut);
        assert_eq!(other.room(0), 16);
        other.cut(16, now);
        other.learn_from(&cut);
        assert_eq!(other.room(0), 4, "it keeps its own");
    }

    #[test]
    fn a_cut_of_one_value_says_nothing() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.cut(1, now);
        assert_eq!(window.room(0), usize::MAX);
    }
}
