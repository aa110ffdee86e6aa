//! What happened lately: lines of a log, and the hit ratio over time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The latest events, the newest first.
#[derive(Default)]
pub(crate) struct Log(VecDeque<(Instant, String)>);

impl Log {
    const LINES: usize = 12;

    pub(crate) fn add(&mut self, line: String) {
        self.0.push_front((Instant::now(), line));
        self.0.truncate(Self::LINES);
    }

    /// The events, and how long ago each was.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Duration, &str)> {
        self.0.iter().map(|(when, line)| (when.elapsed(), &**line))
    }
}

/// Hits and misses since the start, once a second, the oldest first.
#[derive(Default)]
pub(crate) struct History(VecDeque<(u64, u64)>);

impl History {
    pub(crate) const SECONDS: usize = 60;
    /// Over how many seconds each point of the curve is taken.
    const WINDOW: usize = 10;

    pub(crate) fn add(&mut self, hits: u64, misses: u64) {
        self.0.push_back((hits, misses));
        if self.0.len() > Self::SECONDS + Self::WINDOW {
            self.0.pop_front();
        }
    }

    /// The hit ratio at each of the last seconds, the oldest first: `None` if there were no reads.
    pub(crate) fn ratios(&self) -> Vec<Option<f64>> {
        let first = self.0.len().saturating_sub(Self::SECONDS);
        let at = |second: usize| {
            let (hits, misses) = self.0[second];
            let (hits_before, misses_before) = self.0[second.saturating_sub(Self::WINDOW)];
            ratio(hits - hits_before, misses - misses_before)
        };
        (first..self.0.len()).map(at).collect()
    }
}

/// Hits among all reads, from 0 to 1. `None` if there were no reads.
pub(crate) fn ratio(hits: u64, misses: u64) -> Option<f64> {
    let reads = hits + misses;
    (reads > 0).then(|| hits as f64 / reads as f64)
}

/// How long ago something was, as people say it.
pub(crate) fn ago(age: Duration) -> String {
    match age.as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_people_tell_them() {
        let told = [0.4, 1.0, 59.9, 60.0, 7200.0].map(|age| ago(Duration::from_secs_f64(age)));
        assert_eq!(told, ["just now", "1 s ago", "59 s ago", "1 min ago", "2 h ago"]);
    }

    #[test]
    fn the_hit_ratio_is_that_of_the_last_window() {
        let mut history = History::default();
        assert_eq!(history.ratios(), []);
        history.add(0, 0);
        history.add(1, 3);
        assert_eq!(history.ratios(), [None, Some(0.25)]);
        for second in 0..200 {
            history.add(1 + second, 3);
        }
        assert_eq!(history.ratios(), [Some(1.0); History::SECONDS]);
    }
}
