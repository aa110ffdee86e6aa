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
use super::wire::{ARGUMENT, count_read, millis, millis_or_empty, refuse_errors, remaining, unexpected};
use super::writes::scripted_set;
use crate::key::Key;
use crate::request::{
    Aged, Asked, GetOrLease, KeyChange, Lease, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, PREFIX, Renewal,
    Token,
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
            LeaseAction::Take { key, terms } => take(Script::LeaseTake, key, terms, to),
            LeaseAction::Renew { key, token, renewal } => keep(key, *token, renewal, to),
            LeaseAction::End {
                key,
                token,
                names,
                given,
            } => to.call(Script::LeaseEnd, 1, |command, layout| {
                let (depend, close) = layout.around(key);
                command.arg(key.as_str()).arg(&*depend).arg(close);
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
        let is_written = matches!(asked.operation.step.as_ref(), LeaseAction::Fulfil { .. });
        if is_written && matches!(answer, Ok(LeaseAnswer::Stored(true))) {
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
        take(Script::GetOrLease, &self.key, &self.terms, to);
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
fn take(script: Script, key: &Key, terms: &LeaseTerms, to: &mut Commands) {
    // Zero asks for the whole value.
    let wanted = if terms.late_names { 0 } else { PREFIX };
    to.call(script, 1, |command, layout| {
        let (depend, close) = layout.around(key);
        command.arg(key.as_str()).arg(&*depend).arg(close);
        command.arg(random());
        command.arg(terms.token.to_string()).arg(millis(terms.ttl));
        command.arg(wanted).arg(u8::from(terms.late_names));
        for name in terms.names.iter() {
            command.arg(name.as_str());
        }
    });
}

/// Adds the call of the script that keeps the value of a key.
fn keep(key: &Key, token: Token, renewal: &Renewal, to: &mut Commands) {
    let Renewal {
        head,
        validator,
        names,
    } = renewal;
    to.call(Script::LeaseKeep, 1, |command, layout| {
        let (depend, close) = layout.around(key);
        command.arg(key.as_str()).arg(&*depend).arg(close);
        command.arg(random()).arg(token.to_string());
        command
            .arg(millis_or_empty(head.fresh))
            .arg(millis(head.window))
            .arg(millis(head.age))
            .arg(head.stored_cost());
        command
            .arg(u8::from(validator.is_some()))
            .arg(validator.as_deref().unwrap_or_default());
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

/// The value in a reply of `get_or_lease.lua`, and the time that is left of it. `None` if it has none.
pub(super) fn found(got: &Wire) -> Option<(Value, Option<Duration>)> {
    let Wire::Array(parts) = got else { return None };
    match parts.as_slice() {
        [Wire::Int(2), Wire::Int(left), Wire::BulkString(value)] => {
            Some((Value::from(value.clone()), remaining(*left)))
        }
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
        (LeaseAction::Fulfil { .. } | LeaseAction::Renew { .. }, Wire::Int(stored)) => {
            Some(LeaseAnswer::Stored(stored == 1))
        }
        (LeaseAction::End { .. }, Wire::Int(_)) => Some(LeaseAnswer::Ended),
        _ => None,
    }
}

/// How much the server reads at once before it turns to others.
const READ: usize = 16 * 1024;

/// The keys that the plain commands of one pipeline change: what ends the leases that name them.
#[derive(Debug, Default)]
pub(super) struct Invalidated(Option<Changed>);

/// The commands that tell of changed keys. Where nobody loads, they cost the server next to nothing.
#[derive(Debug, Clone)]
struct Changed {
    /// Ends the leases that name the keys.
    leases: Cmd,
    /// Notes the keys for loads whose names are not known yet; see `scripts/changed.lua`.
    noted: Cmd,
    keys: u32,
}

/// By how many keys the list may grow too long, on average.
const CUT_AFTER: u32 = 256;

impl Changed {
    fn new(layout: &Layout) -> Self {
        let (mut leases, mut noted) = (redis::cmd("HDEL"), redis::cmd("RPUSHX"));
        leases.arg(layout.leases());
        noted.arg(layout.changed());
        let keys = 0;
        Self { leases, noted, keys }
    }

    /// The commands. One that cuts the list to its length is among them by chance, once in `CUT_AFTER` keys.
    fn into_commands(self, layout: &Layout) -> Vec<Cmd> {
        let cuts = random() % CUT_AFTER >= CUT_AFTER.saturating_sub(self.keys);
        let cut = cuts.then(|| {
            let mut cut = redis::cmd("LTRIM");
            cut.arg(layout.changed()).arg(-Layout::MOST_CHANGED).arg(-1);
            cut
        });
        [self.leases, self.noted].into_iter().chain(cut).collect()
    }
}

/// A name as it is noted; see `scripts/changed.lua`.
fn noted_as(name: &str) -> &str {
    if name.len() > Layout::LONGEST_NOTED {
        ""
    } else {
        name
    }
}

impl Invalidated {
    /// Adds a key that is changed. Returns how many bytes that adds to the pipeline.
    pub(super) fn add(&mut self, key: &Key, layout: &Layout) -> usize {
        let changed = self.0.get_or_insert_with(|| Changed::new(layout));
        let noted = noted_as(key.as_str());
        changed.leases.arg(key.as_str());
        changed.noted.arg(noted);
        changed.keys += 1;
        2 * ARGUMENT + key.as_str().len() + noted.len()
    }

    /// What goes before the plain commands of a pipeline, and what after them: the server may have so many
    /// bytes to read until its end.
    pub(super) fn into_commands(self, bytes: usize, layout: &Layout) -> (Vec<Cmd>, Vec<Cmd>) {
        let after = (bytes > READ).then(|| self.0.clone()).flatten();
        let commands = |changed: Option<Changed>| {
            changed
                .map(|changed| changed.into_commands(layout))
                .unwrap_or_default()
        };
        (commands(self.0), commands(after))
    }

    /// What goes into a transaction with the plain commands: the server carries out all of it at once.
    pub(super) fn into_commands_at_once(self, layout: &Layout) -> Vec<Cmd> {
        self.into_commands(0, layout).0
    }
}
