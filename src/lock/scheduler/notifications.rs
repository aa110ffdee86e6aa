//! What the scheduler does with notifications of other holders, and what it remembers to judge them by.

use super::*;

/// How long a head sleeps before it asks again for a lock whose release it would not hear of.
const PACE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(50));
/// The same beside programs that poll every 10 ms, so that it gets its share of the turns.
const PACE_BESIDE_POLLERS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(12));
/// How often all heads together ask so, at most: five thousand times a second.
const EACH: Duration = Duration::from_micros(200);

/// What was last seen of a lock.
#[derive(Default)]
pub(super) struct Seen {
    /// Releases of holders with a lower token are known already.
    token: u64,
    /// When the engine was asked that told so.
    asked: Option<Instant>,
    /// Whether its releases are heard of.
    heard: bool,
    /// How long its head may sleep if the release is announced and the subscription is confirmed. `None` if the holder
    /// does not announce.
    end: Option<Duration>,
}

impl Scheduler {
    pub(super) fn hear(&mut self, notification: Notification) {
        match notification {
            Notification::Subscribed { key, since } => {
                if let Some(name) = self.known.get(&key).cloned() {
                    self.subscribed(&name, since);
                }
            }
            Notification::Lost => {
                self.set_heard(false);
                self.with_queues(|queues, now| {
                    let lines = queues.lines();
                    queues.hasten(|| now + pace(PACE, lines));
                });
            }
            Notification::Missed { lost, switched } => {
                self.set_heard(!lost);
                // First: what a guard of ours holds is not for our waiters.
                if switched {
                    self.check_all();
                }
                self.with_queues(Queues::wake_all);
            }
            Notification::Switched => self.check_all(),
            Notification::Released { key, token } => {
                if let Some(name) = self.known.get(&key).cloned() {
                    self.released(&name, token);
                }
            }
        }
    }

    /// Its releases are heard of from now on, and nothing was missed `since` then.
    fn subscribed(&mut self, name: &Name, since: Instant) {
        let Some(seen) = self.seen.get_mut(name) else {
            return;
        };
        seen.heard = true;
        // A head that was refused after that misses nothing.
        if seen.asked.is_none_or(|asked| asked < since) {
            self.wake(name);
        } else if let Some(end) = seen.end {
            self.queues.postpone(name, end);
        }
    }

    fn set_heard(&mut self, heard: bool) {
        for seen in self.seen.values_mut() {
            seen.heard = heard;
        }
    }

    /// When a head asks again that was just refused: at the hold's `end`, unless it would not hear of a release
    /// before.
    pub(super) fn wakes_at(&mut self, name: &Name, end: Duration, announces: bool) -> Duration {
        let Some(notifications) = &self.notifications else {
            return end;
        };
        let Some(seen) = self.seen.get_mut(name) else {
            return end;
        };
        seen.end = announces.then_some(end);
        if announces && seen.heard {
            return end;
        }
        let range = match notifications.beside_pollers {
            true => PACE_BESIDE_POLLERS,
            false => PACE,
        };
        end.min(self.elapsed + pace(range, self.queues.lines()))
    }

    /// Warns once if the releases of this store are not announced.
    pub(super) fn warn_of_silence(&mut self, announces: bool) {
        if let Some(notifications) = &self.notifications
            && !announces
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!(
                cause = notifications.may_not_announce,
                "this store cannot announce the locks that it releases: waiters of other processes poll for them"
            );
        }
    }

    /// A lock was released, which had this token if it is known. Our own releases are heard of twice, from
    /// the engine and from the notifications, and those of earlier holders may be heard late.
    pub(super) fn released(&mut self, name: &Name, token: Option<u64>) {
        if let Some(token) = token {
            self.remember(name, token);
            if let Some(seen) = self.seen.get_mut(name) {
                if token < seen.token {
                    return;
                }
                seen.token = token.saturating_add(1);
            }
        }
        self.wake(name);
    }

    /// Remembers a token, so that the next one is higher. A memory store's table forgets none.
    pub(super) fn remember(&mut self, name: &Name, token: u64) {
        if !self.is_alone() {
            self.tokens.saw(name, token);
        }
    }

    /// The holder has this token, as the engine answered when it was `asked`. It may be lower than one before: of a
    /// server that lost the last one, by a client that did not know it.
    pub(super) fn saw(&mut self, name: &Name, token: u64, asked: Instant) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.token = token;
            seen.asked = Some(asked);
        }
    }

    /// A line has begun, so that notifications of its lock matter.
    pub(super) fn know(&mut self, name: &Name) {
        if !self.is_alone() && !self.seen.contains_key(name) {
            self.seen.insert(name.clone(), Seen::default());
            self.known.insert(name.key().as_str().into(), name.clone());
        }
    }

    /// A line has ended.
    pub(super) fn forget_line(&mut self, name: &Name) {
        if self.seen.remove(name).is_some() {
            self.known.remove(name.key().as_str());
        }
    }

    pub(super) fn subscribe(&self, name: &Name, make: impl FnOnce(Subject) -> Subscription) {
        if let Some(notifications) = &self.notifications {
            let subject = Subject::Lock(name.key().as_str().into());
            // Without a subscriber, heads poll.
            let _ = notifications.subscriptions.send(make(subject));
        }
    }
}

/// A sleep at random within these bounds, longer where many `lines` poll.
fn pace((shortest, longest): (Duration, Duration), lines: usize) -> Duration {
    let sleep = shortest + (longest - shortest).mul_f64(rand::random());
    sleep.max(EACH.saturating_mul(u32::try_from(lines).unwrap_or(u32::MAX)))
}
