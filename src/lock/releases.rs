//! Releases that are under way, and those that are made again because the backend refused them for a passing
//! reason. Pure: what happens and `now` go in, what is to be done comes out.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::guard::Release;
use super::name::Name;
use crate::error::{Cause, Error, Phase, Result};
use crate::prehashed::Map;
use crate::request::LockAnswer;
use crate::secret::Secret;

/// The shortest and the longest pause before a release is made again. It doubles each time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a release by secret is made again. When its hold ends is not known here.
const BY_SECRET: Duration = Duration::from_secs(60);
/// The most releases by secret that are made again after their callers were answered.
const MOST_BY_SECRET: usize = 4096;

/// The caller of a release, who waits for the answer.
pub(super) enum Caller {
    OfGuard(oneshot::Sender<Result<Release>>),
    BySecret(oneshot::Sender<Result<LockAnswer>>),
}

/// One release.
pub(super) struct Releasing {
    pub(super) name: Name,
    pub(super) secret: Secret,
    /// The fencing token of the hold, if it is known.
    pub(super) token: Option<u64>,
    caller: Option<Caller>,
    /// When the caller is answered, at the latest.
    answer_by: Instant,
    by_secret: bool,
    /// When the hold ends. The release is not made again then.
    until: Instant,
    refusals: u32,
    /// The answer to an earlier try was lost. That try may have released the lock.
    is_lost: bool,
    pause: Duration,
    /// Why it was refused last.
    error: Option<Error>,
    /// When it is made again; `None` while it is under way.
    again: Option<Instant>,
}

/// What is to be done about a release that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make it again, now.
    Again,
    /// Nothing: it is made again later, or is over.
    Nothing,
}

/// All releases.
#[derive(Default)]
pub(super) struct Releases {
    all: Map<u64, Releasing>,
    numbers: u64,
    deadlines: BTreeSet<(Instant, Due)>,
    by_secret: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Again(u64),
    Caller(u64),
}

impl Caller {
    pub(super) fn answer(self, answer: Result<LockAnswer>) {
        match self {
            Caller::OfGuard(reply) => {
                let _ = reply.send(answer.map(|answer| match answer {
                    LockAnswer::Done => Release::Released,
                    _ => Release::NotHeld,
                }));
            }
            Caller::BySecret(reply) => {
                let _ = reply.send(answer);
            }
        }
    }
}

impl Releasing {
    /// A release of a hold that ends at `until`. Its caller is answered by `answer_by`.
    pub(super) fn new(name: Name, secret: Secret, token: Option<u64>, until: Instant) -> Self {
        Self {
            name,
            secret,
            token,
            caller: None,
            answer_by: until,
            by_secret: false,
            until,
            refusals: 0,
            is_lost: false,
            pause: PAUSE.0,
            error: None,
            again: None,
        }
    }

    pub(super) fn by_secret(name: Name, secret: Secret, now: Instant) -> Self {
        Self {
            by_secret: true,
            ..Self::new(name, secret, None, now + BY_SECRET)
        }
    }

    pub(super) fn told_to(self, caller: Option<Caller>, answer_by: Instant) -> Self {
        Self {
            caller,
            answer_by,
            ..self
        }
    }

    /// Answers the caller with what the backend said. A release is tried again only before its hold ends, so a lock
    /// that is not held after a lost answer was released by the try whose answer was lost.
    pub(super) fn made(&mut self, answer: LockAnswer) {
        let answer = if self.is_lost { LockAnswer::Done } else { answer };
        self.answer(Ok(answer));
    }

    /// Answers the caller, if that has not been done.
    pub(super) fn answer(&mut self, answer: Result<LockAnswer>) {
        if let Some(caller) = self.caller.take() {
            caller.answer(answer);
        }
    }
}

impl Releases {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Releasing> {
        self.all.get(&id)
    }

    /// A release is under way from now on.
    pub(super) fn begin(&mut self, release: Releasing) -> u64 {
        self.numbers += 1;
        self.by_secret += usize::from(release.by_secret);
        self.all.insert(self.numbers, release);
        self.numbers
    }

    /// A release has been made, or is not made again.
    pub(super) fn end(&mut self, id: u64) -> Option<Releasing> {
        let release = self.all.remove(&id)?;
        self.by_secret -= usize::from(release.by_secret);
        if let Some(again) = release.again {
            self.deadlines.remove(&(again, Due::Again(id)));
        }
        self.deadlines.remove(&(release.answer_by, Due::Caller(id)));
        Some(release)
    }

    /// The backend failed.
    pub(super) fn refused(&mut self, id: u64, error: Error, now: Instant) -> Next {
        let Some(release) = self.all.get_mut(&id) else {
            return Next::Nothing;
        };
        let lost = matches!(error, Error::OutcomeUnknown(_));
        if !(lost || error.is_retryable()) || release.until <= now {
            if let Some(mut release) = self.end(id) {
                release.answer(Err(error));
            }
            return Next::Nothing;
        }
        release.refusals += 1;
        release.is_lost |= lost;
        if lost && release.by_secret {
            // The caller has the secret, and may have other plans with it.
            release.answer(Err(error.clone()));
            self.deadlines.remove(&(release.answer_by, Due::Caller(id)));
            release.answer_by = now;
        }
        // A release can be made twice: the secret is nobody else's.
        if lost && release.refusals == 1 {
            return Next::Again;
        }
        release.error = Some(error);
        let again = now + release.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        release.pause = (release.pause * 2).min(PAUSE.1);
        release.again = Some(again);
        self.deadlines.insert((again, Due::Again(id)));
        if release.answer_by <= now {
            self.answer_in_time(id);
        } else if release.caller.is_some() {
            self.deadlines.insert((release.answer_by, Due::Caller(id)));
        }
        Next::Nothing
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Answers the callers whose time has come. Returns a release that is to be made again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        while let Some((at, due)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            match due {
                Due::Caller(id) => self.answer_in_time(id),
                Due::Again(id) => {
                    let Some(release) = self.all.get_mut(&id) else {
                        continue;
                    };
                    release.again = None;
                    if release.until > now {
                        return Some(id);
                    }
                    let error = release.error.take();
                    if let Some(mut release) = self.end(id) {
                        release.answer(Err(error.unwrap_or_else(timed_out)));
                    }
                }
            }
        }
        None
    }

    /// A release that was to be made now is made at a later time.
    pub(super) fn postpone(&mut self, id: u64, now: Instant) {
        if let Some(release) = self.all.get_mut(&id) {
            let again = now + release.pause;
            release.again = Some(again);
            self.deadlines.insert((again, Due::Again(id)));
        }
    }

    /// Those that wait to be made again, which are under way from now on.
    pub(super) fn all_now(&mut self) -> Vec<u64> {
        let waiting = self.all.iter_mut();
        let ids = waiting.filter_map(|(id, release)| release.again.take().map(|again| (*id, again)));
        let ids: Vec<_> = ids.collect();
        for (id, again) in &ids {
            self.deadlines.remove(&(*again, Due::Again(*id)));
        }
        ids.into_iter().map(|(id, _)| id).collect()
    }

    /// The secret takes the lock again: an older release of it is not made again.
    pub(super) fn stop(&mut self, name: &Name, secret: &Secret, now: Instant) {
        let same = |release: &Releasing| release.name == *name && release.secret == *secret;
        let ids = self.all.iter().filter(|(_, release)| same(release));
        let ids: Vec<u64> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            let Some(release) = self.all.get_mut(&id) else {
                continue;
            };
            // One that is under way ends with its answer.
            release.until = now;
            if release.again.is_some()
                && let Some(mut release) = self.end(id)
            {
                let error = release.error.take();
                release.answer(Err(error.unwrap_or_else(timed_out)));
            }
        }
    }

    /// Tells the caller that the release was refused so far, and goes on.
    fn answer_in_time(&mut self, id: u64) {
        let Some(release) = self.all.get_mut(&id) else {
            return;
        };
        if release.by_secret && self.by_secret > MOST_BY_SECRET {
            let error = release.error.take();
            if let Some(mut release) = self.end(id) {
                release.answer(Err(error.unwrap_or_else(timed_out)));
            }
            return;
        }
        let error = release.error.clone().unwrap_or_else(timed_out);
        release.answer(Err(goes_on(error)));
    }
}

fn timed_out() -> Error {
    Error::Timeout { phase: Phase::Reply }
}

/// The error of a call whose release is made again.
fn goes_on(error: Error) -> Error {
    match error {
        Error::Unavailable(cause) => Error::Unavailable(Cause::new(GoesOn(cause))),
        other => other,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}; the release is tried again in the background until the lock's time ends")]
struct GoesOn(Cause);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::name::named;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Debug, thiserror::Error)]
    #[error("MISCONF")]
    struct Misconf;

    fn unavailable() -> Error {
        Error::Unavailable(Cause::new(Misconf))
    }

    fn secret() -> Secret {
        Secret::given("s").unwrap()
    }

    fn release(until: Instant) -> Releasing {
        Releasing::new(named("k"), secret(), None, until)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_release_is_made_again_at_a_bounded_pace_until_its_hold_ends() {
        let (mut releases, mut now) = (Releases::default(), Instant::now());
        let until = now + 20 * SECOND;
        let id = releases.begin(release(until));
        let mut times = Vec::new();
        loop {
            assert_eq!(releases.refused(id, unavailable(), now), Next::Nothing);
            let Some(at) = releases.next_due() else { break };
            assert!(at > now && at <= now + PAUSE.1);
            now = at;
            match releases.due(now) {
                Some(due) => assert_eq!(due, id),
                None => break,
            }
            times.push(now);
        }
        assert!(now >= until && (20..60).contains(&times.len()), "{times:?}");
        assert!(releases.is_empty() && releases.deadlines.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_answered_in_time_and_the_release_goes_on() {
        let (mut releases, now) = (Releases::default(), Instant::now());
        let (reply, mut answer) = oneshot::channel();
        let caller = Some(Caller::OfGuard(reply));
        let id = releases.begin(release(now + 60 * SECOND).told_to(caller, now + SECOND));
        releases.refused(id, unavailable(), now);
        assert_eq!(releases.due(now + 30 * MS), Some(id));
        assert!(answer.try_recv().is_err(), "it has time left");
        releases.refused(id, unavailable(), now + 40 * MS);
        assert_eq!(releases.due(now + SECOND), Some(id), "it was due before");
        assert_eq!(releases.due(now + SECOND), None);
        let error = answer.try_recv().unwrap().unwrap_err();
        let Error::Unavailable(cause) = error else {
            panic!("{error:?}")
        };
        assert!(
            cause
                .to_string()
                .starts_with("MISCONF; the release is tried again")
        );
        assert!(!releases.is_empty());
        assert!(releases.end(id).is_some() && releases.deadlines.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_asked_for_again_at_once_and_then_at_the_pace() {
        let (mut releases, now) = (Releases::default(), Instant::now());
        let lost = || Error::OutcomeUnknown(Cause::new(Misconf));
        let id = releases.begin(release(now + SECOND));
        assert_eq!(releases.refused(id, lost(), now), Next::Again);
        assert_eq!(releases.refused(id, lost(), now), Next::Nothing);
        assert!(releases.next_due().unwrap() > now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_taken_again_stops_older_releases_of_its_secret() {
        let (mut releases, now) = (Releases::default(), Instant::now());
        let waiting = releases.begin(release(now + SECOND));
        let under_way = releases.begin(release(now + SECOND));
        releases.refused(waiting, unavailable(), now);
        releases.stop(&named("other"), &secret(), now);
        assert_eq!(releases.all.len(), 2);
        releases.stop(&named("k"), &secret(), now);
        assert!(releases.get(waiting).is_none());
        assert_eq!(releases.refused(under_way, unavailable(), now), Next::Nothing);
        assert!(releases.is_empty() && releases.deadlines.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_by_secret_leave_a_bounded_number_behind() {
        let (mut releases, now) = (Releases::default(), Instant::now());
        for _ in 0..2 * MOST_BY_SECRET {
            let release = Releasing::by_secret(named("k"), secret(), now);
            let (reply, _) = oneshot::channel();
            let id = releases.begin(release.told_to(Some(Caller::BySecret(reply)), now));
            releases.refused(id, unavailable(), now);
        }
        assert_eq!(releases.all.len(), MOST_BY_SECRET);
    }

    /// Callers who are answered at once may come again at once.
    #[tokio::test(start_paused = true)]
    async fn releases_whose_answers_are_lost_have_a_bound() {
        let (mut releases, now) = (Releases::default(), Instant::now());
        let lost = || Error::OutcomeUnknown(Cause::new(Misconf));
        for _ in 0..MOST_BY_SECRET + 100 {
            let release = Releasing::by_secret(named("k"), secret(), now);
            let id = releases.begin(release.told_to(None, now + SECOND));
            assert_eq!(releases.refused(id, lost(), now), Next::Again);
            releases.refused(id, lost(), now);
        }
        assert_eq!(releases.all.len(), MOST_BY_SECRET);
        assert_eq!(releases.deadlines.len(), MOST_BY_SECRET);
    }
}
