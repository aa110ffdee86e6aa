//! The scripts on a server, against the model.

use std::time::Duration;

use compact_str::CompactString;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::manner::Manner;
use super::model::Slot;
use crate::engines::redis::script::By;
use crate::engines::redis::spread::protocol::answer::{Answer, PutAnswer};
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::seen::Seen;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::{
    Act, Condition, Cover, Epoch, Given, Member, Proof, Put, Step, Tie, Watch, Watcher,
};
use crate::engines::redis::tests::RedisServer;
use crate::value::Value;

/// So few keys, stamps and values that steps meet. All keys are in one slot.
const KEYS: [&str; 3] = ["{s}a", "{s}b", "{s}{c}"];
const STAMPS: u32 = 4;

fn key() -> impl Strategy<Value = CompactString> {
    proptest::sample::select(&KEYS[..]).prop_map(CompactString::from)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (0..STAMPS).prop_map(|number| Stamp::new(0xabc, u64::from(number)))
}

/// In seconds, so that nothing ends meanwhile.
fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        Just(Life::Ever),
        (1..5u64).prop_map(|times| Life::Millis(times * 100_000))
    ]
}

fn value() -> impl Strategy<Value = Value> {
    proptest::sample::select(&["1", "2"][..]).prop_map(Value::from)
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        4 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        1 => value().prop_map(Condition::Holds),
        1 => Just(Condition::Swap),
        3 => stamp().prop_map(Condition::Leased),
        2 => stamp().prop_map(Condition::Kept),
    ]
}

/// How long ago something was seen, in seconds.
fn ago() -> impl Strategy<Value = u64> {
    // No sum of these and of lives is zero: the server's clock goes on between two steps.
    proptest::sample::select(&[50, 150, 350][..])
}

fn tie() -> impl Strategy<Value = Tie> {
    let proof =
        prop_oneof![2 => Just(Proof::Slot), 1 => stamp().prop_map(Proof::Intent), 1 => Just(Proof::Lease)];
    let names = proptest::collection::vec(key(), 1..3);
    (names, proof, stamp(), ago(), life(), stamp()).prop_map(|(names, proof, seen, at, life, record)| Tie {
        names,
        proof,
        seen: Seen {
            stamp: seen,
            at,
            learned: super::world::origin(),
            epoch: Epoch(0),
        },
        life,
        record,
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Delete),
        Just(Act::Take),
        value().prop_map(Act::DeleteIf),
        life().prop_map(|ttl| Act::Incr { by: 3, ttl }),
    ]
}

fn given() -> impl Strategy<Value = Given> {
    proptest::sample::select(&[Given::Nothing, Given::Free, Given::Tied][..])
}

fn cover() -> impl Strategy<Value = Cover> {
    (stamp(), ago(), life()).prop_map(|(record, at, life)| Cover {
        record,
        at,
        life,
        epoch: Epoch(0),
    })
}

/// Times are so many seconds ago; see [`dated`].
fn step() -> impl Strategy<Value = Step> {
    let watch = proptest::option::of((stamp(), life()).prop_map(|(lease, life)| Watch { lease, life }));
    let members = proptest::collection::vec(
        (key(), stamp()).prop_map(|(key, stamp)| Member { key, stamp }),
        1..3,
    );
    let read = proptest::collection::vec(key(), 0..3);
    let put = (
        key(),
        value(),
        life(),
        condition(),
        proptest::option::weighted(0.8, tie()),
    );
    prop_oneof![
        2 => (key(), stamp(), proptest::option::of(stamp()))
            .prop_map(|(key, fresh, intent)| Step::Look { key, fresh, intent }),
        4 => (key(), key(), stamp(), life(), watch)
            .prop_map(|(name, member, stamp, life, watch)| Step::Register { name, member, stamp, life, watch }),
        2 => (key(), cover()).prop_map(|(name, cover)| Step::Cover { name, cover }),
        6 => put.prop_map(|(key, value, ttl, condition, tie)| {
            Step::Put(Box::new(Put {
                key,
                value,
                ttl,
                condition,
                bound: None,
                tie,
            }))
        }),
        3 => (key(), life(), proptest::option::of(cover()), any::<bool>())
            .prop_map(|(key, ttl, cover, reads)| Step::Touch { key, ttl, cover, reads }),
        2 => (key(), act()).prop_map(|(key, change)| Step::Change { key, change }),
        1 => (key(), stamp()).prop_map(|(key, lease)| Step::Cancel { key, lease }),
        3 => (key(), stamp(), (1..5u64), read, stamp(), any::<(bool, bool)>())
            .prop_map(|(key, lease, life, names, fresh, (reads, keeps_names))| {
                let (wanted, life) = (0, Life::Millis(life * 100_000));
                Step::Take { key, lease, life, names, fresh, reads, wanted, keeps_names }
            }),
        2 => (key(), stamp(), given()).prop_map(|(key, lease, given)| Step::End { key, lease, given }),
        1 => (key(), stamp(), proptest::option::of(Just(Life::Millis(100_000)))).prop_map(|(prefix, mark, life)| {
            // A prefix of all keys, or of one.
            Step::Mark { place: "{s}".into(), prefix, mark, life }
        }),
        1 => (key(), key(), stamp())
            .prop_map(|(name, member, lease)| Step::Unwatch { name, member, lease }),
        2 => (key(), stamp()).prop_map(|(key, stamp)| Step::Kill { key, stamp }),
        1 => key().prop_map(|name| Step::Scan { name, cursor: 0, epoch: None }),
        2 => (key(), members)
            .prop_map(|(name, members)| Step::Forget { name, members, epoch: Epoch(0) }),
    ]
}

/// Puts times in place of how long ago they were.
fn dated(mut step: Step, now: u64) -> Step {
    let date = |ago: &mut u64| *ago = now - 1000 * *ago;
    match &mut step {
        Step::Cover { cover, .. }
        | Step::Touch {
            cover: Some(cover), ..
        } => date(&mut cover.at),
        Step::Put(put) => {
            // The proof of a loaded value is its lease.
            if let Some(tie) = &mut put.tie {
                match put.condition.lease() {
                    Some(_) => tie.proof = Proof::Lease,
                    None if tie.proof == Proof::Lease => tie.proof = Proof::Slot,
                    None => {}
                }
            }
            if let Some(tie) = &mut put.tie {
                date(&mut tie.seen.at);
            }
        }
        _ => {}
    }
    step
}

/// The server's time.
fn now(connection: &mut redis::Connection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(connection).unwrap();
    1000 * seconds + micros / 1000
}

/// An answer without what may differ between the model and a server: times that have gone on meanwhile, and the order of
/// members.
fn rounded(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Looked(sight) => sight.at = 0,
        Answer::Put { put, sight } => {
            if let Some(sight) = sight {
                sight.at = 0;
            }
            match put {
                PutAnswer::Short(Life::Millis(millis)) => *millis = rough(*millis),
                PutAnswer::Unmet { watchers } | PutAnswer::Written { watchers, .. } => sort(watchers),
                _ => {}
            }
        }
        Answer::Held { left, .. } => *left = rough(*left),
        Answer::Found(present) => present.left = present.left.signum(),
        Answer::Taken { present, sight, .. } => {
            sight.at = 0;
            if let Some(present) = present {
                present.left = present.left.signum();
            }
        }
        Answer::Changed { watchers, .. } | Answer::Ended { watchers } => sort(watchers),
        Answer::Registered { above: Some(above) } | Answer::Short { above, .. } => above.at = 0,
        Answer::Page { members, .. } => members.sort_by(|one, other| one.key.cmp(&other.key)),
        _ => {}
    }
    answer
}

/// All lives are far more than this apart.
fn rough(millis: u64) -> u64 {
    (millis + 25_000) / 50_000
}

fn sort(watchers: &mut [Watcher]) {
    watchers.sort_by(|one, other| one.key.cmp(&other.key));
}

fn agree(connection: &mut redis::Connection, steps: &[Step]) {
    redis::cmd("FLUSHALL").exec(connection).unwrap();
    let manner = Manner {
        shortcut: None,
        page: 250,
        backwards: false,
    };
    let mut slot = Slot::default();
    let reads = KEYS.into_iter().map(|key| Step::Touch {
        key: key.into(),
        ttl: Life::Ever,
        cover: None,
        reads: true,
    });
    for step in steps.iter().cloned().chain(reads) {
        let now = now(connection);
        let step = dated(step, now);
        let reply = step.encode(By::Source).query(connection).unwrap();
        let answer = step.decode(reply).unwrap();
        let expected = slot.carry_out(&step, now, manner);
        slot.expire(now);
        assert_eq!(rounded(answer), rounded(expected), "{step:?}");
    }
}

#[test]
fn a_server_answers_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // A node of a cluster refuses what is not in one slot.
    let server = runtime.block_on(RedisServer::options().node().start());
    let done = server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    assert_eq!(done.text(), "OK");
    runtime.block_on(async {
        while !server
            .command(&["CLUSTER", "INFO"])
            .text()
            .contains("cluster_state:ok")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let client = redis::Client::open(server.url()).unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = proptest::collection::vec(step(), 1..60);
    let held = runner.run(&steps, |steps| {
        agree(&mut client.get_connection().unwrap(), &steps);
        Ok(())
    });
    held.unwrap();
}
