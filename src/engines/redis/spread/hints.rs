//! The names that loaders have found out late, for the next loads of their keys. Pure.
//!
//! A value whose loader finds a name out is not stored, because nobody watches the name for the load: it may have changed. The
//! next load of the key takes its lease with that name.

use std::collections::{HashMap, VecDeque};

use compact_str::CompactString;

/// The most bytes of keys and names that are remembered.
const MOST: usize = 1024 * 1024;

/// What is remembered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Hints {
    names: HashMap<CompactString, Vec<CompactString>>,
    order: VecDeque<CompactString>,
    bytes: usize,
}

fn bytes(key: &CompactString, names: &[CompactString]) -> usize {
    // A key is kept twice.
    names
        .iter()
        .chain([key, key])
        .map(|text| size_of::<CompactString>() + text.len())
        .sum()
}

impl Hints {
    /// The names that the value of a key may turn out to depend on.
    pub(super) fn of(&self, key: &CompactString) -> &[CompactString] {
        self.names.get(key).map_or(&[], Vec::as_slice)
    }

    /// Remembers what the value of a key depends on.
    pub(super) fn learn(&mut self, key: &CompactString, names: Vec<CompactString>) {
        let added = bytes(key, &names);
        if added > MOST {
            return;
        }
        match self.names.insert(key.clone(), names) {
            Some(before) => self.bytes -= bytes(key, &before),
            None => self.order.push_back(key.clone()),
        }
        self.bytes += added;
        while self.bytes > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(names) = self.names.remove(&oldest) {
                self.bytes -= bytes(&oldest, &names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strangers may choose the names.
    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stays() {
        let mut hints = Hints::default();
        let key = |number: usize| CompactString::from(format!("key{number}"));
        let long = || vec![CompactString::from("n".repeat(1000))];
        for number in 0..5000 {
            hints.learn(&key(number), long());
            hints.learn(&key(number), long());
        }
        assert!(hints.bytes <= MOST && hints.names.len() == hints.order.len());
        assert!(hints.names.len() > 500);
        assert_eq!(hints.of(&key(4999)), long());
        assert!(hints.of(&key(0)).is_empty());
        hints.learn(&key(0), vec![CompactString::from("n".repeat(MOST))]);
        assert!(hints.of(&key(0)).is_empty(), "it is too long");
    }
}
