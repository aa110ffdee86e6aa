//! Pages of a scan over all nodes. Pure.
//!
//! The cursor of a page carries the node and the round that it belongs to. After the last node of a round the nodes are asked who
//! owns which slots, and a further round goes over those that have got slots since the round began. So keys may come twice.

use std::sync::Mutex;

use super::slots::{NodeId, SlotMap};
use crate::engines::redis::layout::is_own;
use crate::error::Result;
use crate::request::{Cursor, Gather, Page, Reply, Round};

/// What a cursor asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A page of this node.
    Page(NodeId, Cursor),
    /// To be asked again once the nodes have told who owns which slots.
    News,
    Nothing,
}

/// The node whose keys come next. `is_fresh` says that the nodes have told who owns which slots after the cursor was made.
pub(super) fn wanted(cursor: Cursor, map: &SlotMap, is_fresh: bool) -> Wanted {
    let Round { node, since, begun } = cursor.round;
    let at = |node: NodeId, since, begun| {
        let round = Round {
            node: node.0,
            since,
            begun,
        };
        Wanted::Page(
            node,
            Cursor {
                place: 0,
                epoch: 0,
                round,
            },
        )
    };
    if begun == 0 {
        return match map.next_with_news(None, 0) {
            Some(node) => at(node, 0, map.version()),
            None if is_fresh => Wanted::Nothing,
            None => Wanted::News,
        };
    }
    if cursor.place != 0 && map.place(NodeId(node)).is_some() {
        return Wanted::Page(NodeId(node), cursor);
    }
    if let Some(next) = map.next_with_news(Some(NodeId(node)), since) {
        return at(next, since, begun);
    }
    if !is_fresh {
        return Wanted::News;
    }
    match map.next_with_news(None, begun) {
        Some(next) => at(next, begun, map.version()),
        None => Wanted::Nothing,
    }
}

/// Where the page of a node goes. After its last page, the scan goes on with another node.
#[derive(Debug)]
pub(super) struct Pager {
    cursor: Cursor,
    reply: Mutex<Option<Reply<Page>>>,
}

impl Pager {
    pub(super) fn new(cursor: Cursor, reply: Reply<Page>) -> Self {
        let reply = Mutex::new(Some(reply));
        Self { cursor, reply }
    }

    fn reply(&self) -> std::sync::MutexGuard<'_, Option<Reply<Page>>> {
        // What it holds is whole at any time.
        self.reply
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Gather<Page> for Pager {
    fn take(&self, _: u32, answer: Result<Page>) {
        let Some(reply) = self.reply().take() else { return };
        let at_the_end = Cursor {
            place: 0,
            ..self.cursor
        };
        reply.send(answer.map(|Page { mut keys, next }| {
            // Locks of a store in one slot of this cluster are texts, as values are.
            keys.retain(|key| !is_own(key.as_bytes()));
            let next = next.or(Some(at_the_end));
            Page { keys, next }
        }));
    }

    fn is_closed(&self) -> bool {
        self.reply().as_ref().is_none_or(Reply::is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn at(port: u16) -> Place {
        Place::Tcp("h".to_owned(), port)
    }

    /// The nodes that a scan visits, each with one page. `before` changes the map before the page with this number.
    fn visited(map: &mut SlotMap, before: impl Fn(usize, &mut SlotMap)) -> Vec<u32> {
        let (mut cursor, mut nodes) = (Cursor::default(), Vec::new());
        loop {
            before(nodes.len(), map);
            let found = match wanted(cursor, map, false) {
                Wanted::News => wanted(cursor, map, true),
                found => found,
            };
            let Wanted::Page(node, page) = found else {
                return nodes;
            };
            nodes.push(node.0);
            cursor = Cursor { place: 0, ..page };
        }
    }

    #[test]
    fn a_scan_goes_over_all_nodes_and_again_over_those_that_got_slots() {
        let ranges = [(0, 9, at(1)), (10, 19, at(2)), (20, 16_383, at(3))];
        let mut map = SlotMap::new();
        map.learn(&ranges);
        assert_eq!(visited(&mut map, |_, _| {}), [1, 2, 3]);
        let moves = |page, map: &mut SlotMap| {
            if page == 2 {
                map.moved(15, &at(1));
            }
        };
        assert_eq!(visited(&mut map, moves), [1, 2, 3, 1]);
        let comes = |page, map: &mut SlotMap| {
            if page == 3 {
                map.moved(16, &at(4));
            }
        };
        // It has got its slots after the first round began.
        assert_eq!(visited(&mut map, comes), [1, 2, 3, 4, 4]);
    }
}
