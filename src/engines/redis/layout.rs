//! How things are named on the server: values by their physical keys, and what is kept beside them.

use redis::Value as Wire;

use crate::error::{Error, Result};
use crate::key::RESERVED_PREFIX;
use crate::request::Subject;

/// Holds the version of the layout that a database's keys have.
const VERSION_KEY: &str = "cachestore:layout";
/// The version that this layout has. A change that another version would misread takes the next number.
const VERSION: &str = "1";

/// What the name of a set of tombstones begins with; see `scripts/drain.lua`.
const TOMBSTONES: &str = "cachestore:tombstones:{";
/// What the name of a hash of parents begins with; see `scripts/depend.lua`.
const PARENTS: &str = "cachestore:parents:";
/// The sets that live as long as their longest-lived member; see `scripts/depend.lua`.
const LASTING: &str = "cachestore:lasting";
/// The marks of clearings under way; see `scripts/clearing.lua`.
const CLEARING: &str = "cachestore:clearing";
/// The invalidation that drained last; see `scripts/drain.lua`.
const DRAINING: &str = "cachestore:draining";
/// What was given out and not stored; see `scripts/lease.lua`.
const GIVEN: &str = "cachestore:given";

/// The names of dependency sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// What a dependency set's name begins with.
    pub(super) depend: &'static str,
    /// What it ends with. The braces are a hash tag of Redis Cluster.
    pub(super) close: &'static str,
    /// What a lock's name begins and ends with: nothing where go-cachestore has to find it.
    pub(super) lock: (&'static str, &'static str),
}

/// What a lock's name begins with, and, in every layout, the channel on which its release is announced.
const LOCK: &str = "cachestore:lock:{";
/// What a lease's name begins with, and the channel on which its end is announced.
const LEASE: &str = "cachestore:lease:{";

impl Layout {
    /// What is known of all names that leases have; see `scripts/lease.lua`.
    pub(super) const LEASES: &str = "cachestore:leases";

    /// The names in scripts, by the words that stand for them there. A word comes before one that it begins with.
    pub(super) const NAMES: [(&str, &str); 9] = [
        ("NAMES.leases", Self::LEASES),
        ("NAMES.lease", LEASE),
        ("NAMES.given", GIVEN),
        ("NAMES.lasting", LASTING),
        ("NAMES.clearing", CLEARING),
        ("NAMES.draining", DRAINING),
        ("NAMES.tombstones", TOMBSTONES),
        ("NAMES.parents", PARENTS),
        ("NAMES.reserved", RESERVED_PREFIX),
    ];

    pub(super) fn new(go_compatible: bool) -> Self {
        if go_compatible {
            Self {
                depend: "depend:",
                close: "",
                lock: ("", ""),
            }
        } else {
            Self {
                depend: "cachestore:depend:{",
                close: "}",
                lock: (LOCK, "}"),
            }
        }
    }

    /// Commands that note the layout's version where the database has none, and read it, last. A store that shares
    /// its keys with go-cachestore only reads it.
    pub(super) fn ask_version(self) -> Vec<redis::Cmd> {
        let mut note = redis::cmd("SET");
        note.arg(VERSION_KEY).arg(VERSION).arg("NX");
        let mut ask = redis::cmd("GET");
        ask.arg(VERSION_KEY);
        if self.close.is_empty() {
            vec![ask]
        } else {
            vec![note, ask]
        }
    }

    /// Refuses a database whose layout has another version. A server that does not tell it, or that has none because it
    /// takes no writes, is not refused.
    pub(super) fn check_version(reply: &Wire) -> Result<()> {
        let Wire::BulkString(found) = reply else {
            return Ok(());
        };
        if found == VERSION.as_bytes() {
            return Ok(());
        }
        // Somebody else may have written it.
        let is_number = (1..=9).contains(&found.len()) && found.iter().all(u8::is_ascii_digit);
        let found = match std::str::from_utf8(found) {
            Ok(number) if is_number => number,
            _ => "of an unknown form",
        };
        Err(Error::InvalidConfig {
            reason: format!(
                "the database's keys have layout version {found}, this version of cachestore has {VERSION}: \
                 use another database, or the same version in all processes"
            ),
        })
    }

    pub(super) fn lock(self, key: &str) -> String {
        let (open, close) = self.lock;
        format!("{open}{key}{close}")
    }

    /// A lock's last fencing token, and how its holder releases; see `scripts/lock_acquire.lua`.
    pub(super) fn fence(key: &str) -> String {
        format!("cachestore:fence:{{{key}}}")
    }

    /// Who loads a key; see `scripts/lease.lua`.
    pub(super) fn lease(key: &str) -> String {
        format!("{LEASE}{key}}}")
    }

    /// Where the releases of a lock are announced.
    pub(super) fn channel(key: &str) -> String {
        format!("{LOCK}{key}}}")
    }

    /// A channel that nobody subscribes to. What a user may publish there it may publish in [`channel`](Self::channel).
    pub(super) fn unheard_channel(key: &str) -> String {
        format!("{LOCK}{key}}}:unheard")
    }

    /// Where it is announced what becomes of this.
    pub(super) fn channel_of(subject: &Subject) -> String {
        match subject {
            Subject::Lock(key) => Self::channel(key),
            Subject::Lease(key) => Self::lease(key),
        }
    }

    /// What is announced there.
    pub(super) fn subject_of(channel: &str) -> Option<Subject> {
        let channel = channel.strip_suffix('}')?;
        if let Some(key) = channel.strip_prefix(LOCK) {
            return Some(Subject::Lock(key.into()));
        }
        channel.strip_prefix(LEASE).map(|key| Subject::Lease(key.into()))
    }

    /// A pattern that all sets match, and with them what leads back from their members; values may match it too.
    pub(super) fn kept(self) -> String {
        if self.close.is_empty() {
            pattern("")
        } else {
            pattern(RESERVED_PREFIX)
        }
    }

    pub(super) fn tombstones(name: &str) -> String {
        format!("{TOMBSTONES}{name}}}")
    }

    /// Whether a key is the library's own, and no value.
    pub(super) fn is_reserved(key: &str) -> bool {
        key.starts_with(RESERVED_PREFIX)
    }
}

/// A pattern that matches exactly what begins with `prefix`.
pub(super) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_characters_are_literal() {
        assert_eq!(pattern("a:"), "a:*");
        assert_eq!(pattern(r"*?[x]^\"), r"\*\?\[x\]\^\\*");
        assert_eq!(pattern(""), "*");
    }

    #[test]
    fn only_another_version_is_refused() {
        let bulk = |text: &str| Wire::BulkString(text.as_bytes().to_vec());
        for reply in [Wire::Nil, Wire::Okay, bulk(VERSION)] {
            assert!(Layout::check_version(&reply).is_ok());
        }
        for (reply, named) in [
            ("2", "version 2,"),
            ("secret", "unknown form"),
            ("", "unknown form"),
        ] {
            let Err(Error::InvalidConfig { reason }) = Layout::check_version(&bulk(reply)) else {
                panic!("{reply} is taken");
            };
            assert!(reason.contains(named) && reason.contains("has 1:"), "{reason}");
        }
    }

    #[test]
    fn what_is_kept_beside_values_is_reserved() {
        assert!(Layout::is_reserved("cachestore:lock:{a}"));
        assert!(Layout::is_reserved(&Layout::tombstones("a")));
        assert!(!Layout::is_reserved("tenant:cachestore:x"));
    }
}
