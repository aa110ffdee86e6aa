//! What is due: the deadlines of waiters, and the times at which heads ask again.

use std::time::Duration;

use super::line::Head;
use super::{Queues, Waiter};
use crate::lock::name::Name;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Waiter(Waiter),
    Retry(Name),
}

impl<G> Queues<G> {
    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What is due at `now`.
    pub(crate) fn tick(&mut self, now: Duration) {
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now
            && let Some((_, due)) = self.deadlines.pop_first()
        {
            match due {
                Due::Retry(name) => self.look(&name, now),
                Due::Waiter(waiter) => self.overdue(waiter, now),
            }
        }
    }

    /// Sees to it that the line is looked at by then. One that is looked at too early is armed again, which
    /// costs less than to move its time with each holder.
    pub(super) fn arm(&mut self, name: &Name, until: Duration) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if line.armed.is_some_and(|at| at <= until) {
            return;
        }
        if let Some(later) = line.armed.replace(until) {
            self.deadlines.remove(&(later, Due::Retry(name.clone())));
        }
        self.deadlines.insert((until, Due::Retry(name.clone())));
    }

    /// Each head that sleeps asks by the time that `at` gives for it, if not before.
    pub(crate) fn hasten(&mut self, at: impl Fn() -> Duration) {
        let names: Vec<Name> = self.lines.keys().cloned().collect();
        for name in names {
            let at = at();
            if let Some(line) = self.lines.get_mut(&name)
                && let Head::Sleeping { until } = &mut line.head
                && *until > at
            {
                *until = at;
                self.arm(&name, at);
            }
        }
    }

    /// A head that sleeps asks at this time, if it is not woken before.
    pub(crate) fn postpone(&mut self, name: &Name, at: Duration) {
        if let Some(line) = self.lines.get_mut(name)
            && let Head::Sleeping { until } = &mut line.head
        {
            *until = at;
            self.arm(name, at);
        }
    }

    /// The line's time has come, or what was its time once.
    fn look(&mut self, name: &Name, now: Duration) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        line.armed = None;
        match line.head {
            // The lock came free then, also for a waiter whose time ended after that.
            Head::Sleeping { until } if until <= now => self.ask_or_end(name, until, now),
            Head::Sleeping { until } => self.arm(name, until),
            // It is armed again when it goes to sleep.
            Head::Asking { .. } => {}
        }
    }

    fn overdue(&mut self, waiter: Waiter, now: Duration) {
        let Some(place) = self.waiters.get(&waiter) else {
            return;
        };
        let name = place.name.clone();
        let Some(line) = self.lines.get(&name) else { return };
        let is_first = line.waiters.first_key_value().map(|(_, first)| *first) == Some(waiter);
        match line.head {
            // The answer decides.
            Head::Asking { waiter: asking, .. } if asking == waiter => {}
            // Its turn to ask comes with the answer to another who left.
            Head::Asking { .. } if is_first && self.asks_at_deadline => {}
            Head::Sleeping { .. } if is_first && self.asks_at_deadline => self.ask_or_end(&name, now, now),
            _ => {
                self.refuse(waiter);
                self.settle(&name);
            }
        }
    }
}
