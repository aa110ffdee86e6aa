//! The names in a cluster whose values are spread over all nodes. A name for something that belongs to a key is in the
//! key's slot.

use std::sync::LazyLock;

use crate::engines::redis::cluster::{SLOTS, slot_of};
use crate::key::RESERVED_PREFIX;

/// What the name of a lease's channel begins with. The slot's tag in braces, a colon and the key follow.
pub(in crate::engines::redis) const LEASE: &str = "cachestore:lease:";

/// The names in the slot of a key.
///
/// Each name has the hash tag of the slot in braces. The key itself cannot be in these braces, because a key may have braces
/// of its own, and the name would be in another slot then.
#[derive(Debug, Clone, Copy)]
pub(in crate::engines::redis) struct SlotNames<'k> {
    key: &'k str,
    tag: &'static str,
}

impl<'k> SlotNames<'k> {
    pub(in crate::engines::redis) fn of(key: &'k str) -> Self {
        let tag = tag_of(slot_of(key.as_bytes()));
        Self { key, tag }
    }

    /// The registrations under the key.
    pub(in crate::engines::redis) fn depend(self) -> String {
        self.own("depend")
    }

    /// The loads that name the key.
    pub(in crate::engines::redis) fn watch(self) -> String {
        self.own("watch")
    }

    /// The stamp of the slot's last invalidation.
    pub(in crate::engines::redis) fn kills(self) -> String {
        self.shared("kills")
    }

    pub(in crate::engines::redis) fn intents(self) -> String {
        self.shared("intents")
    }

    pub(in crate::engines::redis) fn leases(self) -> String {
        self.shared("leases")
    }

    /// The clearings under way.
    pub(in crate::engines::redis) fn clearings(self) -> String {
        self.shared("clearings")
    }

    /// The records of keys.
    pub(in crate::engines::redis) fn records(self) -> String {
        self.shared("records")
    }

    fn own(self, kind: &str) -> String {
        let Self { key, tag } = self;
        format!("{RESERVED_PREFIX}{kind}:{{{tag}}}:{key}")
    }

    fn shared(self, kind: &str) -> String {
        format!("{RESERVED_PREFIX}{kind}:{{{}}}", self.tag)
    }
}

/// The hash tag of a slot: 1 to 5 hexadecimal digits that hash to it.
pub(in crate::engines::redis) fn tag_of(slot: u16) -> &'static str {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(tags);
    // There is a tag for each slot, so the default is never used.
    TAGS.get(usize::from(slot)).map_or("", String::as_str)
}

/// For each slot, a short text that hashes to it.
fn tags() -> Vec<String> {
    let mut tags = vec![String::new(); usize::from(SLOTS)];
    let mut missing = tags.len();
    let mut number = 0_u64;
    while missing > 0 {
        let text = format!("{number:x}");
        number += 1;
        let tag = &mut tags[usize::from(slot_of(text.as_bytes()))];
        if tag.is_empty() {
            *tag = text;
            missing -= 1;
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_key_are_in_its_slot() {
        for key in ["", "a", "a{b}c", "{}", "}{", "{user1}:page", "é{", "namespace:k"] {
            let names = SlotNames::of(key);
            for name in [
                names.depend(),
                names.watch(),
                names.kills(),
                names.intents(),
                names.leases(),
                names.records(),
                names.clearings(),
            ] {
                assert_eq!(slot_of(name.as_bytes()), slot_of(key.as_bytes()), "{name}");
            }
        }
    }

    #[test]
    fn each_slot_has_a_short_tag() {
        let tags = tags();
        assert!(tags.iter().all(|tag| (1..=5).contains(&tag.len())));
        let in_place = |(slot, tag): (usize, &String)| usize::from(slot_of(tag.as_bytes())) == slot;
        assert!(tags.iter().enumerate().all(in_place));
    }
}
