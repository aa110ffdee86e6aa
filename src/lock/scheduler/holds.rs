//! What the scheduler does with locks that are held through guards.

use std::collections::hash_map::Entry;

use super::*;
use crate::lock::guard::{AtDrop, Parts};
use crate::lock::hold::Renewal;
use crate::lock::own_part;

impl Scheduler {
    /// Makes a guard of a wish, and sends it. If nobody takes it, the lock is released.
    pub(super) fn grant(&mut self, waiter: Waiter, grant: &Grant) {
        let Some(waiting) = self.wishes.remove(&waiter) else {
            return;
        };
        let Waiting {
            name,
            wish,
            sink,
            handle,
            since,
            ..
        } = waiting;
        self.meters
            .lock_granted(self.now.saturating_duration_since(since));
        let sent = grant.question.sent;
        // It is known: this grant was answered.
        let token = grant.token.unwrap_or_default();
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
                    match self.holds.get_mut(holder) {
                        // The engine has given them the new TTL too, which may be shorter.
                        Some(hold) if hold.secret == wish.secret => hold.shorten(deadline),
                        // The engine has lost their lock: else it would not have granted it.
                        Some(hold) => hold.lose(),
                        None => {}
                    }
                }
                holders.get_mut().others.push(waiter);
            }
        }
        let mut hold = Hold::new(name, wish.secret.clone(), token, self.origin, self.now, deadline);
        hold.own_secret = wish.own_secret;
        let key = own_part(&wish.key, wish.prefix).into();
        let guard = LockGuard::new(Parts {
            id: waiter,
            key,
            secret: wish.secret,
            token,
            ttl: wish.ttl,
            view: hold.view(),
            handle,
            at_drop: if wish.by_secret && grant.renewed {
                AtDrop::Forget
            } else {
                AtDrop::Release
            },
            keep: wish.keep,
        });
        if let Some(longest) = wish.renew {
            let renewal = Renewal::new(wish.ttl, sent, longest);
            self.renewals.insert((renewal.next, waiter));
            hold.renewal = Some(renewal);
        }
        self.holds.insert(waiter, hold);
        // Released here and not by the guard's drop, which calls that are in the inbox would overtake.
        if let Some(guard) = sink.send(Ok(guard)) {
            match guard.disarm() {
                Some(AtDrop::Release) => self.release(waiter, None),
                Some(AtDrop::Forget) => drop(self.forget(waiter)),
                None => {}
            }
        }
        // The primary before may have granted it.
        if self.checks.explain(waiter, sent) {
            self.check(waiter);
        }
    }

    pub(super) fn extend_answered(
        &mut self,
        id: u64,
        question: u64,
        sent: Instant,
        ttl: Duration,
        answer: Result<LockAnswer>,
    ) -> Result<()> {
        let deadline = sent + ttl;
        let may_be_unknown = self.checks.explain(id, sent);
        let Some(hold) = self.holds.get_mut(&id) else {
            return Err(Error::LockMismatch);
        };
        hold.under_way -= 1;
        match answer {
            Ok(LockAnswer::Done) => {
                hold.extended(question, deadline);
                let name = hold.name.clone();
                self.may_end_sooner(&name);
                // The primary before may have answered.
                if may_be_unknown {
                    self.check(id);
                }
                Ok(())
            }
            // Another primary may not know the lock yet, or may know an earlier hold of the same secret.
            Ok(LockAnswer::NotHeld | LockAnswer::Mismatch) if may_be_unknown => {
                self.check(id);
                Err(checks::unknown())
            }
            Ok(_) => {
                hold.lose();
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
        let Some(hold) = self.holds.get_mut(&id) else {
            return;
        };
        let Some(renewal) = &mut hold.renewal else { return };
        let soon = self.now + (renewal.ttl / 12).max(Duration::from_millis(1));
        if soon < renewal.next {
            self.renewals.remove(&(renewal.next, id));
            renewal.next = soon;
            self.renewals.insert((soon, id));
        }
    }

    /// The engine is asked to give all holds of a secret a new TTL.
    pub(super) fn may_shorten(&mut self, name: &Name, secret: &Secret, ttl: Duration) {
        let deadline = self.now + ttl;
        for holder in self.holders.get(name).into_iter().flat_map(Holders::all) {
            if let Some(hold) = self.holds.get_mut(holder)
                && hold.secret == *secret
            {
                hold.ask(deadline);
            }
        }
    }

    /// The lock was released: the guards that shared it are told.
    pub(super) fn lose_all(&mut self, name: &Name, secret: Option<&Secret>) {
        for holder in self.holders.get(name).into_iter().flat_map(Holders::all) {
            if let Some(hold) = self.holds.get_mut(holder)
                && secret.is_none_or(|secret| hold.secret == *secret)
            {
                hold.lose();
            }
        }
    }

    /// Takes a hold off the books.
    pub(super) fn forget(&mut self, id: u64) -> Option<Hold> {
        let hold = self.holds.remove(&id)?;
        self.checks.close(id);
        if let Some(renewal) = hold.renewal {
            self.renewals.remove(&(renewal.next, id));
        }
        if let Entry::Occupied(mut holders) = self.holders.entry(hold.name.clone()) {
            let all = holders.get_mut();
            all.others.retain(|holder| *holder != id);
            if all.first == id {
                match all.others.pop() {
                    Some(other) => all.first = other,
                    None => drop(holders.remove()),
                }
            }
        }
        Some(hold)
    }

    /// Asks for a new TTL of a hold, for its guard or for its renewal.
    pub(super) fn extend(&mut self, id: u64, ttl: Duration, reply: Option<oneshot::Sender<Result<()>>>) {
        let Some(hold) = self.holds.get_mut(&id).filter(|hold| hold.deadline().is_some()) else {
            if let Some(reply) = reply {
                let _ = reply.send(Err(Error::LockMismatch));
            }
            return;
        };
        // The new primary may not know the lock.
        if self.checks.is_open(id) {
            self.hasten(id);
            self.checks.hasten(id, self.now);
            if let Some(reply) = reply {
                let _ = reply.send(Err(checks::unknown()));
            }
            return;
        }
        let sent = self.now;
        let question = hold.ask(sent + ttl);
        hold.under_way += 1;
        let (name, secret, token) = (hold.name.clone(), hold.secret.clone(), Some(hold.token));
        let asked = Asked::Extend {
            hold: id,
            question,
            ttl,
            sent,
            reply,
        };
        self.ask(&name, LockAction::Extend { secret, ttl, token }, asked);
    }

    /// Renews the holds whose time has come.
    pub(super) fn renew_due(&mut self, now: Instant) {
        while let Some((at, id)) = self.renewals.first().copied()
            && at <= now
        {
            self.renewals.pop_first();
            let Some(hold) = self.holds.get_mut(&id) else {
                continue;
            };
            let (deadline, under_way) = (hold.deadline(), hold.under_way);
            let (Some(deadline), Some(renewal)) = (deadline, &mut hold.renewal) else {
                continue;
            };
            let ttl = renewal.ttl_at(now);
            renewal.advance(now);
            let next = renewal.next;
            // One that is over, or has been held for its longest, ends with its deadline.
            let Some(ttl) = ttl.filter(|_| deadline > now) else {
                hold.renewal = None;
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
