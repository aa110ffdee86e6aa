//! The names on the server: the keys of values, and the names of everything that the library keeps beside them.

mod scripts;
mod slots;
mod version;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use redis::Cmd;

use self::scripts::{scripts, spread_scripts};
pub(super) use self::slots::{LEASE, SlotNames, tag_of};
use super::cluster::slot_of;
use super::script::spread::SlotScript;
use super::script::{By, Script, Scripts};
use crate::key::{Key, Namespace, RESERVED_PREFIX};
use crate::request::Subject;

/// The names on the server, and the scripts that use them. Clones share them.
///
/// In one slot of a cluster, each name and each key begins with the same hash tag, as in `{app}:cachestore:leases`. The
/// server hashes the text between the first `{` and the first `}` after it, whatever braces follow in a key.
///
/// A store may also be *spread* over all slots of a cluster: each key is in the slot that it hashes to. Names that belong to
/// the key are in the same slot, by the tag of the slot ([`tag_of`]), as in `cachestore:lock:{1f}:key`.
#[derive(Clone)]
pub(super) struct Layout(Arc<Names>);

struct Names {
    is_spread: bool,
    /// The slot of all names, or of the layout's version if the store is spread.
    slot: u16,
    /// The prefix of each name and each key: `{app}:`, or nothing outside of a cluster.
    tag: String,
    /// The prefix of a dependency set's name.
    depend: String,
    /// Its suffix.
    close: &'static str,
    /// The prefix and the suffix of a lock's name: nothing where go-cachestore has to find the lock.
    lock: (String, &'static str),
    /// The prefix of the channel that announces the release of a lock, in every layout.
    announced: String,
    fence: String,
    /// The prefix of a lease's name, and of the channel that announces its end.
    lease: String,
    tombstones: String,
    leases: String,
    changed: String,
    version: String,
    /// The prefix of the library's own keys.
    reserved: String,
    /// Two keys that never exist; see [`Layout::call`].
    absent: [String; 2],
    scripts: Arc<Scripts>,
}

impl Names {
    fn new(tag: String, go_compatible: bool) -> Self {
        let own = |name: &str| format!("{tag}{RESERVED_PREFIX}{name}");
        let announced = own("lock:{");
        let (depend, close, lock) = if go_compatible {
            ("depend:".to_owned(), "", (String::new(), ""))
        } else {
            (own("depend:{"), "}", (announced.clone(), "}"))
        };
        let scripts = if tag.is_empty() {
            static PLAIN: LazyLock<Arc<Scripts>> = LazyLock::new(|| Arc::new(scripts("")));
            PLAIN.clone()
        } else {
            Arc::new(scripts(&tag))
        };
        Self {
            is_spread: false,
            slot: slot_of(tag.as_bytes()),
            depend,
            close,
            lock,
            announced,
            fence: own("fence:{"),
            lease: own("lease:{"),
            tombstones: own("tombstones:{"),
            leases: own("leases"),
            changed: own("changed"),
            version: own("layout"),
            reserved: own(""),
            absent: [own("absent"), own("absent:2")],
            scripts,
            tag,
        }
    }
}

impl Layout {
    /// How many of the names that change are kept; see `scripts/changed.lua`.
    pub(super) const MOST_CHANGED: i32 = 16_384;

    /// The most bytes of a name that is kept among these; see `scripts/changed.lua`.
    pub(super) const LONGEST_NOTED: usize = 256;

    /// The layout of a store outside of a cluster.
    #[cfg(test)]
    pub(super) fn new(go_compatible: bool) -> Self {
        Self(Arc::new(Names::new(String::new(), go_compatible)))
    }

    /// The layout of a store whose keys are in the namespaces of `root`.
    pub(super) fn of(root: &Namespace, go_compatible: bool) -> Self {
        Self(Arc::new(Names::new(root.prefix().to_owned(), go_compatible)))
    }

    /// The layout of a store that is spread over the slots of a cluster.
    pub(super) fn spread() -> Self {
        static SCRIPTS: LazyLock<Arc<Scripts>> = LazyLock::new(|| Arc::new(spread_scripts()));
        let mut names = Names::new(String::new(), false);
        names.is_spread = true;
        names.slot = slot_of(names.version.as_bytes());
        names.scripts = SCRIPTS.clone();
        Self(Arc::new(names))
    }

    /// Whether all names are in one slot of a cluster.
    pub(super) fn is_in_a_slot(&self) -> bool {
        !self.0.tag.is_empty()
    }

    /// Whether each key is in the slot of a cluster that it hashes to.
    pub(super) fn is_spread(&self) -> bool {
        self.0.is_spread
    }

    /// Whether names are in slots of a cluster. Then a command may be refused because its slot moves, and is sent again. So
    /// each change of an entry is a script or in a transaction, which ends leases in the same step.
    pub(super) fn is_in_a_cluster(&self) -> bool {
        self.is_in_a_slot() || self.is_spread()
    }

    /// The slot that all names are in, in a cluster. That of the layout's version if the store is spread.
    pub(super) fn slot(&self) -> u16 {
        self.0.slot
    }

    /// The one slot that all commands are for. `None` if there is no such slot.
    pub(super) fn only_slot(&self) -> Option<u16> {
        self.is_in_a_slot().then_some(self.0.slot)
    }

    /// The prefix of each key.
    pub(super) fn tag(&self) -> &str {
        &self.0.tag
    }

    /// The prefix of a dependency set's name.
    pub(super) fn depend(&self) -> &str {
        &self.0.depend
    }

    /// The suffix of a dependency set's name.
    pub(super) fn close(&self) -> &'static str {
        self.0.close
    }

    /// The prefix and the suffix of the name of a key's own dependency set.
    pub(super) fn around(&self, key: &Key) -> (Cow<'_, str>, &'static str) {
        if self.0.is_spread {
            return (Cow::Owned(beside("depend", key.as_str(), "")), "");
        }
        (Cow::Borrowed(&self.0.depend), self.0.close)
    }

    /// The name of the hash of stamps; see `scripts/lease.lua`.
    pub(super) fn leases(&self) -> &str {
        &self.0.leases
    }

    /// The names that change while loads run that may find out later what their values depend on; see
    /// `scripts/changed.lua`.
    pub(super) fn changed(&self) -> &str {
        &self.0.changed
    }

    /// A key that never exists.
    pub(super) fn absent(&self) -> &str {
        &self.0.absent[0]
    }

    /// The scripts that the server is to know.
    pub(super) fn scripts(&self) -> impl Iterator<Item = &str> {
        let known = Script::ALL
            .into_iter()
            .filter(|script| self.is_in_a_cluster() || !script.is_for_a_slot());
        let steps: &[SlotScript] = if self.is_spread() { &SlotScript::ALL } else { &[] };
        let steps = steps.iter().map(|script| script.source());
        known.map(|script| self.0.scripts.source(script)).chain(steps)
    }

    /// The call of a script up to its keys: by its digest, or by its source for a server that has forgotten it.
    ///
    /// A script finds most of the keys that it needs on the server. While a slot moves from one server to another, some of
    /// its keys are here and some are there, and a script would take those there for absent. So each script names one more
    /// key in a slot, which never exists: as long as the slot moves, the server then refuses the script before it runs.
    pub(super) fn call(&self, script: Script, by: By, keys: usize) -> Cmd {
        let absent: &[String] = match keys {
            _ if !self.is_in_a_slot() || script.names_all_keys() => &[],
            // The server that the slot moves to refuses a command that names several keys.
            0 => &self.0.absent,
            _ => &self.0.absent[..1],
        };
        let mut command = self.0.scripts.call(script, by);
        command.arg(absent.len() + keys);
        absent.iter().for_each(|key| {
            command.arg(key);
        });
        command
    }

    /// The same for a store that is spread, whose script has keys in `slot`.
    pub(super) fn call_in(&self, slot: u16, script: Script, by: By, keys: usize) -> Cmd {
        let mut command = self.0.scripts.call(script, by);
        if script.names_all_keys() {
            command.arg(keys);
        } else {
            let absent = format!("{RESERVED_PREFIX}absent:{{{}}}", tag_of(slot));
            command.arg(1 + keys).arg(absent);
        }
        command
    }

    pub(super) fn lock(&self, key: &str) -> String {
        if self.0.is_spread {
            return beside("lock", key, key);
        }
        let (open, close) = &self.0.lock;
        format!("{open}{key}{close}")
    }

    /// A lock's last fencing token, and how its holder releases; see `scripts/lock_acquire.lua`.
    pub(super) fn fence(&self, key: &str) -> String {
        if self.0.is_spread {
            return beside("fence", key, key);
        }
        format!("{}{key}}}", self.0.fence)
    }

    /// Who loads a key; see `scripts/lease.lua`.
    pub(super) fn lease(&self, key: &str) -> String {
        if self.0.is_spread {
            return beside("lease", key, key);
        }
        format!("{}{key}}}", self.0.lease)
    }

    /// The channel that announces the releases of a lock.
    pub(super) fn channel(&self, key: &str) -> String {
        if self.0.is_spread {
            return beside("lock", key, key);
        }
        format!("{}{key}}}", self.0.announced)
    }

    /// A channel that nobody subscribes to. A user who may publish there may publish in [`channel`](Self::channel) too.
    pub(super) fn unheard_channel(&self, key: &str) -> String {
        if self.0.is_spread {
            return beside("unheard", key, key);
        }
        format!("{}{key}}}:unheard", self.0.announced)
    }

    /// The channel that announces the end of this lock or lease.
    pub(super) fn channel_of(&self, subject: &Subject) -> String {
        match subject {
            Subject::Lock(key) => self.channel(key),
            Subject::Lease(key) => self.lease(key),
        }
    }

    /// The lock or the lease that a channel announces.
    pub(super) fn subject_of(&self, channel: &str) -> Option<Subject> {
        if self.0.is_spread {
            let (kind, key) = channel.strip_prefix(RESERVED_PREFIX)?.split_once(":{")?;
            let (_, key) = key.split_once("}:")?;
            return match kind {
                "lock" => Some(Subject::Lock(key.into())),
                "lease" => Some(Subject::Lease(key.into())),
                _ => None,
            };
        }
        let channel = channel.strip_suffix('}')?;
        if let Some(key) = channel.strip_prefix(&self.0.announced) {
            return Some(Subject::Lock(key.into()));
        }
        channel
            .strip_prefix(&self.0.lease)
            .map(|key| Subject::Lease(key.into()))
    }

    /// A pattern that all sets match, and with them what leads back from their members; values may match it too.
    pub(super) fn kept(&self) -> String {
        if self.0.close.is_empty() {
            pattern("")
        } else {
            pattern(&self.0.reserved)
        }
    }

    pub(super) fn tombstones(&self, name: &str) -> String {
        format!("{}{name}}}", self.0.tombstones)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("tag", &self.0.tag)
            .field("depend", &self.0.depend)
            .finish_non_exhaustive()
    }
}

/// The name of something that is kept beside a key, in the key's slot.
fn beside(kind: &str, key: &str, end: &str) -> String {
    let tag = tag_of(slot_of(key.as_bytes()));
    format!("{RESERVED_PREFIX}{kind}:{{{tag}}}:{end}")
}

/// Whether a key of a whole cluster is the library's own: that of a store over all nodes, or of one in a slot, whose keys
/// have its hash tag before them.
pub(super) fn is_own(key: &[u8]) -> bool {
    let tagged = key.strip_prefix(b"{").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'}')?;
        rest[end..].strip_prefix(b"}:")
    });
    tagged.unwrap_or(key).starts_with(RESERVED_PREFIX.as_bytes())
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
mod tests;
