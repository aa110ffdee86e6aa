//! Releases that are refused, in paused time.

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
        assert!(at > now && at <= now + LONGEST);
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

/// The try whose answer was lost has released the lock, if the next try does not find it held.
#[tokio::test(start_paused = true)]
async fn a_release_with_a_lost_answer_is_not_reported_as_not_held() {
    for (is_lost, expected) in [(true, Release::Released), (false, Release::NotHeld)] {
        let (mut releases, now) = (Releases::default(), Instant::now());
        let (reply, mut answer) = oneshot::channel();
        let caller = Some(Caller::OfGuard(reply));
        let id = releases.begin(release(now + SECOND).told_to(caller, now + SECOND));
        if is_lost {
            let lost = Error::OutcomeUnknown(Cause::new(Misconf));
            assert_eq!(releases.refused(id, lost, now), Next::Again);
        }
        releases.end(id).unwrap().made(LockAnswer::NotHeld);
        assert_eq!(answer.try_recv().unwrap().unwrap(), expected);
    }
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
