//! Looks at every state that a case can come into.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::case::Case;
use super::world::{Event, World};

/// How a state was reached.
struct Path {
    event: Event,
    before: Option<Rc<Path>>,
}

/// What an exploration has found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    /// What is wrong, and how it came to that.
    pub(super) wrong: Option<(String, Vec<String>)>,
}

/// Looks at each state once, until something is wrong.
pub(super) fn explore(case: &Case) -> Found {
    let first = World::new(case);
    let mut seen = HashSet::from([digest(&first)]);
    let mut open: Vec<(World, Option<Rc<Path>>)> = vec![(first, None)];
    while let Some((world, path)) = open.pop() {
        assert!(seen.len() < case.most, "the case has too many states");
        for event in world.events(case) {
            let mut next = world.clone();
            let step = Rc::new(Path {
                event,
                before: path.clone(),
            });
            let held = next.happen(event, case);
            if held.is_ok() && !seen.insert(digest(&next)) {
                continue;
            }
            if let Err(wrong) = held.and_then(|()| next.check(case)) {
                return Found {
                    states: seen.len(),
                    wrong: Some((wrong, told(&step, case))),
                };
            }
            open.push((next, Some(step)));
        }
    }
    Found {
        states: seen.len(),
        wrong: None,
    }
}

/// Two states with the same digest count as one. Among a million states there are such two with a chance of 1 in 10^7.
fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// The events of a path, a line each.
fn told(path: &Rc<Path>, case: &Case) -> Vec<String> {
    let mut events = vec![path.event];
    let mut at = path;
    while let Some(before) = &at.before {
        events.push(before.event);
        at = before;
    }
    let mut world = World::new(case);
    let mut lines = Vec::new();
    for event in events.into_iter().rev() {
        let line = world.told(event, case);
        let _ = world.happen(event, case);
        lines.push(line);
    }
    lines
}
