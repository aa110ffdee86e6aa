//! Every order in which two writers, the engine and a reader of one key can take their steps, on the real gates and
//! the real map.
//!
//! Threads meet the rare orders by luck, if at all. Here each order is taken once, so that a fault in the order of
//! steps is found for certain, and a run without one says something.

use super::*;

/// Steps that a fault takes in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Writes close no gate.
    NoGate,
    /// A write closes its gate when it is in the queue, where the engine may serve it first.
    ClosedAfterTheEnqueue,
    /// A write closes its gate when it is acknowledged.
    ClosedAfterTheAnswer,
    /// The engine opens the gate and then removes the entry.
    OpenedBeforeTheRemoval,
    /// The engine changes its table and does not remove the entry.
    NeverRemoved,
}

#[derive(Debug, Clone, Copy)]
enum Actor {
    Writer,
    Engine,
    Reader,
}

const WRITERS: usize = 2;
const ACTORS: [Actor; 4] = [Actor::Writer, Actor::Writer, Actor::Engine, Actor::Reader];

/// One run. Each actor has two steps, the engine two for each write.
struct World {
    near: Arc<Near>,
    writer: NearWriter,
    key: Key,
    fault: Fault,
    /// Numbers that are written, in the order in which they were queued.
    queue: Vec<usize>,
    /// The highest number whose write was acknowledged.
    acknowledged: usize,
    /// How many writes the engine has served, and its entry.
    served: usize,
    held: Option<Arc<NearEntry>>,
    taken: [usize; ACTORS.len()],
    /// What was acknowledged when the reader looked at the gate. `None` if that was closed.
    least: Option<usize>,
    is_stale: bool,
}

impl World {
    fn new(key: &Key, fault: Fault) -> Self {
        let (near, mut writer) = near(10_000);
        let held = Some(writer.publish(key.clone(), "0".into(), None));
        Self {
            near,
            writer,
            key: key.clone(),
            fault,
            queue: Vec::new(),
            acknowledged: 0,
            served: 0,
            held,
            taken: [0; ACTORS.len()],
            least: None,
            is_stale: false,
        }
    }

    fn place(&self) -> Place {
        Place::of(Keys::One(&self.key))
    }

    /// Whether an actor has a step left that it can take now.
    fn is_ready(&self, actor: usize) -> bool {
        match ACTORS[actor] {
            Actor::Engine => self.taken[actor] % 2 == 1 || self.served < self.queue.len(),
            Actor::Writer | Actor::Reader => self.taken[actor] < 2,
        }
    }

    fn step(&mut self, actor: usize) {
        let is_first = self.taken[actor].is_multiple_of(2);
        self.taken[actor] += 1;
        match ACTORS[actor] {
            Actor::Writer => self.write(actor, is_first),
            Actor::Engine => self.serve(is_first),
            Actor::Reader => self.read(is_first),
        }
    }

    fn write(&mut self, writer: usize, is_first: bool) {
        let closes_first = !matches!(
            self.fault,
            Fault::ClosedAfterTheEnqueue | Fault::ClosedAfterTheAnswer
        );
        if is_first != closes_first {
            self.queue.push(writer);
        }
        if is_first == closes_first && self.fault != Fault::NoGate {
            self.near.gates.close(&self.place());
        }
        // The step that makes the write complete is the last, but for one fault.
        if is_first == (self.fault == Fault::ClosedAfterTheAnswer) {
            let place = self.queue.iter().position(|queued| *queued == writer);
            self.acknowledged = self.acknowledged.max(place.map_or(0, |place| place + 1));
        }
    }

    fn serve(&mut self, is_first: bool) {
        let removes = is_first != (self.fault == Fault::OpenedBeforeTheRemoval);
        if removes
            && self.fault != Fault::NeverRemoved
            && let Some(entry) = self.held.take()
        {
            self.writer.retract(&entry);
        }
        if !is_first {
            self.served += 1;
            if self.held.is_none() {
                let value = self.served.to_string().as_str().into();
                self.held = Some(self.writer.publish(self.key.clone(), value, None));
            }
        }
        if !removes && self.fault != Fault::NoGate {
            drop(Ticket::new(self.near.clone(), self.place()));
        }
    }

    fn read(&mut self, is_first: bool) {
        if is_first {
            let is_open = self.near.gates.are_open(self.key.hash());
            self.least = is_open.then_some(self.acknowledged);
        } else if let Some(least) = self.least {
            let found = self.near.map.find(&self.key, |entry| {
                String::from_utf8_lossy(entry.value().as_bytes()).into_owned()
            });
            self.is_stale = found.is_some_and(|text| text.parse::<usize>().unwrap() < least);
        }
    }
}

/// Takes every order once. Returns how many there are, and in how many the reader was shown a value that was older
/// than what was acknowledged before it began.
fn explore(fault: Fault) -> (usize, usize) {
    let key = keys()("k");
    let (mut orders, mut stale) = (0, 0);
    // The choices of the run, each with what else could have been chosen.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut world = World::new(&key, fault);
        let mut depth = 0;
        loop {
            let ready: Vec<usize> = (0..ACTORS.len()).filter(|actor| world.is_ready(*actor)).collect();
            if ready.is_empty() {
                break;
            }
            if depth == choices.len() {
                choices.push((0, ready.len()));
            }
            world.step(ready[choices[depth].0]);
            depth += 1;
        }
        assert_eq!((world.queue.len(), world.served), (WRITERS, WRITERS));
        let is_open = world.near.gates.are_open(key.hash());
        assert!(is_open, "{fault:?}: every gate is open at the end");
        orders += 1;
        stale += usize::from(world.is_stale);
        while let Some((chosen, of)) = choices.pop() {
            if chosen + 1 < of {
                choices.push((chosen + 1, of));
                break;
            }
        }
        if choices.is_empty() {
            return (orders, stale);
        }
    }
}

#[test]
fn no_order_of_steps_shows_an_old_value() {
    let (orders, stale) = explore(Fault::None);
    assert!(orders > 1_000, "{orders} orders");
    assert_eq!(stale, 0, "of {orders} orders");
}

#[test]
fn every_planted_order_shows_an_old_value() {
    for fault in [
        Fault::NoGate,
        Fault::ClosedAfterTheEnqueue,
        Fault::ClosedAfterTheAnswer,
        Fault::OpenedBeforeTheRemoval,
        Fault::NeverRemoved,
    ] {
        let (orders, stale) = explore(fault);
        println!("{fault:?}: {stale} of {orders} orders");
        assert!(stale > 0, "{fault:?} is not found in {orders} orders");
    }
}
