//! The keys of a call for many, and what the caller named them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::Store;
use crate::error::Result;
use crate::key::Key;

/// The keys of a call, each once, and their names.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) keys: Vec<Key>,
    pub(super) names: CallerNames,
}

/// What the caller named its keys: loaders are given these names, and answers are found under them.
#[derive(Debug, Clone)]
pub(super) struct CallerNames {
    /// How many bytes of a key are its namespace.
    prefix: usize,
    /// The names that are not the key as it is stored: stores that share their keys with go-cachestore
    /// trim them.
    untrimmed: Option<Arc<HashMap<Key, String>>>,
}

impl Asked {
    /// Of two names that are trimmed to one key, the first counts.
    pub(super) fn new<K: AsRef<str>>(store: &Store, names: impl IntoIterator<Item = K>) -> Result<Self> {
        let prefix = store.namespace.prefix().len();
        let (mut keys, mut seen, mut untrimmed) = (Vec::new(), HashSet::new(), HashMap::new());
        for name in names {
            let name = name.as_ref();
            let key = store.key(name)?;
            if !seen.insert(key.clone()) {
                continue;
            }
            if key.as_str()[prefix..] != *name {
                untrimmed.insert(key.clone(), name.to_owned());
            }
            keys.push(key);
        }
        let untrimmed = (!untrimmed.is_empty()).then(|| Arc::new(untrimmed));
        let names = CallerNames { prefix, untrimmed };
        Ok(Self { keys, names })
    }
}

impl CallerNames {
    /// The names of keys that the caller named as they are stored.
    pub(super) fn as_stored(store: &Store) -> Self {
        Self {
            prefix: store.namespace.prefix().len(),
            untrimmed: None,
        }
    }

    pub(super) fn of<'n>(&'n self, key: &'n Key) -> &'n str {
        match self.untrimmed.as_ref().and_then(|untrimmed| untrimmed.get(key)) {
            Some(name) => name,
            None => &key.as_str()[self.prefix..],
        }
    }
}
