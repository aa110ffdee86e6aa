//! Writes: values, TTLs and counters.
//!
//! Plain commands where these do. A script where an entry has dependencies, or where only a script can tell a
//! loaded value that is stale, which counts as absent.

use std::time::Duration;

use redis::{Cmd, Value as Wire};

use super::abilities::Abilities;
use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::partly::partly;
use super::script::{Script, random};
use super::tally::Tally;
use super::wire::{count_read, flag, forgotten, integer, keyed, millis, millis_or_empty, value};
use crate::error::{Cause, Error};
use crate::request::{
    Asked, Condition, EntryRequest, Expire, GetAndTouch, Incr, KeyChange, Set, SetIf, SetMany, Swap, Write,
};
use crate::value::Value;

/// The most bytes of values that one command writes.
pub(super) const MERGED: usize = 256 * 1024;
/// The most entries with dependencies that one script writes: the server serves nobody else meanwhile.
pub(super) const TIED: usize = 128;

impl Exchange for Set {
    fn way(&self) -> Way {
        way_of(&self.write)
    }

    fn encode(&self, to: &mut Commands) {
        encode_set(&self.write, to);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = flag(replies.take()).map(|_| tally.stats.sets += 1);
        asked.answer(answer, tally)
    }
}

impl Exchange for SetMany {
    /// All writes have the same dependencies.
    fn way(&self) -> Way {
        self.writes.first().map_or(Way::Plain, way_of)
    }

    fn encode(&self, to: &mut Commands) {
        let is_scripted = self.writes.first().is_some_and(|write| is_scripted(write, to));
        if !is_scripted && fit_one(&self.writes, to.abilities) {
            return to.add(set_all(&self.writes));
        }
        for writes in commands(&self.writes, is_scripted) {
            if is_scripted {
                write_many(&[writes.iter().collect()], to);
            } else {
                writes.iter().for_each(|write| to.add(plain_set(write)));
            }
        }
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let Asked { operation, reply } = asked;
        let writes = operation.writes;
        // One command may have written them all.
        let counts: Vec<usize> = match replies.len() {
            1 => vec![writes.len()],
            commands if commands == writes.len() => vec![1; commands],
            _ => commands(&writes, true).map(<[Write]>::len).collect(),
        };
        let mut writes = writes.into_iter();
        let mut failure = None;
        let mut written = 0;
        let mut unsent = Vec::new();
        let by = replies.by;
        let all = replies.len();
        for (count, got) in counts.into_iter().zip(replies.take_many(all)) {
            let own: Vec<Write> = writes.by_ref().take(count).collect();
            if forgotten(&got, by) {
                unsent.extend(own);
                continue;
            }
            let got = match got {
                // A script answers for each group of writes, and this is one.
                Wire::Array(mut answers) if answers.len() == 1 => answers.pop().unwrap_or_default(),
                got => got,
            };
            match flag(got) {
                Ok(_) => {
                    written += count as u64;
                    own.iter()
                        .for_each(|write| tally.tell_of(write.key.as_str(), KeyChange::Written));
                }
                Err(error) => failure = Some(error),
            }
        }
        tally.stats.sets += written;
        match failure {
            None if !unsent.is_empty() => {
                let reply = if written > 0 { partly(reply) } else { reply };
                let operation = SetMany { writes: unsent };
                return Settled::Forgotten(EntryRequest::SetMany(Asked { operation, reply }));
            }
            None => reply.send(Ok(())),
            Some(error) if written == 0 => reply.send(Err(error)),
            Some(error) => reply.send(Err(Error::OutcomeUnknown(Cause::new(error)))),
        }
        Settled::Answered
    }
}

impl Exchange for SetIf {
    fn way(&self) -> Way {
        Way::Script
    }

    fn way_to(&self, server: Abilities) -> Way {
        match self.condition {
            Condition::Holds(_) if server.compares => way_of(&self.write),
            _ => Way::Script,
        }
    }

    /// A server that compares needs no script: what a change owes is then owed as for a plain `SET`. A comparison that fails
    /// ends leases too, which does no harm.
    fn encode(&self, to: &mut Commands) {
        let (word, expected) = match &self.condition {
            Condition::Absent => ("NX", None),
            Condition::Present => ("XX", None),
            Condition::Holds(expected) if to.abilities.compares && !is_scripted(&self.write, to) => {
                let mut command = plain_set(&self.write);
                command.arg("IFEQ").arg(expected.as_bytes());
                return to.add(command);
            }
            Condition::Holds(expected) => ("EQ", Some(expected)),
        };
        scripted_set(&self.write, word, expected, to);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = flag(replies.take());
        tally.stats.sets += u64::from(matches!(answer, Ok(true)));
        asked.answer(answer, tally)
    }
}

impl Exchange for Expire {
    fn way(&self) -> Way {
        Way::Script
    }

    fn encode(&self, to: &mut Commands) {
        to.call(Script::Expire, 1, |command, layout| {
            let (depend, close) = layout.around(&self.key);
            command.arg(self.key.as_str()).arg(&*depend).arg(close);
            command.arg(millis_or_empty(self.ttl));
        });
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        asked.answer(flag(replies.take()), tally)
    }
}

/// The script does what `GETEX` does, and what a new TTL owes to loaded values and to dependencies.
impl Exchange for GetAndTouch {
    fn way(&self) -> Way {
        Way::Script
    }

    fn encode(&self, to: &mut Commands) {
        to.call(Script::Expire, 1, |command, layout| {
            let (depend, close) = layout.around(&self.key);
            command.arg(self.key.as_str()).arg(&*depend).arg(close);
            command.arg(millis(self.ttl)).arg("GET");
        });
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        asked.answer(count_read(value(replies.take()), tally), tally)
    }
}

impl Exchange for Swap {
    fn way(&self) -> Way {
        way_of(&self.write)
    }

    fn encode(&self, to: &mut Commands) {
        if is_scripted(&self.write, to) {
            return scripted_set(&self.write, "GET", None, to);
        }
        let mut command = plain_set(&self.write);
        command.arg("GET");
        to.add(command);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = count_read(value(replies.take()), tally);
        tally.stats.sets += u64::from(answer.is_ok());
        asked.answer(answer, tally)
    }
}

impl Exchange for Incr {
    fn way(&self) -> Way {
        if self.ttl.is_some() {
            Way::Script
        } else {
            Way::Plain
        }
    }

    fn encode(&self, to: &mut Commands) {
        if self.ttl.is_some() || to.are_scripts() {
            return to.call(Script::Incr, 1, |command, _| {
                command.arg(self.key.as_str()).arg(self.by);
                command.arg(millis_or_empty(self.ttl));
            });
        }
        let mut command = keyed("INCRBY", [&self.key]);
        command.arg(self.by);
        to.add(command);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = integer(replies.take());
        tally.stats.sets += u64::from(answer.is_ok());
        asked.answer(answer, tally)
    }
}

fn way_of(write: &Write) -> Way {
    if write.depends_on.is_empty() {
        Way::Plain
    } else {
        Way::Script
    }
}

/// Whether a write is a script.
fn is_scripted(write: &Write, commands: &Commands) -> bool {
    way_of(write) == Way::Script || commands.are_scripts()
}

fn encode_set(write: &Write, to: &mut Commands) {
    if to.layout.is_spread() {
        scripted_set(write, "", None, to);
    } else if is_scripted(write, to) {
        write_many(&[vec![write]], to);
    } else {
        to.add(plain_set(write));
    }
}

/// Splits writes of one call, where one command cannot make them all, into those that each command makes: as the
/// values stay until the answer where there are dependencies, the same each time.
fn commands(writes: &[Write], are_scripted: bool) -> impl Iterator<Item = &[Write]> {
    let most = if are_scripted { TIED } else { 1 };
    let mut left = writes;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(at, write): &(usize, &Write)| {
            bytes += write.bytes();
            *at == 0 || bytes <= MERGED
        };
        let count = left.iter().take(most).enumerate().take_while(fits).count();
        let (next, rest) = left.split_at(count);
        left = rest;
        (!next.is_empty()).then_some(next)
    })
}

/// Writes entries that depend on names, in groups: those of a group have the same TTL and the same names.
pub(super) fn write_many(groups: &[Vec<&Write>], to: &mut Commands) {
    let writes = || groups.iter().flatten();
    to.call(Script::WriteMany, writes().count(), |command, layout| {
        for write in writes() {
            command.arg(write.key.as_str());
        }
        command.arg(layout.depend()).arg(layout.close()).arg(random());
        for run in groups.chunk_by(|one, other| shape(one) == shape(other)) {
            let Some((ttl, names, entries)) = run.first().and_then(|group| shape(group)) else {
                continue;
            };
            command
                .arg(run.len())
                .arg(millis_or_empty(ttl))
                .arg(names)
                .arg(entries);
            for name in run
                .iter()
                .filter_map(|group| group.first())
                .flat_map(|write| write.depends_on.iter())
            {
                command.arg(name.as_str());
            }
            for write in run.iter().flatten() {
                command.arg(write.value.as_bytes());
            }
        }
    });
}

/// What the groups of a run have in common: their TTL, and how many names and entries each has.
fn shape(group: &[&Write]) -> Option<(Option<Duration>, usize, usize)> {
    let first = group.first()?;
    Some((first.ttl, first.depends_on.len(), group.len()))
}

/// Whether one command can write them all, which have the same TTL and no dependencies: a server may have none for
/// entries with a TTL. They hold the server for no longer than a large value does.
fn fit_one(writes: &[Write], server: Abilities) -> bool {
    let plain = |write: &Write| (write.ttl.is_none() || server.sets_many) && write.depends_on.is_empty();
    writes.len() > 1 && writes.iter().all(plain) && writes.iter().map(Write::bytes).sum::<usize>() <= MERGED
}

fn set_all(writes: &[Write]) -> Cmd {
    let bytes = writes
        .iter()
        .map(|write| write.key.as_str().len() + write.value.len());
    let mut command = Cmd::with_capacity(1 + 2 * writes.len(), "MSET".len() + bytes.sum::<usize>());
    let ttl = writes.first().and_then(|write| write.ttl);
    match ttl {
        None => command.arg("MSET"),
        Some(_) => command.arg("MSETEX").arg(writes.len()),
    };
    for write in writes {
        command.arg(write.key.as_str()).arg(write.value.as_bytes());
    }
    if let Some(ttl) = ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command
}

fn plain_set(write: &Write) -> Cmd {
    let words = "SET PX".len() + 20;
    let mut command = Cmd::with_capacity(5, write.key.as_str().len() + write.value.len() + words);
    command
        .arg("SET")
        .arg(write.key.as_str())
        .arg(write.value.as_bytes());
    if let Some(ttl) = write.ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command
}

/// A write by script. `expected` is what the condition compares with.
pub(super) fn scripted_set(write: &Write, condition: &str, expected: Option<&Value>, to: &mut Commands) {
    to.call(Script::Write, 1, |command, layout| {
        let (depend, close) = layout.around(&write.key);
        command.arg(write.key.as_str()).arg(&*depend).arg(close);
        command.arg(random());
        command
            .arg(write.value.as_bytes())
            .arg(millis_or_empty(write.ttl));
        command
            .arg(condition)
            .arg(expected.map_or(&[][..], Value::as_bytes));
        for name in write.depends_on.iter() {
            command.arg(name.as_str());
        }
    });
}
