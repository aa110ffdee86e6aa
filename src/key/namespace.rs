//! Where a handle's keys live.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest name of one namespace, in bytes.
const MAX_NAMESPACE_BYTES: usize = 64;
/// The longest path of nested namespaces, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The one namespace whose keys would begin with [`RESERVED_PREFIX`](super::RESERVED_PREFIX).
const RESERVED_NAMESPACE: &str = "cachestore";

/// How many bytes of a key are the namespace of the handle that named it: none for the root, although a key of the root
/// may be one of a namespace too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Within(u16);

impl Within {
    pub(super) fn bytes(self) -> usize {
        self.0.into()
    }
}

/// Where a handle's keys live: `""` for the root, else `path:`, whose path cannot contain a colon.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Option<Arc<str>>,
}

impl Namespace {
    /// The namespace `name` inside this one.
    pub(crate) fn nested(&self, name: &str) -> Result<Self> {
        let refuse = |reason: &'static str| Err(Error::InvalidNamespace { reason });
        if name.is_empty() || name.len() > MAX_NAMESPACE_BYTES {
            return refuse("a name has 1 to 64 characters");
        }
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return refuse("a name is made of A-Z a-z 0-9 . _ -");
        }
        if name == RESERVED_NAMESPACE {
            return refuse("the name `cachestore` is the library's own");
        }
        let prefix = match self.path() {
            "" => format!("{name}:"),
            path => format!("{path}/{name}:"),
        };
        if prefix.len() > MAX_PATH_BYTES {
            return refuse("nested names have at most 1023 characters together");
        }
        Ok(Self {
            prefix: Some(prefix.into()),
        })
    }

    /// What stands before each key: empty for the root.
    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("")
    }

    /// How much of each key it is.
    pub(crate) fn within(&self) -> Within {
        // A path has at most `MAX_PATH_BYTES`.
        Within(u16::try_from(self.prefix().len()).unwrap_or_default())
    }

    /// The names, joined by `/`: empty for the root.
    pub(crate) fn path(&self) -> &str {
        self.prefix().trim_end_matches(':')
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.path(), f)
    }
}
