//! The one timer of an actor.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes an actor at its next deadline, which may move at any time.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When the timer rings, if it is set.
    rings_at: Option<Instant>,
}

impl Alarm {
    /// An alarm of the runtime that this is called on. It is not set.
    pub(crate) fn new() -> Self {
        Self {
            sleep: Box::pin(sleep_until(Instant::now())),
            rings_at: None,
        }
    }

    /// Sets the timer, unless it rings earlier already.
    pub(crate) fn set(&mut self, at: Instant) {
        if self.rings_at.is_none_or(|rings_at| rings_at > at) {
            self.rings_at = Some(at);
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once if the timer rings.
    pub(crate) fn poll_ring(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rings_at.is_none() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.rings_at = None;
        Poll::Ready(())
    }

    /// When the timer rings, if it is set.
    pub(crate) fn rings_at(&self) -> Option<Instant> {
        self.rings_at
    }

    /// Ready if `at` has come. Otherwise, the task is woken at that time.
    ///
    /// It is also ready once if the alarm rings for an earlier deadline, which has gone meanwhile. That costs less
    /// than setting the timer whenever a deadline moves away.
    pub(crate) fn poll(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if at <= now {
            // What the timer may have been set for has come too.
            self.rings_at = self.rings_at.filter(|rings_at| *rings_at > now);
            return Poll::Ready(());
        }
        self.set(at);
        self.poll_ring(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn rings(alarm: &mut Alarm, at: Instant) {
        poll_fn(|cx| alarm.poll(at, Instant::now(), cx)).await;
    }

    /// Timers count in milliseconds.
    fn rang_at(began: Instant, time: Duration) {
        let elapsed = began.elapsed();
        assert!(
            elapsed >= time && elapsed <= time + Duration::from_millis(1),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_a_deadline_and_not_before() {
        let (mut alarm, began) = (Alarm::new(), Instant::now());
        rings(&mut alarm, began).await;
        for seconds in [1, 2, 5] {
            rings(&mut alarm, began + SECOND * seconds).await;
            rang_at(began, SECOND * seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_nearer_counts_at_once() {
        let (mut alarm, began) = (Alarm::new(), Instant::now());
        let set = poll_fn(|cx| Poll::Ready(alarm.poll(began + SECOND * 60, began, cx)));
        assert!(set.await.is_pending());
        rings(&mut alarm, began + SECOND).await;
        rang_at(began, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_away_costs_one_look() {
        let (mut alarm, began) = (Alarm::new(), Instant::now());
        let set = poll_fn(|cx| Poll::Ready(alarm.poll(began + SECOND, began, cx)));
        assert!(set.await.is_pending());
        rings(&mut alarm, began + SECOND * 9).await;
        rang_at(began, SECOND);
        rings(&mut alarm, began + SECOND * 9).await;
        rang_at(began, SECOND * 9);
    }
}
