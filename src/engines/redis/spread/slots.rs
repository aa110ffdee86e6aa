//! Which node owns which slot. Pure: what nodes tell goes in, and what has changed comes out.

use std::collections::BTreeMap;

use crate::config::Place;
use crate::engines::redis::cluster::SLOTS;

/// One node, for as long as it is known. No number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

/// The owner of each slot. A node is known by the address at which it is reached.
#[derive(Debug)]
pub(super) struct SlotMap {
    owners: Vec<Option<NodeId>>,
    /// The version in which each slot has got its owner.
    since: Vec<u32>,
    nodes: BTreeMap<NodeId, Node>,
    last: u32,
    /// Grows with each change.
    version: u32,
}

#[derive(Debug)]
struct Node {
    place: Place,
    /// How many slots it owns.
    slots: usize,
    /// The version in which it has got a slot last.
    gained: u32,
}

/// A slot that had an owner and has another one now, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) slot: u16,
    pub(super) from: NodeId,
}

impl SlotMap {
    pub(super) fn new() -> Self {
        Self {
            owners: vec![None; usize::from(SLOTS)],
            since: vec![0; usize::from(SLOTS)],
            nodes: BTreeMap::new(),
            last: 0,
            version: 0,
        }
    }

    pub(super) fn owner(&self, slot: u16) -> Option<NodeId> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    /// The version in which a slot has got its owner. It is another one each time.
    pub(super) fn since(&self, slot: u16) -> u32 {
        self.since.get(usize::from(slot)).copied().unwrap_or(0)
    }

    pub(super) fn place(&self, node: NodeId) -> Option<&Place> {
        self.nodes.get(&node).map(|node| &node.place)
    }

    /// Whether a node owns slots.
    pub(super) fn is_primary(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.slots > 0)
    }

    /// Grows with each change.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// The next node that owns slots, by number, and has got one of them after this version.
    pub(super) fn next_with_news(&self, after: Option<NodeId>, since: u32) -> Option<NodeId> {
        let later = self
            .nodes
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after));
        let mut found = later.filter(|(_, node)| node.slots > 0 && node.gained > since);
        found.next().map(|(id, _)| *id)
    }

    /// Takes in who owns which slots: the first and the last slot of each range and the place of its owner. Other slots have no
    /// owner. Returns the slots that another owner has left.
    pub(super) fn learn(&mut self, ranges: &[(u16, u16, Place)]) -> Vec<Left> {
        let mut owners = vec![None; usize::from(SLOTS)];
        let next = self.version + 1;
        for (first, last, place) in ranges {
            let id = self.node_at(place);
            let slots = usize::from(*first)..=usize::from(*last);
            if let Some(range) = owners.get_mut(slots) {
                range.fill(Some(id));
            }
        }
        let mut left = Vec::new();
        let mut has_changed = false;
        for (slot, now) in (0..).zip(owners) {
            let before = self.owner(slot);
            if before != now {
                has_changed = true;
                self.set(slot, now, next);
                left.extend(before.map(|from| Left { slot, from }));
            }
        }
        self.version += u32::from(has_changed);
        left
    }

    /// A node has told that the owner of a slot is at this place. Returns the owner that it had, if that is another one.
    pub(super) fn moved(&mut self, slot: u16, to: &Place) -> Option<Left> {
        let (before, now) = (self.owner(slot), self.node_at(to));
        if before == Some(now) {
            return None;
        }
        self.version += 1;
        self.set(slot, Some(now), self.version);
        before.map(|from| Left { slot, from })
    }

    /// Forgets a node that owns no slots.
    pub(super) fn forget(&mut self, node: NodeId) {
        if !self.is_primary(node) {
            self.nodes.remove(&node);
        }
    }

    fn set(&mut self, slot: u16, now: Option<NodeId>, version: u32) {
        let Some(owner) = self.owners.get_mut(usize::from(slot)) else {
            return;
        };
        if let Some(since) = self.since.get_mut(usize::from(slot)) {
            *since = version;
        }
        if let Some(before) = std::mem::replace(owner, now)
            && let Some(node) = self.nodes.get_mut(&before)
        {
            node.slots -= 1;
        }
        if let Some(now) = now
            && let Some(node) = self.nodes.get_mut(&now)
        {
            node.slots += 1;
            node.gained = version;
        }
    }

    fn node_at(&mut self, place: &Place) -> NodeId {
        let known = self.nodes.iter().find(|(_, node)| node.place == *place);
        if let Some((id, _)) = known {
            return *id;
        }
        self.last += 1;
        let id = NodeId(self.last);
        let node = Node {
            place: place.clone(),
            slots: 0,
            gained: 0,
        };
        self.nodes.insert(id, node);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Place {
        Place::Tcp("h".to_owned(), port)
    }

    #[test]
    fn what_changes_owner_is_told() {
        let mut map = SlotMap::new();
        assert_eq!(map.learn(&[(0, 9, at(1)), (10, 16_383, at(2))]), Vec::new());
        let (one, two) = (map.owner(0).unwrap(), map.owner(10).unwrap());
        assert_eq!((map.owner(9), map.owner(16_383)), (Some(one), Some(two)));
        assert_eq!(map.learn(&[(0, 9, at(1)), (10, 16_383, at(2))]), Vec::new());
        assert_eq!(map.version(), 1, "nothing has changed");
        let left = map.learn(&[(0, 7, at(1)), (8, 9, at(2)), (10, 16_383, at(2))]);
        assert_eq!(left, [Left { slot: 8, from: one }, Left { slot: 9, from: one }]);
        assert_eq!(map.owner(9), Some(two));
        let left = map.learn(&[(0, 7, at(1))]);
        assert_eq!((left.len(), map.owner(8)), (16_376, None));
        assert!(!map.is_primary(two));
    }

    #[test]
    fn a_node_that_comes_back_is_another_one() {
        let mut map = SlotMap::new();
        map.learn(&[(0, 16_383, at(1))]);
        let one = map.owner(0).unwrap();
        assert_eq!(map.moved(3, &at(2)), Some(Left { slot: 3, from: one }));
        assert_eq!(map.moved(3, &at(2)), None);
        let two = map.owner(3).unwrap();
        map.forget(two);
        assert_eq!(map.place(two), Some(&at(2)), "it owns a slot");
        map.moved(3, &at(1));
        map.forget(two);
        assert_eq!(map.place(two), None);
        map.moved(3, &at(2));
        assert_ne!(map.owner(3), Some(two));
    }

    #[test]
    fn nodes_that_have_got_slots_are_found() {
        let mut map = SlotMap::new();
        map.learn(&[(0, 9, at(1)), (10, 16_383, at(2))]);
        let (one, two) = (map.owner(0).unwrap(), map.owner(10).unwrap());
        assert_eq!(map.next_with_news(None, 0), Some(one));
        assert_eq!(map.next_with_news(Some(one), 0), Some(two));
        assert_eq!(map.next_with_news(Some(two), 0), None);
        let version = map.version();
        assert_eq!(map.next_with_news(None, version), None);
        map.moved(3, &at(2));
        assert_eq!(map.next_with_news(None, version), Some(two));
    }
}
