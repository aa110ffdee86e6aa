//! Whether a server that owes an answer is alive. Pure: times and signs of life are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// How often in a row a server may be found silent before its connection is given up.
const STRIKES: u32 = 3;
/// The slowest upload that does not count as silence, in bytes a second. The operating systems of both
/// sides, and all that is between them, take bytes long before the server has read them.
const SLOWEST_UPLOAD: u32 = 1024 * 1024;

/// When the server last gave a sign of life, and how often it was found silent since.
#[derive(Debug)]
pub(super) struct Vitals {
    heard: Instant,
    strikes: u32,
    /// The signs of life of the socket that are part of `heard`.
    pulse: u64,
    /// When the server last answered or owed nothing, and the signs of life by then.
    owes: (Instant, u64),
}

/// What a look at the vitals found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not to be looked at again before this.
    AliveUntil(Instant),
    /// The connection is to be given up.
    Silent,
}

impl Vitals {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            strikes: 0,
            pulse: 0,
            owes: (now, 0),
        }
    }

    /// The server has answered, or owed nothing until now. `pulse` counts the socket's signs of life so far.
    pub(super) fn heard(&mut self, now: Instant, pulse: u64) {
        *self = Self {
            heard: now,
            strikes: 0,
            pulse,
            owes: (now, pulse),
        };
    }

    /// Takes in the socket's signs of life.
    fn feel(&mut self, now: Instant, pulse: u64) {
        if pulse != self.pulse {
            (self.heard, self.strikes, self.pulse) = (now, 0, pulse);
        }
    }

    /// Since when the server owes the answer that is next.
    pub(super) fn owes_since(&self) -> Instant {
        self.owes.0
    }

    /// Whether there was a sign of life within `time`, and since the server owes the answer that is next.
    pub(super) fn is_flowing(&mut self, now: Instant, time: Duration, pulse: u64) -> bool {
        self.feel(now, pulse);
        pulse != self.owes.1 && self.heard_within(time, now)
    }

    /// Whether the last sign of life is younger than `patience`.
    pub(super) fn heard_within(&self, patience: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < patience
    }

    /// Looks at a server that owes an answer to a pipeline of `sent` bytes. It is silent after `patience`, and
    /// once more after each half of it; bytes that flow are life.
    pub(super) fn look(&mut self, now: Instant, patience: Duration, sent: usize, pulse: u64) -> Verdict {
        self.feel(now, pulse);
        let upload = Duration::from_secs_f64(sent as f64 / f64::from(SLOWEST_UPLOAD));
        let due = self.heard + upload + patience + patience / 2 * self.strikes;
        if due > now {
            return Verdict::AliveUntil(due);
        }
        self.strikes += 1;
        if self.strikes >= STRIKES {
            Verdict::Silent
        } else {
            Verdict::AliveUntil(now + patience / 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    /// Looks whenever a look is due, with `pulse` at each: when the connection is given up, within a minute.
    fn given_up_after(sent: usize, mut pulse: impl FnMut(Duration) -> u64) -> Option<Duration> {
        let began = Instant::now();
        let mut vitals = Vitals::new(began);
        let mut now = began;
        while now < began + PATIENCE * 60 {
            match vitals.look(now, PATIENCE, sent, pulse(now - began)) {
                Verdict::AliveUntil(next) => now = next,
                Verdict::Silent => return Some(now - began),
            }
        }
        None
    }

    #[test]
    fn a_silent_server_is_given_up_after_twice_the_patience() {
        assert_eq!(given_up_after(0, |_| 0), Some(PATIENCE * 2));
        let once = |after| u64::from(after >= PATIENCE);
        assert_eq!(given_up_after(0, once), Some(PATIENCE * 3), "one sign of life");
    }

    #[test]
    fn a_server_whose_bytes_flow_is_never_given_up() {
        assert_eq!(given_up_after(0, |after| after.as_millis() as u64), None);
    }

    #[test]
    fn bytes_flow_only_after_the_first_of_the_answer_that_is_owed() {
        let began = Instant::now();
        let mut vitals = Vitals::new(began);
        vitals.heard(began, 7);
        let soon = began + PATIENCE / 10;
        assert!(
            !vitals.is_flowing(soon, PATIENCE, 7),
            "only the server's last answer"
        );
        assert!(vitals.is_flowing(soon, PATIENCE, 8));
        assert_eq!(vitals.owes_since(), began, "it is not answered yet");
        assert!(
            !vitals.is_flowing(soon + PATIENCE, PATIENCE, 8),
            "they flow no more"
        );
    }

    #[test]
    fn a_large_upload_has_the_time_that_a_slow_link_needs() {
        let upload = 8 * SLOWEST_UPLOAD as usize;
        assert_eq!(given_up_after(upload, |_| 0), Some(PATIENCE * 10));
    }

    #[test]
    fn an_answer_takes_back_what_was_held_against_the_server() {
        let began = Instant::now();
        let mut vitals = Vitals::new(began);
        assert!(vitals.look(began + PATIENCE, PATIENCE, 0, 0) != Verdict::Silent);
        assert!(vitals.look(began + PATIENCE * 3 / 2, PATIENCE, 0, 0) != Verdict::Silent);
        vitals.heard(began + PATIENCE * 2, 3);
        let next = vitals.look(began + PATIENCE * 2, PATIENCE, 0, 3);
        assert_eq!(next, Verdict::AliveUntil(began + PATIENCE * 3));
    }
}
