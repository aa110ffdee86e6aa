//! Leases on the wire.

use super::*;
use crate::request::{
    Aged, CorrelatedReply, GetOrLease, Lease, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, Names, Token,
};

fn lease(action: LeaseAction) -> (Job, impl FnMut() -> Option<Result<LeaseAnswer>>) {
    let (to, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let reply = CorrelatedReply::new(to, 0);
    let step = Box::new(action);
    let job = job_of(Lease { step }, Reply::Actor(reply));
    (job, move || answers.try_recv().ok()?.1)
}

fn names(names: &[&str]) -> Names {
    names.iter().map(|name| key(name)).collect()
}

fn take(token: Token) -> LeaseAction {
    LeaseAction::Take {
        key: key("k"),
        terms: LeaseTerms {
            token,
            names: names(&["x", "y"]),
            ttl: Duration::from_secs(30),
            late_names: false,
        },
    }
}

fn fulfil(token: Token) -> LeaseAction {
    let write = write("k", &["x", "y"]);
    LeaseAction::Fulfil { token, write }
}

fn end(token: Token) -> LeaseAction {
    LeaseAction::End {
        key: key("k"),
        token,
        names: names(&["x", "y"]),
        given: false,
    }
}

#[test]
fn steps_are_scripts() {
    let token = Token::random();
    let give = LeaseAction::End {
        key: key("k"),
        token,
        names: names(&["x", "y"]),
        given: true,
    };
    let jobs = [take(token), fulfil(token), end(token), give].map(|action| lease(action).0);
    let wanted = [
        format!("EVALSHA 1 k cachestore:depend:{{ }} # {token} 30000 34 0 x y"),
        format!("EVALSHA 1 k cachestore:depend:{{ }} # v 1500 LEASE {token} x y"),
        format!("EVALSHA 1 k cachestore:depend:{{ }} {token} 0 x y"),
        format!("EVALSHA 1 k cachestore:depend:{{ }} {token} 1 x y"),
    ];
    assert_eq!(lines(&batch(jobs.into())), wanted);
}

#[test]
fn a_read_that_asks_for_a_lease_is_a_script_and_one_hit_or_one_miss() {
    let token = Token::random();
    let look = || GetOrLease {
        key: key("k"),
        terms: Box::new(LeaseTerms {
            token,
            names: names(&["x"]),
            ttl: Duration::from_secs(30),
            late_names: false,
        }),
    };
    let told = |got: Wire| {
        let (reply, mut answer) = Reply::new();
        let (stats, _) = settle(batch(vec![job_of(look(), reply)]).parts, vec![got]);
        (answer.try_recv().unwrap(), (stats.hits, stats.misses))
    };
    let (reply, _) = Reply::new();
    let wanted = format!("EVALSHA 1 k cachestore:depend:{{ }} # {token} 30000 34 0 x");
    assert_eq!(lines(&batch(vec![job_of(look(), reply)])), [wanted]);
    let found = |value: &str, remaining| {
        let value = Value::from(value);
        Lookup::Found(Aged { value, remaining })
    };
    let array = |parts: [Wire; 3]| Wire::Array(parts.into());
    let (got, counts) = told(array([Wire::Int(2), Wire::Int(70), bulk("v")]));
    assert_eq!(
        (got.unwrap(), counts),
        (found("v", Some(Duration::from_millis(70))), (1, 0))
    );
    let (got, counts) = told(array([Wire::Int(2), Wire::Int(-1), bulk("")]));
    assert_eq!((got.unwrap(), counts), (found("", None), (1, 0)));
    let (got, counts) = told(array([Wire::Int(1), Wire::Int(-2), Wire::Nil]));
    assert_eq!((got.unwrap(), counts), (Lookup::Leased, (0, 1)));
    let (got, counts) = told(array([Wire::Int(0), bulk(&token.to_string()), Wire::Int(9)]));
    assert_eq!((got.unwrap(), counts), (Lookup::Held, (0, 1)));
    for wrong in [Wire::Nil, array([Wire::Int(1), Wire::Int(70), bulk("v")])] {
        let (got, counts) = told(wrong);
        assert!(matches!(got, Err(Error::Rejected(_))), "{got:?}");
        assert_eq!(counts, (0, 0));
    }
}

#[test]
fn answers_mean_what_the_scripts_say() {
    let told = |action: LeaseAction, got: Wire| {
        let (job, mut answer) = lease(action);
        let (stats, _) = settle(batch(vec![job]).parts, vec![got]);
        (answer().unwrap(), stats.sets)
    };
    let token = Token::random();
    let array = |parts: [Wire; 3]| Wire::Array(parts.into());
    let taken = |left, value| told(take(token), array([Wire::Int(1), Wire::Int(left), value])).0;
    assert_eq!(
        taken(-2, Wire::Nil).unwrap(),
        LeaseAnswer::Taken { present: None }
    );
    let present = |value: &str, remaining| LeaseAnswer::Taken {
        present: Some(Aged {
            value: Value::from(value),
            remaining,
        }),
    };
    assert_eq!(
        taken(70, bulk("v")).unwrap(),
        present("v", Some(Duration::from_millis(70)))
    );
    assert_eq!(taken(-1, bulk("")).unwrap(), present("", None));
    let held = array([Wire::Int(0), bulk(&token.to_string()), Wire::Int(9)]);
    let remaining = Duration::from_millis(9);
    assert_eq!(
        told(take(token), held).0.unwrap(),
        LeaseAnswer::Held { token, remaining }
    );
    let stored = |got| told(fulfil(token), Wire::Int(got));
    assert!(matches!(stored(1), (Ok(LeaseAnswer::Stored(true)), 1)));
    assert!(matches!(stored(0), (Ok(LeaseAnswer::Stored(false)), 0)));
    assert_eq!(told(end(token), Wire::Int(1)).0.unwrap(), LeaseAnswer::Ended);
    assert!(matches!(told(take(token), Wire::Okay).0, Err(Error::Rejected(_))));
    let wrong = server_error("WRONGTYPE Operation against a key");
    assert!(matches!(told(take(token), wrong).0, Err(Error::WrongType)));
}

#[test]
fn a_forgotten_step_is_sent_whole_and_a_lost_one_is_not_sent_again() {
    let (first, _) = lease(take(Token::random()));
    let forgotten = vec![server_error("NOSCRIPT No matching script.")];
    let (_, outcome) = settle(batch(vec![first]).parts, forgotten);
    assert_eq!(outcome.again[0].by, By::Source);
    let (second, mut answer) = lease(fulfil(Token::random()));
    let mut again = Vec::new();
    reply::lose(
        batch(vec![second]).parts,
        &Cause::new("gone"),
        &mut again,
        &mut Unsent::default(),
    );
    assert!(again.is_empty());
    assert!(matches!(answer(), Some(Err(Error::OutcomeUnknown(_)))));
}

#[test]
fn a_step_under_way_holds_back_its_key() {
    let (mut busy, mut keys) = (Busy::default(), Vec::new());
    begin(&mut busy, &lease(fulfil(Token::random())).0, &mut keys);
    assert!(holds(&busy, &get("k").0));
    assert!(!holds(&busy, &get("x").0));
}
