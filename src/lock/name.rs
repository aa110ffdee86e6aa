//! The name of a lock inside the scheduler.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::key::Key;

/// A lock's key, cheap to clone. Its hash was made with the key, under the store's secret.
#[derive(Clone)]
pub(crate) struct Name(Arc<Key>);

impl Name {
    pub(super) fn key(&self) -> &Key {
        &self.0
    }
}

/// A name of this text, the same each time.
#[cfg(test)]
pub(super) fn named(text: &str) -> Name {
    use crate::key::{KeyMaker, Namespace};

    thread_local!(static MAKER: KeyMaker = KeyMaker::new(100, false));
    let key = MAKER.with(|maker| maker.lock(&Namespace::default(), text));
    Name::from(key.unwrap())
}

impl From<Key> for Name {
    fn from(key: Key) -> Self {
        Self(Arc::new(key))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hash::hash(&*self.0, state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
