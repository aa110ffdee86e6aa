//! The steps of calls in several slots: they are sent to the nodes, and their answers go to the calls.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::calls::{Call, Output, Who};
use super::engine::SpreadEngine;
use super::machines::Running;
use super::protocol::{Answer, Answered, Epoch, Next, PutAnswer, Step};
use crate::actor::queue::Room;
use crate::engines::redis::cluster::slot_of;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::own::{Command, Own, Told};
use crate::engines::redis::process::Process;
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::walk::Caller;
use crate::error::{Error, Phase, Result};
use crate::key::Key;
use crate::request::{CorrelatedReply, KeyChange, Outcome, Reply};

/// How long a step may take that no caller waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether an answer says that something was changed for users.
fn has_changed(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Killed { .. }
            | Answer::Changed { .. }
            | Answer::Put {
                put: PutAnswer::Written { .. },
                ..
            }
    )
}

impl SpreadEngine {
    /// Invalidates names.
    pub(super) fn invalidate(&mut self, names: &[Key], caller: Caller, now: Instant) {
        let deadline = caller.deadline.max(now + PATIENCE);
        self.begin(Call::invalidation(names, caller), deadline, None, now);
    }

    /// Begins a call. Its room in the queue is given back with its first step.
    pub(super) fn begin(&mut self, call: Call, deadline: Instant, room: Option<Room>, now: Instant) {
        let is_invalidation = matches!(call.who, Who::Invalidation(_));
        let number = self.machines.insert(Running {
            call,
            deadline,
            has_changed: false,
        });
        if is_invalidation {
            self.near.begin(number);
        }
        self.advance(number, None, room, now);
    }

    /// Takes in the answers to steps.
    pub(super) fn poll_steps(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut done = false;
        while let Poll::Ready(Some((step, outcome))) = self.steps.poll_recv(cx) {
            done = true;
            self.take_answer(step, outcome, now);
        }
        done
    }

    fn take_answer(&mut self, step: u64, outcome: Outcome<Told>, now: Instant) {
        let Some((number, step)) = self.machines.answered(step) else {
            return;
        };
        self.near.answered(&step);
        let told: Result<Told> = outcome.unwrap_or_else(|| Err(Error::OutcomeUnknown(no_answer())));
        let answered = told.and_then(|Told { reply, epoch, .. }| {
            let answer = match reply {
                Some(reply) => step.decode(reply)?,
                None => Answer::Void,
            };
            Ok(Answered { answer, epoch })
        });
        match answered {
            Ok(answered) => {
                self.seens.learn(&step, &answered, now);
                self.advance(number, Some((&step, answered)), None, now);
            }
            Err(error) => self.fail(number, error, now),
        }
    }

    /// Goes on with a call, from its begin or by an answer.
    fn advance(&mut self, number: u64, answer: Option<(&Step, Answered)>, room: Option<Room>, now: Instant) {
        let Some(running) = self.machines.get_mut(number) else {
            return;
        };
        if let Some((step, answered)) = &answer {
            running.has_changed |= has_changed(&answered.answer);
            if let (Step::Kill { key, .. }, Answer::Killed { removed: true, .. }) = (step, &answered.answer) {
                self.tally.tell_of(key, KeyChange::Invalidated);
            }
        }
        let deadline = running.deadline;
        match running.call.next(answer, now) {
            Next::Steps(steps) if steps.is_empty() => {}
            Next::Steps(steps) if deadline > now => self.send_steps(number, steps, deadline, room, now),
            Next::Steps(steps) => {
                // A change that was made ends loads all the same.
                if running.has_changed {
                    self.send_steps(0, steps, now + PATIENCE, None, now);
                }
                self.fail(number, Error::Timeout { phase: Phase::Reply }, now);
            }
            Next::Done { output, rest } => {
                self.send_steps(0, rest, now + PATIENCE, None, now);
                self.end(number, output, now);
            }
        }
    }

    fn end(&mut self, number: u64, output: Output, now: Instant) {
        let Some((running, waiting)) = self.machines.remove(number) else {
            return;
        };
        self.near.end(number);
        match running.call.who {
            Who::Clearing(clearing) => self.marked(clearing, Ok(output), now),
            who => who.answer(output, &mut self.leases, &mut self.tally, now),
        }
        waiting.into_iter().for_each(|entry| self.take(entry, now));
    }

    /// A call has failed.
    fn fail(&mut self, number: u64, error: Error, now: Instant) {
        let Some((running, waiting)) = self.machines.remove(number) else {
            return;
        };
        self.near.end(number);
        self.send_steps(0, running.call.undo(), now + PATIENCE, None, now);
        match running.call.who {
            Who::Clearing(clearing) => self.marked(clearing, Err(error), now),
            who => who.fail(error, running.has_changed),
        }
        waiting.into_iter().for_each(|entry| self.take(entry, now));
    }

    /// The marks of a clearing are made or taken away.
    fn marked(&mut self, clearing: u64, outcome: Result<Output>, now: Instant) {
        let unbroken = outcome.map(|output| matches!(output, Output::Marked(true)));
        let next = self.clears.marked(clearing, unbroken, &self.map, &mut self.tally);
        if let Some(next) = next {
            self.carry_out(clearing, next, now);
        }
    }

    /// Sends steps of a call, or of none, whose number is 0.
    pub(super) fn send_steps(
        &mut self,
        number: u64,
        steps: Vec<Step>,
        deadline: Instant,
        mut room: Option<Room>,
        now: Instant,
    ) {
        self.due = self.due.into_iter().chain([deadline]).min();
        let running = self.machines.get_mut(number);
        let key = running.and_then(|running| running.call.key().cloned());
        for step in steps {
            // What changes or reads the key keeps its order, and a put must go over the link of the look before it.
            let own_key = key.as_ref().filter(|key| step.is_of_value(key.as_str()));
            let step = Arc::new(step);
            let own = Own {
                slot: Some(slot_of(step.place().as_bytes())),
                key: own_key.cloned().map(Box::new),
                bound: step.epoch(),
                sent: Epoch::default(),
                process: Process::default(),
                was_sent: false,
                is_repeatable: step.is_repeatable(),
                command: Command::Step(step.clone()),
                reply: Reply::Actor(CorrelatedReply::new(
                    self.steps_to.clone(),
                    self.machines.sent(number, step),
                )),
            };
            let mut job = Job::new(Task::Own(Box::new(own)), deadline);
            job.room = room.take();
            self.send(job, now);
        }
    }
}
