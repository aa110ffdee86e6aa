//! What users rely on, kept beside the servers: which values an invalidation has to remove.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

/// Which key depends on which name, as users see it.
///
/// A key depends on the names of its last write. If its value goes, what depends on it then depends on its names, and what
/// comes later does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    names: BTreeMap<CompactString, BTreeSet<CompactString>>,
    /// Registrations that a failover has lost: a name and a member.
    lost: BTreeSet<(CompactString, CompactString)>,
}

impl Ghost {
    /// The key has a new value.
    pub(super) fn written(&mut self, key: &CompactString, names: &[CompactString]) {
        let kept = |name: &&CompactString| !self.lost.contains(&((*name).clone(), key.clone()));
        let names: BTreeSet<_> = names.iter().filter(kept).cloned().collect();
        self.names.insert(key.clone(), names);
    }

    /// The key's value has gone.
    pub(super) fn gone(&mut self, key: &CompactString) {
        let above = self.names.remove(key).unwrap_or_default();
        for names in self.names.values_mut() {
            if names.contains(key) {
                names.extend(above.iter().cloned());
            }
        }
        self.names.retain(|_, names| !names.is_empty());
    }

    pub(super) fn registered(&mut self, name: &CompactString, member: &CompactString) {
        self.lost.remove(&(name.clone(), member.clone()));
    }

    /// A failover has lost a registration. Nobody can find by it any more.
    pub(super) fn lost(&mut self, name: &CompactString, member: &CompactString) {
        self.lost.insert((name.clone(), member.clone()));
        // What has come to depend on the name by way of the member is lost with it.
        self.names.values_mut().for_each(|names| {
            names.remove(name);
        });
    }

    /// Nothing is expected of the key's value any more.
    pub(super) fn excused(&mut self, key: &CompactString) {
        self.names.remove(key);
    }

    /// The keys that depend on a name, and the name itself.
    pub(super) fn below(&self, root: &CompactString) -> BTreeSet<CompactString> {
        let mut below = BTreeSet::from([root.clone()]);
        loop {
            let before = below.len();
            for (key, names) in &self.names {
                if names.iter().any(|name| below.contains(name)) {
                    below.insert(key.clone());
                }
            }
            if below.len() == before {
                return below;
            }
        }
    }
}
