//! What the scheduler does with the engine's answers.

use super::waiting::{Question, is_lost, is_passing};
use super::*;
use crate::lock::queue::Answer;

/// How long a waiter pauses after the engine failed. It doubles with each failure, up to the longest.
pub(super) const AFTER_FAILURE: Duration = Duration::from_millis(50);
const LONGEST_AFTER_FAILURE: Duration = Duration::from_millis(800);
/// The most that is added to a sleep, so that waiters of many processes do not ask at once.
const JITTER: Duration = Duration::from_millis(20);

impl Scheduler {
    pub(super) fn answered(&mut self, asked: Asked, answer: Result<LockAnswer>) {
        match asked {
            Asked::Head {
                name,
                waiter,
                question,
            } => self.head_answered(&name, waiter, question, answer),
            Asked::Renew { waiter, question } => self.renew_answered(waiter, question, answer),
            Asked::Extend {
                hold,
                question,
                ttl,
                sent,
                reply,
            } => {
                let extended = self.extend_answered(hold, question, sent, ttl, answer);
                if let Some(reply) = reply {
                    let _ = reply.send(extended);
                }
            }
            Asked::Check(hold) => self.check_answered(hold, answer),
            Asked::Release(id) => self.release_answered(id, answer),
            Asked::Step { name, frees, reply } => {
                if frees && matches!(answer, Ok(LockAnswer::Done)) {
                    self.lose_all(&name, None);
                    self.wake(&name);
                }
                if !frees && matches!(answer, Ok(LockAnswer::Done)) {
                    self.may_end_sooner(&name);
                }
                if let Ok(LockAnswer::Held { token, .. }) = answer {
                    self.remember(&name, token);
                }
                let _ = reply.send(answer);
            }
        }
    }

    /// A lock has a new end, and its head sleeps until the old one. Elsewhere the server tells.
    pub(super) fn may_end_sooner(&mut self, name: &Name) {
        if self.is_alone() {
            self.wake(name);
        }
    }

    fn head_answered(&mut self, name: &Name, waiter: Waiter, question: Question, answer: Result<LockAnswer>) {
        let now = self.elapsed;
        let alone = self.is_alone();
        let verdict = match answer {
            Ok(LockAnswer::Granted {
                token,
                renewed,
                announces,
            }) => {
                self.saw(name, token, question.sent);
                self.remember(name, token);
                self.warn_of_silence(announces || renewed);
                Answer::Granted {
                    retry: now + question.ttl + jitter(question.ttl, alone),
                    grant: Grant {
                        question,
                        token: Some(token),
                        renewed,
                    },
                }
            }
            Ok(LockAnswer::Busy {
                remaining,
                token,
                announces,
            }) => {
                self.saw(name, token, question.sent);
                self.remember(name, token);
                if let Some(waiting) = self.wishes.get_mut(&waiter) {
                    waiting.error = None;
                    waiting.uncertain = false;
                    waiting.pause = AFTER_FAILURE;
                }
                // The engine counts in whole milliseconds: what has less left is asked for in one.
                let sleep = (remaining + jitter(remaining, alone)).max(Duration::from_millis(1));
                let retry = self.wakes_at(name, now + sleep, announces);
                Answer::Busy { retry }
            }
            Ok(_) => self.head_failed(waiter, question, Error::OutcomeUnknown(crate::lock::failed())),
            Err(error) => self.head_failed(waiter, question, error),
        };
        self.with_queues(|queues, now| queues.answered(name, verdict, now));
    }

    fn head_failed(&mut self, waiter: Waiter, question: Question, error: Error) -> Answer<Grant> {
        let (lost, passing) = (is_lost(&error), is_passing(&error));
        let mut pause = AFTER_FAILURE;
        if let Some(waiting) = self.wishes.get_mut(&waiter) {
            waiting.note(error);
            pause = waiting.pause;
            waiting.pause = (pause * 2).min(LONGEST_AFTER_FAILURE);
        }
        Answer::Failed {
            retry: passing.then(|| self.elapsed + pause + jitter(pause, false)),
            lost: lost.then_some(Grant {
                question,
                token: None,
                renewed: false,
            }),
        }
    }

    fn renew_answered(&mut self, waiter: Waiter, question: Question, answer: Result<LockAnswer>) {
        let now = self.now;
        let Some(waiting) = self.wishes.get_mut(&waiter) else {
            return;
        };
        let name = waiting.name.clone();
        match answer {
            Ok(LockAnswer::Granted { token, renewed, .. }) => {
                self.remember(&name, token);
                let grant = Grant {
                    question,
                    token: Some(token),
                    renewed,
                };
                self.grant(waiter, &grant);
                self.may_end_sooner(&name);
            }
            Ok(_) => self.line_up(waiter),
            // Its turn comes, and renews what it may hold as well.
            Err(error) if is_passing(&error) && waiting.wish.until.is_some_and(|until| until > now) => {
                waiting.note(error);
                self.line_up(waiter);
            }
            Err(error) => self.conclude(waiter, Err(error)),
        }
    }
}

/// A little at random, so that waiters of many processes do not ask at once.
fn jitter(sleep: Duration, alone: bool) -> Duration {
    if alone {
        return Duration::ZERO;
    }
    (sleep / 10).min(JITTER).mul_f64(rand::random())
}
