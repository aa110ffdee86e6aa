//! Calls in steps: the machine that carries a request out, and the answer to who waits for it.

use std::collections::HashSet;

use compact_str::CompactString;
use tokio::time::Instant;

use super::leases::{Held, Leases};
use super::protocol::{
    Act, Answered, Change, Changed, Condition, Content, End, Given, Invalidation, Lease, Leased, Life,
    Machine, Marking, Next, Seen, Stamps, Step, Terms, Touch, Touched, Write, Written,
};
use crate::engines::redis::walk::Caller;
use crate::envelope::{Body, Stored, open};
use crate::key::Key;
use crate::request::{
    self, Asked, EntryRequest, LeaseAction, LeaseAnswer, LeaseTerms, Names, PREFIX, Renewal, Token,
};

/// A call in steps.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) who: Who,
    plan: Plan,
}

/// Who waits for a call.
#[derive(Debug)]
pub(super) enum Who {
    /// The caller of a request for one key.
    One(EntryRequest),
    /// The caller of an invalidation, unless its time is over.
    Invalidation(Option<Caller>),
    /// The clearing with this number.
    Clearing(u64),
}

/// The machine of a call.
#[derive(Debug)]
enum Plan {
    Write(Box<Write>),
    Change(Box<Change>),
    Touch(Box<Touch>),
    Lease(Box<Lease>),
    End(Box<End>),
    Invalidation(Box<Invalidation>),
    Marking(Box<Marking>),
}

/// What a call has come to.
#[derive(Debug)]
pub(super) enum Output {
    Written(Written),
    Changed(Changed),
    Touched(Touched),
    Leased(Leased),
    Ended,
    Removed(u64),
    /// Whether all marks of a clearing were there.
    Marked(bool),
}

/// How a request is carried out.
#[derive(Debug)]
pub(super) enum Taken {
    InSteps(Call),
    /// By one command.
    Alone(EntryRequest),
    /// It was answered.
    Answered,
}

fn stamps() -> Stamps {
    Stamps::new(rand::random())
}

/// What a write is of. Its names are each once, without the key itself.
fn content(write: &request::Write, condition: Condition) -> Content {
    Content {
        key: write.key.text().clone(),
        value: write.value.clone(),
        ttl: Life::of(write.ttl),
        condition,
        names: names(&write.depends_on, &write.key),
    }
}

fn names(names: &Names, key: &Key) -> Vec<CompactString> {
    let others = names.iter().filter(|name| *name != key);
    others.map(|name| name.text().clone()).collect()
}

fn condition(condition: &request::Condition) -> Condition {
    match condition {
        request::Condition::Absent => Condition::Absent,
        request::Condition::Present => Condition::Present,
        request::Condition::Holds(value) => Condition::Holds(value.clone()),
    }
}

/// The value that a load keeps, with a new head. `None` if there is none that was loaded, or if it depends on names that the
/// lease does not have.
fn kept(key: &Key, renewal: &Renewal, held: &Held) -> Option<Content> {
    let value = held.present.as_ref()?;
    let Stored::Loaded(_, body) = open(value.as_bytes()) else {
        return None;
    };
    if !held.has(&names(&renewal.names, key)) {
        return None;
    }
    let validator = renewal.validator.as_deref().or(body.validator);
    Some(Content {
        key: key.text().clone(),
        value: renewal.head.seal(Body { validator, ..body }),
        ttl: Life::of(renewal.head.ttl()),
        condition: Condition::Always,
        names: held.names.clone(),
    })
}

impl Plan {
    /// `known` is what is known of the slot.
    fn write(write: &request::Write, condition: Condition, known: impl FnOnce(&Key) -> Option<Seen>) -> Self {
        let seen = if write.depends_on.is_empty() {
            None
        } else {
            known(&write.key)
        };
        let write = Write::new(content(write, condition), seen, stamps());
        Self::Write(Box::new(write))
    }

    fn change(key: &Key, act: Act) -> Self {
        Self::Change(Box::new(Change::new(key.text().clone(), act)))
    }

    fn touch(key: &Key, ttl: Life, reads: bool) -> Self {
        Self::Touch(Box::new(Touch::new(key.text().clone(), ttl, reads, stamps())))
    }

    fn lease(key: &Key, terms: &LeaseTerms, reads: bool, leases: &Leases) -> Self {
        let mut names = names(&terms.names, key);
        if terms.late_names {
            let given: HashSet<_> = names.iter().cloned().collect();
            let hints = leases.hints.of(key.text()).iter();
            names.extend(hints.filter(|name| !given.contains(*name)).cloned());
        }
        let terms = Terms {
            key: key.text().clone(),
            names,
            lease: terms.token.into(),
            life: Life::from(terms.ttl),
            reads,
            wanted: if terms.late_names { 0 } else { PREFIX },
            keeps_names: terms.late_names,
        };
        Self::Lease(Box::new(Lease::new(terms, stamps())))
    }

    fn end(key: &Key, token: Token, names: Vec<CompactString>, given: Given) -> Self {
        let end = End::new(key.text().clone(), names, token.into(), given);
        Self::End(Box::new(end))
    }

    /// Stores what was loaded under a lease. If the value depends on names that the lease does not have, ends the lease, and
    /// remembers these names for the next load.
    fn loaded(token: Token, write: &request::Write, leases: &mut Leases) -> Self {
        let (key, content) = (&write.key, content(write, Condition::Always));
        let held = leases.take(token, key);
        match held {
            Some(held) if held.has(&content.names) => {
                let write = Write::loaded(content, token.into(), held.names, held.seen, stamps());
                Self::Write(Box::new(write))
            }
            Some(held) => {
                leases.hints.learn(key.text(), content.names);
                Self::end(key, token, held.names, Given::Tied)
            }
            None => Self::end(key, token, content.names, Given::Tied),
        }
    }

    /// The plan of a step on a lease. `None` if there is nothing to be done, because there is no value to be kept.
    fn of_lease(action: &LeaseAction, leases: &mut Leases) -> Option<Self> {
        Some(match action {
            LeaseAction::Take { key, terms } => Self::lease(key, terms, false, leases),
            LeaseAction::Fulfil { token, write } => Self::loaded(*token, write, leases),
            LeaseAction::Renew { key, token, renewal } => {
                let held = leases.get(*token, key)?;
                let content = kept(key, renewal, held)?;
                let names = held.names.clone();
                let write = Write::loaded(content, (*token).into(), names, held.seen, stamps());
                Self::Write(Box::new(write.keeping()))
            }
            LeaseAction::End {
                key,
                token,
                names: tied,
                given,
            } => {
                let held = leases.take(*token, key);
                let given = match given {
                    false => Given::Nothing,
                    true if tied.is_empty() => Given::Free,
                    true => Given::Tied,
                };
                let names = held.map_or_else(|| names(tied, key), |held| held.names);
                Self::end(key, *token, names, given)
            }
        })
    }

    fn next(&mut self, answer: Option<(&Step, Answered)>, now: Instant) -> Next<Output> {
        fn next<M: Machine>(
            machine: &mut M,
            answer: Option<(&Step, Answered)>,
            now: Instant,
            output: fn(M::Output) -> Output,
        ) -> Next<Output> {
            let next = match answer {
                None => machine.start(now),
                Some((step, answered)) => machine.advance(now, step, answered),
            };
            next.map(output)
        }
        match self {
            Self::Write(machine) => next(&mut **machine, answer, now, Output::Written),
            Self::Change(machine) => next(&mut **machine, answer, now, Output::Changed),
            Self::Touch(machine) => next(&mut **machine, answer, now, Output::Touched),
            Self::Lease(machine) => next(&mut **machine, answer, now, Output::Leased),
            Self::End(machine) => next(&mut **machine, answer, now, |()| Output::Ended),
            Self::Invalidation(machine) => next(&mut **machine, answer, now, Output::Removed),
            Self::Marking(machine) => next(&mut **machine, answer, now, Output::Marked),
        }
    }
}

impl Call {
    /// How a request for one key is carried out. `known` tells what is known of the slot of a key.
    pub(super) fn of(
        request: EntryRequest,
        leases: &mut Leases,
        known: impl FnOnce(&Key) -> Option<Seen>,
    ) -> Taken {
        let plan = match &request {
            EntryRequest::Set(asked) => Plan::write(&asked.operation.write, Condition::Always, known),
            EntryRequest::SetIf(asked) => {
                let condition = condition(&asked.operation.condition);
                Plan::write(&asked.operation.write, condition, known)
            }
            EntryRequest::Swap(asked) => Plan::write(&asked.operation.write, Condition::Swap, known),
            EntryRequest::Delete(asked) => Plan::change(&asked.operation.key, Act::Delete),
            EntryRequest::Take(asked) => Plan::change(&asked.operation.key, Act::Take),
            EntryRequest::DeleteIf(asked) => {
                let act = Act::DeleteIf(asked.operation.expected.clone());
                Plan::change(&asked.operation.key, act)
            }
            EntryRequest::Incr(asked) => {
                let (by, ttl) = (asked.operation.by, Life::of(asked.operation.ttl));
                Plan::change(&asked.operation.key, Act::Incr { by, ttl })
            }
            EntryRequest::Expire(asked) => {
                Plan::touch(&asked.operation.key, Life::of(asked.operation.ttl), false)
            }
            EntryRequest::GetAndTouch(asked) => {
                Plan::touch(&asked.operation.key, Life::from(asked.operation.ttl), true)
            }
            EntryRequest::GetOrLease(asked) => {
                Plan::lease(&asked.operation.key, &asked.operation.terms, true, leases)
            }
            EntryRequest::Lease(asked) => match Plan::of_lease(&asked.operation.step, leases) {
                Some(plan) => plan,
                None => {
                    if let EntryRequest::Lease(Asked { reply, .. }) = request {
                        reply.send(Ok(LeaseAnswer::Stored(false)));
                    }
                    return Taken::Answered;
                }
            },
            _ => return Taken::Alone(request),
        };
        let who = Who::One(request);
        Taken::InSteps(Self { who, plan })
    }

    /// An invalidation of these names.
    pub(super) fn invalidation(names: &[Key], caller: Caller) -> Self {
        let mut roots: Vec<_> = names.iter().map(|name| name.text().clone()).collect();
        roots.sort_unstable();
        roots.dedup();
        Self {
            who: Who::Invalidation(Some(caller)),
            plan: Plan::Invalidation(Box::new(Invalidation::new(roots, stamps()))),
        }
    }

    /// Marks for a clearing, or takes marks away.
    pub(super) fn marking(clearing: u64, marking: Marking) -> Self {
        Self {
            who: Who::Clearing(clearing),
            plan: Plan::Marking(Box::new(marking)),
        }
    }

    /// The key of a call on one key.
    pub(super) fn key(&self) -> Option<&Key> {
        match &self.who {
            Who::One(request) => request.keys().first(),
            Who::Invalidation(_) | Who::Clearing(_) => None,
        }
    }

    /// The key whose other calls wait for this one, because it may change the key in a later step.
    pub(super) fn holds(&self) -> Option<&Key> {
        let may_change_later = match &self.plan {
            Plan::Write(write) => write.has_names(),
            Plan::Touch(_) => true,
            Plan::Change(_) | Plan::Lease(_) | Plan::End(_) | Plan::Invalidation(_) | Plan::Marking(_) => {
                false
            }
        };
        self.key().filter(|_| may_change_later)
    }

    /// Goes on, from the begin or with the answer to a step.
    pub(super) fn next(&mut self, answer: Option<(&Step, Answered)>, now: Instant) -> Next<Output> {
        self.plan.next(answer, now)
    }

    /// The steps that take away what is left behind if the call fails.
    pub(super) fn undo(&self) -> Vec<Step> {
        match &self.plan {
            Plan::Lease(lease) => lease.undo(),
            _ => Vec::new(),
        }
    }
}
