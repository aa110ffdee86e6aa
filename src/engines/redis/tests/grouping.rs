//! Neighbouring writes that travel as one command or one script.

use super::*;

#[test]
fn neighbouring_writes_with_dependencies_are_one_script_and_each_has_its_answer() {
    let dependent = |name: &str, names: &[&str]| {
        let write = write(name, names);
        asked(Set { write })
    };
    let ((a, mut of_a), (b, mut of_b), (c, mut of_c)) = (
        dependent("a", &["x"]),
        dependent("b", &["x", "y"]),
        dependent("c", &["x"]),
    );
    let (get, _got) = get("a");
    let batch = batch(vec![a, b, get, c]);
    assert_eq!(
        lines(&batch),
        [
            "EVALSHA 2 a b cachestore:depend:{ } # 1 1500 1 1 x v 1 1500 2 1 x y v",
            "GET a",
            "EVALSHA 1 c cachestore:depend:{ } # 1 1500 1 1 x v"
        ]
    );
    let answers = Wire::Array(vec![Wire::Int(1), server_error("WRONGTYPE no set")]);
    let replies = vec![answers, bulk("v"), server_error("NOSCRIPT No matching script.")];
    let (stats, outcome) = settle(batch.parts, replies);
    assert_eq!(stats.sets, 1);
    of_a.try_recv().unwrap().unwrap();
    assert!(matches!(of_b.try_recv().unwrap(), Err(Error::WrongType)));
    assert!(of_c.try_recv().is_err(), "it is sent again");
    assert_eq!((outcome.again.len(), outcome.again[0].by), (1, By::Source));
}

/// The server refuses a script as a whole if its user may not touch one of the keys.
#[test]
fn a_forbidden_key_leaves_its_neighbours_alone() {
    let dependent = |name: &str| {
        let write = write(name, &["x"]);
        asked(Set { write })
    };
    let ((a, mut of_a), (b, mut of_b)) = (dependent("a"), dependent("b"));
    let refusal = || server_error("NOPERM No permissions to access a key");
    let (_, outcome) = settle(batch(vec![a, b]).parts, vec![refusal()]);
    let apart = batch(outcome.again);
    let alone = |name| format!("EVALSHA 1 {name} cachestore:depend:{{ }} # 1 1500 1 1 x v");
    assert_eq!(lines(&apart), [alone("a"), alone("b")]);
    let written = Wire::Array(vec![Wire::Int(1)]);
    let (stats, outcome) = settle(apart.parts, vec![written, refusal()]);
    assert_eq!((stats.sets, outcome.again.len()), (1, 0));
    of_a.try_recv().unwrap().unwrap();
    assert!(matches!(of_b.try_recv().unwrap(), Err(Error::Unauthorized)));
}

#[test]
fn neighbouring_writes_with_the_same_names_and_ttl_are_grouped() {
    let dependent = |name, depends_on: &[&str]| {
        let write = write(name, depends_on);
        asked(Set { write })
    };
    let (a, mut of_a) = dependent("a", &["x"]);
    let (b, mut of_b) = dependent("b", &["y"]);
    let (c, mut of_c) = dependent("c", &["x"]);
    let persistent = set(Write {
        ttl: None,
        ..write("d", &["x"])
    });
    let batch = batch(vec![a, b, c, persistent]);
    let wanted = "EVALSHA 4 a c b d cachestore:depend:{ } # 1 1500 1 2 x v v 1 1500 1 1 y v 1  1 1 x v";
    assert_eq!(lines(&batch), [wanted]);
    let answers = vec![server_error("WRONGTYPE no set"), Wire::Int(1), Wire::Int(1)];
    let (stats, _) = settle(batch.parts, vec![Wire::Array(answers)]);
    assert_eq!(stats.sets, 2);
    assert!(matches!(of_a.try_recv().unwrap(), Err(Error::WrongType)));
    of_b.try_recv().unwrap().unwrap();
    assert!(matches!(of_c.try_recv().unwrap(), Err(Error::WrongType)));
}

/// A script writes one group after the other. The last write of a key must stay the last.
#[test]
fn no_two_groups_of_a_script_write_the_same_key() {
    let tagged = |name, value: &str, depends_on| {
        let value = Value::from(value);
        set(Write {
            value,
            ..write(name, depends_on)
        })
    };
    let jobs = vec![
        tagged("a", "1", &["x"]),
        tagged("b", "2", &["y"]),
        tagged("a", "3", &["x"]),
        tagged("a", "4", &["y"]),
        tagged("c", "5", &["x"]),
    ];
    assert_eq!(
        lines(&batch(jobs)),
        [
            "EVALSHA 3 a a b cachestore:depend:{ } # 1 1500 1 2 x 1 3 1 1500 1 1 y 2",
            "EVALSHA 2 a c cachestore:depend:{ } # 2 1500 1 1 y x 4 5",
        ]
    );
}

/// Names whose hashes are alike are not the same.
#[test]
fn names_with_one_hash_are_in_groups_of_their_own() {
    let named = |name, depends_on| {
        let depends_on = [Key::with_hash(depends_on, 7)].into_iter().collect();
        set(Write {
            depends_on,
            ..write(name, &[])
        })
    };
    let jobs = ["x", "y", "x"].iter().zip(["a", "b", "c"]);
    let batch = batch(jobs.map(|(on, name)| named(name, on)).collect());
    let wanted = "EVALSHA 3 a b c cachestore:depend:{ } # 3 1500 1 1 x y x v v v";
    assert_eq!(lines(&batch), [wanted]);
}

#[test]
fn what_was_written_in_part_has_an_unknown_outcome() {
    let writes = vec![write("a", &[]), write("b", &[])];
    let (many, mut answer) = asked(SetMany { writes });
    settle(
        batch(vec![many]).parts,
        vec![
            Wire::Int(0),
            Wire::Int(0),
            Wire::Okay,
            server_error("OOM command not allowed"),
        ],
    );
    assert!(matches!(
        answer.try_recv().unwrap(),
        Err(Error::OutcomeUnknown(_))
    ));
}

#[test]
fn plain_entries_of_one_call_are_one_command_while_they_are_small() {
    let many = |length: usize| {
        let mut writes = vec![write("a", &[]), write("b", &[])];
        writes.iter_mut().for_each(|write| write.ttl = None);
        writes[0].value = Value::from(vec![b'v'; length]);
        asked(SetMany { writes })
    };
    let (small, mut answer) = many(1);
    let small = batch(vec![small]);
    let told = ["HDEL cachestore:leases a b", "RPUSHX cachestore:changed a b"];
    assert_eq!(lines(&small)[..2], told);
    assert_eq!(lines(&small)[2..], ["MSET a v b v"]);
    let (stats, _) = settle(small.parts, vec![Wire::Int(0), Wire::Int(0), Wire::Okay]);
    answer.try_recv().unwrap().unwrap();
    assert_eq!(stats.sets, 2);
    let (small, mut answer) = many(1);
    let refused = vec![
        Wire::Int(0),
        Wire::Int(0),
        server_error("OOM command not allowed"),
    ];
    let (stats, _) = settle(batch(vec![small]).parts, refused);
    assert!(matches!(answer.try_recv().unwrap(), Err(Error::Unavailable(_))));
    assert_eq!(stats.sets, 0);
    let (large, _answer) = many(300 * 1024);
    assert_eq!(
        batch(vec![large]).pipeline.len(),
        6,
        "what changes, two writes, what changes"
    );
}
