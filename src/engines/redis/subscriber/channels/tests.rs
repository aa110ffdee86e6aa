//! The channels against a server that knows nothing but its own subscriptions.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn subject(n: usize) -> Subject {
    Subject::Lock(format!("k{n}").into())
}

#[test]
fn a_channel_with_one_waiter_after_the_other_is_subscribed_to_once() {
    let (mut channels, mut now) = (Channels::default(), Instant::now());
    assert_eq!(channels.begin(&subject(0)), None);
    assert_eq!(
        channels.next_change(now),
        Some(Change::Subscribe(vec![subject(0)]))
    );
    let since = now;
    assert_eq!(channels.confirmed(vec![subject(0)], now), [subject(0)]);
    for _ in 0..10 {
        channels.end(subject(0), now);
        now += LINGER - MS;
        assert_eq!(channels.next_change(now), None);
        assert!(!channels.are_wanted());
        assert_eq!(channels.begin(&subject(0)), Some(since), "at once");
        assert_eq!(channels.next_change(now), None);
    }
    channels.end(subject(0), now);
    assert_eq!(channels.next_due(), Some(now + LINGER));
    assert_eq!(
        channels.next_change(now + LINGER),
        Some(Change::Unsubscribe(vec![subject(0)]))
    );
    assert_eq!(channels.begin(&subject(0)), None, "it has to be asked for again");
}

#[test]
fn who_ends_before_the_server_is_asked_costs_no_command() {
    let (mut channels, now) = (Channels::default(), Instant::now());
    channels.begin(&subject(0));
    channels.end(subject(0), now);
    assert_eq!(channels.next_change(now + 2 * LINGER), None);
    assert!(channels.known.is_empty());
}

#[test]
fn no_more_linger_than_may_and_those_whose_time_is_near_go_together() {
    let (mut channels, mut now) = (Channels::default(), Instant::now());
    let all: Vec<Subject> = (0..=LINGERING).map(subject).collect();
    for subject in &all {
        channels.begin(subject);
    }
    let Some(Change::Subscribe(asked)) = channels.next_change(now) else {
        panic!("nothing is asked for")
    };
    channels.confirmed(asked, now);
    for subject in &all {
        channels.end(subject.clone(), now);
        now += MS;
    }
    let Some(Change::Unsubscribe(first)) = channels.next_change(now) else {
        panic!("too many linger")
    };
    assert_eq!(channels.known.len(), LINGERING * 3 / 4);
    assert_eq!(first, all[..first.len()]);
    let due = channels.next_due().unwrap();
    let Some(Change::Unsubscribe(rest)) = channels.next_change(due) else {
        panic!("their time has come")
    };
    assert_eq!(rest.len(), LINGERING * 3 / 4, "all within half a second");
    assert!(channels.known.is_empty());
}

#[test]
fn a_reconnect_asks_for_what_is_wanted_and_nothing_else() {
    let (mut channels, now) = (Channels::default(), Instant::now());
    for n in 0..3 {
        channels.begin(&subject(n));
    }
    channels.next_change(now);
    channels.confirmed((0..3).map(subject).collect(), now);
    channels.end(subject(1), now);
    channels.lost();
    assert_eq!(channels.next_due(), None);
    let Some(Change::Subscribe(mut asked)) = channels.next_change(now + MS) else {
        panic!("nothing is asked for")
    };
    asked.sort();
    assert_eq!(asked, [subject(0), subject(2)]);
    assert_eq!(channels.confirmed(asked, now + MS).len(), 2, "each is told again");
    assert_eq!(channels.begin(&subject(0)), Some(now + MS), "there was a gap");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(usize),
    End(usize),
    /// The server carries out the command that is under way, or is given the next.
    Serve,
    Lose,
    Pass(u64),
}

/// A server that hears commands one by one, and what its client has promised.
#[derive(Default)]
struct World {
    channels: Channels,
    under_way: Option<Change>,
    /// Since when the server has each.
    subscribed: HashMap<Subject, Instant>,
    wanted: HashSet<Subject>,
    told: HashMap<Subject, Instant>,
}

impl World {
    fn step(&mut self, step: Step, now: &mut Instant) {
        match step {
            Step::Begin(n) => {
                if self.wanted.insert(subject(n)) {
                    match self.channels.begin(&subject(n)) {
                        Some(since) => self.told.insert(subject(n), since),
                        None => self.told.remove(&subject(n)),
                    };
                }
            }
            Step::End(n) => {
                if self.wanted.remove(&subject(n)) {
                    self.channels.end(subject(n), *now);
                }
            }
            Step::Serve => match self.under_way.take() {
                Some(Change::Subscribe(subjects)) => {
                    for subject in &subjects {
                        let before = self.subscribed.insert(subject.clone(), *now);
                        assert_eq!(before, None, "subscribed twice");
                    }
                    for subject in self.channels.confirmed(subjects, *now) {
                        assert!(self.wanted.contains(&subject), "told though it is not wanted");
                        self.told.insert(subject, *now);
                    }
                }
                Some(Change::Unsubscribe(subjects)) => {
                    for subject in subjects {
                        assert!(self.subscribed.remove(&subject).is_some(), "unsubscribed twice");
                    }
                }
                None => {
                    self.under_way = self.channels.next_change(*now);
                    if let Some(Change::Unsubscribe(gone)) = &self.under_way {
                        assert!(gone.iter().all(|subject| !self.wanted.contains(subject)));
                    }
                }
            },
            Step::Lose => {
                self.under_way = None;
                self.subscribed.clear();
                self.told.clear();
                self.channels.lost();
            }
            Step::Pass(millis) => *now += Duration::from_millis(millis),
        }
        for subject in &self.wanted {
            if let Some(since) = self.told.get(subject) {
                let truly = self.subscribed.get(subject);
                assert!(truly.is_some_and(|truly| truly <= since), "{subject:?} has a gap");
            }
        }
        assert_eq!(self.channels.are_wanted(), !self.wanted.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_wanted_is_told_of_without_a_gap(steps in proptest::collection::vec(prop_oneof![
        3 => (0..4_usize).prop_map(Step::Begin),
        3 => (0..4_usize).prop_map(Step::End),
        5 => Just(Step::Serve),
        1 => Just(Step::Lose),
        2 => (1..2500_u64).prop_map(Step::Pass),
    ], 1..100)) {
        let (mut world, mut now) = (World::default(), Instant::now());
        for step in steps {
            world.step(step, &mut now);
        }
        for _ in 0..8 {
            world.step(Step::Serve, &mut now);
        }
        for subject in &world.wanted {
            prop_assert!(world.told.contains_key(subject), "{subject:?} is never told");
        }
        // Once nobody wants anything, nothing is left.
        for n in 0..4 {
            world.step(Step::End(n), &mut now);
        }
        world.step(Step::Pass(3000), &mut now);
        for _ in 0..8 {
            world.step(Step::Serve, &mut now);
        }
        prop_assert!(world.subscribed.is_empty() && world.channels.known.is_empty());
    }
}
