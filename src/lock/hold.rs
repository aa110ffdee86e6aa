//! One lock that is held: until when, and when it is to be renewed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::name::Name;
use crate::actor::timer::sleep_until;
use crate::secret::Secret;

/// A hold's end, as the scheduler tells it and the guard sees it.
#[derive(Debug, Clone)]
pub(super) struct View(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The time from which the end is counted.
    origin: Instant,
    /// In nanoseconds: counted from before the request that gained the hold was sent. Zero if the engine
    /// said that the lock is no longer held.
    end: AtomicU64,
    changed: Notify,
}

/// No hold ends later: 584 years after the origin.
const LOST: u64 = 0;

/// One held lock, as the scheduler knows it. Its drop tells the guard that nobody looks after it any more.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) name: Name,
    pub(super) secret: Secret,
    pub(super) token: u64,
    /// The caller chose the secret, and others may hold the lock under it.
    pub(super) own_secret: bool,
    view: View,
    pub(super) renewal: Option<Renewal>,
    /// Extensions whose answers are on their way.
    pub(super) under_way: u32,
    /// How often the engine was asked for a new TTL.
    asked: u64,
    /// The ends that the engine was asked for while extensions were under way, each with its number. An end that a later one
    /// undercuts is left out.
    ends: Vec<(u64, Instant)>,
    /// When it was granted.
    pub(super) since: Instant,
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

    /// The TTL to renew by at `now`: at most the time that is left of the longest hold. `None` if no time is left.
    pub(super) fn ttl_at(&self, now: Instant) -> Option<Duration> {
        let left = self.until.saturating_duration_since(now);
        // Cut to whole milliseconds, so that the longest hold is not exceeded.
        let left = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        (!left.is_zero()).then(|| self.ttl.min(left))
    }
}

impl View {
    fn new(origin: Instant, deadline: Instant) -> Self {
        let shared = Shared {
            origin,
            end: AtomicU64::new(LOST),
            changed: Notify::new(),
        };
        shared.end.store(shared.nanos(deadline), Ordering::Release);
        Self(Arc::new(shared))
    }

    /// When the hold ends; `None` if it is lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.0.end.load(Ordering::Acquire) {
            LOST => None,
            nanos => Some(self.0.origin + Duration::from_nanos(nanos)),
        }
    }

    fn set(&self, nanos: u64) {
        self.0.end.store(nanos, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Waits until the hold is gone, or will be within `margin`. Where the caller has no runtime, `home` keeps
    /// the time.
    pub(super) async fn gone(self, margin: Duration, home: Handle) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let Some(deadline) = self.deadline() else { return };
            let end = deadline.checked_sub(margin).unwrap_or(deadline);
            if end <= Instant::now() {
                return;
            }
            tokio::select! {
                slept = sleep_until(end, &home) => {
                    // With its runtime the store has ended, and nobody looks after the hold.
                    if slept.is_err() {
                        return;
                    }
                }
                () = changed => {}
            }
        }
    }
}

impl Shared {
    fn nanos(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(LOST + 1)
    }
}

impl Hold {
    pub(super) fn new(
        name: Name,
        secret: Secret,
        token: u64,
        origin: Instant,
        since: Instant,
        deadline: Instant,
    ) -> Self {
        Self {
            name,
            secret,
            token,
            own_secret: false,
            view: View::new(origin, deadline),
            renewal: None,
            under_way: 0,
            asked: 0,
            ends: Vec::new(),
            since,
        }
    }

    pub(super) fn view(&self) -> View {
        self.view.clone()
    }

    /// When it ends; `None` if it is lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.view.deadline()
    }

    /// Whether it is neither lost nor over.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline > now)
    }

    /// The engine is asked for a new TTL, and may shorten the hold at any time from now on. Returns the number of the
    /// question.
    pub(super) fn ask(&mut self, deadline: Instant) -> u64 {
        self.shorten(deadline);
        if self.under_way == 0 {
            self.ends.clear();
        }
        let later = self.ends.partition_point(|(_, end)| *end < deadline);
        self.ends.truncate(later);
        self.asked += 1;
        self.ends.push((self.asked, deadline));
        self.asked
    }

    /// The engine has carried out this question. It may have carried out later ones, whose ends count if they are earlier.
    pub(super) fn extended(&mut self, question: u64, deadline: Instant) {
        let later = self.ends.iter().find(|(asked, _)| *asked > question);
        self.set_deadline(later.map_or(deadline, |(_, end)| deadline.min(*end)));
    }

    /// The hold ends then: later or earlier than before. One that is lost stays so.
    fn set_deadline(&self, deadline: Instant) {
        if self.deadline().is_some() {
            self.view.set(self.view.0.nanos(deadline));
        }
    }

    /// The hold ends then, if not before. For while it is uncertain.
    pub(super) fn shorten(&self, deadline: Instant) {
        if self.deadline().is_some_and(|before| deadline < before) {
            self.set_deadline(deadline);
        }
    }

    pub(super) fn lose(&mut self) {
        self.renewal = None;
        self.view.set(LOST);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.lose();
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
