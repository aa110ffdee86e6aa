//! Removes all entries under a prefix, from all nodes. Pure: replies go in, and the next commands come out.
//!
//! It marks all slots first, so that no load under the prefix stores anything, then goes over the values of all nodes, and takes
//! the marks away. A node is gone over again if it has got slots meanwhile.

use compact_str::CompactString;
use redis::{Cmd, Value as Wire};

use super::protocol::{Marking, Stamp};
use super::slots::{NodeId, SlotMap};
use crate::engines::redis::cluster::{SLOTS, slot_of};
use crate::engines::redis::layout::{is_own, pattern, tag_of};
use crate::engines::redis::own::Told;
use crate::engines::redis::process::Process;
use crate::engines::redis::reply::no_answer;
use crate::engines::redis::tracker::OwnWork;
use crate::engines::redis::walk::Caller;
use crate::engines::redis::wire::unexpected;
use crate::error::{Error, Result};

/// How many keys one page looks at.
const PAGE: usize = 512;
/// So often it begins at most. It begins anew if marks have gone that it has made.
const TRIES: u32 = 3;

/// One clearing.
#[derive(Debug)]
pub(super) struct Clear {
    prefix: String,
    caller: Option<Caller>,
    /// Tells the near cache what it removes.
    near: Option<OwnWork>,
    removed: u64,
    goal: Goal,
    mark: Stamp,
    tries: u32,
    has_failed: bool,
    node: NodeId,
    cursor: u64,
    /// Where the cursor comes from.
    process: Process,
    /// Whether the last page began at a cursor of another process, so that the node is gone over again.
    is_torn: bool,
    /// What was known of the nodes when this round began.
    begun: u32,
    /// Only nodes that have got slots since are gone over in this round.
    since: u32,
    /// Commands under way.
    waits_for: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Mark,
    Values,
    Unmark,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// Marks are made or taken away. Then it [goes on](Clear::marked).
    Mark(Marking),
    /// This command on this node.
    Page(NodeId, Cmd),
    /// These commands, each in its slot.
    Remove(Vec<(u16, Cmd)>),
    /// The replies to what is under way.
    Wait,
    /// The nodes are asked who owns which slots. Then it goes [`on`](Clear::go_on).
    Ask,
    Done,
}

impl Clear {
    pub(super) fn new(prefix: String, caller: Caller, near: Option<OwnWork>) -> Self {
        Self {
            prefix,
            caller: Some(caller),
            near,
            removed: 0,
            goal: Goal::Mark,
            mark: Stamp::random(rand::random()),
            tries: 0,
            has_failed: false,
            node: NodeId(0),
            cursor: 0,
            process: Process::default(),
            is_torn: false,
            begun: 0,
            since: 0,
            waits_for: 0,
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    /// Who waits for it.
    pub(super) fn caller(&mut self) -> &mut Option<Caller> {
        &mut self.caller
    }

    /// Lets the near cache know that it has ended, before its caller does. What it has removed may be near until the servers have
    /// told so.
    pub(super) fn end_near(&mut self, is_done: bool) {
        let Some(near) = self.near.take() else { return };
        if is_done {
            near.cleared(&self.prefix);
        }
        near.raise_barrier();
    }

    /// A command has been answered, or has failed.
    pub(super) fn answered(&mut self) {
        self.waits_for = self.waits_for.saturating_sub(1);
    }

    /// Whether something may have been removed.
    pub(super) fn has_begun(&self) -> bool {
        self.goal != Goal::Mark || self.tries > 0
    }

    /// Whether it has failed, and only takes its marks away.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Goes on, with an answer that tells who owns which slots now.
    pub(super) fn go_on(&mut self, map: &SlotMap) -> Next {
        if self.goal == Goal::Mark {
            return self.mark(map);
        }
        self.since = self.begun;
        self.begun = map.version();
        match map.next_with_news(None, self.since) {
            Some(node) => self.turn_to(node),
            None => {
                self.goal = Goal::Unmark;
                self.mark(map)
            }
        }
    }

    /// Makes marks in all slots that have owners, or takes them away. A slot without an owner stores nothing.
    fn mark(&self, map: &SlotMap) -> Next {
        let slots = (0..SLOTS).filter(|slot| map.owner(*slot).is_some());
        let places = slots.map(|slot| CompactString::from(tag_of(slot))).collect();
        let prefix = CompactString::from(self.prefix.as_str());
        Next::Mark(if self.goal == Goal::Mark {
            Marking::begin(places, prefix, self.mark)
        } else {
            Marking::end(places, prefix, self.mark)
        })
    }

    /// The marks are made, or taken away. `unbroken` tells whether none had gone meanwhile.
    pub(super) fn marked(&mut self, unbroken: bool, map: &SlotMap) -> Result<Next> {
        if self.goal == Goal::Mark {
            self.goal = Goal::Values;
            (self.begun, self.since) = (map.version(), 0);
            return Ok(match map.next_with_news(None, 0) {
                Some(node) => self.turn_to(node),
                None => Next::Ask,
            });
        }
        if unbroken || self.has_failed {
            return Ok(Next::Done);
        }
        self.tries += 1;
        if self.tries == TRIES {
            return Err(Error::Unavailable(no_answer()));
        }
        self.goal = Goal::Mark;
        Ok(self.mark(map))
    }

    /// It goes no further. Returns what takes its marks away, unless that has failed.
    pub(super) fn fail(&mut self, map: &SlotMap) -> Option<Next> {
        let is_over = std::mem::replace(&mut self.has_failed, true) || self.goal == Goal::Unmark;
        self.goal = Goal::Unmark;
        (!is_over).then(|| self.mark(map))
    }

    fn turn_to(&mut self, node: NodeId) -> Next {
        (self.node, self.cursor) = (node, 0);
        self.page()
    }

    /// The next page of the node, or the next node.
    fn after_page(&mut self, map: &SlotMap) -> Next {
        let is_there = map.place(self.node).is_some();
        if std::mem::take(&mut self.is_torn) && is_there {
            return self.turn_to(self.node);
        }
        if self.cursor != 0 && is_there {
            return self.page();
        }
        match map.next_with_news(Some(self.node), self.since) {
            Some(node) => self.turn_to(node),
            None => Next::Ask,
        }
    }

    fn page(&mut self) -> Next {
        let mut command = redis::cmd("SCAN");
        command.arg(self.cursor).arg("MATCH").arg(pattern(&self.prefix));
        command.arg("COUNT").arg(PAGE).arg("TYPE").arg("string");
        self.waits_for = 1;
        Next::Page(self.node, command)
    }

    /// Takes in the reply to a command. The other replies come after it.
    pub(super) fn advance(&mut self, told: Told, map: &SlotMap) -> Result<Next> {
        match told.reply.unwrap_or_default() {
            Wire::Array(parts) => {
                let (cursor, keys) = page(parts)?;
                self.is_torn = self.cursor != 0 && !self.process.is(told.process);
                self.process = told.process;
                self.cursor = cursor;
                // The library's own keys are no values.
                let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| !is_own(key)).collect();
                if keys.is_empty() {
                    return Ok(self.after_page(map));
                }
                self.waits_for = keys.len();
                let commands = keys.into_iter().map(|key| {
                    let mut command = redis::cmd("UNLINK");
                    command.arg(&key);
                    (slot_of(&key), command)
                });
                Ok(Next::Remove(commands.collect()))
            }
            Wire::Int(removed) => {
                self.removed = self.removed.saturating_add(u64::try_from(removed).unwrap_or(0));
                if let Some(caller) = &self.caller {
                    caller.progress.report(self.removed);
                }
                Ok(if self.waits_for == 0 {
                    self.after_page(map)
                } else {
                    Next::Wait
                })
            }
            _ => Err(unexpected()),
        }
    }

    /// A command has failed. What comes next if that was because its node has no slots any more: their new owners are gone
    /// over again.
    pub(super) fn after_failure(&mut self, map: &SlotMap) -> Option<Next> {
        let is_gone = self.waits_for == 0 && !map.is_primary(self.node);
        (self.cursor, self.is_torn) = (0, false);
        is_gone.then(|| self.after_page(map))
    }
}

/// The cursor and the keys of a page.
fn page(parts: Vec<Wire>) -> Result<(u64, Vec<Vec<u8>>)> {
    let Ok([Wire::BulkString(cursor), Wire::Array(keys)]) = <[Wire; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    let cursor = std::str::from_utf8(&cursor)
        .ok()
        .and_then(|cursor| cursor.parse().ok());
    let keys = keys.into_iter().filter_map(|key| match key {
        Wire::BulkString(key) => Some(key),
        _ => None,
    });
    Ok((cursor.ok_or_else(unexpected)?, keys.collect()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::config::Place;
    use crate::engines::redis::spread::Epoch;
    use crate::request::{Progress, Reply};

    fn told(process: Process, cursor: &str) -> Told {
        let cursor = Wire::BulkString(cursor.as_bytes().to_vec());
        Told {
            reply: Some(Wire::Array(vec![cursor, Wire::Array(Vec::new())])),
            epoch: Epoch::default(),
            process,
        }
    }

    /// The cursor of the page that comes next.
    fn cursor(next: &Next) -> u64 {
        let Next::Page(_, command) = next else {
            panic!("{next:?}");
        };
        let words = command.args_iter().filter_map(|word| match word {
            redis::Arg::Simple(word) => std::str::from_utf8(word).ok(),
            _ => None,
        });
        words.skip(1).find_map(|word| word.parse().ok()).unwrap()
    }

    #[test]
    fn a_node_that_was_started_again_is_gone_over_again() {
        let mut map = SlotMap::new();
        map.learn(&[(0, 16_383, Place::Tcp("h".to_owned(), 1))]);
        let deadline = Instant::now() + Duration::from_secs(1);
        let caller = Caller::new(Reply::new().0, Progress::default(), deadline);
        let mut clear = Clear::new("t:".to_owned(), caller, None);
        assert_eq!(cursor(&clear.marked(true, &map).unwrap()), 0);
        let [one, again, another] = [Some(1), Some(1), Some(2)].map(Process::of_new_connection);
        let mut page = |process, next| clear.advance(told(process, next), &map).unwrap();
        assert_eq!(cursor(&page(one, "5")), 5);
        assert_eq!(cursor(&page(again, "6")), 6, "the process is the same");
        // The cursor that it was sent means nothing to this process.
        assert_eq!(cursor(&page(another, "0")), 0);
        assert_eq!(cursor(&page(another, "7")), 7);
        assert!(matches!(page(another, "0"), Next::Ask));
    }
}
