//! How long something is kept.

use std::time::Duration;

/// How long something is kept from some time on. Shorter ones are less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engines::redis) enum Life {
    /// Milliseconds.
    Millis(u64),
    #[default]
    Ever,
}

impl Life {
    pub(in crate::engines::redis) fn of(ttl: Option<Duration>) -> Self {
        ttl.map_or(Self::Ever, Self::from)
    }

    pub(super) fn and(self, longer: Duration) -> Self {
        match self {
            Self::Millis(millis) => Self::Millis(millis.saturating_add(whole(longer))),
            Self::Ever => Self::Ever,
        }
    }

    /// An eighth more: of many dependents in a row, most need not extend what is above their names.
    pub(super) fn generous(self) -> Self {
        match self {
            Self::Millis(millis) => Self::Millis(millis.saturating_add(millis / 8)),
            Self::Ever => Self::Ever,
        }
    }
}

impl From<Duration> for Life {
    fn from(time: Duration) -> Self {
        Self::Millis(whole(time))
    }
}

/// Whole milliseconds. The longest TTL is far below 2^53, as Lua's numbers are.
fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
