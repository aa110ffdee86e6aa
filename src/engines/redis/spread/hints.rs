//! The names that loaders have found out late, for the next loads of their keys. Pure.
//!
//! A value whose loader finds a name out is not stored, because nobody watches the name for the load: it may have changed. The
//! next load of the key takes its lease with that name.

use std::collections::{BTreeMap, HashMap};

use compact_str::CompactString;

/// The most bytes of keys and names that are remembered.
const MOST: usize = 1024 * 1024;

/// What is remembered of keys.
#[derive(Debug, Default)]
pub(super) struct Hints {
    all: HashMap<CompactString, Hint>,
    /// The keys in the order in which they were learned last.
    order: BTreeMap<u64, CompactString>,
    last: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Hint {
    place: u64,
    names: Vec<CompactString>,
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
        self.all.get(key).map_or(&[], |hint| &hint.names)
    }

    /// Remembers what the value of a key depends on.
    pub(super) fn learn(&mut self, key: &CompactString, names: Vec<CompactString>) {
        let added = bytes(key, &names);
        if added > MOST {
            return;
        }
        self.forget(key);
        self.last += 1;
        let place = self.last;
        self.order.insert(place, key.clone());
        self.all.insert(key.clone(), Hint { place, names });
        self.bytes += added;
        while self.bytes > MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &CompactString) {
        if let Some(Hint { place, names }) = self.all.remove(key) {
            self.order.remove(&place);
            self.bytes -= bytes(key, &names);
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
        assert!(hints.bytes <= MOST && hints.all.len() == hints.order.len());
        assert!(hints.all.len() > 500);
        assert_eq!(hints.of(&key(4999)), long());
        assert!(hints.of(&key(0)).is_empty());
        let oldest = key(5000 - hints.all.len());
        let more = vec![CompactString::from("n".repeat(10_000))];
        hints.learn(&oldest, more.clone());
        assert_eq!(hints.of(&oldest), more, "it is the newest now");
        assert!(hints.bytes <= MOST);
        hints.learn(&key(0), vec![CompactString::from("n".repeat(MOST))]);
        assert!(hints.of(&key(0)).is_empty(), "it is too long");
    }
}
