//! The names in scripts.

use crate::engines::redis::script::Scripts;
use crate::key::RESERVED_PREFIX;

/// The scripts of stores whose names begin with `tag`.
pub(super) fn scripts(tag: &str) -> Scripts {
    let own = |name: &str| format!("{tag}{RESERVED_PREFIX}{name}");
    // A word comes before one that it begins with.
    let names = [
        // The names that change while some loads run; see `scripts/changed.lua`.
        ("NAMES.changed", own("changed")),
        // The stamps of all names that leases have; see `scripts/lease.lua`.
        ("NAMES.leases", own("leases")),
        ("NAMES.lease", own("lease:{")),
        // The keys of values that were given out and not stored; see `scripts/lease.lua`.
        ("NAMES.given", own("given")),
        // The sets that live as long as their longest-lived member; see `scripts/depend.lua`.
        ("NAMES.lasting", own("lasting")),
        // The marks of clearings under way; see `scripts/clearing.lua`.
        ("NAMES.clearing", own("clearing")),
        // The invalidation that drained last; see `scripts/drain.lua`.
        ("NAMES.draining", own("draining")),
        // The prefix of the name of a set of tombstones; see `scripts/drain.lua`.
        ("NAMES.tombstones", own("tombstones:{")),
        // The prefix of the name of a hash of parents; see `scripts/depend.lua`.
        ("NAMES.parents", own("parents:")),
        ("NAMES.reserved", own("")),
        ("NAMES.tag", tag.to_owned()),
        ("NAMES.close", "}".to_owned()),
    ];
    let names = names.map(|(word, name)| (word, format!("'{name}'")));
    Scripts::new(&names, if tag.is_empty() { "" } else { WITHOUT_ABSENT })
}

/// The begin of scripts whose calls have a first key that never exists.
const WITHOUT_ABSENT: &str = "table.remove(KEYS, 1)\n";
/// The same where that key also tells the hash tag of the slot.
const IN_SLOT: &str = "local slot = string.match(table.remove(KEYS, 1), '{.*}')\n";

/// The scripts of stores that are spread over slots. Each has names of the slot that its keys are in.
pub(super) fn spread_scripts() -> Scripts {
    let named = |word, name: &str, end: &str| {
        let name = format!("('{RESERVED_PREFIX}{name}' .. slot{end})");
        (word, name)
    };
    let names = [
        named("NAMES.changed", "changed:", ""),
        named("NAMES.leases", "leases:", ""),
        named("NAMES.lease", "lease:", " .. ':'"),
        named("NAMES.given", "given:", ""),
        named("NAMES.lasting", "lasting:", ""),
        named("NAMES.clearing", "clearing:", ""),
        named("NAMES.draining", "draining:", ""),
        named("NAMES.tombstones", "tombstones:", " .. ':'"),
        named("NAMES.parents", "parents:", " .. ':'"),
        ("NAMES.reserved", format!("'{RESERVED_PREFIX}'")),
        ("NAMES.tag", "''".to_owned()),
        ("NAMES.close", "''".to_owned()),
    ];
    Scripts::new(&names, IN_SLOT)
}
