//! Small cases, each explored whole.

use std::time::Duration;

use compact_str::CompactString;

use super::explorer::explore;
use super::model::Shortcut;
use super::world::{Case, Failover, Plant, User};
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

fn write(seed: u64, key: &str, names: &[&str]) -> User {
    write_for(seed, key, names, Life::Ever)
}

fn invalidation(seed: u64, root: &str) -> User {
    User::Invalidation(Invalidation::new(vec![text(root)], stamps(seed)), text(root))
}

fn touch(seed: u64, key: &str, ttl: Life) -> User {
    User::Touch(Touch::new(text(key), ttl, false, stamps(seed)))
}

fn delete(key: &str) -> User {
    User::Change(Change::new(text(key), Act::Delete))
}

fn case(actors: Vec<User>) -> Case {
    Case {
        slots: vec![(vec!["n"], 0), (vec!["p"], 1), (vec!["q"], 2)],
        actors,
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

fn holds(name: &str, case: &Case) {
    let found = explore(case);
    eprintln!("{name}: {} states", found.states);
    if let Some((wrong, path)) = found.wrong {
        panic!("{name}: {wrong} after\n{}", path.join("\n"));
    }
}

#[track_caller]
fn is_found(name: &str, case: &Case) {
    let found = explore(case);
    eprintln!("{name}: found after {} states", found.states);
    assert!(
        found.wrong.is_some(),
        "{name}: the shortcut is not found in {} states",
        found.states
    );
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
}

#[test]
fn shortcuts_of_a_chain() {
    for shortcut in [
        Shortcut::PutWithoutCheck,
        Shortcut::ForgetWithoutStamp,
        Shortcut::CountedStamps,
    ] {
        let shortcut = Some(shortcut);
        is_found(&format!("{shortcut:?}"), &Case { shortcut, ..chain() });
    }
    for plant in [Plant::WriteThenRegister, Plant::ForgetBeforeSubtree] {
        let plant = Some(plant);
        is_found(&format!("{plant:?}"), &Case { plant, ..chain() });
    }
}
