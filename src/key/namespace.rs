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

/// Where a handle's keys live: `""` for the root, else `path:`, whose path cannot contain a colon. In a slot of a cluster, the
/// slot's hash tag comes first: `{tag}:` and `{tag}:path:`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespace(Option<Arc<Prefix>>);

#[derive(PartialEq, Eq)]
struct Prefix {
    text: Box<str>,
    /// How many bytes of the text are the root's.
    root: usize,
}

impl Namespace {
    /// The root of a store in the slot of this hash tag.
    #[cfg(feature = "redis")]
    pub(crate) fn tagged(tag: &str) -> Self {
        let text = format!("{{{tag}}}:");
        Self::new(text.len(), text)
    }

    fn new(root: usize, text: String) -> Self {
        let text = text.into_boxed_str();
        Self(Some(Arc::new(Prefix { text, root })))
    }

    /// The namespace `name` inside this one.
    pub(crate) fn nested(&self, name: &str) -> Result<Self> {
        let refuse = |reason: &'static str| Err(Error::InvalidNamespace { reason });
        if name.is_empty() || name.len() > MAX_NAMESPACE_BYTES {
            return refuse("a name has 1 to 64 characters");
        }
        if !is_plain(name) {
            return refuse("a name is made of A-Z a-z 0-9 . _ -");
        }
        if name == RESERVED_NAMESPACE {
            return refuse("the name `cachestore` is the library's own");
        }
        let root = self.root_prefix();
        let prefix = match self.path() {
            "" => format!("{root}{name}:"),
            path => format!("{root}{path}/{name}:"),
        };
        if prefix.len() - root.len() > MAX_PATH_BYTES {
            return refuse("nested names have at most 1023 characters together");
        }
        Ok(Self::new(root.len(), prefix))
    }

    /// What stands before each key: empty for the root outside of a cluster.
    pub(crate) fn prefix(&self) -> &str {
        self.0.as_ref().map_or("", |prefix| &prefix.text)
    }

    /// How much of each key it is.
    pub(crate) fn within(&self) -> Within {
        // A tag and a path have a little more than `MAX_PATH_BYTES`.
        Within(u16::try_from(self.prefix().len()).unwrap_or_default())
    }

    /// What stands before each key of the whole store.
    pub(crate) fn root_prefix(&self) -> &str {
        &self.prefix()[..self.root()]
    }

    fn root(&self) -> usize {
        self.0.as_ref().map_or(0, |prefix| prefix.root)
    }

    pub(crate) fn is_root(&self) -> bool {
        self.prefix().len() == self.root()
    }

    /// The names, joined by `/`: empty for the root.
    pub(crate) fn path(&self) -> &str {
        self.prefix()[self.root()..].trim_end_matches(':')
    }
}

/// Whether a name has only characters that a namespace may have.
pub(crate) fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.path(), f)
    }
}
