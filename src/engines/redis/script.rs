//! The scripts: constants, called by their digest.

pub(super) mod spread;

use redis::Cmd;

/// One script of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Write,
    WriteMany,
    Expire,
    Incr,
    DeleteIf,
    Invalidate,
    Drain,
    Drained,
    ClearLeases,
    ClearValues,
    ClearSets,
    ClearLarge,
    ClearRest,
    LockAcquire,
    LockCheck,
    LockExtend,
    LockRelease,
    LockForce,
    LockInfo,
    LeaseTake,
    GetOrLease,
    LeaseEnd,
    LeaseKeep,
    Delete,
    Scan,
}

impl Script {
    pub(super) const ALL: [Script; 25] = [
        Script::Write,
        Script::WriteMany,
        Script::Expire,
        Script::Incr,
        Script::DeleteIf,
        Script::Invalidate,
        Script::Drain,
        Script::Drained,
        Script::ClearLeases,
        Script::ClearValues,
        Script::ClearSets,
        Script::ClearLarge,
        Script::ClearRest,
        Script::LockAcquire,
        Script::LockCheck,
        Script::LockExtend,
        Script::LockRelease,
        Script::LockForce,
        Script::LockInfo,
        Script::LeaseTake,
        Script::GetOrLease,
        Script::LeaseEnd,
        Script::LeaseKeep,
        Script::Delete,
        Script::Scan,
    ];

    /// Whether it stands for a plain command in a slot of a cluster, and is not needed elsewhere.
    pub(super) fn is_for_a_slot(self) -> bool {
        matches!(self, Script::Delete | Script::Scan)
    }

    /// Whether its KEYS are all keys that it needs.
    pub(super) fn names_all_keys(self) -> bool {
        matches!(
            self,
            Script::LockAcquire
                | Script::LockCheck
                | Script::LockExtend
                | Script::LockRelease
                | Script::LockForce
                | Script::LockInfo
        )
    }

    fn text(self) -> &'static str {
        match self {
            Script::Write => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/loaded.lua"),
                include_str!("scripts/write.lua")
            ),
            Script::WriteMany => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/write_many.lua")
            ),
            Script::Expire => concat!(
                include_str!("scripts/depend.lua"),
                include_str!("scripts/loaded.lua"),
                include_str!("scripts/reach.lua"),
                include_str!("scripts/expire.lua")
            ),
            Script::Incr => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/incr.lua")
            ),
            Script::DeleteIf => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/delete_if.lua")
            ),
            Script::Invalidate => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/unlink.lua"),
                include_str!("scripts/invalidate.lua")
            ),
            Script::Drain => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/unlink.lua"),
                include_str!("scripts/drain.lua")
            ),
            Script::Drained => concat!(
                include_str!("scripts/depend.lua"),
                include_str!("scripts/drained.lua")
            ),
            Script::ClearLeases => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_leases.lua")
            ),
            Script::ClearValues => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_values.lua")
            ),
            Script::ClearSets => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_kept.lua"),
                include_str!("scripts/clear_sets.lua")
            ),
            Script::ClearLarge => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_kept.lua"),
                include_str!("scripts/clear_large.lua")
            ),
            Script::ClearRest => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_kept.lua"),
                include_str!("scripts/clear_rest.lua")
            ),
            Script::LockAcquire => include_str!("scripts/lock_acquire.lua"),
            Script::LockCheck => include_str!("scripts/lock_check.lua"),
            Script::LockExtend => include_str!("scripts/lock_extend.lua"),
            Script::LockRelease => include_str!("scripts/lock_release.lua"),
            Script::LockForce => include_str!("scripts/lock_force.lua"),
            Script::LockInfo => include_str!("scripts/lock_info.lua"),
            Script::LeaseTake => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/lease_take.lua")
            ),
            Script::GetOrLease => concat!(
                include_str!("scripts/get_or_lease.lua"),
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/lease_take.lua")
            ),
            Script::LeaseEnd => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/lease_end.lua")
            ),
            Script::LeaseKeep => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/depend.lua"),
                include_str!("scripts/tidy.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/loaded.lua"),
                include_str!("scripts/reach.lua"),
                include_str!("scripts/lease_keep.lua")
            ),
            Script::Delete => concat!(
                include_str!("scripts/changed.lua"),
                include_str!("scripts/delete.lua")
            ),
            Script::Scan => include_str!("scripts/scan.lua"),
        }
    }
}

/// The scripts as a server is sent them, with the names that keys have there.
#[derive(Debug)]
pub(super) struct Scripts {
    sources: [String; Script::ALL.len()],
    digests: [String; Script::ALL.len()],
}

impl Scripts {
    /// `names`, as Lua, are put in place of the words that stand for them. Scripts that do not name all keys that they need
    /// begin with `prologue`.
    pub(super) fn new(names: &[(&str, String)], prologue: &str) -> Self {
        let sources = Script::ALL.map(|script| {
            let named = named(bare(script.text()), names);
            if script.names_all_keys() {
                named
            } else {
                format!("{prologue}{named}")
            }
        });
        let digests = sources
            .each_ref()
            .map(|source| redis::Script::new(source).get_hash().to_owned());
        Self { sources, digests }
    }

    /// What the server is sent: without comments and indentation, which are half of it.
    pub(super) fn source(&self, script: Script) -> &str {
        &self.sources[script as usize]
    }

    /// A call, up to the number of its keys: by the script's digest, or by its source for a server that has forgotten it.
    pub(super) fn call(&self, script: Script, by: By) -> Cmd {
        let mut command;
        match by {
            By::Digest => {
                command = redis::cmd("EVALSHA");
                command.arg(&self.digests[script as usize]);
            }
            By::Source => {
                command = redis::cmd("EVAL");
                command.arg(self.source(script));
            }
        }
        command
    }
}

/// A script without comments and indentation. No line of ours ends with a comment or is within a longer text.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    code.collect::<Vec<_>>().join("\n")
}

/// Puts the names on the server in place of `NAMES.leases` and the like.
fn named(text: String, names: &[(&str, String)]) -> String {
    let put = |text: String, (word, name): &(&str, String)| text.replace(word, name);
    names.iter().fold(text, put)
}

/// The number by which a script chooses what it looks at beside its task; see `scripts/tidy.lua`.
pub(super) fn random() -> u32 {
    #[cfg(test)]
    if let Some(chosen) = chosen::get() {
        return chosen;
    }
    rand::random()
}

/// What tests choose where they know each member of each set.
#[cfg(test)]
pub(super) mod chosen {
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<u32>> = const { Cell::new(None) };
    }

    pub(super) fn get() -> Option<u32> {
        CHOSEN.get()
    }

    /// From now on, scripts that this thread sends for one key and up to two names look at nothing else.
    pub(in crate::engines::redis) fn look_at_nothing() {
        CHOSEN.set(Some(5));
    }
}

/// How a script is named in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Digest,
    Source,
}

#[cfg(test)]
mod tests;
