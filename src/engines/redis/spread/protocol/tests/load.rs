//! A load: its lease, a loader that reads what it depends on, and the write.

use compact_str::CompactString;
use tokio::time::Instant;

use crate::engines::redis::spread::protocol::Machine;
use crate::engines::redis::spread::protocol::answer::{Answer, Answered};
use crate::engines::redis::spread::protocol::lease::{Lease, Leased, Terms};
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::{Stamp, Stamps};
use crate::engines::redis::spread::protocol::step::{Condition, Next, Step, Watch};
use crate::engines::redis::spread::protocol::write::{Content, Write};
use crate::value::Value;

/// A load whose loader reads as soon as the lease is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Load {
    pub(super) content: Content,
    lease: Lease,
    pub(super) token: Stamp,
    seed: u64,
    write: Option<Write>,
    ended: bool,
    covers: Vec<Step>,
    /// Whether it registers before it takes its lease: a shortcut.
    pub(super) registers_first: bool,
    first: Vec<Step>,
    waits: Vec<Step>,
}

impl Load {
    pub(super) fn new(seed: u64, key: &str, names: &[&str]) -> Self {
        let content = Content {
            key: CompactString::from(key),
            value: Value::from(format!("v{seed}")),
            ttl: Life::Ever,
            condition: Condition::Always,
            names: names.iter().map(|name| CompactString::from(*name)).collect(),
        };
        let token = Stamp::new(seed, 1000);
        let terms = Terms {
            key: content.key.clone(),
            names: content.names.clone(),
            lease: token,
            life: Life::Millis(60_000),
            reads: false,
            wanted: 0,
            keeps_names: false,
        };
        Self {
            content,
            lease: Lease::new(terms, Stamps::new(seed)),
            token,
            seed,
            write: None,
            ended: false,
            covers: Vec::new(),
            registers_first: false,
            first: Vec::new(),
            waits: Vec::new(),
        }
    }

    /// Whether the loader has read, and its value is not stored.
    pub(super) fn is_loading(&self) -> bool {
        self.write.is_some() && !self.ended
    }

    /// The value is stored, or never will be.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Machine for Load {
    type Output = ();

    fn start(&mut self, now: Instant) -> Next<()> {
        let (lease, plants) = (&mut self.lease, self.registers_first);
        let Next::Steps(mut steps) = lease.start(now) else {
            panic!("nothing was done")
        };
        if plants {
            // The answers to these are those to the registrations that the lease asks for.
            let life = Life::Ever;
            let watch = Some(Watch {
                lease: self.token,
                life,
            });
            let register = |name: &CompactString| Step::Register {
                name: name.clone(),
                member: self.content.key.clone(),
                stamp: Stamp::new(self.seed, 2000),
                life,
                watch,
            };
            self.first = self.content.names.iter().map(register).collect();
            self.waits = std::mem::replace(&mut steps, self.first.clone());
        }
        Next::Steps(steps)
    }

    fn advance(&mut self, now: Instant, step: &Step, answered: Answered) -> Next<()> {
        if self.first.contains(step) {
            self.first.retain(|first| first != step);
            if self.first.is_empty() {
                return Next::Steps(std::mem::take(&mut self.waits));
            }
            return Next::Steps(Vec::new());
        }
        if let Some(write) = &mut self.write {
            return match write.advance(now, step, answered) {
                Next::Steps(steps) => Next::Steps(steps),
                Next::Done { mut rest, .. } => {
                    rest.append(&mut self.covers);
                    let output = ();
                    Next::Done { output, rest }
                }
            };
        }
        let answered_epoch = answered.epoch;
        match self.lease.advance(now, step, answered) {
            Next::Steps(steps) if self.registers_first => {
                // They have been made.
                let mut next = Next::Steps(steps.clone());
                for step in &steps {
                    let (above, epoch) = (None, answered_epoch);
                    let answer = Answer::Registered { above };
                    next = self.advance(now, step, Answered { answer, epoch });
                }
                next
            }
            Next::Steps(steps) => Next::Steps(steps),
            Next::Done {
                output: Leased::Taken { seen, names, .. },
                rest,
            } => {
                self.covers = rest;
                let stamps = Stamps::new(self.seed + 100);
                let mut write = Write::loaded(self.content.clone(), self.token, names, seen, stamps);
                let next = write.start(now);
                self.write = Some(write);
                match next {
                    Next::Steps(steps) => Next::Steps(steps),
                    Next::Done { .. } => panic!("nothing was done"),
                }
            }
            Next::Done { rest, .. } => {
                let output = ();
                Next::Done { output, rest }
            }
        }
    }
}
