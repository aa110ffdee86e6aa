//! What the scheduler does with the engine's answers.

use std::collections::hash_map::Entry;

use super::steps::SHORTEST_PAUSE;
use super::*;
use crate::lock::guard::{AtDrop, Parts};
use crate::lock::lease::Renewal;
use crate::lock::own_part;
use crate::lock::queue::Answer;

/// The longest pause before a holder who announces nothing is asked for again.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long a waiter pauses after the engine failed.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// The most that is added to a sleep, so that waiters of many processes do not ask at once.
const JITTER: Duration = Duration::from_millis(20);

impl Scheduler {
    pub(super) fn answered(&mut self, asked: Asked, answer: Result<LockAnswer>) {
        match asked {
            Asked::Head { .. } => self.head_answered(asked, answer),
            Asked::Renew { waiter, sent } => self.renew_answered(waiter, sent, answer),
            Asked::Extend {
                lease,
                ttl,
                sent,
                reply,
            } => {
                let extended = self.extend_answered(lease, sent + ttl, answer);
                if let Some(reply) = reply {
                    let _ = reply.send(extended);
                }
            }
            Asked::Release { .. } => self.release_answered(asked, answer),
            Asked::Step {
                name,
                secret,
                frees,
                reply,
            } => {
                if frees && matches!(answer, Ok(LockAnswer::Done)) {
                    self.lose_all(&name, secret.as_ref());
                    self.wake(&name);
                }
                if !frees && matches!(answer, Ok(LockAnswer::Done)) {
                    self.may_end_sooner(&name);
                }
                let _ = reply.send(answer);
            }
        }
    }

    /// A lock has a new end, and its head sleeps until the old one. Elsewhere the server tells.
    fn may_end_sooner(&mut self, name: &Name) {
        if self.is_alone() {
            self.wake(name);
        }
    }

    fn head_answered(&mut self, asked: Asked, answer: Result<LockAnswer>) {
        let Asked::Head {
            name,
            waiter,
            secret,
            ttl,
            sent,
            own_secret,
        } = asked
        else {
            return;
        };
        let now = self.elapsed;
        let alone = self.is_alone();
        let silent = self
            .watcher
            .as_ref()
            .is_some_and(|watcher| watcher.silent_holders);
        if let Ok(LockAnswer::Granted { fence, .. } | LockAnswer::Busy { fence, .. }) = &answer {
            self.saw(&name, *fence, Some(sent));
        }
        let pending = self.wishes.get_mut(&waiter);
        let verdict = match &answer {
            Ok(LockAnswer::Granted { .. }) => Answer::Granted {
                retry: now + ttl + jitter(ttl, alone),
            },
            Ok(LockAnswer::Busy { remaining, .. }) => {
                let mut sleep = *remaining + jitter(*remaining, alone);
                if let Some(pending) = pending {
                    pending.error = None;
                    pending.uncertain = false;
                    if silent {
                        sleep = sleep.min(pending.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0));
                        pending.pause = (pending.pause * 2).min(LONGEST_PAUSE);
                    }
                }
                // The engine counts in whole milliseconds: what has less left is asked for in one.
                Answer::Busy {
                    retry: now + sleep.max(Duration::from_millis(1)),
                }
            }
            other => {
                let error = match other {
                    Err(error) => error.clone(),
                    Ok(_) => Error::OutcomeUnknown(crate::lock::failed()),
                };
                let unknown = matches!(error, Error::OutcomeUnknown(_));
                let passing = unknown || error.is_retryable();
                if let Some(pending) = pending {
                    pending.uncertain |= unknown;
                    pending.error = Some(error);
                } else if unknown && !own_secret {
                    self.send_release(name.clone(), secret.clone(), None, None);
                }
                Answer::Failed {
                    retry: passing.then(|| now + AFTER_FAILURE + jitter(AFTER_FAILURE, false)),
                }
            }
        };
        if let Ok(LockAnswer::Granted { fence, renewed }) = answer {
            if self.wishes.contains_key(&waiter) {
                self.grant(waiter, fence, renewed, sent);
            } else if !(renewed && own_secret) {
                // Its caller has gone while the answer was on its way.
                self.send_release(name.clone(), secret, Some(fence), None);
            }
        }
        self.with_queues(|queues, now, effects| queues.answered(&name, verdict, now, effects));
        if !self.queues.has_line(&name) {
            self.forget_line(&name);
        }
    }

    fn renew_answered(&mut self, waiter: Waiter, sent: Instant, answer: Result<LockAnswer>) {
        if !self.wishes.contains_key(&waiter) {
            return;
        }
        match answer {
            Ok(LockAnswer::Granted { fence, renewed }) => {
                let name = self.wishes.get(&waiter).map(|pending| pending.name.clone());
                self.grant(waiter, fence, renewed, sent);
                if let Some(name) = name {
                    self.may_end_sooner(&name);
                }
            }
            Ok(_) => self.line_up(waiter),
            Err(error) => self.conclude(waiter, Err(error)),
        }
    }

    /// Makes a guard of a wish, and sends it. If nobody takes it, the lock is released.
    fn grant(&mut self, waiter: Waiter, fence: u64, renewed: bool, sent: Instant) {
        let Some(pending) = self.wishes.remove(&waiter) else {
            return;
        };
        let Pending {
            name,
            wish,
            sink,
            handle,
            ..
        } = pending;
        let deadline = sent + wish.ttl;
        match self.holders.entry(name.clone()) {
            Entry::Vacant(none) => {
                let others = Vec::new();
                none.insert(Holders {
                    first: waiter,
                    others,
                });
            }
            Entry::Occupied(mut holders) => {
                for holder in holders.get().all() {
                    // The engine has given them the new TTL too, which may be shorter.
                    if let Some(lease) = self.leases.get(holder)
                        && lease.secret == wish.secret
                    {
                        lease.shorten(deadline);
                    }
                }
                holders.get_mut().others.push(waiter);
            }
        }
        let mut lease = Lease::new(name, wish.secret.clone(), fence, self.origin, deadline);
        let key = own_part(&wish.key, wish.prefix).into();
        let guard = LockGuard::new(Parts {
            id: waiter,
            key,
            secret: wish.secret,
            fence,
            ttl: wish.ttl,
            view: lease.view(),
            handle,
            at_drop: if wish.by_secret && renewed {
                AtDrop::Forget
            } else {
                AtDrop::Release
            },
            keep: wish.keep,
        });
        if let Some(longest) = wish.renew {
            let renewal = Renewal::new(wish.ttl, sent, longest);
            self.renewals.insert((renewal.next, waiter));
            lease.renewal = Some(renewal);
        }
        self.leases.insert(waiter, lease);
        // Released here and not by the guard's drop, which calls that are in the inbox would overtake.
        if let Some(guard) = sink.send(Ok(guard)) {
            match guard.disarm() {
                Some(AtDrop::Release) => self.release(waiter, None),
                Some(AtDrop::Forget) => drop(self.forget(waiter)),
                None => {}
            }
        }
    }

    fn extend_answered(&mut self, id: u64, deadline: Instant, answer: Result<LockAnswer>) -> Result<()> {
        let Some(lease) = self.leases.get_mut(&id) else {
            return Err(Error::LockMismatch);
        };
        lease.under_way -= 1;
        match answer {
            Ok(LockAnswer::Done) => {
                // Another that is under way may shorten it: its own deadline holds already.
                if lease.under_way == 0 {
                    lease.set_deadline(deadline);
                }
                let name = lease.name.clone();
                self.may_end_sooner(&name);
                Ok(())
            }
            Ok(_) => {
                lease.lose();
                Err(Error::LockMismatch)
            }
            Err(error) => {
                self.hasten(id);
                Err(error)
            }
        }
    }

    /// A renewal failed: it is tried again soon, and still on schedule later.
    fn hasten(&mut self, id: u64) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        let Some(renewal) = &mut lease.renewal else { return };
        let soon = self.now + (renewal.ttl / 12).max(Duration::from_millis(1));
        if soon < renewal.next {
            self.renewals.remove(&(renewal.next, id));
            renewal.next = soon;
            self.renewals.insert((soon, id));
        }
    }

    fn release_answered(&mut self, asked: Asked, answer: Result<LockAnswer>) {
        let Asked::Release {
            name,
            secret,
            fence,
            reply,
            again,
        } = asked
        else {
            return;
        };
        if again && matches!(answer, Err(Error::OutcomeUnknown(_))) {
            // A release can be made twice: the secret is nobody else's.
            let asked = Asked::Release {
                name: name.clone(),
                secret: secret.clone(),
                fence,
                reply,
                again: false,
            };
            return self.ask(&name, LockAction::Release { secret }, asked);
        }
        let released = match answer {
            Ok(LockAnswer::Done) => {
                self.lose_all(&name, Some(&secret));
                // Alone, the next in line has asked already, right behind the release.
                if !(self.is_alone() && again) {
                    self.released(&name, fence);
                }
                Ok(Release::Released)
            }
            Ok(_) => Ok(Release::NotHeld),
            Err(error) => Err(error),
        };
        if let Some(reply) = reply {
            let _ = reply.send(released);
        }
    }

    /// The lock was released: the guards that shared it are told.
    fn lose_all(&mut self, name: &Name, secret: Option<&Secret>) {
        for holder in self.holders.get(name).into_iter().flat_map(Holders::all) {
            if let Some(lease) = self.leases.get_mut(holder)
                && secret.is_none_or(|secret| lease.secret == *secret)
            {
                lease.lose();
            }
        }
    }
}

/// A little at random, so that waiters of many processes do not ask at once.
fn jitter(sleep: Duration, alone: bool) -> Duration {
    if alone {
        return Duration::ZERO;
    }
    (sleep / 10).min(JITTER).mul_f64(rand::random())
}

const _: () = assert!(SHORTEST_PAUSE.as_millis() < LONGEST_PAUSE.as_millis());
