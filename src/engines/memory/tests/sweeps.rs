//! Long work that waits: how much of it may, and what it covers.

use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::super::expiry::Moment;
use super::super::sweep::{Sweep, Sweeps};
use super::super::table::Table;
use super::Keys;
use crate::error::{Error, Result};
use crate::request::{Progress, Reply};

fn now() -> Moment {
    Moment::since_start(Duration::ZERO)
}

struct World {
    keys: Keys,
    table: Table,
    sweeps: Sweeps,
}

impl World {
    /// With more entries than one step of a clearing looks at.
    fn new() -> Self {
        let (keys, mut table) = (Keys::new(), Table::new(1 << 30, None));
        for n in 0..1000 {
            table.write(keys.write(format!("k{n}"), [""; 0]), now());
        }
        let sweeps = Sweeps::default();
        Self { keys, table, sweeps }
    }

    fn begin(&mut self, sweep: Sweep) -> oneshot::Receiver<Result<u64>> {
        let (reply, answer) = Reply::new();
        let table = &mut self.table;
        self.sweeps.begin(sweep, Progress::default(), reply, table, now());
        answer
    }

    fn clear(&mut self, prefix: &str) -> oneshot::Receiver<Result<u64>> {
        let sweep = Sweep::clearing(&mut self.table, prefix.to_owned());
        self.begin(sweep)
    }

    fn invalidate(&mut self, names: usize) -> oneshot::Receiver<Result<u64>> {
        let names = (0..names).map(|n| self.keys.key(format!("name{n}")));
        self.begin(Sweep::invalidation(names.collect()))
    }

    fn finish(&mut self) {
        while !self.sweeps.is_empty() {
            self.sweeps.step(&mut self.table, now());
        }
    }
}

#[test]
fn behind_long_work_a_bounded_number_of_names_waits() {
    let mut world = World::new();
    let mut cleared = world.clear("");
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        let mut answer = world.invalidate(512);
        match answer.try_recv() {
            Ok(Err(Error::Unavailable(_))) => refused += 1,
            Ok(answered) => panic!("{answered:?}"),
            Err(_) => waiting.push(answer),
        }
    }
    assert!((100..130).contains(&waiting.len()), "{} wait", waiting.len());
    assert_eq!(waiting.len() + refused, 200);
    let mut cleared_again = world.clear("");
    assert!(matches!(cleared_again.try_recv(), Ok(Err(Error::Unavailable(_)))));
    world.finish();
    assert_eq!(cleared.try_recv().unwrap().unwrap(), 1000);
    for mut waiting in waiting {
        waiting.try_recv().unwrap().unwrap();
    }
    let mut later = world.invalidate(512);
    world.finish();
    later.try_recv().unwrap().unwrap();
}

/// The work that runs is not among what waits, however large it is.
#[test]
fn small_work_waits_behind_large_work() {
    let mut world = World::new();
    let mut large = world.invalidate(70_000);
    assert!(large.try_recv().is_err(), "it runs");
    let mut waiting: Vec<_> = (0..100).map(|n| world.clear(&format!("k{n}:"))).collect();
    waiting.push(world.invalidate(1));
    for answer in &mut waiting {
        assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)), "it waits");
    }
    world.finish();
    large.try_recv().unwrap().unwrap();
    for mut answer in waiting {
        answer.try_recv().unwrap().unwrap();
    }
}

#[test]
fn an_invalidation_of_nothing_waits_for_nothing() {
    let mut world = World::new();
    let _clearing = world.clear("");
    assert_eq!(world.invalidate(0).try_recv().unwrap().unwrap(), 0);
    // What is answered at once leaves no room less.
    let mut waiting: Vec<_> = (0..128).map(|_| world.invalidate(512)).collect();
    assert!(waiting.iter_mut().all(|answer| answer.try_recv().is_err()));
    assert!(matches!(
        world.invalidate(1).try_recv(),
        Ok(Err(Error::Unavailable(_)))
    ));
    // One that begins makes room for as many names.
    while waiting[0].try_recv().is_err() {
        world.sweeps.step(&mut world.table, now());
    }
    assert!(world.invalidate(1).try_recv().is_err(), "it waits");
}

#[test]
fn a_clearing_covers_its_names_until_it_has_ended() {
    let mut world = World::new();
    let (one, other) = (world.keys.key("k1"), world.keys.key("other"));
    let mut first = world.clear("k");
    let _waits = world.invalidate(2);
    let _second = world.clear("k1");
    assert!(world.sweeps.clear(&one) && !world.sweeps.clear(&other));
    while first.try_recv().is_err() {
        assert!(world.sweeps.clear(&one));
        world.sweeps.step(&mut world.table, now());
    }
    assert!(world.sweeps.clear(&one), "the second clearing");
    world.finish();
    assert!(!world.sweeps.clear(&one));
}
