//! Removals of entries.

use redis::Value as Wire;

use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::script::{By, Script};
use super::tally::Tally;
use super::wire::{count_read, flag, keyed, number, unexpected, value};
use crate::error::Result;
use crate::key::Key;
use crate::request::{Asked, Delete, DeleteIf, DeleteMany, KeyChange, Operation, Take};

impl Exchange for Take {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        if to.are_scripts() {
            return delete([&self.key], "GET", to);
        }
        to.add(keyed("GETDEL", [&self.key]));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = count_read(value(replies.take()), tally);
        tally.stats.deletes += u64::from(matches!(answer, Ok(Some(_))));
        asked.answer(answer, tally)
    }
}

impl Exchange for Delete {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        if to.are_scripts() {
            return delete([&self.key], "", to);
        }
        to.add(keyed("DEL", [&self.key]));
    }

    fn decode(asked: Asked<Self>, replies: Replies, tally: &mut Tally) -> Settled {
        answer_whether(asked, replies, tally)
    }
}

impl Exchange for DeleteIf {
    fn way(&self) -> Way {
        Way::Script
    }

    fn encode(&self, to: &mut Commands) {
        to.call(Script::DeleteIf, 1, |command, _| {
            command.arg(self.key.as_str()).arg(self.expected.as_bytes());
        });
    }

    fn decode(asked: Asked<Self>, replies: Replies, tally: &mut Tally) -> Settled {
        answer_whether(asked, replies, tally)
    }
}

impl Exchange for DeleteMany {
    /// Also the script that tells travels so: it is sent whole each time, and ends leases itself as well.
    fn way(&self) -> Way {
        Way::Plain
    }

    /// `DEL` tells only how many entries there were. If somebody listens, a script tells their keys.
    fn encode(&self, to: &mut Commands) {
        match (to.tells, to.are_scripts()) {
            (false, true) => return delete(&self.keys, "", to),
            (false, false) => return to.add(keyed("DEL", &self.keys)),
            (true, _) => {}
        }
        let mut command = to.layout.call(Script::Invalidate, By::Source, self.keys.len());
        for key in &self.keys {
            command.arg(key.as_str());
        }
        command.arg(1);
        to.scripts += usize::from(to.layout.is_in_a_cluster());
        to.add(command);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let Asked { reply, .. } = asked;
        let answer = match replies.take() {
            Wire::Array(parts) => told(parts).map(|told| {
                told.iter().for_each(|key| tally.tell_of(key, KeyChange::Deleted));
                told.len() as u64
            }),
            // A server may answer any number.
            got => number(got).map(|count| u64::try_from(count).unwrap_or(0)),
        };
        let deleted = *answer.as_ref().unwrap_or(&0);
        tally.stats.deletes = tally.stats.deletes.saturating_add(deleted);
        reply.send(answer);
        Settled::Answered
    }
}

/// Adds the script that removes entries. It answers how many there were, or the value of the one that there was.
fn delete<'k>(
    keys: impl IntoIterator<Item = &'k Key, IntoIter: ExactSizeIterator>,
    wants: &str,
    to: &mut Commands,
) {
    let keys = keys.into_iter();
    to.call(Script::Delete, keys.len(), |command, _| {
        keys.for_each(|key| {
            command.arg(key.as_str());
        });
        command.arg(wants);
    });
}

/// The keys that the script removed.
fn told(parts: Vec<Wire>) -> Result<Vec<String>> {
    let [_, Wire::Array(keys)] = <[Wire; 2]>::try_from(parts).map_err(|_| unexpected())? else {
        return Err(unexpected());
    };
    let key = |key| match key {
        Wire::BulkString(key) => String::from_utf8(key).map_err(|_| unexpected()),
        _ => Err(unexpected()),
    };
    keys.into_iter().map(key).collect()
}

/// Answers whether there was an entry, and counts it.
fn answer_whether<O: Operation<Answer = bool>>(
    asked: Asked<O>,
    mut replies: Replies,
    tally: &mut Tally,
) -> Settled {
    let answer = flag(replies.take());
    tally.stats.deletes += u64::from(matches!(answer, Ok(true)));
    asked.answer(answer, tally)
}
