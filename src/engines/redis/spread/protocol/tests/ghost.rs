//! What users rely on, kept beside the servers: which values an invalidation has to remove.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

/// Which key depends on which name, as users see it.
///
/// A key depends on the names of its last write. If its value goes, what depends on it then depends on its names, and what
/// comes later does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    /// By its own write.
    names: BTreeMap<CompactString, BTreeSet<CompactString>>,
    /// Through keys whose values have gone.
    inherited: BTreeMap<CompactString, BTreeSet<CompactString>>,
    /// Registrations that a failover has lost: a name and a member.
    lost: BTreeSet<(CompactString, CompactString)>,
}

impl Ghost {
    /// The key has a new value.
    pub(super) fn written(&mut self, key: &CompactString, names: &[CompactString]) {
        let kept = |name: &&CompactString| !self.lost.contains(&((*name).clone(), key.clone()));
        let names: BTreeSet<_> = names.iter().filter(kept).cloned().collect();
        self.excused(key);
        self.names.insert(key.clone(), names);
    }

    /// The key's value has gone.
    pub(super) fn gone(&mut self, key: &CompactString) {
        let mut above = self.names.remove(key).unwrap_or_default();
        above.extend(self.inherited.remove(key).unwrap_or_default());
        let mut heirs: Vec<CompactString> = Vec::new();
        for names in [&self.names, &self.inherited] {
            let below = names.iter().filter(|(_, names)| names.contains(key));
            heirs.extend(below.map(|(heir, _)| heir.clone()));
        }
        for heir in heirs {
            let inherited = self.inherited.entry(heir).or_default();
            inherited.extend(above.iter().cloned());
        }
        self.tidy();
    }

    pub(super) fn registered(&mut self, name: &CompactString, member: &CompactString) {
        self.lost.remove(&(name.clone(), member.clone()));
    }

    /// A failover has lost a registration. Nothing is found by it any more.
    pub(super) fn lost(&mut self, name: &CompactString, member: &CompactString) {
        self.lost.insert((name.clone(), member.clone()));
        if let Some(names) = self.names.get_mut(member) {
            names.remove(name);
        }
        // It may have been inherited through this.
        self.inherited.clear();
        self.tidy();
    }

    /// Nothing is expected of the key's value any more.
    pub(super) fn excused(&mut self, key: &CompactString) {
        self.names.remove(key);
        self.inherited.remove(key);
    }

    fn tidy(&mut self) {
        self.names.retain(|_, names| !names.is_empty());
        self.inherited.retain(|_, names| !names.is_empty());
    }

    /// The keys that depend on a name, and the name itself.
    pub(super) fn below(&self, root: &CompactString) -> BTreeSet<CompactString> {
        let mut below = BTreeSet::from([root.clone()]);
        loop {
            let before = below.len();
            for (key, names) in self.names.iter().chain(&self.inherited) {
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
