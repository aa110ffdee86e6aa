//! Makes names of dependencies for a handle, without holding the store open.

use crate::error::Result;
use crate::key::{Key, KeyMaker, Namespace};

/// The rules for names, and the namespace that they are in.
#[derive(Debug, Clone)]
pub(super) struct Namer {
    pub(super) keys: KeyMaker,
    pub(super) namespace: Namespace,
}

impl Namer {
    pub(super) fn name(&self, raw: &str) -> Result<Key> {
        self.keys.name(&self.namespace, raw)
    }
}
