//! Callers whose time is over, and removals that the server has not carried out.

use super::*;
use crate::engines::redis::parking::Parking;
use crate::engines::redis::reply::Refusals;

fn removal(names: &[&str]) -> Removal {
    let keys = names.iter().map(|name| key(name)).collect();
    Removal::Entries(keys, Within::default())
}

/// The parts of jobs that are sent, without those that end leases.
fn parts(jobs: Vec<Job>) -> Vec<Part> {
    let parts = batch(jobs).parts.into_iter();
    parts.filter(|part| !matches!(part, Part::Leases(_))).collect()
}

/// The same after the deadlines of all callers.
fn late_parts(jobs: Vec<Job>) -> Vec<Part> {
    let mut parts = parts(jobs);
    let now = Instant::now() + Duration::from_secs(9);
    assert_eq!(reply::expire(&mut parts, now, &mut Vec::new()), None);
    parts
}

#[test]
fn what_a_lost_or_late_removal_was_to_remove_can_be_replayed() {
    let jobs = || {
        vec![
            job(delete(key("a"))),
            job(delete_many(vec![key("b"), key("c")])),
            set(write("s", &[])),
            job(Take { key: key("t") }),
        ]
    };
    for parts in [parts(jobs()), late_parts(jobs())] {
        let (mut again, mut removals) = (Vec::new(), Vec::new());
        reply::lose(parts, &Cause::new("gone"), &mut again, &mut removals);
        assert_eq!(removals, [removal(&["a"]), removal(&["b", "c"])]);
    }
    let replay = Job {
        is_replay: true,
        ..job(delete(key("a")))
    };
    assert_eq!(reply::unsent(&replay), None, "the replay remembers it");
}

#[test]
fn a_late_removal_that_the_server_refuses_can_be_replayed() {
    let jobs = || {
        vec![
            job(delete(key("a"))),
            job(delete_many(vec![key("b"), key("c")])),
            job(delete(key("done"))),
        ]
    };
    for line in ["READONLY You can't write", "NOSCRIPT No matching script."] {
        let replies = vec![server_error(line), server_error(line), Wire::Int(1)];
        let (_, outcome) = settle(late_parts(jobs()), replies);
        assert_eq!(outcome.unsent, [removal(&["a"]), removal(&["b", "c"])], "{line}");
    }
}

#[test]
fn a_late_removal_that_a_node_sends_elsewhere_can_be_replayed() {
    for line in ["MOVED 7 h:1", "ASK 7 h:1", "TRYAGAIN", "CLUSTERDOWN", "READONLY"] {
        let mut parking = Parking::default();
        let refusals = Refusals {
            parking: &mut parking,
            sent: 1,
            slot: 7,
            now: Instant::now(),
        };
        let parts = late_parts(vec![job(delete(key("a"))), job(delete(key("done")))]);
        let replies = vec![server_error(line), Wire::Int(1)];
        let (mut tally, mut outcome) = (Tally::default(), Outcome::default());
        reply::settle(parts, replies, None, &mut tally, &mut outcome, Some(refusals));
        assert_eq!(outcome.unsent, [removal(&["a"])], "{line}");
        assert!(parking.is_empty(), "{line}");
    }
}

#[test]
fn late_callers_are_answered_and_their_places_kept() {
    let (late, mut of_late) = get("a");
    let (mut patient, mut of_patient) = get("b");
    let now = late.deadline;
    patient.deadline = now + Duration::from_secs(1);
    let mut parts = batch(vec![late, patient]).parts;
    assert_eq!(
        reply::expire(&mut parts, now, &mut Vec::new()),
        Some(now + Duration::from_secs(1))
    );
    assert!(matches!(of_late.try_recv().unwrap(), Err(Error::Timeout { .. })));
    settle(parts, vec![Wire::Array(vec![bulk("1"), bulk("2")])]);
    assert_eq!(of_patient.try_recv().unwrap().unwrap(), Some(Value::from("2")));
}
