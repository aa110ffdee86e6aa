//! Reads: values, times that are left, and keys.

use super::doubt::Doubt;
use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::layout::pattern;
use super::script::Script;
use super::tally::Tally;
use super::wire::{
    ABSENT, aged, count_many, count_read, flag, keyed, number, page, remaining, ttl, value, values,
};
use crate::error::Result;
use crate::key::Key;
use crate::request::{Aged, Asked, Exists, Get, GetAged, GetMany, GetManyAged, GetTtl, PREFIX, Scan};

/// How many keys one page of a scan looks at.
const PAGE: usize = 512;

/// One `Get` by itself. Those that are neighbours in a batch become one `MGET`, which `gets.rs` exchanges.
impl Exchange for Get {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(keyed("GET", [&self.key]));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        asked.answer(count_read(value(replies.take()), tally), tally)
    }
}

impl Exchange for GetMany {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(keyed("MGET", &self.keys));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let found = values(replies.take(), asked.operation.keys.len());
        match found {
            found if asked.operation.peek => asked.answer(found, tally),
            // An `MGET` shows a key of another type as absent.
            Ok(found) if found.contains(&None) => {
                let Asked { operation, reply } = asked;
                let keys = operation.keys;
                Settled::Doubted(Box::new(Doubt::GetMany { keys, found, reply }))
            }
            found => asked.answer(count_many(found, tally), tally),
        }
    }
}

/// The time that is left comes first: were the value read first and written anew in between, it would have the time
/// of the one after it, and look younger than it is.
impl Exchange for GetAged {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(keyed("PTTL", [&self.key]));
        to.add(keyed("GET", [&self.key]));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let left = replies.take();
        asked.answer(count_read(aged(left, replies.take()), tally), tally)
    }
}

impl Exchange for GetManyAged {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        for key in &self.keys {
            to.add(keyed("PTTL", [key]));
        }
        to.add(keyed("MGET", &self.keys));
    }

    /// The times that are left tell an absent key from one of another type, but for one that went in between.
    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let keys = &asked.operation.keys;
        let times: Result<Vec<i64>> = replies.take_many(keys.len()).map(number).collect();
        let found = values(replies.take(), keys.len());
        let (found, times) = match found.and_then(|found| Ok((found, times?))) {
            Ok(both) => both,
            Err(error) => return asked.answer(Err(error), tally),
        };
        let doubted: Vec<Key> = keys
            .iter()
            .zip(found.iter().zip(&times))
            .filter(|(_, (value, left))| value.is_none() && **left != ABSENT)
            .map(|(key, _)| key.clone())
            .collect();
        let found = found.into_iter().zip(times).map(|(value, left)| {
            let remaining = remaining(left);
            value.map(|value| Aged { value, remaining })
        });
        let found = found.collect();
        if doubted.is_empty() {
            return asked.answer(count_many(Ok(found), tally), tally);
        }
        Settled::Doubted(Box::new(Doubt::GetManyAged {
            doubted,
            found,
            reply: asked.reply,
        }))
    }
}

impl Exchange for Exists {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(keyed("EXISTS", [&self.key]));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        asked.answer(flag(replies.take()), tally)
    }
}

/// The head of a loaded value tells how much of the TTL it is fresh.
impl Exchange for GetTtl {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(keyed("PTTL", [&self.key]));
        let mut command = keyed("GETRANGE", [&self.key]);
        command.arg(0).arg(PREFIX - 1);
        to.add(command);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let left = replies.take();
        asked.answer(ttl(left, &replies.take()), tally)
    }
}

impl Exchange for Scan {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        // A server tells its own keys, also while a slot is not its own: a script is refused then.
        if to.layout.is_in_a_slot() {
            return to.call(Script::Scan, 0, |command, _| {
                command
                    .arg(self.cursor.place)
                    .arg(pattern(&self.prefix))
                    .arg(PAGE);
            });
        }
        let mut command = redis::cmd("SCAN");
        command
            .arg(self.cursor.place)
            .arg("MATCH")
            .arg(pattern(&self.prefix));
        command.arg("COUNT").arg(PAGE).arg("TYPE").arg("string");
        to.add(command);
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = page(replies.take(), asked.operation.cursor);
        asked.answer(answer, tally)
    }
}
