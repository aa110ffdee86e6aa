//! The scheduler's requests, and the effects of its queues.

use super::waiting::Question;
use super::*;
use crate::error::Cause;

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
                let mut waiting = Waiting {
                    name: name.clone(),
                    wish,
                    sink,
                    handle,
                    error: None,
                    renewing: false,
                    uncertain: false,
                    pause: super::answers::AFTER_FAILURE,
                    since: self.now,
                };
                if waiting.wish.own_secret {
                    self.releases.stop(&name, &waiting.wish.secret, self.now);
                }
                if waiting.wish.own_secret && self.queues.has_line(&name) {
                    let question = self.question(&waiting.wish);
                    let (secret, ttl) = (question.secret.clone(), question.ttl);
                    let known = self.tokens.highest(&name);
                    waiting.renewing = true;
                    self.wishes.insert(id, waiting);
                    self.may_shorten(&name, &secret, ttl);
                    let asked = Asked::Renew { waiter: id, question };
                    return self.ask(&name, LockAction::Renew { secret, ttl, known }, asked);
                }
                self.wishes.insert(id, waiting);
                self.line_up(id);
            }
            Command::Extend { id, ttl, reply } => self.extend(id, ttl, Some(reply)),
            Command::Step { key, action, reply } => {
                let name = Name::from(key);
                let frees = match action {
                    LockAction::Release { secret, .. } => return self.release_by_secret(name, secret, reply),
                    LockAction::Force => true,
                    _ => false,
                };
                if let LockAction::Extend { secret, ttl, .. } = &action {
                    self.releases.stop(&name, secret, self.now);
                    self.may_shorten(&name, secret, *ttl);
                }
                let asked = Asked::Step {
                    name: name.clone(),
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
        let Some(waiting) = self.wishes.get_mut(&waiter) else {
            return;
        };
        waiting.renewing = false;
        let name = waiting.name.clone();
        let until = waiting
            .wish
            .until
            .map(|until| until.saturating_duration_since(self.origin));
        let mut full = false;
        self.with_queues(|queues, _| full = queues.arrive(&name, waiter, until).is_err());
        if full {
            self.conclude(waiter, Err(Error::Unavailable(Cause::new(TooMany))));
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect<Grant>) {
        match effect {
            Effect::Ask(name, waiter) => {
                let Some(waiting) = self.wishes.get(&waiter) else {
                    return;
                };
                let question = self.question(&waiting.wish);
                let (secret, ttl) = (question.secret.clone(), question.ttl);
                let known = self.tokens.highest(&name);
                if question.own_secret {
                    self.may_shorten(&name, &secret, ttl);
                }
                self.know(&name);
                let asked = Asked::Head {
                    name: name.clone(),
                    waiter,
                    question,
                };
                self.ask(&name, LockAction::Acquire { secret, ttl, known }, asked);
            }
            Effect::Grant(waiter, grant) => self.grant(waiter, &grant),
            Effect::Orphan(name, grant) => {
                // A secret of the caller's own may have held the lock before: then it is not ours to release.
                let may_have_held = grant.renewed || grant.token.is_none();
                let own = grant.question.own_secret;
                if !(own && (may_have_held || self.is_renewing(&name, &grant.question.secret))) {
                    let Question {
                        secret, ttl, sent, ..
                    } = grant.question;
                    self.release_orphan(name, secret, grant.token, sent + ttl);
                }
            }
            Effect::Refuse(waiter) => self.give_up(waiter, Error::LockHeld),
            Effect::Fail(waiter) => self.give_up(waiter, Error::Closed),
            Effect::Subscribe(name) => self.subscribe(&name, Subscription::Begin),
            Effect::End { name, subscribed } => {
                self.forget_line(&name);
                if subscribed {
                    self.subscribe(&name, Subscription::End);
                }
            }
        }
    }

    /// Whether a later caller is about to be granted what this secret holds.
    fn is_renewing(&self, name: &Name, secret: &Secret) -> bool {
        let renews =
            |waiting: &Waiting| waiting.renewing && waiting.name == *name && waiting.wish.secret == *secret;
        self.wishes.values().any(renews)
    }

    fn question(&self, wish: &Wish) -> Question {
        Question {
            secret: wish.secret.clone(),
            own_secret: wish.own_secret,
            ttl: wish.ttl,
            // The hold is counted from before the request is sent.
            sent: self.now,
        }
    }

    /// Ends a wish with the backend's last error, or else with this one.
    fn give_up(&mut self, waiter: Waiter, error: Error) {
        let waiting = self.wishes.get_mut(&waiter);
        let last = waiting.and_then(|waiting| waiting.error.take());
        self.conclude(waiter, Err(last.unwrap_or(error)));
    }

    /// Ends a wish: its caller is told, and what it may hold is released.
    pub(super) fn conclude(&mut self, waiter: Waiter, answer: Result<LockGuard>) {
        let Some(waiting) = self.wishes.remove(&waiter) else {
            return;
        };
        let uncertain = waiting.uncertain && answer.is_err();
        drop(waiting.sink.send(answer));
        self.release_uncertain(uncertain, waiting.name, &waiting.wish);
    }

    fn release_uncertain(&mut self, uncertain: bool, name: Name, wish: &Wish) {
        // A secret of the caller's own may have held the lock before: then it is not ours to release.
        if uncertain && !wish.own_secret {
            self.release_orphan(name, wish.secret.clone(), None, self.now + wish.ttl);
        }
    }

    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Left(waiter) => {
                // It leaves its line first: a release wakes the line, and whoever is its head then has to have a wish.
                self.leave(waiter);
                if let Some(waiting) = self.wishes.remove(&waiter) {
                    self.release_uncertain(waiting.uncertain, waiting.name, &waiting.wish);
                }
            }
            Notice::Released(hold, reply) => self.release(hold, reply),
            Notice::Forgotten(hold) => drop(self.forget(hold)),
        }
    }

    pub(super) fn leave(&mut self, waiter: Waiter) {
        self.with_queues(|queues, _| queues.leave(waiter));
    }
}
