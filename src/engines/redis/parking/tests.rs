use tokio::sync::oneshot::Receiver;

use super::*;
use crate::engines::redis::doubt::Doubt;
use crate::engines::redis::fault::Lost;
use crate::engines::redis::gets::Getter;
use crate::engines::redis::reply::{self, Outcome, Refusals};
use crate::engines::redis::tally::Tally;
use crate::error::{Cause, Result};
use crate::key::{Key, KeyMaker, Namespace};
use crate::request::{Get, Incr, Operation, Ping, Raw, Reply, Request};
use crate::value::Value;

const PATIENCE: Duration = Duration::from_secs(5);
/// By then, everything is sent again.
const LATER: Duration = Duration::from_millis(60);

fn key(text: &str) -> Key {
    thread_local! {
        static MAKER: KeyMaker = KeyMaker::new(100, false);
    }
    MAKER.with(|maker| maker.key(&Namespace::tagged("t"), text).unwrap())
}

fn job<O: Operation>(operation: O, now: Instant) -> (Job, Receiver<Result<O::Answer>>) {
    let (reply, answer) = Reply::new();
    let Request::Entry(request) = operation.into_request(reply) else {
        panic!("it is sent");
    };
    (Job::new(Task::Request(request), now + PATIENCE), answer)
}

fn get(name: &str, now: Instant) -> (Job, Receiver<Result<Option<Value>>>) {
    job(Get { key: key(name) }, now)
}

fn incr(name: &str, now: Instant) -> (Job, Receiver<Result<i64>>) {
    let (key, by, ttl) = (key(name), 1, None);
    job(Incr { key, by, ttl }, now)
}

fn part(job: Job) -> Part {
    Part::Other {
        job: Some(job),
        replies: 1,
        fetch: None,
        left: None,
    }
}

fn error() -> Error {
    Error::Unavailable(Cause::new(Lost("it was refused".to_owned())))
}

fn node(port: u16) -> Node {
    let host = Some("h".to_owned());
    Node { host, port }
}

/// What a job does, and to which key.
fn told(job: &Job) -> String {
    let what = if job.task.is_question() { "get" } else { "incr" };
    let mut keys = String::new();
    job.task
        .keys()
        .for_each(|key| keys.push_str(key.as_str().strip_prefix("{t}:").unwrap()));
    format!("{what} {keys}")
}

fn all_told<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<String> {
    jobs.into_iter().map(told).collect()
}

#[test]
fn jobs_come_back_in_their_order_once_all_before_them_is_answered() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (first, _a) = incr("a", now);
    let (second, _b) = incr("b", now);
    parking.refuse(part(first), &Redirect::Later, &error(), 3, now);
    parking.refuse(part(second), &Redirect::Later, &error(), 3, now);
    let (third, _c) = get("a", now);
    assert!(parking.holds(&third), "its key is parked");
    parking.follow(third, now);
    let (other, _d) = get("x", now);
    assert!(!parking.holds(&other));
    let due = parking.due().unwrap();
    assert!((now + PAUSE..=now + PAUSE + SPREAD).contains(&due));
    assert!(parking.take_due(3, now).again.is_empty(), "it is too early");
    assert!(
        parking.take_due(2, now + LATER).again.is_empty(),
        "a pipeline is under way"
    );
    let jobs = parking.take_due(3, now + 2 * LATER).again;
    assert_eq!(all_told(&jobs), ["incr a", "incr b", "get a"]);
    assert!(parking.is_empty() && parking.due().is_none());
    assert!(!parking.holds(&jobs[2]));
}

/// Two pipelines are under way, and a job comes between their refusals.
#[test]
fn a_job_that_waits_comes_after_those_that_were_sent_before_it() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (first, _a) = incr("a", now);
    parking.refuse(part(first), &Redirect::Later, &error(), 2, now);
    let (waits, _c) = get("a", now);
    parking.follow(waits, now);
    let (second, _b) = incr("a", now);
    parking.refuse(part(second), &Redirect::Later, &error(), 2, now);
    let jobs = parking.take_due(2, now + LATER).again;
    assert_eq!(all_told(&jobs), ["incr a", "incr a", "get a"]);
}

/// A node that has lost the others answers what names no key, and refuses all else.
#[test]
fn only_an_answer_to_a_command_with_a_key_shows_that_a_node_has_the_others_again() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let mut settle = |job: Job, reply: &str| {
        let reply = redis::parse_redis_value(format!("{reply}\r\n").as_bytes()).unwrap();
        let refusals = Refusals {
            parking: &mut parking,
            slot: Some(7),
            sent: 1,
            now,
            is_proven: false,
        };
        let (tally, mut outcome) = (&mut Tally::default(), Outcome::default());
        reply::settle(
            vec![part(job)],
            vec![reply],
            None,
            tally,
            &mut outcome,
            Some(refusals),
        );
        parking.down_since()
    };
    assert_eq!(
        settle(get("a", now).0, "-CLUSTERDOWN The cluster is down"),
        Some(now)
    );
    let raw = |command: redis::Cmd| Raw {
        command: Box::new(command),
    };
    for (job, reply) in [
        (job(Ping {}, now).0, "+PONG"),
        (job(raw(redis::cmd("INFO")), now).0, "$-1"),
        (job(raw(redis::Cmd::get("other")), now).0, "-MOVED 8 h:1"),
        (job(raw(redis::cmd("WAIT").arg(0).arg(0).clone()), now).0, ":0"),
        (get("a", now).0, "-NOPERM no right to GET"),
    ] {
        assert_eq!(settle(job, reply), Some(now), "{reply}");
    }
    assert_eq!(settle(get("b", now).0, "$-1"), None);
}

#[test]
fn a_job_that_was_overtaken_is_not_sent_and_its_caller_is_told() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (overtaken, _a) = incr("a", now);
    let (read, _b) = get("a", now);
    let (other, _c) = incr("b", now);
    for job in [overtaken, read, other] {
        parking.refuse(part(job), &Redirect::Down, &error(), 2, now);
    }
    assert_eq!(parking.down_since(), Some(now));
    let (later, _answer) = get("a", now);
    parking.executed(&part(later));
    let unparked = parking.take_due(2, now + LATER);
    assert_eq!(
        all_told(&unparked.again),
        ["get a", "incr b"],
        "two reads have no order"
    );
    assert_eq!(all_told(&unparked.ended), ["incr a"]);
    assert!(unparked.ended[0].refused.is_some());
}

/// Redis 6.2 answers `ASK` to an `MGET` of which some keys have moved and others have not.
#[test]
fn several_reads_in_one_are_asked_of_the_same_node_once_more_each_by_itself() {
    let (mut parking, now, layout) = (
        Parking::default(),
        Instant::now(),
        Layout::of(&Namespace::tagged("t"), false),
    );
    let getter = |name: &str| {
        let (reply, answer) = Reply::new();
        let operation = Get { key: key(name) };
        let asked = crate::request::Asked { operation, reply };
        let deadline = now + PATIENCE;
        (Some(Getter { asked, deadline }), answer)
    };
    let ((moved, _a), (stays, _b), (alone, _c)) = (getter("a"), getter("b"), getter("c"));
    let ask = Redirect::Ask(node(1));
    parking.refuse(Part::Gets(vec![moved, stays]), &ask, &error(), 1, now);
    assert!(parking.take_asked(&layout, 1).is_none());
    let jobs = parking.take_due(1, now + LATER).again;
    assert_eq!(all_told(&jobs), ["get a", "get b"]);
    assert!(jobs.iter().all(|job| job.alone));
    parking.refuse(Part::Gets(vec![alone]), &ask, &error(), 1, now);
    let (_, jobs) = parking.take_asked(&layout, 1).unwrap();
    assert_eq!(all_told(jobs.iter().map(|asked| &asked.job)), ["get c"]);
}

#[test]
fn another_node_is_asked_what_no_parked_job_comes_before() {
    let (mut parking, now, layout) = (
        Parking::default(),
        Instant::now(),
        Layout::of(&Namespace::tagged("t"), false),
    );
    let asks = |port| Redirect::Ask(node(port));
    let (change, _a) = incr("a", now);
    let (held, _b) = get("a", now);
    let (free, _c) = get("b", now);
    let (elsewhere, _d) = get("c", now);
    let (scripted, _e) = incr("d", now);
    parking.refuse(part(change), &Redirect::Later, &error(), 1, now);
    for (job, port) in [(held, 1), (free, 1), (elsewhere, 2), (scripted, 1)] {
        parking.refuse(part(job), &asks(port), &error(), 1, now);
    }
    assert!(
        parking.take_asked(&layout, 0).is_none(),
        "a pipeline is under way"
    );
    let (asked, jobs) = parking.take_asked(&layout, 1).unwrap();
    assert_eq!(asked, node(1));
    assert_eq!(all_told(jobs.iter().map(|asked| &asked.job)), ["get b"]);
    let (again, _f) = get("b", now);
    assert!(parking.holds(&again), "its key is asked for");
    parking.follow(again, now);
    for refused in jobs {
        parking.refuse_again(refused, Redirect::Later, &error(), now);
    }
    let jobs = parking.take_due(1, now + LATER).again;
    assert_eq!(
        all_told(&jobs),
        ["incr a", "get a", "get b", "get c", "incr d", "get b"]
    );
}

#[test]
fn keys_are_free_once_the_other_node_has_answered() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let layout = Layout::of(&Namespace::tagged("t"), false);
    let (read, _a) = get("a", now);
    parking.refuse(part(read), &Redirect::Ask(node(1)), &error(), 0, now);
    let (_, jobs) = parking.take_asked(&layout, 0).unwrap();
    assert!(parking.is_empty() && parking.holds(&jobs[0].job));
    parking.release(&[key("a").hash()]);
    assert!(!parking.holds(&jobs[0].job));
}

#[test]
fn a_job_without_time_for_an_answer_is_not_sent() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (job, _a) = incr("a", now);
    parking.refuse(part(job), &Redirect::Later, &error(), 0, now);
    let end = now + PATIENCE;
    let unparked = parking.take_due(0, end - PAUSE / 2);
    assert!(unparked.again.is_empty());
    assert_eq!(all_told(&unparked.ended), ["incr a"]);
    assert!(matches!(unparked.ended[0].refused, Some(Error::Unavailable(_))));
    assert!(parking.is_empty() && parking.due().is_none());
    let (next, _b) = get("a", now);
    assert!(!parking.holds(&next));
}

/// Of a key that is always asked for, one job is always close to its deadline. It does not keep the others back.
#[test]
fn a_key_that_many_ask_for_is_sent_again() {
    let (mut parking, begin) = (Parking::default(), Instant::now());
    let (first, _a) = incr("a", begin);
    parking.refuse(part(first), &Redirect::Later, &error(), 0, begin);
    let mut now = begin;
    while now < begin + PATIENCE - PAUSE / 2 {
        now += Duration::from_millis(2);
        let (next, _b) = incr("a", now);
        parking.follow(next, now);
    }
    let unparked = parking.take_due(0, now);
    assert!(!unparked.again.is_empty() && !unparked.ended.is_empty());
    assert!(parking.is_empty());
}

#[test]
fn a_late_job_that_may_have_been_overtaken_stays_until_its_deadline() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (job, _a) = incr("a", now);
    parking.refuse(part(job), &Redirect::Later, &error(), 1, now);
    let end = now + PATIENCE;
    let unparked = parking.take_due(0, end - PAUSE / 2);
    assert!(unparked.again.is_empty() && unparked.ended.is_empty());
    assert_eq!(parking.take_late(end - PAUSE / 2).1, Some(end));
    let (late, next) = parking.take_late(end);
    assert_eq!((late.len(), next), (1, None));
}

#[test]
fn of_several_redirections_the_strongest_is_followed() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let moved = Redirect::Moved(node(1));
    for redirect in [Redirect::Later, moved.clone(), Redirect::Elsewhere] {
        let (job, _) = incr("a", now);
        parking.refuse(part(job), &redirect, &error(), 0, now);
    }
    assert_eq!(parking.news(), Some(moved));
    assert_eq!(parking.news(), None);
    assert_eq!(parking.take_all().again.len(), 3);
}

#[test]
fn a_job_that_waits_for_another_node_only_is_sent_later_by_itself() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let layout = Layout::of(&Namespace::tagged("t"), false);
    let (read, _a) = get("a", now);
    parking.refuse(part(read), &Redirect::Ask(node(1)), &error(), 0, now);
    let (_, jobs) = parking.take_asked(&layout, 0).unwrap();
    assert_eq!(parking.due(), None, "nothing is parked");
    let (next, _b) = incr("a", now);
    parking.follow(next, now);
    assert!(parking.due().is_some_and(|due| due <= now + LATER));
    for asked in jobs {
        parking.release(&asked.into_parts().0.keys);
    }
    assert_eq!(all_told(&parking.take_due(0, now + LATER).again), ["incr a"]);
}

/// A read of many keys that finds an absent one looks again, by a job that has no keys of its own.
#[test]
fn keys_are_held_until_the_job_that_took_the_place_is_done() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let layout = Layout::of(&Namespace::tagged("t"), false);
    let (read, _a) = get("a", now);
    parking.refuse(part(read), &Redirect::Ask(node(1)), &error(), 0, now);
    let (_, mut jobs) = parking.take_asked(&layout, 0).unwrap();
    let (held, _) = jobs.remove(0).into_parts();
    let key = key("a");
    let (reply, _answer) = Reply::new();
    let doubt = Doubt::GetMany {
        keys: vec![key.clone()],
        found: vec![None],
        reply,
    };
    let second = Job::new(Task::Doubt(Box::new(doubt)), now + PATIENCE);
    parking.refuse_again(held.with(second), Redirect::Later, &error(), now);
    let (next, _b) = get("a", now);
    assert!(parking.holds(&next), "the second look comes first");
    assert_eq!(parking.take_due(0, now + LATER).again.len(), 1);
    assert!(!parking.holds(&next));
}

/// What comes before a job of the same key that has to wait must not be sent behind it.
#[test]
fn a_job_stays_while_a_later_one_of_its_keys_has_to_stay() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (first, _a) = incr("a", now);
    let (other, _b) = incr("b", now);
    let (second, _c) = incr("a", now);
    parking.refuse(part(first), &Redirect::Later, &error(), 2, now);
    parking.refuse(part(other), &Redirect::Later, &error(), 2, now);
    parking.refuse(part(second), &Redirect::Later, &error(), 3, now);
    let jobs = parking.take_due(2, now + LATER).again;
    assert_eq!(all_told(&jobs), ["incr b"]);
    let jobs = parking.take_due(3, now + 2 * LATER).again;
    assert_eq!(all_told(&jobs), ["incr a", "incr a"]);
}

#[test]
fn a_refusal_that_no_caller_waits_for_leaves_nothing_to_do() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let abandoned = Part::Other {
        job: None,
        replies: 1,
        fetch: None,
        left: None,
    };
    parking.refuse(abandoned, &Redirect::Later, &error(), 0, now);
    assert!(parking.is_empty());
    assert_eq!(parking.due(), None);
}

#[test]
fn a_change_whose_caller_has_left_overtakes_too() {
    let (mut parking, now) = (Parking::default(), Instant::now());
    let (older, _a) = incr("a", now);
    parking.refuse(part(older), &Redirect::Later, &error(), 1, now);
    parking.executed_for_nobody(&[key("a").hash()]);
    let unparked = parking.take_due(1, now + LATER);
    assert!(unparked.again.is_empty());
    assert_eq!(all_told(&unparked.ended), ["incr a"]);
}
