//! Small cases, each explored whole.

use std::time::Duration;

use compact_str::CompactString;

use super::actor::User;
use super::case::{Case, Failover, Plant};
use super::explorer::explore;
use super::manner::Shortcut;
use crate::engines::redis::spread::protocol::change::Change;
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::Stamps;
use crate::engines::redis::spread::protocol::step::{Act, Condition};
use crate::engines::redis::spread::protocol::touch::Touch;
use crate::engines::redis::spread::protocol::write::{Content, Write};
use crate::value::Value;

fn text(key: &str) -> CompactString {
    CompactString::from(key)
}

/// The `seed` tells actors apart.
fn stamps(seed: u64) -> Stamps {
    Stamps::new(seed)
}

fn write_for(seed: u64, key: &str, names: &[&str], ttl: Life) -> User {
    let content = Content {
        key: text(key),
        value: Value::from(format!("v{seed}")),
        ttl,
        condition: Condition::Always,
        names: names.iter().map(|name| text(name)).collect(),
    };
    User::Write(Write::new(content, None, stamps(seed)))
}

pub(super) fn write(seed: u64, key: &str, names: &[&str]) -> User {
    write_for(seed, key, names, Life::Ever)
}

pub(super) fn invalidation(seed: u64, root: &str) -> User {
    User::Invalidation(Invalidation::new(vec![text(root)], stamps(seed)), text(root))
}

fn touch(seed: u64, key: &str, ttl: Life) -> User {
    User::Touch(Touch::new(text(key), ttl, false, stamps(seed)))
}

pub(super) fn delete(key: &str) -> User {
    User::Change(Change::new(text(key), Act::Delete))
}

pub(super) fn case(actors: Vec<User>) -> Case {
    Case {
        slots: vec![(vec!["n"], 0), (vec!["p"], 1), (vec!["q"], 2)],
        actors,
        ended: 0,
        most: 100_000,
        roots: vec!["n", "p"],
        failovers: Vec::new(),
        tick: Duration::from_secs(200),
        ticks: 0,
        resent: 0,
        page: 2,
        shortcut: None,
        plant: None,
    }
}

pub(super) fn holds(name: &str, case: &Case) {
    let found = explore(case);
    eprintln!("{name}: {} states", found.states);
    if let Some((wrong, path)) = found.wrong {
        panic!("{name}: {wrong} after\n{}", path.join("\n"));
    }
}

#[track_caller]
pub(super) fn is_found(name: &str, case: &Case) {
    let found = explore(case);
    eprintln!("{name}: found after {} states", found.states);
    assert!(
        found.wrong.is_some(),
        "{name}: the shortcut is not found in {} states",
        found.states
    );
}

/// Explores a case with a server's shortcut, and one with a client's.
pub(super) fn with_shortcut(shortcut: Shortcut, case: Case) {
    let shortcut = Some(shortcut);
    is_found(&format!("{shortcut:?}"), &Case { shortcut, ..case });
}

pub(super) fn with_plant(plant: Plant, case: Case) {
    let plant = Some(plant);
    is_found(&format!("{plant:?}"), &Case { plant, ..case });
}

fn seconds(seconds: u64) -> Life {
    Life::Millis(1000 * seconds)
}

fn chain() -> Case {
    case(vec![
        write(1, "p", &["n"]),
        write(2, "q", &["p"]),
        invalidation(3, "n"),
        invalidation(4, "n"),
    ])
}

#[test]
fn a_chain_under_two_invalidations() {
    holds("chain", &chain());
    with_shortcut(Shortcut::PutWithoutCheck, chain());
    with_shortcut(Shortcut::ForgetWithoutStamp, chain());
    with_shortcut(Shortcut::CountedStamps, chain());
    with_plant(Plant::WriteThenRegister, chain());
    with_plant(Plant::ForgetBeforeSubtree, chain());
}

/// A key that two names lead to.
fn diamond() -> Case {
    case(vec![
        write(1, "p", &["n"]),
        write(2, "q", &["p", "n"]),
        write(3, "q", &["p", "n"]),
        invalidation(4, "n"),
    ])
}

#[test]
fn a_key_under_two_names() {
    with_plant(Plant::KillOnce, diamond());
    let mut smaller = diamond();
    smaller.actors.remove(0);
    holds("diamond", &smaller);
}

fn ring() -> Case {
    let mut case = case(vec![
        write(1, "p", &["n"]),
        write(2, "n", &["p"]),
        invalidation(3, "n"),
    ]);
    case.page = 1;
    case
}

#[test]
fn a_ring() {
    holds("ring", &ring());
}

#[test]
fn keys_that_share_a_slot() {
    let slots = vec![(vec!["n", "p", "q"], 0)];
    let mut smaller = chain();
    smaller.actors.pop();
    holds("one slot", &Case { slots, ..smaller });
}

fn resent() -> Case {
    Case {
        resent: 1,
        ..case(vec![
            write(1, "p", &["n"]),
            write(2, "q", &["p"]),
            invalidation(3, "n"),
        ])
    }
}

#[test]
fn steps_that_are_sent_again() {
    holds("resent", &resent());
}

fn intents() -> Case {
    let User::Write(write) = write(1, "p", &["n"]) else {
        unreachable!()
    };
    case(vec![
        User::Write(write.with_intent()),
        invalidation(2, "n"),
        invalidation(3, "n"),
        delete("p"),
    ])
}

#[test]
fn writers_that_note_their_intent() {
    holds("intents", &intents());
    with_shortcut(Shortcut::KillLeavesIntents, intents());
}

fn failover(failovers: Vec<Failover>) -> Case {
    Case {
        failovers,
        page: 1,
        ..case(vec![
            write(1, "p", &["n"]),
            write(2, "q", &["p"]),
            invalidation(3, "n"),
        ])
    }
}

#[test]
fn a_node_fails_over() {
    for node in 0..3 {
        for failover in [
            Failover::Clean(node),
            Failover::Stale(node),
            Failover::Empty(node),
        ] {
            holds(&format!("{failover:?}"), &self::failover(vec![failover]));
        }
    }
}

#[test]
fn shortcuts_at_a_failover() {
    with_plant(Plant::KeepStamp, failover(vec![Failover::Stale(1)]));
    let empty = failover(vec![Failover::Empty(1)]);
    let shortcut = Some(Shortcut::NoKillsLikeNoKills);
    with_plant(Plant::KeepStamp, Case { shortcut, ..empty });
    let pages = case(vec![
        write(1, "p", &["n"]),
        write(2, "q", &["n"]),
        invalidation(3, "n"),
    ]);
    let failovers = vec![Failover::Clean(0)];
    with_plant(
        Plant::KeepCursor,
        Case {
            failovers,
            page: 1,
            ..pages
        },
    );
}

/// A dependent that lives longer than what it depends on.
fn lives() -> Case {
    Case {
        tick: Duration::from_secs(325),
        ticks: 4,
        ..case(vec![
            write_for(1, "p", &["n"], seconds(100)),
            write_for(2, "q", &["p"], seconds(1000)),
        ])
    }
}

#[test]
fn values_that_end() {
    holds("lives", &lives());
    with_shortcut(Shortcut::NoCover, lives());
    with_shortcut(Shortcut::NotShortForThoseBelow, lives());
    with_shortcut(Shortcut::LifeFromPut, lives());
}

fn touches() -> Case {
    Case {
        tick: Duration::from_secs(300),
        ticks: 2,
        ..case(vec![
            write_for(1, "p", &["n"], seconds(100)),
            write_for(2, "q", &["p"], seconds(100)),
            touch(3, "q", Life::Ever),
        ])
    }
}

fn touches_after_a_kill() -> Case {
    let mut case = touches();
    case.actors.push(invalidation(4, "n"));
    case.ended = 2;
    case
}

#[test]
fn values_that_are_given_more_time() {
    holds("touches", &touches());
    with_shortcut(Shortcut::TouchUnregistered, touches());
    holds("touches after a kill", &touches_after_a_kill());
    with_shortcut(Shortcut::KillDropsRecord, touches_after_a_kill());
}

fn late_covers() -> Case {
    Case {
        ended: 2,
        tick: Duration::from_secs(325),
        ticks: 1,
        ..case(vec![
            write_for(1, "p", &["n"], seconds(100)),
            write_for(2, "q", &["p"], seconds(1000)),
            write_for(3, "q", &["p"], seconds(1000)),
            write_for(4, "p", &["n"], seconds(100)),
            invalidation(5, "n"),
        ])
    }
}

#[test]
fn a_note_that_comes_late() {
    with_shortcut(Shortcut::CoverAnyRecord, late_covers());
}

#[test]
#[ignore = "it takes minutes"]
fn three_writers_under_two_invalidations() {
    let mut case = chain();
    case.actors.push(write(5, "q", &["p"]));
    case.most = usize::MAX;
    holds("three writers", &case);
}
