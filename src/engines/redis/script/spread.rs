//! The scripts of a cluster whose values are spread over all nodes: one for each step that needs one.

use std::sync::LazyLock;

use redis::Cmd;

use super::{By, bare, named};
use crate::engines::redis::layout::LEASE;

/// The script of one step; see `spread/protocol.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engines::redis) enum SlotScript {
    Look,
    Register,
    Cover,
    Put,
    Touch,
    Change,
    Cancel,
    Kill,
    Forget,
    Take,
    End,
    Unwatch,
    Mark,
}

impl SlotScript {
    pub(in crate::engines::redis) const ALL: [SlotScript; 13] = [
        SlotScript::Look,
        SlotScript::Register,
        SlotScript::Cover,
        SlotScript::Put,
        SlotScript::Touch,
        SlotScript::Change,
        SlotScript::Cancel,
        SlotScript::Kill,
        SlotScript::Forget,
        SlotScript::Take,
        SlotScript::End,
        SlotScript::Unwatch,
        SlotScript::Mark,
    ];

    fn text(self) -> &'static str {
        match self {
            SlotScript::Look => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/sight.lua"),
                include_str!("../scripts/spread/look.lua")
            ),
            SlotScript::Register => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/spread/register.lua")
            ),
            SlotScript::Cover => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/spread/cover.lua")
            ),
            SlotScript::Put => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/spread/sight.lua"),
                include_str!("../scripts/spread/changed.lua"),
                include_str!("../scripts/spread/cleared.lua"),
                include_str!("../scripts/loaded.lua"),
                include_str!("../scripts/spread/put.lua")
            ),
            SlotScript::Touch => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/loaded.lua"),
                include_str!("../scripts/spread/touch.lua")
            ),
            SlotScript::Change => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/changed.lua"),
                include_str!("../scripts/spread/change.lua")
            ),
            SlotScript::Cancel => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/spread/cancel.lua")
            ),
            SlotScript::Kill => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/sight.lua"),
                include_str!("../scripts/spread/kill.lua")
            ),
            SlotScript::Forget => include_str!("../scripts/spread/forget.lua"),
            SlotScript::Take => concat!(
                include_str!("../scripts/spread/find.lua"),
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/record.lua"),
                include_str!("../scripts/spread/sight.lua"),
                include_str!("../scripts/spread/take.lua")
            ),
            SlotScript::End => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/changed.lua"),
                include_str!("../scripts/spread/end.lua")
            ),
            SlotScript::Mark => concat!(
                include_str!("../scripts/spread/clock.lua"),
                include_str!("../scripts/spread/mark.lua")
            ),
            SlotScript::Unwatch => include_str!("../scripts/spread/unwatch.lua"),
        }
    }

    /// What a node is sent to load it.
    pub(in crate::engines::redis) fn source(self) -> &'static str {
        &SCRIPTS.sources[self as usize]
    }

    /// A call up to its keys: by the script's digest, or by its source for a node that does not know it.
    pub(in crate::engines::redis) fn call(self, by: By, keys: &[String]) -> Cmd {
        let mut command;
        match by {
            By::Digest => {
                command = redis::cmd("EVALSHA");
                command.arg(&SCRIPTS.digests[self as usize]);
            }
            By::Source => {
                command = redis::cmd("EVAL");
                command.arg(self.source());
            }
        }
        command.arg(keys.len()).arg(keys);
        command
    }
}

struct Scripts {
    sources: [String; SlotScript::ALL.len()],
    digests: [String; SlotScript::ALL.len()],
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let names = [("NAMES.lease", format!("'{LEASE}'"))];
    let sources = SlotScript::ALL.map(|script| named(bare(script.text()), &names));
    let digest = |source: &String| redis::Script::new(source).get_hash().to_owned();
    let digests = sources.each_ref().map(digest);
    Scripts { sources, digests }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_layout() {
        for script in SlotScript::ALL {
            assert!(!script.text().contains("'cachestore:"), "{script:?}");
            assert!(!script.source().contains("NAMES."), "{script:?}");
        }
    }

    /// A server takes no longer text from a client that has not introduced itself.
    #[test]
    fn every_script_is_short() {
        for script in SlotScript::ALL {
            assert!(script.source().len() <= 16 * 1024, "{script:?}");
        }
    }

    /// A user of the server's access control may run what the security page lists, and scripts nothing else.
    #[test]
    fn the_security_page_gives_rights_to_each_command_that_a_script_calls() {
        let page = include_str!("../../../../docs/security.md");
        let rights = page.lines().find(|line| line.starts_with("user app on "));
        let rights: Vec<&str> = rights.unwrap().split(' ').collect();
        for script in SlotScript::ALL {
            for call in script.text().split("call('").skip(1) {
                let command = call.split('\'').next().unwrap();
                let right = format!("+{}", command.to_lowercase());
                assert!(rights.contains(&right.as_str()), "{command}");
            }
        }
    }
}
