//! One lock that is held: until when, and when it is to be renewed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::Name;
use crate::key::Key;
use crate::secret::Secret;

/// What a guard sees of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// Counted from before the request that gained it was sent.
    pub(super) deadline: Instant,
    /// The engine said that the lock is no longer held.
    pub(super) lost: bool,
}

/// One held lock, as the scheduler knows it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) key: Key,
    pub(super) name: Name,
    pub(super) secret: Secret,
    pub(super) fence: u64,
    view: watch::Sender<View>,
    pub(super) renewal: Option<Renewal>,
    /// Extensions whose answers are on their way.
    pub(super) under_way: u32,
}

/// Renewals at a third of the TTL, on a schedule that answers do not shift.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    pub(super) ttl: Duration,
    pub(super) next: Instant,
    /// The lock is not held longer than this.
    pub(super) until: Instant,
}

impl Renewal {
    pub(super) fn new(ttl: Duration, sent: Instant, longest: Duration) -> Self {
        Self {
            ttl,
            next: sent + ttl / 3,
            until: sent + longest,
        }
    }

    /// Sets the next time after `now`: in whole thirds of the TTL.
    pub(super) fn advance(&mut self, now: Instant) {
        let third = (self.ttl / 3).max(Duration::from_millis(1));
        while self.next <= now {
            self.next += third;
        }
    }

    /// The TTL to renew by at `now`: what is left of the longest hold, at most. `None` if nothing is.
    pub(super) fn ttl_at(&self, now: Instant) -> Option<Duration> {
        let left = self.until.saturating_duration_since(now);
        // Cut to whole milliseconds, so that the longest hold is not exceeded.
        let left = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        (!left.is_zero()).then(|| self.ttl.min(left))
    }
}

impl Lease {
    pub(super) fn new(key: Key, name: Name, secret: Secret, fence: u64, deadline: Instant) -> Self {
        let (view, _) = watch::channel(View {
            deadline,
            lost: false,
        });
        Self {
            key,
            name,
            secret,
            fence,
            view,
            renewal: None,
            under_way: 0,
        }
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.view.borrow().deadline
    }

    pub(super) fn is_lost(&self) -> bool {
        self.view.borrow().lost
    }

    /// The lease ends then: later or earlier than before.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.view.send_modify(|view| view.deadline = deadline);
    }

    /// The lease ends then, if not before. For while it is uncertain.
    pub(super) fn shorten(&self, deadline: Instant) {
        self.view.send_if_modified(|view| {
            let shorter = deadline < view.deadline;
            if shorter {
                view.deadline = deadline;
            }
            shorter
        });
    }

    pub(super) fn lose(&mut self) {
        self.renewal = None;
        self.view.send_modify(|view| view.lost = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn renewals_keep_their_schedule_and_their_end() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut renewal = Renewal::new(3 * second, start, 10 * second);
        assert_eq!(renewal.next, start + second);
        renewal.advance(start + second * 5 / 2);
        assert_eq!(renewal.next, start + 3 * second, "late by half, not shifted");
        assert_eq!(renewal.ttl_at(start + second), Some(3 * second));
        assert_eq!(renewal.ttl_at(start + 9 * second), Some(second));
        assert_eq!(renewal.ttl_at(start + 10 * second), None);
    }
}
