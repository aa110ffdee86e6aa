//! Machines and tables alone.

use std::time::Duration;

use super::world::origin;
use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::{Answer, Answered, Sight};
use crate::engines::redis::spread::protocol::invalidation::Invalidation;
use crate::engines::redis::spread::protocol::lease::{End, unwatch};
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::seen::{KNOWN, Seens};
use crate::engines::redis::spread::protocol::stamp::{Stamp, Stamps};
use crate::engines::redis::spread::protocol::step::{Epoch, Given, Next, Step, Watcher};

#[test]
fn a_lease_whose_value_was_given_out_ends_after_the_loads_that_may_have_read_it() {
    let (key, names, lease) = ("p".into(), vec!["n".into()], Stamp::new(1, 0));
    let mut end = End::new(key, names.clone(), lease, Given::Tied);
    let Next::Steps(steps) = end.start(origin()) else {
        panic!("it ends at once");
    };
    let epoch = Epoch(0);
    let watcher = |seed: u64| Watcher {
        key: "q".into(),
        lease: Stamp::new(seed, 0),
    };
    let watchers = vec![watcher(2), watcher(3)];
    let answer = Answer::Ended { watchers };
    let Next::Steps(cancels) = end.advance(origin(), &steps[0], Answered { answer, epoch }) else {
        panic!("it cancels no loads");
    };
    assert_eq!(cancels.len(), 2);
    let done = || Answered {
        answer: Answer::Done,
        epoch,
    };
    let next = end.advance(origin(), &cancels[0], done());
    assert_eq!(next, Next::Steps(Vec::new()));
    let next = end.advance(origin(), &cancels[1], done());
    let (output, rest) = ((), unwatch(&"p".into(), &names, lease));
    assert_eq!(next, Next::Done { output, rest });
}

#[test]
fn a_stamp_is_known_for_a_while_and_over_its_link() {
    let mut seens = Seens::default();
    let (key, intent) = ("{s}a".into(), None);
    let fresh = Stamp::new(1, 0);
    let look = Step::Look { key, fresh, intent };
    let sight = Sight { stamp: fresh, at: 1 };
    let answered = Answered {
        answer: Answer::Looked(sight),
        epoch: Epoch(7),
    };
    seens.learn(&look, &answered, origin());
    let of = |key, epoch, later| seens.of(key, Epoch(epoch), origin() + later);
    assert_eq!(of("{s}b", 7, KNOWN).map(|seen| seen.stamp), Some(fresh));
    assert_eq!(of("{s}b", 8, KNOWN), None);
    assert_eq!(of("{s}b", 7, KNOWN + Duration::from_millis(1)), None);
    assert_eq!(of("{t}b", 7, KNOWN), None);
}

#[test]
fn what_has_no_ttl_lives_longest() {
    let [short, long] = [1, 2].map(|millis| Life::of(Some(Duration::from_millis(millis))));
    assert!(short < long && long < Life::of(None));
}

#[test]
fn an_invalidation_of_many_names_has_few_steps_under_way() {
    let names = (0..1000).map(|number| format!("n{number}").into()).collect();
    let mut invalidation = Invalidation::new(names, Stamps::new(1));
    let mut next = invalidation.start(origin());
    let (mut under_way, mut killed) = (Vec::new(), 0);
    loop {
        match next {
            Next::Steps(steps) => under_way.extend(steps),
            Next::Done { output, .. } => {
                assert_eq!((output, killed), (1000, 1000));
                return;
            }
        }
        assert!(under_way.len() <= 256, "{}", under_way.len());
        let step = under_way.pop().unwrap();
        killed += 1;
        let answer = Answer::Killed {
            removed: true,
            below: false,
        };
        let epoch = Epoch(0);
        next = invalidation.advance(origin(), &step, Answered { answer, epoch });
    }
}
