//! What the output of a call means to who waits for it.

use std::time::Duration;

use tokio::time::Instant;

use super::calls::{Output, Who};
use super::leases::{Held, Leases};
use super::protocol::{Changed, Leased, Present, Touched, Written};
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::tally::Tally;
use crate::engines::redis::walk::Caller;
use crate::engines::redis::wire::{count_read, remaining};
use crate::error::{Cause, Error};
use crate::request::{Aged, Asked, EntryRequest, KeyChange, Lease, LeaseAction, LeaseAnswer, Lookup};

impl Who {
    /// Answers with an error. `has_changed` says that something may have been changed.
    pub(super) fn fail(self, error: Error, has_changed: bool) {
        let error = match error {
            error @ Error::OutcomeUnknown(_) => error,
            error if has_changed => Error::OutcomeUnknown(Cause::new(error)),
            error => error,
        };
        match self {
            Self::One(request) => request.fail(error),
            Self::Invalidation(caller) => {
                if let Some(caller) = caller {
                    caller.reply.send(Err(error));
                }
            }
            Self::Clearing(_) => {}
        }
    }

    /// Answers with what the call has come to.
    pub(super) fn answer(self, output: Output, leases: &mut Leases, tally: &mut Tally, now: Instant) {
        match (self, output) {
            (Self::One(request), output) => answer(request, output, leases, tally, now),
            (Self::Invalidation(caller), Output::Removed(removed)) => tell(removed, caller, tally),
            // No machine comes to what is none of its outputs.
            (Self::Invalidation(_) | Self::Clearing(_), _) => {}
        }
    }
}

/// Tells what an invalidation has removed.
fn tell(removed: u64, caller: Option<Caller>, tally: &mut Tally) {
    tally.stats.invalidated = tally.stats.invalidated.saturating_add(removed);
    if let Some(caller) = caller {
        caller.reply.send(Ok(removed));
    }
}

fn answer(request: EntryRequest, output: Output, leases: &mut Leases, tally: &mut Tally, now: Instant) {
    match (request, output) {
        (EntryRequest::Set(asked), Output::Written(_)) => {
            tally.stats.sets += 1;
            drop(asked.answer(Ok(()), tally));
        }
        (EntryRequest::SetIf(asked), Output::Written(Written { written, .. })) => {
            tally.stats.sets += u64::from(written);
            drop(asked.answer(Ok(written), tally));
        }
        (EntryRequest::Swap(asked), Output::Written(Written { held, .. })) => {
            tally.stats.sets += 1;
            let held = count_read(Ok(held), tally);
            drop(asked.answer(held, tally));
        }
        (EntryRequest::Delete(asked), Output::Changed(Changed::Removed(removed))) => {
            tally.stats.deletes += u64::from(removed);
            drop(asked.answer(Ok(removed), tally));
        }
        (EntryRequest::DeleteIf(asked), Output::Changed(Changed::Removed(removed))) => {
            tally.stats.deletes += u64::from(removed);
            drop(asked.answer(Ok(removed), tally));
        }
        (EntryRequest::Take(asked), Output::Changed(Changed::Taken(taken))) => {
            tally.stats.deletes += u64::from(taken.is_some());
            let taken = count_read(Ok(taken), tally);
            drop(asked.answer(taken, tally));
        }
        (EntryRequest::Incr(asked), Output::Changed(Changed::Sum(sum))) => {
            tally.stats.sets += 1;
            drop(asked.answer(Ok(sum), tally));
        }
        (EntryRequest::Expire(asked), Output::Touched(Touched { changed, .. })) => {
            drop(asked.answer(Ok(changed), tally));
        }
        (EntryRequest::GetAndTouch(asked), Output::Touched(Touched { value, .. })) => {
            let value = count_read(Ok(value), tally);
            drop(asked.answer(value, tally));
        }
        (EntryRequest::GetOrLease(asked), Output::Leased(leased)) => {
            let lookup = match leased {
                Leased::Found(present) => Lookup::Found(aged(present)),
                Leased::Held { .. } => Lookup::Held,
                Leased::Taken { seen, names, .. } => {
                    let (key, terms) = (&asked.operation.key, &asked.operation.terms);
                    leases.insert(key, terms, Held::new(seen, names, None), now);
                    Lookup::Leased
                }
            };
            let found = matches!(lookup, Lookup::Found(_)).then_some(());
            // An answer without an error.
            let _ = count_read(Ok(found), tally);
            drop(asked.answer(Ok(lookup), tally));
        }
        (EntryRequest::Lease(asked), output) => answer_lease(asked, output, leases, tally, now),
        // No machine comes to what is none of its outputs.
        (request, _) => request.fail(Error::OutcomeUnknown(no_answer())),
    }
}

fn answer_lease(asked: Asked<Lease>, output: Output, leases: &mut Leases, tally: &mut Tally, now: Instant) {
    let answer = match (&*asked.operation.step, output) {
        (LeaseAction::Take { key, terms }, Output::Leased(Leased::Taken { present, seen, names })) => {
            // The bytes are shared.
            let value = present.as_ref().map(|present| present.value.clone());
            let kept = value.filter(|_| terms.late_names);
            leases.insert(key, terms, Held::new(seen, names, kept), now);
            Ok(LeaseAnswer::Taken {
                present: present.map(aged),
            })
        }
        (LeaseAction::Take { .. }, Output::Leased(Leased::Held { lease, left })) => Ok(LeaseAnswer::Held {
            token: lease.into(),
            remaining: Duration::from_millis(left),
        }),
        (LeaseAction::Fulfil { write, .. }, Output::Written(Written { written, .. })) => {
            if written {
                tally.stats.sets += 1;
                tally.tell_of(write.key.as_str(), KeyChange::Written);
            }
            Ok(LeaseAnswer::Stored(written))
        }
        (LeaseAction::Renew { key, token, .. }, Output::Written(Written { written, .. })) => {
            if written {
                leases.take(*token, key);
            }
            Ok(LeaseAnswer::Stored(written))
        }
        // The value could not be stored.
        (LeaseAction::Fulfil { .. }, Output::Ended) => Ok(LeaseAnswer::Stored(false)),
        (LeaseAction::End { .. }, Output::Ended) => Ok(LeaseAnswer::Ended),
        _ => Err(Error::OutcomeUnknown(no_answer())),
    };
    drop(asked.answer(answer, tally));
}

fn aged(Present { value, left }: Present) -> Aged {
    Aged {
        value,
        remaining: remaining(left),
    }
}
