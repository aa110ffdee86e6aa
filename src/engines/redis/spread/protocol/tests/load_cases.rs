//! Small cases with loads, each explored whole.

use super::actor::User;
use super::case::{Case, Failover, Plant};
use super::cases::{case, delete, holds, invalidation, is_found, with_plant, with_shortcut, write};
use super::clear::Clear;
use super::load::Load;
use super::manner::Shortcut;

fn load(seed: u64, key: &str, names: &[&str]) -> User {
    User::Load(Box::new(Load::new(seed, key, names)))
}

fn loads() -> Case {
    case(vec![
        load(1, "p", &["n"]),
        load(2, "q", &["p"]),
        invalidation(3, "n"),
    ])
}

#[test]
fn loads_under_an_invalidation() {
    holds("loads", &loads());
    with_shortcut(Shortcut::KillLeavesLease, loads());
    for failover in [Failover::Clean(1), Failover::Stale(1)] {
        let failovers = vec![failover];
        let actors = vec![load(1, "p", &["n"]), invalidation(2, "n"), load(3, "q", &[])];
        let case = Case {
            failovers,
            ..case(actors)
        };
        holds(&format!("loads, {failover:?}"), &case);
        if failover == Failover::Stale(1) {
            with_plant(Plant::KeepStamp, case);
        }
    }
    let mut early = Load::new(1, "p", &["n"]);
    early.registers_first = true;
    let actors = vec![
        User::Load(Box::new(early)),
        invalidation(2, "n"),
        invalidation(3, "n"),
    ];
    is_found("registered before the lease", &case(actors));
}

fn changes() -> Case {
    case(vec![load(1, "p", &["n"]), delete("n"), write(3, "n", &[])])
}

#[test]
fn loads_of_what_is_changed() {
    holds("changes", &changes());
    with_shortcut(Shortcut::CancelLeavesValue, changes());
    with_shortcut(Shortcut::ChangeTakesWatchers, changes());
    with_plant(Plant::AnswerThenCancel, changes());
    with_plant(Plant::UnwatchThenPut, changes());
    holds(
        "changes of the key",
        &case(vec![load(1, "p", &["n"]), delete("p"), write(3, "p", &["n"])]),
    );
    let of_two = vec![
        load(1, "p", &["n"]),
        load(2, "p", &["n"]),
        delete("n"),
        invalidation(4, "n"),
    ];
    holds("two loads", &case(of_two));
}

fn clears(prefix: &str) -> Case {
    let clear = User::Clear(Clear::new(3, &["p", "q"], prefix));
    let mut case = case(vec![write(1, "p", &[]), load(2, "q", &["p"]), clear]);
    case.ended = 1;
    case
}

#[test]
fn loads_under_a_clearing() {
    holds("clears all", &clears(""));
    with_shortcut(Shortcut::UnmarkLeavesLeases, clears(""));
    with_shortcut(Shortcut::PutWhileCleared, clears(""));
    holds("clears one key", &clears("p"));
    with_shortcut(Shortcut::UnmarkLeavesLeases, clears("p"));
    with_shortcut(Shortcut::MarkOfKeysAlone, clears("p"));
}
