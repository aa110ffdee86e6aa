//! How a server of the model behaves, and which shortcuts it takes.

/// How a server goes through members, and what it leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) shortcut: Option<Shortcut>,
    /// How many members a page has.
    pub(super) page: usize,
    /// Whether pages go from the last member to the first. Servers differ in their order.
    pub(super) backwards: bool,
}

impl Manner {
    pub(super) fn takes(self, shortcut: Shortcut) -> bool {
        self.shortcut == Some(shortcut)
    }
}

/// Shortcuts that a server may take in a test, to show that the explorer finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortcut {
    /// A put does not ask for kills.
    PutWithoutCheck,
    /// A registration is forgotten whatever its stamp.
    ForgetWithoutStamp,
    /// A registration's stamp is a count.
    CountedStamps,
    /// A slot without kills has none, as all others.
    NoKillsLikeNoKills,
    /// A registration tells nothing of the name's own names.
    NoCover,
    /// A put takes the registration as made now.
    LifeFromPut,
    /// A put does not ask how long others are registered below.
    NotShortForThoseBelow,
    /// A new TTL needs no registration.
    TouchUnregistered,
    /// A kill drops the record of a key that has others below.
    KillDropsRecord,
    /// A kill leaves the lease.
    KillLeavesLease,
    /// A load that is cancelled late has its value kept.
    CancelLeavesValue,
    /// A change forgets the loads that it returns.
    ChangeTakesWatchers,
    /// A clearing leaves the leases of loads that read what it removes and have other keys.
    MarkOfKeysAlone,
    /// The end of a clearing leaves leases.
    UnmarkLeavesLeases,
    /// What was loaded is put while a clearing goes on.
    PutWhileCleared,
    /// A kill leaves intents.
    KillLeavesIntents,
    /// A note of registrations is taken in whatever record there is.
    CoverAnyRecord,
}
