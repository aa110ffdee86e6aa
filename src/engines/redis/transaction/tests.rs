use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

use super::*;
use crate::engines::redis::abilities::Abilities;
use crate::engines::redis::batch::Batch;
use crate::engines::redis::cluster::slot_of;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::parking::Parking;
use crate::engines::redis::reply::{self, Outcome, Refusals};
use crate::engines::redis::script;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::tracker::Tracker;
use crate::error::{Error, Result};
use crate::key::{Key, KeyMaker, Namespace, Within};
use crate::near::near;
use crate::request::{
    Delete, Get, GetOrLease, Incr, LeaseTerms, Names, Operation, Reply, Request, Set, SetMany, Take, Token,
    Write,
};
use crate::value::Value;

fn key(text: &str) -> Key {
    thread_local! {
        static MAKER: KeyMaker = KeyMaker::new(100, false);
    }
    MAKER.with(|maker| maker.key(&Namespace::tagged("t"), text).unwrap())
}

fn job<O: Operation>(operation: O) -> (Job, Receiver<Result<O::Answer>>) {
    let (reply, answer) = Reply::new();
    let Request::Entry(request) = operation.into_request(reply) else {
        panic!("it is sent");
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    (Job::new(Task::Request(request), deadline), answer)
}

fn incr(name: &str) -> (Job, Receiver<Result<i64>>) {
    let (key, by, ttl) = (key(name), 1, None);
    job(Incr { key, by, ttl })
}

fn set(name: &str, names: &[&str]) -> (Job, Receiver<Result<()>>) {
    let write = Write {
        key: key(name),
        value: Value::from("v"),
        ttl: None,
        depends_on: names.iter().map(|name| key(name)).collect(),
    };
    job(Set { write })
}

fn delete(name: &str) -> (Job, Receiver<Result<bool>>) {
    let (key, within) = (key(name), Within::default());
    job(Delete { key, within })
}

fn batch(jobs: Vec<Job>) -> Batch {
    // So no list is cut.
    script::chosen::look_at_nothing();
    let layout = Layout::of(&Namespace::tagged("t"), false);
    let mut batch = Batch::new(layout).to(Abilities {
        transacts: true,
        ..Abilities::default()
    });
    jobs.into_iter()
        .for_each(|job| batch.push(job, None, Instant::now()));
    batch.finish(0);
    batch
}

/// The commands of a batch, a line each. Of a script's, only the name.
fn lines(batch: &Batch) -> Vec<String> {
    let line = |command: &Cmd| {
        let words = command.args_iter().map(|argument| match argument {
            redis::Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => "?".to_owned(),
        });
        let words: Vec<_> = words.collect();
        let count = if words[0] == "EVALSHA" { 1 } else { words.len() };
        words[..count].join(" ")
    };
    batch.pipeline.cmd_iter().map(line).collect()
}

fn line(text: &str) -> Wire {
    redis::parse_redis_value(format!("{text}\r\n").as_bytes()).unwrap()
}

/// Hands out the replies. Returns what is parked, and what the engine learns.
fn settle(batch: Batch, replies: Vec<Wire>) -> (Parking, Outcome) {
    let (mut parking, mut outcome) = (Parking::default(), Outcome::default());
    let refusals = Refusals {
        parking: &mut parking,
        slot: Some(slot_of(b"t")),
        sent: 1,
        now: Instant::now(),
        is_proven: false,
    };
    let tally = &mut Tally::default();
    reply::settle(batch.parts, replies, None, tally, &mut outcome, Some(refusals));
    (parking, outcome)
}

/// The replies to a transaction of two changes, as the server queues them, and to its end.
fn queued(end: Wire) -> Vec<Wire> {
    let queued = || line("+QUEUED");
    vec![line("+OK"), queued(), queued(), queued(), queued(), end]
}

#[test]
fn neighbouring_changes_are_one_transaction_that_ends_their_leases() {
    let (get, _got) = job(Get { key: key("a") });
    let jobs = vec![
        set("a", &[]).0,
        incr("n").0,
        get,
        delete("a").0,
        set("d", &["x"]).0,
        incr("n").0,
    ];
    assert_eq!(
        lines(&batch(jobs)),
        [
            "MULTI",
            "HDEL {t}:cachestore:leases {t}:a {t}:n",
            "RPUSHX {t}:cachestore:changed {t}:a {t}:n",
            "SET {t}:a v",
            "INCRBY {t}:n 1",
            "EXEC",
            "GET {t}:a",
            "MULTI",
            "HDEL {t}:cachestore:leases {t}:a",
            "RPUSHX {t}:cachestore:changed {t}:a",
            "DEL {t}:a",
            "EXEC",
            "EVALSHA",
            "MULTI",
            "HDEL {t}:cachestore:leases {t}:n",
            "RPUSHX {t}:cachestore:changed {t}:n",
            "INCRBY {t}:n 1",
            "EXEC",
        ]
    );
}

#[test]
fn a_transaction_ends_before_it_holds_the_server_for_long() {
    let jobs = (0..=TIED).map(|n| incr(&format!("n{n}")).0).collect();
    let lines = lines(&batch(jobs));
    assert_eq!(lines.iter().filter(|line| *line == "EXEC").count(), 2);
}

/// They are scripts in parts, or their values would be one reply.
#[test]
fn what_is_large_or_answers_a_value_is_in_no_transaction() {
    let writes = |count: usize, value: &str| SetMany {
        writes: (0..count)
            .map(|n| Write {
                key: key(&format!("k{n}")),
                value: Value::from(value),
                ttl: Some(Duration::from_secs(9)),
                depends_on: Names::default(),
            })
            .collect(),
    };
    let begins = |job: Job| lines(&batch(vec![job])).contains(&"MULTI".to_owned());
    assert!(begins(job(writes(TIED, "v")).0));
    assert!(!begins(job(writes(TIED + 1, "v")).0));
    assert!(!begins(job(writes(2, &"v".repeat(MERGED / 2))).0));
    assert!(!begins(job(Take { key: key("k") }).0));
}

/// A read that makes its key near is refused by the reply after that of `CLIENT CACHING`.
#[test]
fn a_refused_read_for_the_near_cache_is_parked() {
    let (_near, writer) = near(10_000);
    let connection = Tracker::new(writer, Duration::from_secs(1), Arc::default()).open();
    let terms = Box::new(LeaseTerms {
        token: Token::new(1, 2),
        names: Names::default(),
        ttl: Duration::from_secs(1),
        late_names: false,
    });
    let (read, mut got) = job(GetOrLease { key: key("k"), terms });
    assert!(
        !connection.begin_fetch(&key("k"), Instant::now()),
        "it was read once"
    );
    let mut batch = batch(Vec::new());
    batch.push(read, Some(&connection), Instant::now());
    batch.finish(0);
    assert_eq!(lines(&batch), ["CLIENT CACHING YES", "EVALSHA"]);
    let (parking, _) = settle(batch, vec![line("+OK"), own_slot(line("-MOVED 1 h:7000"))]);
    assert_eq!(parking.len(), 1);
    assert!(got.try_recv().is_err(), "it waits");
}

#[test]
fn each_caller_gets_its_own_answer() {
    let wrong = line("-WRONGTYPE it is a list");
    let done = vec![Wire::Int(0), Wire::Int(0), Wire::Int(7), wrong];
    let unfolded = [vec![Wire::Okay], done.clone(), vec![Wire::Okay]].concat();
    for replies in [queued(Wire::Array(done)), unfolded] {
        let ((a, mut of_a), (b, mut of_b)) = (incr("a"), incr("b"));
        let (parking, outcome) = settle(batch(vec![a, b]), replies);
        assert_eq!(of_a.try_recv().unwrap().unwrap(), 7);
        assert!(matches!(of_b.try_recv().unwrap(), Err(Error::WrongType)));
        assert!(parking.is_empty() && outcome.no_transaction.is_none() && outcome.not_invalidated.is_none());
    }
}

#[test]
fn a_refused_transaction_is_sent_again_whole() {
    let aborted = || line("-EXECABORT Transaction discarded because of previous errors.");
    let mut moved = queued(aborted());
    moved[3] = line("-MOVED 1 h:7000");
    let mut full = queued(aborted());
    full[2] = line("-OOM command not allowed");
    let torn = queued(line("-TRYAGAIN Multiple keys request during rehashing of slot"));
    let mut forbidden = queued(aborted());
    forbidden[3] = line("-NOPERM User app has no permissions to access one of the keys");
    let replica =
        "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.";
    let full_by_now = "-EXECABORT Transaction discarded because of: OOM command not allowed";
    for (replies, for_another_reason) in [
        (torn, false),
        (moved, false),
        (queued(line(replica)), false),
        (full, true),
        (queued(line(full_by_now)), true),
        (forbidden, true),
        (queued(Wire::Nil), true),
    ] {
        let shown = format!("{replies:?}");
        let ((a, mut of_a), (b, mut of_b)) = (incr("a"), set("b", &[]));
        let replies = replies.into_iter().map(own_slot).collect();
        let (parking, outcome) = settle(batch(vec![a, b]), replies);
        assert!(of_a.try_recv().is_err() && of_b.try_recv().is_err(), "{shown}");
        assert_eq!(parking.len(), 2, "{shown}");
        let for_now = matches!(outcome.no_transaction, Some(Refused::ForNow));
        assert_eq!(for_now, for_another_reason, "{shown}");
        assert!(outcome.again.is_empty() && outcome.not_invalidated.is_none());
    }
}

/// A redirection names the slot of the store.
fn own_slot(reply: Wire) -> Wire {
    match &reply {
        Wire::ServerError(error) if error.code() == "MOVED" => {
            line(&format!("-MOVED {} h:7000", slot_of(b"t")))
        }
        _ => reply,
    }
}

#[test]
fn without_a_transaction_each_command_was_carried_out_by_itself() {
    let (a, mut of_a) = incr("a");
    let noperm = line("-NOPERM User app has no permissions to run the 'multi' command");
    let end = line("-ERR EXEC without MULTI");
    let replies = vec![noperm, Wire::Int(0), Wire::Int(0), Wire::Int(3), end];
    let (parking, outcome) = settle(batch(vec![a]), replies);
    assert_eq!(of_a.try_recv().unwrap().unwrap(), 3);
    assert!(parking.is_empty());
    let refused = outcome.no_transaction;
    assert!(
        matches!(refused, Some(Refused::ForGood(Error::Unauthorized))),
        "{refused:?}"
    );
}

/// It is told neither as done nor as not done, and is not sent again.
#[test]
fn a_transaction_that_is_ended_without_its_replies_is_of_unknown_outcome() {
    for end in [Wire::Array(vec![Wire::Okay]), Wire::Int(1), line("+OK")] {
        let shown = format!("{end:?}");
        let ((a, mut of_a), (b, mut of_b)) = (incr("a"), delete("b"));
        let (parking, outcome) = settle(batch(vec![a, b]), queued(end));
        assert!(
            matches!(of_a.try_recv().unwrap(), Err(Error::OutcomeUnknown(_))),
            "{shown}"
        );
        assert!(
            matches!(of_b.try_recv().unwrap(), Err(Error::OutcomeUnknown(_))),
            "{shown}"
        );
        assert!(parking.is_empty() && outcome.again.is_empty(), "{shown}");
    }
}

#[test]
fn a_user_who_may_not_end_a_transaction_begins_no_other() {
    let lost = "-EXECABORT Transaction discarded because of: NOPERM User app has no permissions to run the 'exec' command";
    let (parking, outcome) = settle(batch(vec![incr("a").0, set("b", &[]).0]), queued(line(lost)));
    assert_eq!(parking.len(), 2, "nothing was carried out");
    let refused = outcome.no_transaction;
    assert!(
        matches!(refused, Some(Refused::ForGood(Error::Unauthorized))),
        "{refused:?}"
    );
}

/// The change keeps its place in the order. If no time is left, its caller is told the server's reason as that of a failure for
/// now: the reason may be another change's.
#[test]
fn a_refused_change_keeps_the_reason() {
    let full = line("-EXECABORT Transaction discarded because of: OOM command not allowed");
    let mut forbidden = queued(line(
        "-EXECABORT Transaction discarded because of previous errors.",
    ));
    forbidden[4] = line("-NOPERM User app has no permissions to access one of the keys");
    let mut again = Vec::new();
    for (replies, reason) in [(forbidden, "NOPERM"), (queued(full), "OOM")] {
        let ((a, _of_a), (b, _of_b)) = (incr("a"), set("b", &[]));
        let (mut parking, _) = settle(batch(vec![a, b]), replies);
        assert!(
            parking.news() == Some(Redirect::Later),
            "it is sent to the same server"
        );
        again = parking.take_all().again;
        assert_eq!(again.len(), 2);
        for job in &again {
            let error = format!("{:?}", job.refused);
            assert!(
                matches!(job.refused, Some(Error::Unavailable(_))) && error.contains(reason),
                "{error}"
            );
        }
    }
    // Where no transaction is begun any more, they are scripts.
    let layout = Layout::of(&Namespace::tagged("t"), false);
    let mut apart = Batch::new(layout);
    again
        .into_iter()
        .for_each(|job| apart.push(job, None, Instant::now()));
    apart.finish(0);
    assert_eq!(lines(&apart), ["EVALSHA", "EVALSHA"]);
}

#[test]
fn a_server_that_is_a_replica_by_now_is_left() {
    let replica =
        "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.";
    let (mut parking, _) = settle(batch(vec![incr("a").0, set("b", &[]).0]), queued(line(replica)));
    assert_eq!(parking.news(), Some(Redirect::Elsewhere));
}
