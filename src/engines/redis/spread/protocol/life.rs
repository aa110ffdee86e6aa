//! How long something is kept.

use std::time::Duration;

/// How much longer a key is registered than its value may live: a put may take so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// By how much the clocks of two servers may run apart while a value lives, beside a 64th of its life.
const APART: Duration = Duration::from_secs(60);

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

    /// For how long a key is registered in another slot that has to be registered for so long by its own slot's clock.
    pub(super) fn longer(self) -> Self {
        match self {
            Self::Millis(millis) => Self::Millis(millis.saturating_add(millis / 64)).and(APART),
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
