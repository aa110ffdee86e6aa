//! Values with the time that is left.

use super::*;
use crate::request::{Aged, GetAged, GetManyAged};
use crate::ttl::LONGEST;

fn aged(name: &str) -> (Job, Receiver<Result<Option<Aged>>>) {
    asked(GetAged { key: key(name) })
}

fn many(names: &[&str]) -> (Job, Receiver<Result<Vec<Option<Aged>>>>) {
    let keys = names.iter().map(|name| key(name)).collect();
    asked(GetManyAged { keys })
}

fn left(value: &str, remaining: Option<Duration>) -> Option<Aged> {
    let value = Value::from(value);
    Some(Aged { value, remaining })
}

#[test]
fn the_time_that_is_left_is_read_before_the_value() {
    let (one, _of_one) = aged("a");
    let (many, _of_many) = many(&["b", "c"]);
    let wanted = ["PTTL a", "GET a", "PTTL b", "PTTL c", "MGET b c"];
    assert_eq!(lines(&batch(vec![one, many])), wanted);
}

#[test]
fn a_value_that_came_after_its_time_was_read_has_its_whole_life() {
    let answer = |time, got| {
        let (one, mut answer) = aged("a");
        let (stats, _) = settle(batch(vec![one]).parts, vec![Wire::Int(time), got]);
        (answer.try_recv().unwrap(), stats)
    };
    let (found, stats) = answer(1500, bulk("v"));
    assert_eq!(found.unwrap(), left("v", Some(Duration::from_millis(1500))));
    assert_eq!((stats.hits, stats.misses), (1, 0));
    assert_eq!(answer(-1, bulk("v")).0.unwrap(), left("v", None));
    assert_eq!(answer(-2, bulk("v")).0.unwrap(), left("v", Some(LONGEST)));
    assert_eq!(
        answer(0, bulk("v")).0.unwrap(),
        left("v", Some(Duration::from_millis(1)))
    );
    let (gone, stats) = answer(7, Wire::Nil);
    assert_eq!((gone.unwrap(), stats.misses), (None, 1));
    let (wrong, stats) = answer(7, server_error("WRONGTYPE Operation against a key"));
    assert!(matches!(wrong, Err(Error::WrongType)));
    assert_eq!((stats.hits, stats.misses), (0, 0));
}

#[test]
fn of_many_only_those_with_a_time_and_no_value_are_doubted() {
    let (job, mut answer) = many(&["a", "b", "c"]);
    let times = [5, -2, -1].map(Wire::Int);
    let values = Wire::Array(vec![bulk("1"), Wire::Nil, Wire::Nil]);
    let replies = times.into_iter().chain([values]).collect();
    let (stats, outcome) = settle(batch(vec![job]).parts, replies);
    assert_eq!((stats.hits, stats.misses), (0, 0), "not yet answered");
    let doubted = batch(outcome.again);
    assert_eq!(lines(&doubted), ["TYPE c"]);
    let (stats, _) = settle(doubted.parts, vec![Wire::SimpleString("none".into())]);
    let first = left("1", Some(Duration::from_millis(5)));
    assert_eq!(answer.try_recv().unwrap().unwrap(), [first, None, None]);
    assert_eq!((stats.hits, stats.misses), (1, 2));
}

#[test]
fn of_many_none_may_be_of_another_type() {
    let (job, mut answer) = many(&["a"]);
    let replies = vec![Wire::Int(-1), Wire::Array(vec![Wire::Nil])];
    let (_, outcome) = settle(batch(vec![job]).parts, replies);
    let kind = Wire::SimpleString("list".into());
    settle(batch(outcome.again).parts, vec![kind]);
    assert!(matches!(answer.try_recv().unwrap(), Err(Error::WrongType)));
}

#[test]
fn a_lost_connection_asks_again() {
    let ((one, _of_one), (many, _of_many)) = (aged("a"), many(&["b"]));
    let mut again = Vec::new();
    let (gone, mut removals) = (Cause::new("gone"), Unsent::default());
    reply::lose(batch(vec![one, many]).parts, &gone, &mut again, &mut removals);
    assert_eq!(lines(&batch(again)), ["PTTL a", "GET a", "PTTL b", "MGET b"]);
}
