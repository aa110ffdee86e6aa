//! What servers are sent that can do more than others.

use super::*;

const ALL: Abilities = Abilities {
    transacts: false,
    compares: true,
    sets_many: true,
};

fn sent(server: Abilities, jobs: Vec<Job>) -> Vec<String> {
    script::chosen::look_at_nothing();
    let mut batch = Batch::new(Layout::new(false)).to(server);
    jobs.into_iter()
        .for_each(|job| batch.push(job, None, Instant::now()));
    batch.finish(0);
    lines(&batch)
}

fn compare_and_set(write: Write) -> Job {
    let condition = Condition::Holds(Value::from("w"));
    let write = Box::new(write);
    job(SetIf { write, condition })
}

#[test]
fn a_comparison_is_a_plain_change_that_ends_leases() {
    let wanted = [
        "HDEL cachestore:leases a",
        "RPUSHX cachestore:changed a",
        "SET a v PX 1500 IFEQ w",
    ];
    assert_eq!(sent(ALL, vec![compare_and_set(write("a", &[]))]), wanted);
}

#[test]
fn a_comparison_is_a_script_where_only_that_does_it() {
    let scripts = [
        sent(ALL, vec![compare_and_set(write("a", &["x"]))]),
        sent(Abilities::default(), vec![compare_and_set(write("a", &[]))]),
    ];
    for lines in scripts {
        assert!(
            lines.len() == 1 && lines[0].starts_with("EVALSHA 1 a "),
            "{lines:?}"
        );
    }
}

#[test]
fn entries_with_a_ttl_are_one_command() {
    let many = |names: &[&str]| {
        let writes = ["a", "b"].map(|name| write(name, names));
        job(SetMany {
            writes: writes.into(),
        })
    };
    let [_, _, set] = sent(ALL, vec![many(&[])]).try_into().unwrap();
    assert_eq!(set, "MSETEX 2 a v b v PX 1500");
    let [_, _, a, b] = sent(Abilities::default(), vec![many(&[])]).try_into().unwrap();
    assert_eq!([a, b], ["SET a v PX 1500", "SET b v PX 1500"]);
    let [dependent] = sent(ALL, vec![many(&["x"])]).try_into().unwrap();
    assert!(dependent.starts_with("EVALSHA 2 a b "), "{dependent}");
}

#[test]
fn each_entry_of_one_command_is_counted() {
    let writes = vec![write("a", &[]), write("b", &[])];
    let (many, mut answer) = asked(SetMany { writes });
    let mut batch = Batch::new(Layout::new(false)).to(ALL);
    batch.push(many, None, Instant::now());
    batch.finish(0);
    let (stats, _) = settle(batch.parts, vec![Wire::Int(0), Wire::Int(0), Wire::Int(1)]);
    answer.try_recv().unwrap().unwrap();
    assert_eq!(stats.sets, 2);
}

/// A key that never exists is asked for, so that nothing changes, and whatever refuses the question has no such ability.
#[test]
fn abilities_are_what_the_answers_say() {
    let learn_from = |about: &str, replies: [Wire; 2]| {
        let mut abilities = Abilities::default();
        abilities.learn(replies.into_iter(), about);
        [abilities.compares, abilities.sets_many]
    };
    let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
    let learn = |replies| learn_from(valkey, replies);
    assert_eq!(learn([Wire::Nil, Wire::Int(0)]), [true, true]);
    let redis = "# Server\r\nredis_version:8.10.2\r\n";
    assert_eq!(
        learn_from(redis, [Wire::Nil, Wire::Int(0)]),
        [true, false],
        "see `sets_many`"
    );
    let refused = [
        server_error("ERR syntax error"),
        server_error("NOPERM User app has no permissions to run the 'msetex' command"),
    ];
    assert_eq!(learn(refused), [false, false]);
    let full = || server_error("OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(learn([full(), full()]), [false, false]);
}
