//! The steps of calls in several slots: they are sent to the nodes, and their answers go to the calls.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::engine::SpreadEngine;
use super::machines::{Call, Running, tell, tell_of};
use super::protocol::{Answer, Answered, Epoch, Machine, Next, Step};
use crate::engines::redis::cluster::slot_of;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::own::{Command, Own, Told};
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::walk::Caller;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{CorrelatedReply, Outcome, Reply};

/// How long a step may take that no caller waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a call does next.
enum Then {
    Send(Vec<Step>),
    Ended(Vec<Step>),
}

impl SpreadEngine {
    /// Invalidates names.
    pub(super) fn invalidate(&mut self, names: &[Key], caller: Caller, now: Instant) {
        let deadline = caller.deadline.max(now + PATIENCE);
        self.begin(Call::invalidation(names, caller), deadline, now);
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, call: Call, deadline: Instant, now: Instant) {
        let has_begun = false;
        let is_invalidation = matches!(call, Call::Invalidation(..));
        let number = self.machines.insert(Running {
            call,
            deadline,
            has_begun,
        });
        if is_invalidation {
            self.near.begin(number);
        }
        self.advance(number, None, now);
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
        let answered = told.and_then(|Told { reply, epoch }| {
            let answer = match reply {
                Some(reply) => step.decode(reply)?,
                None => Answer::Void,
            };
            Ok(Answered { answer, epoch })
        });
        match answered {
            Ok(answered) => {
                self.seens.learn(&step, &answered, now);
                self.advance(number, Some((step, answered)), now);
            }
            Err(error) => self.end(number, Err(error), now),
        }
    }

    /// Goes on with a call, from its begin or by an answer.
    fn advance(&mut self, number: u64, answer: Option<(Step, Answered)>, now: Instant) {
        let Some(running) = self.machines.get_mut(number) else {
            return;
        };
        if let Some((Step::Kill { key, .. }, answered)) = &answer {
            running.has_begun = true;
            if matches!(answered.answer, Answer::Killed { removed: true, .. }) {
                tell_of(key, &self.tally);
            }
        }
        fn next<M: Machine>(
            machine: &mut M,
            answer: Option<(Step, Answered)>,
            now: Instant,
        ) -> (Then, Option<M::Output>) {
            let next = match answer {
                None => machine.start(now),
                Some((step, answered)) => machine.advance(now, &step, answered),
            };
            match next {
                Next::Steps(steps) => (Then::Send(steps), None),
                Next::Done { output, rest } => (Then::Ended(rest), Some(output)),
            }
        }
        let (mut written, mut touched, mut removed) = (None, None, None);
        let then = match &mut running.call {
            Call::Write(_, machine, _) => {
                let (then, output) = next(&mut **machine, answer, now);
                written = output;
                then
            }
            Call::Touch(_, machine, _) => {
                let (then, output) = next(&mut **machine, answer, now);
                touched = output;
                then
            }
            Call::Invalidation(_, machine) => {
                let (then, output) = next(&mut **machine, answer, now);
                removed = output;
                then
            }
        };
        let deadline = running.deadline;
        match then {
            Then::Send(steps) => self.send_steps(number, steps, deadline, now),
            Then::Ended(rest) => {
                self.send_steps(0, rest, now + PATIENCE, now);
                let Some((running, waiting)) = self.machines.remove(number) else {
                    return;
                };
                self.near.end(number);
                match running.call {
                    Call::Write(asking, ..) => {
                        if let Some(written) = written {
                            asking.written(written, &mut self.tally);
                        }
                    }
                    Call::Touch(asking, ..) => {
                        if let Some(touched) = touched {
                            asking.touched(touched, &mut self.tally);
                        }
                    }
                    Call::Invalidation(caller, _) => tell(removed.unwrap_or(0), &mut self.tally, caller),
                }
                waiting.into_iter().for_each(|entry| self.take(entry, now));
            }
        }
    }

    /// A call has failed.
    fn end(&mut self, number: u64, why: Result<()>, now: Instant) {
        let Some((running, waiting)) = self.machines.remove(number) else {
            return;
        };
        self.near.end(number);
        if let Err(error) = why {
            running.call.fail(error, running.has_begun);
        }
        waiting.into_iter().for_each(|entry| self.take(entry, now));
    }

    fn send_steps(&mut self, number: u64, steps: Vec<Step>, deadline: Instant, now: Instant) {
        self.due = self.due.into_iter().chain([deadline]).min();
        for step in steps {
            // A put must go over the link of the look before it.
            let is_of_key = matches!(step, Step::Look { .. } | Step::Put(_) | Step::Touch { .. });
            let running = self.machines.get_mut(number);
            let key = running.and_then(|running| running.call.key().cloned());
            let own = Own {
                slot: Some(slot_of(step.place().as_bytes())),
                key: key.filter(|_| is_of_key).map(Box::new),
                bound: step.epoch(),
                sent: Epoch::default(),
                was_sent: false,
                is_repeatable: step.is_repeatable(),
                command: Command::Step(Box::new(step.clone())),
                reply: Reply::Actor(CorrelatedReply::new(
                    self.steps_to.clone(),
                    self.machines.sent(number, step),
                )),
            };
            self.send(Job::new(Task::Own(Box::new(own)), deadline), now);
        }
    }
}
