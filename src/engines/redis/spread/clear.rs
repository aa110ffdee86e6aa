//! Removes all entries under a prefix, from all nodes. Pure: replies go in, and the next commands come out.
//!
//! It goes over all nodes twice: over the leases of running loads, so that nothing is stored any more that was loaded before,
//! and then over the values. A node is gone over again if it has got slots meanwhile.

use redis::{Cmd, Value as Wire};

use super::slots::{NodeId, SlotMap};
use crate::engines::redis::cluster::slot_of;
use crate::engines::redis::layout::{is_own, pattern};
use crate::engines::redis::tracker::OwnWork;
use crate::engines::redis::walk::Caller;
use crate::engines::redis::wire::unexpected;
use crate::error::Result;
use crate::key::RESERVED_PREFIX;

/// How many keys one page looks at.
const PAGE: usize = 512;

/// One clearing.
#[derive(Debug)]
pub(super) struct Clear {
    prefix: String,
    caller: Option<Caller>,
    /// Tells the near cache what it removes.
    near: Option<OwnWork>,
    removed: u64,
    goal: Goal,
    node: NodeId,
    cursor: u64,
    /// What was known of the nodes when this round began.
    begun: u32,
    /// Only nodes that have got slots since are gone over in this round.
    since: u32,
    /// Commands under way.
    waits_for: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Leases,
    Values,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
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
            goal: Goal::Leases,
            node: NodeId(0),
            cursor: 0,
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
        self.begun > 0
    }

    /// Goes on, with an answer that tells who owns which slots now.
    pub(super) fn go_on(&mut self, map: &SlotMap) -> Next {
        let next = if self.begun == 0 {
            map.next_with_news(None, 0)
        } else {
            self.since = self.begun;
            map.next_with_news(None, self.since)
        };
        self.begun = map.version();
        match next {
            Some(node) => self.turn_to(node),
            None if self.goal == Goal::Leases => {
                self.goal = Goal::Values;
                (self.begun, self.since) = (map.version(), 0);
                match map.next_with_news(None, 0) {
                    Some(node) => self.turn_to(node),
                    None => Next::Done,
                }
            }
            None => Next::Done,
        }
    }

    fn turn_to(&mut self, node: NodeId) -> Next {
        (self.node, self.cursor) = (node, 0);
        self.page()
    }

    /// The next page of the node, or the next node.
    fn after_page(&mut self, map: &SlotMap) -> Next {
        if self.cursor != 0 && map.place(self.node).is_some() {
            return self.page();
        }
        match map.next_with_news(Some(self.node), self.since) {
            Some(node) => self.turn_to(node),
            None => Next::Ask,
        }
    }

    fn page(&mut self) -> Next {
        let mut command = redis::cmd("SCAN");
        let found = match self.goal {
            Goal::Leases => format!("{RESERVED_PREFIX}lease:{{*}}:{}", pattern(&self.prefix)),
            Goal::Values => pattern(&self.prefix),
        };
        command.arg(self.cursor).arg("MATCH").arg(found);
        command.arg("COUNT").arg(PAGE).arg("TYPE").arg("string");
        self.waits_for = 1;
        Next::Page(self.node, command)
    }

    /// Takes in the reply to a command. The other replies come after it.
    pub(super) fn advance(&mut self, reply: Wire, map: &SlotMap) -> Result<Next> {
        match reply {
            Wire::Array(parts) => {
                let (cursor, keys) = page(parts)?;
                self.cursor = cursor;
                let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| self.is_to_go(key)).collect();
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
                if self.goal == Goal::Values {
                    self.removed = self.removed.saturating_add(u64::try_from(removed).unwrap_or(0));
                    if let Some(caller) = &self.caller {
                        caller.progress.report(self.removed);
                    }
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
        self.cursor = 0;
        is_gone.then(|| self.after_page(map))
    }

    /// Whether a key that was found is removed. The library's own keys are no values.
    fn is_to_go(&self, key: &[u8]) -> bool {
        self.goal == Goal::Leases || !is_own(key)
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
