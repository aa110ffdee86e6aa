//! Callers whose time is over, and removals that the server has not carried out.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

use super::*;
use crate::engines::redis::clearings::Clearings;
use crate::engines::redis::parking::Parking;
use crate::engines::redis::reply::Refusals;
use crate::engines::redis::tracker::Tracker;
use crate::engines::redis::walk::{self, Walk};
use crate::near::{Near, near};
use crate::request::Progress;

fn removal(names: &[&str]) -> Removal {
    let keys = names.iter().map(|name| key(name)).collect();
    Removal::Entries(keys, Within::default())
}

/// The parts of a batch of these jobs, but not the part that ends leases.
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
        let (mut again, mut removals) = (Vec::new(), Unsent::kept(None));
        reply::lose(parts, &Cause::new("gone"), &mut again, &mut removals);
        assert_eq!(removals.take(), [removal(&["a"]), removal(&["b", "c"])]);
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
    for line in [
        "READONLY You can't write",
        "NOSCRIPT No matching script.",
        "MISCONF Redis cannot write to its disk",
        "LOADING",
        "BUSY",
    ] {
        let replies = vec![server_error(line), server_error(line), Wire::Int(1)];
        let (_, mut outcome) = settle(late_parts(jobs()), replies);
        let unsent = outcome.unsent.take();
        assert_eq!(unsent, [removal(&["a"]), removal(&["b", "c"])], "{line}");
    }
}

/// A panic while replies are handed out loses the list that was handed along, and not what the link had kept before.
#[test]
fn a_list_that_is_handed_along_leaves_the_settings_behind() {
    let mut kept = Unsent::kept(None);
    kept.add(Some(removal(&["a"])));
    drop(kept.emptied());
    let mut along = kept.emptied();
    along.add(Some(removal(&["b"])));
    kept.append(along);
    kept.add(Some(removal(&["c"])));
    assert_eq!(kept.take(), [removal(&["a"]), removal(&["b"]), removal(&["c"])]);
    assert!(!Unsent::default().emptied().are_kept());
}

#[test]
fn a_late_removal_that_a_node_sends_elsewhere_can_be_replayed() {
    for line in ["MOVED 7 h:1", "ASK 7 h:1", "TRYAGAIN", "CLUSTERDOWN", "READONLY"] {
        let mut parking = Parking::default();
        let refusals = Refusals {
            parking: &mut parking,
            sent: 1,
            slot: Some(7),
            now: Instant::now(),
            is_proven: false,
        };
        let parts = late_parts(vec![job(delete(key("a"))), job(delete(key("done")))]);
        let replies = vec![server_error(line), Wire::Int(1)];
        let (mut tally, mut outcome) = (Tally::default(), keeping());
        reply::settle(parts, replies, None, &mut tally, &mut outcome, Some(refusals));
        assert_eq!(outcome.unsent.take(), [removal(&["a"])], "{line}");
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

/// Lets a removal fail.
type Fail<'a> = &'a dyn Fn(Reply<u64>, &mut Unsent);

/// A caller that looks into the near cache as soon as it is told.
struct Caller {
    near: Arc<Near>,
    key: Key,
    found: OnceLock<bool>,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        let is_near = self.near.read(&self.key, |_, _| ()).is_some();
        self.found.get_or_init(|| is_near);
    }
}

/// With queued removals, nothing that a removal covers is served once its caller has been told that it failed.
#[tokio::test(start_paused = true)]
async fn what_a_failed_removal_covers_is_not_near_when_its_caller_is_told() {
    let (now, deadline) = (Instant::now(), Instant::now() + Duration::from_secs(9));
    let fail_walk = |reply, unsent: &mut Unsent| {
        let caller = walk::Caller::new(reply, Progress::default(), deadline);
        let mut walk = Walk::invalidation(&[key("name")], caller, false);
        walk.remember(vec![key("name")], Within::default());
        let parts = batch(vec![Job::new(Task::Walk(walk), deadline)]).parts;
        reply::lose(parts, &Cause::new("gone"), &mut Vec::new(), unsent);
    };
    let fail_clearing = |reply, unsent: &mut Unsent| {
        let mut clearings = Clearings::default();
        clearings.push(
            String::new(),
            walk::Caller::new(reply, Progress::default(), deadline),
        );
        clearings.expire(deadline, unsent);
    };
    let fails: [Fail<'_>; 2] = [&fail_walk, &fail_clearing];
    for fail in fails {
        let (near, writer) = near(10_000);
        let tracker = Tracker::new(writer, Duration::from_secs(60), Arc::default());
        let connection = tracker.open();
        assert!((0..3).any(|_| connection.begin_fetch(&key("k"), now)));
        connection.proven(now);
        connection.fetched(&key("k"), Some((&Value::from("old"), None)), now);
        assert!(near.read(&key("k"), |_, _| ()).is_some());

        let (reply, mut answer) = Reply::new();
        let caller = Arc::new(Caller {
            near,
            key: key("k"),
            found: OnceLock::new(),
        });
        let waker = Waker::from(caller.clone());
        let pending = Pin::new(&mut answer).poll(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        let mut unsent = Unsent::kept(Some(tracker));
        fail(reply, &mut unsent);
        assert_eq!(caller.found.get(), Some(&false));
        assert_eq!(unsent.take().len(), 1);
    }
}
