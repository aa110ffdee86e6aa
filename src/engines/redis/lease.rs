//! Leases on the server: one script for each step, and how they are invalidated. Pure.
//!
//! How a lease is kept there, `scripts/lease.lua` tells. A change of a key invalidates the leases that name it:
//! scripts do so themselves, and in front of plain commands there is an `HDEL`. It comes *before* them: what
//! is loaded under a lease that is taken in between is newer than the change, but what would be stored in
//! between under an older one is not. What is loaded from other values of the store may still be from before
//! the change: so behind a pipeline that the server does not read at once there is an `HDEL` too.

use std::time::Duration;

use redis::{Cmd, Value as Wire};

use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::layout::Layout;
use super::script::{Script, random};
use super::tally::Tally;
use super::wire::{ARGUMENT, count_read, millis, refuse_errors, remaining, unexpected};
use super::writes::scripted_set;
use crate::key::Key;
use crate::request::{
    Aged, Asked, GetOrLease, KeyChange, Lease, LeaseAction, LeaseAnswer, Lookup, Names, PREFIX, Token,
};
use crate::value::Value;

impl Exchange for Lease {
    fn way(&self) -> Way {
        Way::Script
    }

    fn encode(&self, to: &mut Commands) {
        match self.step.as_ref() {
            LeaseAction::Fulfil { token, write } => {
                let token = Value::from(token.to_string());
                scripted_set(write, "LEASE", Some(&token), to);
            }
            LeaseAction::Take {
                key,
                token,
                names,
                ttl,
            } => take(Script::LeaseTake, key, *token, *ttl, names, to),
            LeaseAction::End {
                key,
                token,
                names,
                given,
            } => to.call(Script::LeaseEnd, 1, |command, layout| {
                command.arg(key.as_str()).arg(layout.depend()).arg(layout.close());
                command.arg(token.to_string()).arg(u8::from(*given));
                for name in names.iter() {
                    command.arg(name.as_str());
                }
            }),
        }
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = refuse_errors(replies.take())
            .and_then(|got| answer(&asked.operation.step, got).ok_or_else(unexpected));
        if matches!(answer, Ok(LeaseAnswer::Stored(true))) {
            tally.stats.sets += 1;
            tally.tell_of(asked.operation.step.key().as_str(), KeyChange::Written);
        }
        asked.answer(answer, tally)
    }
}

/// A script on a value and its lease: it answers the value, or takes the lease.
impl Exchange for GetOrLease {
    fn way(&self) -> Way {
        Way::Script
    }

    fn encode(&self, to: &mut Commands) {
        let terms = &self.terms;
        take(
            Script::GetOrLease,
            &self.key,
            terms.token,
            terms.ttl,
            &terms.names,
            to,
        );
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let got = refuse_errors(replies.take()).and_then(|got| lookup(got).ok_or_else(unexpected));
        let found = match &got {
            Ok(Lookup::Found(aged)) => Ok(Some(aged)),
            Ok(Lookup::Leased | Lookup::Held) => Ok(None),
            Err(error) => Err(error.clone()),
        };
        // An error counts as neither.
        let _ = count_read(found, tally);
        asked.answer(got, tally)
    }
}

/// Adds the call of a script that takes a lease.
fn take(script: Script, key: &Key, token: Token, ttl: Duration, names: &Names, to: &mut Commands) {
    to.call(script, 1, |command, layout| {
        command.arg(key.as_str()).arg(layout.depend()).arg(layout.close());
        command.arg(random());
        command.arg(token.to_string()).arg(millis(ttl)).arg(PREFIX);
        for name in names.iter() {
            command.arg(name.as_str());
        }
    });
}

/// What `get_or_lease.lua` answers; `None` if that is none of its answers.
fn lookup(got: Wire) -> Option<Lookup> {
    let Wire::Array(parts) = got else { return None };
    match <[Wire; 3]>::try_from(parts).ok()? {
        [Wire::Int(2), Wire::Int(left), Wire::BulkString(value)] => Some(Lookup::Found(Aged {
            value: Value::from(value),
            remaining: remaining(left),
        })),
        [Wire::Int(1), Wire::Int(_), Wire::Nil] => Some(Lookup::Leased),
        [Wire::Int(0), Wire::BulkString(_), Wire::Int(_)] => Some(Lookup::Held),
        _ => None,
    }
}

/// What the server's reply means; `None` if no script of ours gives it.
fn answer(action: &LeaseAction, got: Wire) -> Option<LeaseAnswer> {
    match (action, got) {
        (LeaseAction::Take { .. }, Wire::Array(parts)) => match <[Wire; 3]>::try_from(parts).ok()? {
            [Wire::Int(1), Wire::Int(_), Wire::Nil] => Some(LeaseAnswer::Taken { present: None }),
            [Wire::Int(1), Wire::Int(left), Wire::BulkString(value)] => Some(LeaseAnswer::Taken {
                present: Some(Aged {
                    value: Value::from(value),
                    remaining: remaining(left),
                }),
            }),
            [Wire::Int(0), Wire::BulkString(token), Wire::Int(left)] => Some(LeaseAnswer::Held {
                token: std::str::from_utf8(&token).ok()?.parse().ok()?,
                remaining: Duration::from_millis(u64::try_from(left).ok()?),
            }),
            _ => None,
        },
        (LeaseAction::Fulfil { .. }, Wire::Int(stored)) => Some(LeaseAnswer::Stored(stored == 1)),
        (LeaseAction::End { .. }, Wire::Int(_)) => Some(LeaseAnswer::Ended),
        _ => None,
    }
}

/// How much the server reads at once before it turns to others.
const READ: usize = 16 * 1024;

/// The leases that the plain commands of one pipeline invalidate.
#[derive(Debug, Default)]
pub(super) struct Invalidated(Option<Cmd>);

impl Invalidated {
    /// The leases that name `key`: how many bytes they add to the pipeline.
    pub(super) fn add(&mut self, key: &Key, layout: &Layout) -> usize {
        let command = self.0.get_or_insert_with(|| {
            let mut command = redis::cmd("HDEL");
            command.arg(layout.leases());
            command
        });
        command.arg(key.as_str());
        ARGUMENT + key.as_str().len()
    }

    /// What goes before the plain commands of a pipeline, and what after them: the server may have so many
    /// bytes to read until its end.
    pub(super) fn into_commands(self, bytes: usize) -> (Option<Cmd>, Option<Cmd>) {
        let after = (bytes > READ).then(|| self.0.clone()).flatten();
        (self.0, after)
    }
}
