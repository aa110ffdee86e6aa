//! What the scheduler does when it is asked, and what follows from its queues.

use std::collections::hash_map::Entry;

use super::*;
use crate::error::Cause;

/// The shortest pause before a holder who announces nothing is asked for again; it doubles.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
#[error("too many wait for locks: see max_lock_waiters and max_lock_waiters_per_key")]
struct TooMany;

impl Scheduler {
    pub(super) fn begin(&mut self, command: Command) {
        match command {
            Command::Lock {
                id,
                wish,
                sink,
                handle,
            } => {
                // Its caller may have gone while it was in the queue.
                if sink.is_closed() {
                    return;
                }
                let name = Name::from(wish.key.clone());
                let pending = Pending {
                    name: name.clone(),
                    wish,
                    sink,
                    handle,
                    error: None,
                    uncertain: false,
                    pause: SHORTEST_PAUSE,
                };
                if pending.wish.own_secret && self.queues.has_line(&name) {
                    let (secret, ttl) = (pending.wish.secret.clone(), pending.wish.ttl);
                    self.wishes.insert(id, pending);
                    let sent = self.now;
                    let asked = Asked::Renew { waiter: id, sent };
                    return self.ask(&name, LockAction::Renew { secret, ttl }, asked);
                }
                self.wishes.insert(id, pending);
                self.line_up(id);
            }
            Command::Extend { id, ttl, reply } => self.extend(id, ttl, Some(reply)),
            Command::Step { key, action, reply } => {
                let name = Name::from(key);
                let (secret, frees) = match &action {
                    LockAction::Release { secret } => (Some(secret.clone()), true),
                    LockAction::Force => (None, true),
                    _ => (None, false),
                };
                let asked = Asked::Step {
                    name: name.clone(),
                    secret,
                    frees,
                    reply,
                };
                self.ask(&name, action, asked);
            }
            #[cfg(test)]
            Command::Panic => panic!("a fault of the scheduler, made for a test"),
        }
    }

    /// The wish takes its place at the end of its line.
    pub(super) fn line_up(&mut self, waiter: Waiter) {
        let Some(pending) = self.wishes.get(&waiter) else {
            return;
        };
        let name = pending.name.clone();
        let until = pending
            .wish
            .until
            .map(|until| until.saturating_duration_since(self.origin));
        let mut full = false;
        self.with_queues(|queues, _, effects| full = queues.arrive(&name, waiter, until, effects).is_err());
        if full {
            self.conclude(waiter, Err(Error::Unavailable(Cause::new(TooMany))));
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(name, waiter) => {
                let Some(pending) = self.wishes.get(&waiter) else {
                    return;
                };
                let wish = &pending.wish;
                let (secret, ttl) = (wish.secret.clone(), wish.ttl);
                let asked = Asked::Head {
                    name: name.clone(),
                    waiter,
                    secret: secret.clone(),
                    ttl,
                    // The lease is counted from before the request is sent.
                    sent: self.now,
                    own_secret: wish.own_secret,
                };
                self.know(&name);
                self.ask(&name, LockAction::Acquire { secret, ttl }, asked);
            }
            // These are carried out where the answer is known.
            Effect::Grant(_) | Effect::Orphan(..) => {}
            Effect::Refuse(waiter) => {
                let error = self
                    .wishes
                    .get_mut(&waiter)
                    .and_then(|pending| pending.error.take());
                self.conclude(waiter, Err(error.unwrap_or(Error::LockHeld)));
            }
            Effect::Fail(waiter) => {
                let error = self
                    .wishes
                    .get_mut(&waiter)
                    .and_then(|pending| pending.error.take());
                self.conclude(waiter, Err(error.unwrap_or(Error::Closed)));
            }
            Effect::Watch(name) => self.watch(&name, Watch::Begin),
            Effect::Unwatch(name) => {
                self.forget_line(&name);
                self.watch(&name, Watch::End);
            }
        }
    }

    /// Ends a wish: its caller is told, and what it may hold is released.
    pub(super) fn conclude(&mut self, waiter: Waiter, answer: Result<LockGuard>) {
        let Some(pending) = self.wishes.remove(&waiter) else {
            return;
        };
        let uncertain = pending.uncertain && answer.is_err();
        drop(pending.sink.send(answer));
        self.release_uncertain(uncertain, pending.name, &pending.wish);
    }

    fn release_uncertain(&mut self, uncertain: bool, name: Name, wish: &Wish) {
        // A secret of the caller's own may have held the lock before: then it is not ours to release.
        if uncertain && !wish.own_secret {
            self.send_release(name, wish.secret.clone(), None, None);
        }
    }

    pub(super) fn notified(&mut self, notification: Notification) {
        match notification {
            Notification::Left(waiter) => {
                if let Some(pending) = self.wishes.remove(&waiter) {
                    self.release_uncertain(pending.uncertain, pending.name, &pending.wish);
                }
                self.leave(waiter);
            }
            Notification::Released(lease, reply) => self.release(lease, reply),
            Notification::Forgotten(lease) => drop(self.forget(lease)),
        }
    }

    pub(super) fn leave(&mut self, waiter: Waiter) {
        self.with_queues(|queues, _, effects| queues.leave(waiter, effects));
    }

    /// Takes a lease off the books.
    pub(super) fn forget(&mut self, id: u64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        if let Some(renewal) = lease.renewal {
            self.renewals.remove(&(renewal.next, id));
        }
        if let Entry::Occupied(mut holders) = self.holders.entry(lease.name.clone()) {
            let all = holders.get_mut();
            all.others.retain(|holder| *holder != id);
            if all.first == id {
                match all.others.pop() {
                    Some(other) => all.first = other,
                    None => drop(holders.remove()),
                }
            }
        }
        Some(lease)
    }

    /// Releases what a guard held.
    pub(super) fn release(&mut self, id: u64, reply: Option<oneshot::Sender<Result<Release>>>) {
        let Some(mut lease) = self.forget(id) else {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(Release::NotHeld));
            }
            return;
        };
        lease.lose();
        self.send_release(lease.name.clone(), lease.secret.clone(), Some(lease.fence), reply);
    }

    pub(super) fn send_release(
        &mut self,
        name: Name,
        secret: Secret,
        fence: Option<u64>,
        reply: Option<oneshot::Sender<Result<Release>>>,
    ) {
        let asked = Asked::Release {
            name: name.clone(),
            secret: secret.clone(),
            fence,
            reply,
            again: true,
        };
        self.ask(&name, LockAction::Release { secret }, asked);
        // The next in line asks right behind the release: one wake-up of the engine serves both. Where
        // other processes wait too, it asks when the release is made, as they do.
        if self.is_alone() {
            self.wake(&name);
        }
    }

    /// Asks for a new TTL of a lease, for its guard or for its renewal.
    pub(super) fn extend(&mut self, id: u64, ttl: Duration, reply: Option<oneshot::Sender<Result<()>>>) {
        let Some(lease) = self
            .leases
            .get_mut(&id)
            .filter(|lease| lease.deadline().is_some())
        else {
            if let Some(reply) = reply {
                let _ = reply.send(Err(Error::LockMismatch));
            }
            return;
        };
        let sent = self.now;
        // The engine may shorten the lease at any time from now on.
        lease.shorten(sent + ttl);
        lease.under_way += 1;
        let (name, secret) = (lease.name.clone(), lease.secret.clone());
        let asked = Asked::Extend {
            lease: id,
            ttl,
            sent,
            reply,
        };
        self.ask(&name, LockAction::Extend { secret, ttl }, asked);
    }

    /// Renews the leases whose time has come.
    pub(super) fn renew_due(&mut self, now: Instant) {
        while let Some((at, id)) = self.renewals.first().copied()
            && at <= now
        {
            self.renewals.pop_first();
            let Some(lease) = self.leases.get_mut(&id) else {
                continue;
            };
            let (deadline, under_way) = (lease.deadline(), lease.under_way);
            let (Some(deadline), Some(renewal)) = (deadline, &mut lease.renewal) else {
                continue;
            };
            let ttl = renewal.ttl_at(now);
            renewal.advance(now);
            let next = renewal.next;
            // One that is over, or has been held for its longest, ends with its deadline.
            let Some(ttl) = ttl.filter(|_| deadline > now) else {
                lease.renewal = None;
                continue;
            };
            self.renewals.insert((next, id));
            // A guard that was extended for longer keeps what it has.
            if under_way == 0 && deadline < now + ttl {
                self.extend(id, ttl, None);
            }
        }
    }
}
