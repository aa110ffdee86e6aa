//! The scripts: constants, called by their digest.

use std::sync::LazyLock;

use redis::Cmd;

/// One script of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Write,
    Expire,
    Incr,
    DeleteIf,
    Condemn,
    Drain,
    ClearLeases,
    ClearValues,
    ClearOutside,
    ClearSets,
    ClearLarge,
    LockAcquire,
    LockExtend,
    LockRelease,
    LockForce,
    LockInfo,
    LeaseTake,
    LeaseEnd,
}

impl Script {
    pub(super) const ALL: [Script; 18] = [
        Script::Write,
        Script::Expire,
        Script::Incr,
        Script::DeleteIf,
        Script::Condemn,
        Script::Drain,
        Script::ClearLeases,
        Script::ClearValues,
        Script::ClearOutside,
        Script::ClearSets,
        Script::ClearLarge,
        Script::LockAcquire,
        Script::LockExtend,
        Script::LockRelease,
        Script::LockForce,
        Script::LockInfo,
        Script::LeaseTake,
        Script::LeaseEnd,
    ];

    pub(super) fn source(self) -> &'static str {
        match self {
            Script::Write => concat!(
                include_str!("scripts/extend.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/loaded.lua"),
                include_str!("scripts/write.lua")
            ),
            Script::Expire => concat!(
                include_str!("scripts/extend.lua"),
                include_str!("scripts/loaded.lua"),
                include_str!("scripts/expire.lua")
            ),
            Script::Incr => include_str!("scripts/incr.lua"),
            Script::DeleteIf => include_str!("scripts/delete_if.lua"),
            Script::Condemn => include_str!("scripts/condemn.lua"),
            Script::Drain => include_str!("scripts/drain.lua"),
            Script::ClearLeases => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_leases.lua")
            ),
            Script::ClearValues => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_values.lua")
            ),
            Script::ClearOutside => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_ties.lua"),
                include_str!("scripts/clear_outside.lua")
            ),
            Script::ClearSets => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_ties.lua"),
                include_str!("scripts/clear_sets.lua")
            ),
            Script::ClearLarge => concat!(
                include_str!("scripts/clearing.lua"),
                include_str!("scripts/clear_ties.lua"),
                include_str!("scripts/clear_large.lua")
            ),
            Script::LockAcquire => include_str!("scripts/lock_acquire.lua"),
            Script::LockExtend => include_str!("scripts/lock_extend.lua"),
            Script::LockRelease => include_str!("scripts/lock_release.lua"),
            Script::LockForce => include_str!("scripts/lock_force.lua"),
            Script::LockInfo => include_str!("scripts/lock_info.lua"),
            Script::LeaseTake => concat!(
                include_str!("scripts/extend.lua"),
                include_str!("scripts/lease.lua"),
                include_str!("scripts/lease_take.lua")
            ),
            Script::LeaseEnd => concat!(
                include_str!("scripts/lease.lua"),
                include_str!("scripts/lease_end.lua")
            ),
        }
    }

    /// A call, up to its arguments: by the script's digest, or by its `source` for a server that has
    /// forgotten it.
    pub(super) fn call(self, by: By, keys: usize) -> Cmd {
        static DIGESTS: LazyLock<[String; Script::ALL.len()]> =
            LazyLock::new(|| Script::ALL.map(|s| redis::Script::new(s.source()).get_hash().to_owned()));
        let mut command;
        match by {
            By::Digest => {
                command = redis::cmd("EVALSHA");
                command.arg(&DIGESTS[self as usize]);
            }
            By::Source => {
                command = redis::cmd("EVAL");
                command.arg(self.source());
            }
        }
        command.arg(keys);
        command
    }
}

/// How a script is named in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Digest,
    Source,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_its_digest_or_by_its_source() {
        let packed = Script::Drain.call(By::Digest, 0).get_packed_command();
        let digest = redis::Script::new(Script::Drain.source()).get_hash().to_owned();
        assert!(String::from_utf8(packed).unwrap().contains(&digest));
        let packed = Script::Drain.call(By::Source, 0).get_packed_command();
        assert!(String::from_utf8(packed).unwrap().contains("SRANDMEMBER"));
    }

    /// A user of the server's access control may run what the README lists, and scripts nothing else.
    #[test]
    fn the_readme_gives_rights_to_each_command_that_a_script_calls() {
        let readme = include_str!("../../README.md");
        let rights = readme.lines().find(|line| line.starts_with("user app on "));
        let rights: Vec<&str> = rights.unwrap().split(' ').collect();
        for script in Script::ALL {
            for call in script.source().split("call('").skip(1) {
                let command = call.split('\'').next().unwrap();
                let right = format!("+{}", command.to_lowercase());
                assert!(rights.contains(&right.as_str()), "{command}");
            }
        }
    }
}
