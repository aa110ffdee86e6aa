//! How the scheduler releases locks: for guards, for callers by secret, and for grants that nobody takes.

use super::*;
use crate::lock::releases::{Caller, Next, Releasing};

impl Scheduler {
    /// Releases what a guard held.
    pub(super) fn release(&mut self, id: u64, reply: Option<oneshot::Sender<Result<Release>>>) {
        let caller = reply.map(Caller::OfGuard);
        let Some(mut hold) = self.forget(id) else {
            if let Some(caller) = caller {
                caller.answer(Ok(LockAnswer::NotHeld));
            }
            return;
        };
        let until = hold.deadline().unwrap_or(self.now);
        let held = self.now.saturating_duration_since(hold.since);
        self.meters.lock_ended(held, until <= self.now);
        hold.lose();
        let release = Releasing::new(hold.name.clone(), hold.secret.clone(), Some(hold.token), until);
        self.begin_release(release.told_to(caller, self.now + self.ends.patience));
    }

    pub(super) fn release_by_secret(
        &mut self,
        name: Name,
        secret: Secret,
        reply: oneshot::Sender<Result<LockAnswer>>,
    ) {
        let caller = Some(Caller::BySecret(reply));
        let release = Releasing::by_secret(name, secret, self.now);
        self.begin_release(release.told_to(caller, self.now + self.ends.patience));
    }

    /// Releases what nobody holds a guard of. It ends by itself at `until`.
    pub(super) fn release_orphan(&mut self, name: Name, secret: Secret, token: Option<u64>, until: Instant) {
        self.begin_release(Releasing::new(name, secret, token, until));
    }

    fn begin_release(&mut self, release: Releasing) {
        let name = release.name.clone();
        let id = self.releases.begin(release);
        self.make_release(id);
        // The next in line asks right behind the release: one wake-up of the engine serves both. Where
        // other processes wait too, it asks when the release is made, as they do.
        if self.is_alone() {
            self.wake(&name);
        }
    }

    pub(super) fn make_release(&mut self, id: u64) {
        let Some(release) = self.releases.get(id) else {
            return;
        };
        let (name, secret, token) = (release.name.clone(), release.secret.clone(), release.token);
        self.ask(&name, LockAction::Release { secret, token }, Asked::Release(id));
    }

    pub(super) fn release_answered(&mut self, id: u64, answer: Result<LockAnswer>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if self.releases.refused(id, error, self.now) == Next::Again {
                    self.make_release(id);
                }
                return;
            }
        };
        let Some(mut release) = self.releases.end(id) else {
            return;
        };
        if answer == LockAnswer::Done {
            self.lose_all(&release.name, Some(&release.secret));
        }
        match answer {
            // Alone, the next in line has asked already, right behind the first try.
            _ if self.is_alone() && !release.was_refused() => {}
            LockAnswer::Done if !self.is_alone() => self.released(&release.name, release.token),
            // It is free, or has ended unnoticed and may be free.
            _ => self.wake(&release.name),
        }
        release.made(answer);
    }

    /// Makes the releases again whose time has come.
    pub(super) fn make_due_releases(&mut self, now: Instant) {
        while let Some(id) = self.releases.due(now) {
            // While the engine's queue has no room, what comes new goes first.
            if self.backend.is_held_up() {
                self.releases.postpone(id, now);
            } else {
                self.make_release(id);
            }
        }
    }
}
