//! Who knows which locks are held: the engine, or the scheduler itself.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use super::name::Name;
use super::table::Table;
use crate::actor::pending::PendingRequests;
use crate::actor::queue::QueueSender;
use crate::error::Result;
use crate::request::{Lock, LockAction, LockAnswer, LockStep};

/// Answers steps on locks, each with what was to be remembered about it until then.
#[derive(Debug)]
pub(super) enum Backend<About> {
    /// All locks are in this process, and pass through one scheduler: its own table has them.
    Here {
        table: Table,
        answers: VecDeque<(About, LockAnswer)>,
    },
    /// The engine, which other processes ask too.
    Engine(PendingRequests<About, LockAnswer>),
}

impl<About> Backend<About> {
    /// Asks an engine through its queue; without one the locks are kept here.
    pub(super) fn new(engine: Option<QueueSender>) -> Self {
        match engine {
            Some(engine) => Backend::Engine(PendingRequests::new(engine)),
            None => Backend::Here {
                table: Table::new(),
                answers: VecDeque::new(),
            },
        }
    }

    /// Asks. Steps on one lock are carried out in the order in which they are asked for.
    pub(super) fn ask(&mut self, name: &Name, action: LockAction, now: Duration, about: About) {
        match self {
            Backend::Here { table, answers } => {
                let answer = table.serve(name, action, now);
                answers.push_back((about, answer));
            }
            Backend::Engine(pending) => {
                let key = name.key().clone();
                let step = Box::new(LockStep { key, action });
                pending.ask(about, Lock { step });
            }
        }
    }

    /// Whether callers should wait in the scheduler's inbox.
    pub(super) fn is_held_up(&self) -> bool {
        match self {
            Backend::Here { .. } => false,
            Backend::Engine(pending) => pending.is_held_up(),
        }
    }

    /// Whether all has been answered.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Backend::Here { answers, .. } => answers.is_empty(),
            Backend::Engine(pending) => pending.is_idle(),
        }
    }

    /// The next answer.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(About, Result<LockAnswer>)> {
        match self {
            Backend::Here { answers, .. } => match answers.pop_front() {
                Some((about, answer)) => Poll::Ready((about, Ok(answer))),
                // Nobody but the scheduler itself asks, so there is nothing to be woken for.
                None => Poll::Pending,
            },
            Backend::Engine(pending) => pending.poll_answer(cx),
        }
    }
}
