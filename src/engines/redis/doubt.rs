//! Keys that an `MGET` did not find: absent, or of another type.

use redis::{Cmd, Value as Wire};

use super::tally::Tally;
use super::wire::{count_many, count_read, keyed, number, refused};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{Aged, Reply};
use crate::value::Value;

/// Keys that an `MGET` did not find, which does not tell an absent key from one of another type: that
/// is asked for. Whatever has been written there since changes nothing about the answer.
#[derive(Debug)]
pub(super) enum Doubt {
    Get {
        key: Key,
        reply: Reply<Option<Value>>,
    },
    GetMany {
        keys: Vec<Key>,
        found: Vec<Option<Value>>,
        reply: Reply<Vec<Option<Value>>>,
    },
    /// Only those keys that had a TTL, or none, so that there was something.
    GetManyAged {
        doubted: Vec<Key>,
        found: Vec<Option<Aged>>,
        reply: Reply<Vec<Option<Aged>>>,
    },
}

impl Doubt {
    /// One command for all of the keys, which tells whether any of them is there. If `alone`, one for each of them,
    /// which tells its type.
    pub(super) fn commands(&self, alone: bool) -> Vec<Cmd> {
        let keys = self.keys();
        if alone {
            return keys.into_iter().map(|key| keyed("TYPE", [key])).collect();
        }
        vec![keyed("EXISTS", keys)]
    }

    /// Answers the caller. Gives the doubt back if some of the keys are there, so that they must be asked for alone.
    pub(super) fn decode(self, alone: bool, mut replies: Vec<Wire>, tally: &mut Tally) -> Option<Self> {
        let answer = if alone {
            replies.into_iter().try_for_each(no_other_type)
        } else {
            match number(replies.pop().unwrap_or_default()) {
                Ok(0) => Ok(()),
                Ok(_) => return Some(self),
                Err(error) => Err(error),
            }
        };
        match self {
            Doubt::Get { reply, .. } => reply.send(count_read(answer.map(|()| None), tally)),
            Doubt::GetMany { found, reply, .. } => reply.send(count_many(answer.map(|()| found), tally)),
            Doubt::GetManyAged { found, reply, .. } => reply.send(count_many(answer.map(|()| found), tally)),
        }
        None
    }

    /// Answers with an error.
    pub(super) fn fail(self, error: Error) {
        match self {
            Doubt::Get { reply, .. } => reply.send(Err(error)),
            Doubt::GetMany { reply, .. } => reply.send(Err(error)),
            Doubt::GetManyAged { reply, .. } => reply.send(Err(error)),
        }
    }

    fn keys(&self) -> Vec<&Key> {
        match self {
            Doubt::Get { key, .. } => vec![key],
            Doubt::GetMany { keys, found, .. } => keys
                .iter()
                .zip(found)
                .filter(|(_, found)| found.is_none())
                .map(|(key, _)| key)
                .collect(),
            Doubt::GetManyAged { doubted, .. } => doubted.iter().collect(),
        }
    }

    /// The first of the keys.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Doubt::Get { key, .. } => Some(key),
            Doubt::GetMany { keys, .. } => keys.first(),
            Doubt::GetManyAged { doubted, .. } => doubted.first(),
        }
    }

    /// Whether the keys are known to be there, so that they must be asked for alone.
    pub(super) fn is_sure(&self) -> bool {
        matches!(self, Doubt::GetManyAged { .. })
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_pointless(&self) -> bool {
        match self {
            Doubt::Get { reply, .. } => reply.is_closed(),
            Doubt::GetMany { reply, .. } => reply.is_closed(),
            Doubt::GetManyAged { reply, .. } => reply.is_closed(),
        }
    }
}

/// Whether a key has no type, or that of values by now.
fn no_other_type(kind: Wire) -> Result<()> {
    match kind {
        Wire::SimpleString(kind) if kind == "none" || kind == "string" => Ok(()),
        Wire::SimpleString(_) => Err(Error::WrongType),
        kind => Err(refused(Some(kind))),
    }
}
