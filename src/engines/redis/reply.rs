//! Replies to answers. Pure but for the answers themselves, which go to their callers.

mod lost;
mod refusals;

use redis::Value as Wire;
use tokio::time::Instant;

pub(super) use self::lost::{at, expire, fail, is_awaited, lose, no_answer, refuse, unsent};
pub(super) use self::refusals::Refusals;
use super::exchange::{Replies, Settled};
use super::fault;
use super::fetch;
use super::gets;
use super::job::{Job, Task};
use super::part::Part;
use super::redirect::Redirect;
use super::script::By;
use super::tally::Tally;
use super::tracker::TrackedConnection;
use super::transaction::{self, Edge, Verdict};
use super::unsent::Unsent;
use super::walk::Walk;
use super::wire::{forgotten, refuse_errors, unexpected};
use crate::error::{Cause, Error};
use crate::request::{EntryRequest, KeyChange};

/// What the engine learns while it hands out answers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// To be sent next, before what waits.
    pub(super) again: Vec<Job>,
    /// To be sent in its turn, after what waits.
    pub(super) later: Vec<Job>,
    /// The server takes no writes any more: another may.
    pub(super) demoted: bool,
    /// The server did not know a script.
    pub(super) forgotten: bool,
    /// The server has refused a transaction, and has not sent to another node for it.
    pub(super) no_transaction: Option<transaction::Refused>,
    /// What was not removed: the server takes no writes, or it refused the removal of a caller who has left.
    pub(super) unsent: Unsent,
    /// Why leases that should have been invalidated were not.
    pub(super) not_invalidated: Option<Error>,
}

impl Outcome {
    /// Learns what an error tells of the server.
    fn learn(&mut self, reply: &Wire) {
        if let Wire::ServerError(error) = reply {
            self.demoted |= fault::is_demoted(error);
            self.forgotten |= fault::is_forgotten_script(error);
        }
    }
}

fn is_demoted(reply: &Wire) -> bool {
    matches!(reply, Wire::ServerError(error) if fault::is_demoted(error))
}

/// The connection that replies come over, and when their requests were sent: for the near cache.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) connection: &'a TrackedConnection,
    pub(super) sent: Instant,
}

impl Origin<'_> {
    /// A node of a cluster has refused a part. Nothing is published of the keys that were fetched by it. If the node does not
    /// own the slot any more, or has lost the other nodes, nobody tells of changes to what was read there. If only a key has
    /// moved, it is read over another connection.
    fn refused(&self, part: &Part, redirect: &Redirect) {
        match redirect {
            Redirect::Moved(_) | Redirect::Elsewhere | Redirect::Down => self.connection.disowned(),
            Redirect::Ask(_) | Redirect::Later => {
                part.each_key(&mut |key| self.connection.read_elsewhere(key));
            }
        }
        let keys = match part {
            Part::Fetches(keys, _) => keys,
            Part::Other {
                fetch: Some(fetch), ..
            } => &fetch.keys,
            _ => return,
        };
        for key in keys {
            self.connection.fetched(key, None, self.sent);
        }
    }

    /// Takes in what the server has done, before those who asked for it are answered.
    fn learn(&self, part: &Part) {
        if part.needs_barrier() {
            self.connection.tracker().raise_barrier();
        }
        let changes = match part {
            Part::Other { job: Some(job), .. } => match &job.task {
                Task::Request(request) => {
                    if matches!(request, EntryRequest::Lock(_)) {
                        return;
                    }
                    request.changes_entries()
                }
                Task::Doubt(_) | Task::Walk(_) | Task::Own(_) => false,
            },
            Part::Sets(_) => true,
            Part::Other { job: None, .. }
            | Part::Gets(_)
            | Part::Fetches(..)
            | Part::Leases(_)
            | Part::Transaction(_)
            | Part::Ping { .. } => false,
        };
        part.each_key(&mut |key| {
            if changes {
                self.connection.changed(key);
            } else {
                self.connection.read(key);
            }
        });
    }
}

/// Hands out the replies of one pipeline.
pub(super) fn settle(
    parts: Vec<Part>,
    mut replies: Vec<Wire>,
    near: Option<Origin<'_>>,
    tally: &mut Tally,
    outcome: &mut Outcome,
    mut refusals: Option<Refusals<'_>>,
) {
    let mut verdicts = Vec::new();
    if refusals.is_some() {
        (verdicts, outcome.no_transaction) = transaction::unwrap(&parts, &mut replies);
    }
    let (mut replies, mut verdicts) = (replies.into_iter(), verdicts.into_iter());
    let mut verdict = Verdict::Answered;
    for part in parts {
        match part {
            Part::Transaction(Edge::Begin) => verdict = verdicts.next().unwrap_or(Verdict::Answered),
            Part::Transaction(Edge::End) => verdict = Verdict::Answered,
            _ => {}
        }
        let part = match &mut refusals {
            Some(refusals) => match refusals.take(part, &verdict, &mut replies, near.as_ref(), outcome) {
                Some(part) => part,
                None => continue,
            },
            None => part,
        };
        if let Some(near) = &near {
            near.learn(&part);
        }
        match part {
            Part::Ping { .. } | Part::Transaction(_) => drop(replies.next()),
            Part::Fetches(keys, getters) => {
                let own = replies.by_ref().take(fetch::replies(keys.len())).collect();
                let found = fetch::found(&keys, own, near.as_ref());
                fetch::decode_gets(found, getters, tally, &mut outcome.again);
            }
            Part::Gets(getters) => gets::decode(getters, replies.next(), tally, &mut outcome.again),
            Part::Sets(sets) => {
                let reply = replies.next().unwrap_or_default();
                outcome.learn(&reply);
                sets.decode(reply, tally, &mut outcome.again);
            }
            Part::Leases(count) => {
                for reply in replies.by_ref().take(count) {
                    // A server that is full does not note what changes, but it tells the loads that may need it.
                    if let Wire::ServerError(error) = reply
                        && error.code() != "OOM"
                    {
                        outcome.demoted |= fault::is_demoted(&error);
                        outcome.not_invalidated = Some(fault::answered(&error));
                    }
                }
            }
            Part::Other {
                job,
                replies: count,
                fetch,
                left,
            } => {
                let mut own: Vec<Wire> = replies.by_ref().take(count).collect();
                own.iter().for_each(|reply| outcome.learn(reply));
                if own.iter().any(is_demoted) {
                    outcome.unsent.add(job.as_ref().and_then(unsent));
                }
                if own.iter().any(|reply| matches!(reply, Wire::ServerError(_))) {
                    // The caller who has left was told that the outcome is unknown, so nobody else sends it again.
                    outcome.unsent.add(left);
                }
                if let Some(fetch) = fetch {
                    match fetch.settle(own, near.as_ref()) {
                        Some(replies) => own = replies,
                        None => {
                            // Without a transaction the server tells what is wrong.
                            outcome.again.extend(job.map(|job| Job { alone: true, ..job }));
                            continue;
                        }
                    }
                }
                if let Some(job) = job {
                    settle_job(job, own, near.as_ref(), tally, outcome);
                }
            }
        }
    }
}

fn settle_job(
    job: Job,
    mut replies: Vec<Wire>,
    near: Option<&Origin<'_>>,
    tally: &mut Tally,
    outcome: &mut Outcome,
) {
    let Job {
        task,
        deadline,
        by,
        alone,
        is_replay,
        ..
    } = job;
    let job = |task| Job {
        is_replay,
        ..Job::new(task, deadline)
    };
    if let [reply] = replies.as_slice()
        && forgotten(reply, by)
    {
        outcome.again.push(Job {
            by: By::Source,
            ..job(task)
        });
        return;
    }
    match task {
        Task::Request(request) => match request.settle(Replies::new(replies, by), tally) {
            Settled::Answered => {}
            Settled::Forgotten(request) => outcome.again.push(Job {
                by: By::Source,
                ..job(Task::Request(request))
            }),
            Settled::Doubted(doubt) => outcome.again.push(Job {
                alone: doubt.is_sure(),
                ..job(Task::Doubt(doubt))
            }),
        },
        Task::Doubt(doubt) => {
            if let Some(doubt) = doubt.decode(alone, replies, tally) {
                outcome.again.push(Job {
                    alone: true,
                    ..job(Task::Doubt(Box::new(doubt)))
                });
            }
        }
        Task::Own(own) => own.settle(replies.pop()),
        Task::Walk(walk) => {
            let reply = replies.pop().unwrap_or_default();
            // What the script has removed is told after its reply.
            if let Some(near) = near {
                near.connection.tracker().raise_barrier();
            }
            settle_walk(walk, reply, job, tally, outcome);
        }
    }
}

/// Tells listeners what a step of an invalidation has removed.
fn tell_of_walk(walk: &mut Walk, tally: &Tally) {
    for key in walk.told() {
        tally.tell_of(&key, KeyChange::Invalidated);
    }
}

fn settle_walk(
    mut walk: Walk,
    got: Wire,
    job: impl FnOnce(Task) -> Job,
    tally: &mut Tally,
    outcome: &mut Outcome,
) {
    let failure = match refuse_errors(got) {
        Ok(got) => match walk.advance(got) {
            Ok(false) if walk.is_too_large() => {
                tell_of_walk(&mut walk, tally);
                let large = "an invalidation or a clearing would hold more than 1 GiB of names";
                tracing::warn!("{large}: it ends early");
                Error::Rejected(Cause::new(fault::Lost(large.to_owned())))
            }
            Ok(true) => {
                tell_of_walk(&mut walk, tally);
                for (prefix, removed) in walk.cleared() {
                    tally.tell_of_clearing(prefix, removed);
                }
                let counter = if walk.is_invalidation() {
                    &mut tally.stats.invalidated
                } else {
                    &mut tally.stats.deletes
                };
                *counter = counter.saturating_add(walk.removed);
                return walk.finish();
            }
            Ok(false) => {
                tell_of_walk(&mut walk, tally);
                outcome.later.push(job(Task::Walk(walk)));
                return;
            }
            Err(_) => {
                tracing::warn!(
                    "an invalidation or a clearing ends early: Redis gave an answer that is none of its scripts'"
                );
                unexpected()
            }
        },
        Err(error) => error,
    };
    let partly = walk
        .begun
        .then(|| Error::OutcomeUnknown(Cause::new(failure.clone())));
    walk.fail(&partly.unwrap_or(failure));
}
