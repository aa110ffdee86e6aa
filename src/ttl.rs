//! Times to live: checked, in whole milliseconds.

use std::time::Duration;

use crate::error::{Error, Result};

/// 100 years of 365 days: the longest time that any setting or call takes.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How long an entry still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// It does not expire.
    Persistent,
    /// It expires after this time, in whole milliseconds, rounded up.
    Remaining(Duration),
}

impl Ttl {
    /// Returns the remaining time, or `None` for a persistent entry.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachestore::Ttl;
    ///
    /// assert_eq!(Ttl::Persistent.remaining(), None);
    /// assert_eq!(Ttl::Remaining(Duration::from_secs(1)).remaining(), Some(Duration::from_secs(1)));
    /// ```
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        match self {
            Ttl::Persistent => None,
            Ttl::Remaining(left) => Some(left),
        }
    }

    /// `ttl` in whole milliseconds, rounded up, if it may be one.
    pub(crate) fn checked(ttl: Duration) -> Result<Duration> {
        if ttl.is_zero() || ttl > LONGEST {
            return Err(Error::InvalidTtl { ttl });
        }
        Ok(whole_millis(ttl))
    }
}

/// `duration` in whole milliseconds, rounded up.
pub(crate) fn whole_millis(duration: Duration) -> Duration {
    const NANOS: u32 = 1_000_000;
    let over = duration.subsec_nanos() % NANOS;
    if over == 0 {
        duration
    } else {
        duration.saturating_add(Duration::from_nanos(u64::from(NANOS - over)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_milliseconds_rounded_up_between_the_bounds() {
        let cases = [
            (Duration::from_nanos(1), Duration::from_millis(1)),
            (Duration::from_micros(1500), Duration::from_millis(2)),
            (Duration::from_millis(1500), Duration::from_millis(1500)),
            (Duration::new(1, 999_999_999), Duration::from_secs(2)),
            (LONGEST, LONGEST),
        ];
        for (given, kept) in cases {
            assert_eq!(Ttl::checked(given).unwrap(), kept);
        }
        for refused in [Duration::ZERO, LONGEST + Duration::from_nanos(1), Duration::MAX] {
            assert!(matches!(Ttl::checked(refused), Err(Error::InvalidTtl { ttl }) if ttl == refused));
        }
    }
}
