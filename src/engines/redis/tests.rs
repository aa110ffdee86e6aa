//! What requests become on the wire, and what replies mean.

mod aged;
mod clearing;
mod grouping;
mod invalidation;
mod late;
mod lease;
mod lease_dependents;
mod lease_invalidation;
mod lease_model;
mod lease_server;
mod loader;
mod newer;

pub(super) use self::loader::RedisServer;

use std::time::Duration;

use redis::Value as Wire;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

use super::abilities::Abilities;
use super::batch::Batch;
use super::job::{Busy, Job, Task};
use super::layout::Layout;
use super::part::Part;
use super::removals::Removal;
use super::reply::{self, Outcome};
use super::script::{self, By};
use super::tally::Tally;
use super::unsent::Unsent;
use crate::error::{Cause, Error, Phase, Result};
use crate::key::{Key, KeyMaker, Namespace, Within};
use crate::request::{
    Asked, Condition, Cursor, Delete, DeleteMany, EntryRequest, Expire, Get, GetMany, Incr, Operation, Reply,
    Request, Scan, Set, SetIf, SetMany, Take, Write,
};
use crate::stats::Stats;
use crate::value::Value;

fn key(text: &str) -> Key {
    thread_local! {
        static MAKER: KeyMaker = KeyMaker::new(1000, false);
    }
    MAKER.with(|maker| maker.key(&Namespace::default(), text).unwrap())
}

fn write(name: &str, depends_on: &[&str]) -> Write {
    let depends_on = depends_on.iter().map(|name| key(name)).collect();
    Write {
        key: key(name),
        value: Value::from("v"),
        ttl: Some(Duration::from_millis(1500)),
        depends_on,
    }
}

fn job_of<O: Operation>(operation: O, reply: Reply<O::Answer>) -> Job {
    let Request::Entry(request) = operation.into_request(reply) else {
        panic!("it is sent");
    };
    Job::new(Task::Request(request), Instant::now() + Duration::from_secs(5))
}

fn delete(key: Key) -> Delete {
    let within = Within::default();
    Delete { key, within }
}

fn delete_many(keys: Vec<Key>) -> DeleteMany {
    let within = Within::default();
    DeleteMany { keys, within }
}

/// A job whose answer nobody waits for.
fn job(operation: impl Operation) -> Job {
    job_of(operation, Reply::Nobody)
}

fn asked<O: Operation>(operation: O) -> (Job, Receiver<Result<O::Answer>>) {
    let (reply, answer) = Reply::new();
    (job_of(operation, reply), answer)
}

fn get(name: &str) -> (Job, Receiver<Result<Option<Value>>>) {
    asked(Get { key: key(name) })
}

fn set(write: Write) -> Job {
    job(Set { write })
}

fn batch(jobs: Vec<Job>) -> Batch {
    // So a list is cut behind 251 keys, and never behind fewer.
    script::chosen::look_at_nothing();
    let mut batch = Batch::new(Layout::new(false));
    jobs.into_iter()
        .for_each(|job| batch.push(job, None, Instant::now()));
    batch.finish(0);
    batch
}

/// The commands of a batch, a line each, digests and random numbers left out.
fn lines(batch: &Batch) -> Vec<String> {
    let line = |command: &redis::Cmd| {
        let words = command.args_iter().filter_map(|argument| match argument {
            redis::Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
            _ => None,
        });
        let mut words: Vec<_> = words.filter(|word| word.len() != 40).collect();
        // A random number comes behind the end of a dependency set's name.
        for at in 1..words.len() {
            if words[at - 1] == "}" && words[at].parse::<u32>().is_ok() {
                words[at] = "#".to_owned();
            }
        }
        words.join(" ")
    };
    batch.pipeline.cmd_iter().map(line).collect()
}

fn bulk(text: &str) -> Wire {
    Wire::BulkString(text.as_bytes().to_vec())
}

fn server_error(line: &str) -> Wire {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
}

/// An outcome that keeps removals.
fn keeping() -> Outcome {
    Outcome {
        unsent: Unsent::kept(None),
        ..Outcome::default()
    }
}

fn settle(parts: Vec<Part>, replies: Vec<Wire>) -> (Stats, Outcome) {
    let (mut tally, mut outcome) = (Tally::default(), keeping());
    reply::settle(parts, replies, None, &mut tally, &mut outcome, None);
    (tally.stats, outcome)
}

#[test]
fn neighbouring_gets_are_one_mget_and_nothing_overtakes_them() {
    let jobs = vec![
        get("a").0,
        get("b").0,
        job(delete(key("a"))),
        get("c").0,
        set(write("s", &[])),
    ];
    assert_eq!(
        lines(&batch(jobs)),
        [
            "HDEL cachestore:leases a s",
            "RPUSHX cachestore:changed a s",
            "MGET a b",
            "DEL a",
            "GET c",
            "SET s v PX 1500"
        ]
    );
}

/// Others are served while the server reads such a pipeline.
#[test]
fn leases_are_invalidated_again_behind_a_long_pipeline() {
    let set = |length: usize| {
        let write = Write {
            value: Value::from(vec![b'v'; length]),
            ..write("s", &[])
        };
        let jobs = vec![set(write), job(delete(key("d")))];
        batch(jobs)
    };
    let [leases, noted] = ["HDEL cachestore:leases s d", "RPUSHX cachestore:changed s d"];
    let (short, long) = (set(15_000), set(17_000));
    assert_eq!(lines(&short)[..2], [leases, noted]);
    assert_eq!(lines(&short)[3..], ["DEL d"]);
    assert_eq!(lines(&long)[..2], [leases, noted]);
    assert_eq!(lines(&long)[3..], ["DEL d", leases, noted]);
    let zero = || Wire::Int(0);
    let replies = [zero(), zero(), Wire::Okay, Wire::Int(1), zero(), zero()];
    let (stats, outcome) = settle(long.parts, replies.to_vec());
    assert_eq!((stats.sets, stats.deletes), (1, 1));
    assert!(outcome.not_invalidated.is_none());
}

#[test]
fn conditions_and_dependencies_on_the_wire() {
    let set_if = |write, condition| {
        job(SetIf {
            write: Box::new(write),
            condition,
        })
    };
    let depend = "cachestore:depend:{ } # v 1500";
    let jobs = vec![
        set_if(write("a", &[]), Condition::Absent),
        set_if(write("a", &[]), Condition::Present),
        set_if(write("a", &[]), Condition::Holds(Value::from("w"))),
        set_if(write("a", &["x", "y"]), Condition::Absent),
        set(write("a", &["x"])),
        job(Expire {
            key: key("a"),
            ttl: None,
        }),
        job(Scan {
            prefix: "a*".into(),
            cursor: Cursor {
                place: 7,
                ..Cursor::default()
            },
        }),
    ];
    let wanted = [
        format!("EVALSHA 1 a {depend} NX "),
        format!("EVALSHA 1 a {depend} XX "),
        format!("EVALSHA 1 a {depend} EQ w"),
        format!("EVALSHA 1 a {depend} NX  x y"),
        "EVALSHA 1 a cachestore:depend:{ } # 1 1500 1 1 x v".to_owned(),
        "EVALSHA 1 a cachestore:depend:{ } ".to_owned(),
        r"SCAN 7 MATCH a\** COUNT 512 TYPE string".to_owned(),
    ];
    assert_eq!(lines(&batch(jobs)), wanted);
}

#[test]
fn each_caller_gets_the_value_of_its_own_key() {
    let ((a, mut of_a), (b, mut of_b), (c, mut of_c)) = (get("a"), get("b"), get("c"));
    let (stats, outcome) = settle(
        batch(vec![a, b, c]).parts,
        vec![Wire::Array(vec![bulk("1"), Wire::Nil, bulk("3")])],
    );
    assert_eq!(of_a.try_recv().unwrap().unwrap(), Some(Value::from("1")));
    assert_eq!(of_c.try_recv().unwrap().unwrap(), Some(Value::from("3")));
    assert!(
        of_b.try_recv().is_err(),
        "absent, or of another type: that is asked for"
    );
    let doubted = batch(outcome.again);
    assert_eq!(lines(&doubted), ["TYPE b"]);
    let (later, _) = settle(doubted.parts, vec![Wire::SimpleString("none".into())]);
    assert_eq!(of_b.try_recv().unwrap().unwrap(), None);
    assert_eq!((stats.hits, later.misses), (2, 1));
}

#[test]
fn absent_keys_of_a_get_many_are_checked_together_first() {
    let (many, mut answer) = asked(GetMany {
        peek: false,
        keys: vec![key("a"), key("b"), key("c")],
    });
    let found = vec![Wire::Array(vec![Wire::Nil, bulk("2"), Wire::Nil])];
    let (_, outcome) = settle(batch(vec![many]).parts, found);
    let doubted = batch(outcome.again);
    assert_eq!(lines(&doubted), ["EXISTS a c"]);
    let (_, outcome) = settle(doubted.parts, vec![Wire::Int(1)]);
    let alone = batch(outcome.again);
    assert_eq!(lines(&alone), ["TYPE a", "TYPE c"]);
    let kinds = ["none", "list"].map(|kind| Wire::SimpleString(kind.into()));
    settle(alone.parts, kinds.to_vec());
    assert!(matches!(answer.try_recv().unwrap(), Err(Error::WrongType)));
}

#[test]
fn a_forgotten_script_is_sent_whole_and_only_what_needs_it() {
    let writes = (0..130).map(|n| write(&n.to_string(), &["x"])).collect();
    let (many, mut answer) = asked(SetMany { writes });
    let written = || Wire::Array(vec![Wire::Int(1)]);
    let replies = vec![server_error("NOSCRIPT No matching script."), written()];
    let (stats, outcome) = settle(batch(vec![many]).parts, replies);
    assert_eq!(stats.sets, 2);
    assert_eq!(outcome.again.len(), 1);
    assert_eq!(outcome.again[0].by, By::Source);
    let again = batch(outcome.again);
    assert_eq!(again.pipeline.len(), 1);
    let (stats, _) = settle(again.parts, vec![written()]);
    assert_eq!(stats.sets, 128);
    answer.try_recv().unwrap().unwrap();
}

/// What says that nothing was done would be untrue.
#[test]
fn a_rest_that_is_not_written_leaves_the_outcome_of_the_call_unknown() {
    let begun = || {
        let writes = (0..130).map(|n| write(&n.to_string(), &["x"])).collect();
        let (many, answer) = asked(SetMany { writes });
        let written = Wire::Array(vec![Wire::Int(1)]);
        let replies = vec![written, server_error("NOSCRIPT No matching script.")];
        let (_, mut outcome) = settle(batch(vec![many]).parts, replies);
        (outcome.again.pop().unwrap(), answer)
    };
    let (refused, mut answer) = begun();
    settle(
        batch(vec![refused]).parts,
        vec![server_error("OOM command not allowed")],
    );
    let told = answer.try_recv().unwrap();
    assert!(matches!(told, Err(Error::OutcomeUnknown(_))), "{told:?}");

    let (late, mut answer) = begun();
    reply::fail(late.task, &Error::Timeout { phase: Phase::Queue });
    let told = answer.try_recv().unwrap();
    assert!(matches!(told, Err(Error::OutcomeUnknown(_))), "{told:?}");

    let (written, mut answer) = begun();
    settle(batch(vec![written]).parts, vec![Wire::Array(vec![Wire::Int(1)])]);
    answer.try_recv().unwrap().unwrap();
}

/// The server reads 16 KiB at once: what is longer on the wire ends with `HDEL` too.
#[test]
fn what_is_long_by_its_many_arguments_is_long() {
    for count in [100, 340, 400, 512] {
        let keys: Vec<Key> = (0..count).map(|n| key(&format!("k:{n:06}"))).collect();
        let mut writes: Vec<Write> = keys.iter().map(|key| write(key.as_str(), &[])).collect();
        for write in &mut writes {
            (write.ttl, write.value) = (None, Value::from("0123456789"));
        }
        let set = job(SetMany { writes });
        let delete = job(delete_many(keys));
        for changes in [set, delete] {
            let batch = batch(vec![changes]);
            let tells = 2 + usize::from(count > 256);
            let once: Vec<_> = batch.pipeline.cmd_iter().take(tells + 1).collect();
            let wire: usize = once
                .iter()
                .map(|command| command.get_packed_command().len())
                .sum();
            let twice = batch.pipeline.len() == 2 * tells + 1;
            assert!(twice || wire <= 16 * 1024, "{count}: {wire} bytes");
            assert!(!twice || wire > 10 * 1024, "{count}: {wire} bytes are not long");
        }
    }
}

#[test]
fn values_that_are_never_sent_again_are_not_held_until_the_answer() {
    let mut writes = [write("plain", &[]), write("dependent", &["x"])];
    writes
        .iter_mut()
        .for_each(|write| write.value = Value::from("held"));
    let jobs = writes.map(set);
    let parts = batch(Vec::from(jobs)).parts;
    let held: Vec<usize> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Other { job: Some(job), .. } => match &job.task {
                Task::Request(EntryRequest::Set(Asked { operation, .. })) => {
                    Some(operation.write.value.len())
                }
                _ => None,
            },
            Part::Sets(sets) => Some(sets.setters[0].as_ref()?.asked.operation.write.value.len()),
            _ => None,
        })
        .collect();
    assert_eq!(held, [0, 4], "a script may have to be sent again");
}

#[test]
fn a_lost_connection_hands_back_questions_and_tells_the_callers_of_changes() {
    let (question, mut not_answered) = get("a");
    let (change, mut changed) = asked(Incr {
        ttl: None,
        key: key("n"),
        by: 1,
    });
    let mut again = Vec::new();
    reply::lose(
        batch(vec![question, change]).parts,
        &Cause::new("gone"),
        &mut again,
        &mut Unsent::default(),
    );
    assert_eq!(lines(&batch(again)), ["GET a"]);
    assert!(not_answered.try_recv().is_err());
    assert!(matches!(
        changed.try_recv().unwrap(),
        Err(Error::OutcomeUnknown(_))
    ));
}

fn begin(busy: &mut Busy, job: &Job, keys: &mut Vec<u64>) {
    busy.begin(job, job.task.way(&Layout::new(false), Abilities::default()), keys);
}

fn holds(busy: &Busy, job: &Job) -> bool {
    busy.holds(job, job.task.way(&Layout::new(false), Abilities::default()))
}

#[test]
fn a_script_under_way_holds_back_its_key_and_no_other() {
    let (mut busy, mut keys) = (Busy::new(false), Vec::new());
    let dependent = || set(write("a", &["x"]));
    begin(&mut busy, &set(write("p", &[])), &mut keys);
    assert!(!holds(&busy, &get("p").0), "a plain write is never sent twice");
    begin(&mut busy, &dependent(), &mut keys);
    assert!(holds(&busy, &get("a").0));
    assert!(!holds(&busy, &get("b").0));
    assert!(
        holds(&busy, &dependent()),
        "the server may know this script and not the other"
    );
    busy.end(&keys);
    assert!(!holds(&busy, &get("a").0));
}

#[test]
fn scripts_keep_their_order_where_the_server_knows_all_or_none() {
    let (mut busy, mut keys) = (Busy::new(true), Vec::new());
    let dependent = || set(write("a", &["x"]));
    begin(&mut busy, &dependent(), &mut keys);
    assert!(!holds(&busy, &dependent()));
    busy.forgotten();
    assert!(holds(&busy, &dependent()));
}
