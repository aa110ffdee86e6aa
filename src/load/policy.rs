//! When a loaded value is fresh, stale or gone, and when it is loaded anew before its time. Pure: ages
//! and random numbers are arguments.

use std::time::Duration;

use crate::envelope::{Head, Life, Stored, open};
use crate::request::Aged;
use crate::ttl::LONGEST;

/// How many times the refresh window is longer than the mean lead of a refresh in it; see
/// [`is_due_early`].
const LEADS: u32 = 4;

/// For how long, and for what, a caller takes values whose fresh time is over.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Serving {
    /// Stale values are served for so long while they are loaded anew.
    pub(crate) revalidate: Duration,
    /// Stale values are served for so long when loading fails.
    pub(crate) on_error: Duration,
    /// From which fraction of the fresh time on a value may be loaded anew before it is stale.
    pub(crate) ahead: Option<f64>,
    /// The call has found already that the value is to be loaded anew. It is not drawn twice.
    pub(crate) is_due: bool,
}

/// What a value is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is served.
    Fresh,
    /// It is served, and loaded anew meanwhile.
    FreshButDue,
    /// It is served, though it is stale, and loaded anew meanwhile.
    Stale,
    /// It is served only if loading fails, or takes too long.
    Candidate,
    /// It is not served.
    Gone,
}

impl Serving {
    /// How long after its fresh time a value is of any use.
    pub(crate) fn window(&self) -> Duration {
        self.revalidate.max(self.on_error)
    }

    /// Whether it matters how old a value is.
    pub(crate) fn needs_age(&self) -> bool {
        self.ahead.is_some() || !self.window().is_zero()
    }

    /// What a value that took `cost` to load is good for; `roll` gives random numbers from 0 to 1. A value
    /// whose life has no end is fresh.
    pub(crate) fn judge(&self, cost: Duration, life: Option<Life>, roll: impl FnOnce() -> f64) -> Verdict {
        let Some(life) = life else {
            return Verdict::Fresh;
        };
        match life.stale_for() {
            None => match self.ahead {
                Some(from) if self.is_due || is_due_early(life.fresh, life.elapsed, cost, from, roll()) => {
                    Verdict::FreshButDue
                }
                _ => Verdict::Fresh,
            },
            Some(past) if past < self.revalidate => Verdict::Stale,
            Some(past) if past < self.on_error => Verdict::Candidate,
            Some(_) => Verdict::Gone,
        }
    }
}

/// Probabilistic early expiration, so that of many callers a few load a value anew before it is stale, and
/// not all of them at once when it is: XFetch (Vattani, Chierichetti, Lowenstein, *Optimal Probabilistic
/// Cache Stampede Prevention*, VLDB 2015). A caller refreshes with the probability `exp(-left / lead)`.
///
/// The paper's lead is the cost of a load. Here it is at least a quarter of the window that the caller asked
/// for: a value that loads in a millisecond would else never be refreshed ahead.
fn is_due_early(fresh: Duration, elapsed: Duration, cost: Duration, from: f64, roll: f64) -> bool {
    let begin = fresh.mul_f64(from.clamp(0.0, 1.0));
    if elapsed < begin {
        return false;
    }
    let lead = cost.max(fresh.saturating_sub(begin) / LEADS);
    let left = fresh.saturating_sub(elapsed);
    left.as_secs_f64() <= -roll.max(f64::MIN_POSITIVE).ln() * lead.as_secs_f64()
}

/// The times of a value that was loaded just now.
pub(crate) fn head(fresh: Option<Duration>, window: Duration, cost: Duration) -> Head {
    Head {
        fresh,
        window,
        age: Duration::ZERO,
        cost,
    }
}

/// A fresh time within ± `fraction` of what was asked for, in whole milliseconds; `roll` is a random number
/// from 0 to 1.
pub(crate) fn jittered(fresh: Duration, fraction: f64, roll: f64) -> Duration {
    if fraction <= 0.0 {
        return fresh;
    }
    let factor = 1.0 + fraction.min(1.0) * (2.0 * roll - 1.0);
    let millis = (fresh.as_secs_f64() * 1000.0 * factor).round().max(1.0);
    Duration::from_secs_f64(millis / 1000.0).min(LONGEST)
}

/// What a caller found before it asked for a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// Something that was not loaded, and is not what the caller can use.
    Plain,
    /// A loaded value of this age, if it can be told, which does not do.
    Loaded(Option<Duration>),
}

/// Whether what the key holds by now still calls for a load by somebody who has seen that.
pub(crate) fn calls_for_load(seen: Seen, present: Option<&Aged>) -> bool {
    let Some(present) = present else { return true };
    match (open(present.value.as_bytes()), seen) {
        (Stored::Foreign, _) => true,
        (Stored::Plain(_), seen) => seen == Seen::Plain,
        (Stored::Loaded(head, _), seen) => {
            let life = head.life(present.remaining);
            let stale = life.is_some_and(|life| life.is_stale());
            let age = life.map(|life| life.age);
            let same = match seen {
                Seen::Loaded(seen) => age.is_none() || age >= seen,
                Seen::Nothing | Seen::Plain => false,
            };
            stale || same
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    const SECOND: Duration = Duration::from_secs(1);

    fn serving(revalidate: u64, on_error: u64, ahead: Option<f64>) -> Serving {
        Serving {
            revalidate: SECOND * u32::try_from(revalidate).unwrap(),
            on_error: SECOND * u32::try_from(on_error).unwrap(),
            ahead,
            is_due: false,
        }
    }

    proptest! {
        /// On the time line of one value: fresh, then stale, then a stale candidate, then gone, with nothing in between.
        #[test]
        fn a_value_ages_through_its_windows(
            fresh in 1..20u64, revalidate in 0..20u64, on_error in 0..20u64, age in 0..60_000u64,
        ) {
            let age = Duration::from_millis(age);
            let life = Life { age, elapsed: age, fresh: Duration::from_secs(fresh) };
            let verdict = serving(revalidate, on_error, None).judge(SECOND, Some(life), || 0.5);
            let seconds = age.as_millis() as f64 / 1000.0;
            let expected = if seconds < fresh as f64 {
                Verdict::Fresh
            } else if seconds < (fresh + revalidate) as f64 {
                Verdict::Stale
            } else if seconds < (fresh + on_error) as f64 {
                Verdict::Candidate
            } else {
                Verdict::Gone
            };
            prop_assert_eq!(verdict, expected);
        }

        #[test]
        fn a_jittered_time_stays_within_its_fraction(millis in 1..10_000_000u64, fraction in 0.0..1.0, roll in 0.0..1.0) {
            let fresh = Duration::from_millis(millis);
            let got = jittered(fresh, fraction, roll).as_secs_f64() * 1000.0;
            let (low, high) = (millis as f64 * (1.0 - fraction), millis as f64 * (1.0 + fraction));
            prop_assert!(got >= low.round().max(1.0) - 0.001 && got <= high.round() + 0.001);
        }
    }

    /// How many of many callers refresh a value of this age.
    fn share(fresh: Duration, age: Duration, cost: Duration, from: f64) -> f64 {
        let rolls = 10_000;
        let due = (0..rolls)
            .filter(|roll| {
                is_due_early(
                    fresh,
                    age,
                    cost,
                    from,
                    (f64::from(*roll) + 0.5) / f64::from(rolls),
                )
            })
            .count();
        due as f64 / f64::from(rolls)
    }

    #[test]
    fn the_nearer_its_end_the_more_likely_a_value_is_refreshed() {
        let ttl = SECOND * 10;
        let none = Duration::ZERO;
        assert_eq!(share(ttl, SECOND * 4, none, 0.5), 0.0, "before the window");
        let early = share(ttl, SECOND * 5, none, 0.5);
        let late = share(ttl, SECOND * 9, none, 0.5);
        assert!(early > 0.0 && early < 0.03, "e^-4 of them: {early}");
        assert!(late > 0.4 && late < 0.5, "e^-0.8 of them: {late}");
        let costly = share(ttl, SECOND * 5, SECOND * 20, 0.5);
        assert!(
            costly > 0.7,
            "a load that takes longer than the rest begins early: {costly}"
        );
    }

    #[test]
    fn what_somebody_else_has_loaded_meanwhile_is_not_loaded_again() {
        let head = head(Some(SECOND * 10), SECOND * 10, Duration::ZERO);
        let aged = |age: u32| Aged {
            value: head.seal(crate::envelope::Body::default()),
            remaining: Some(SECOND * (20 - age)),
        };
        assert!(calls_for_load(Seen::Nothing, None));
        assert!(!calls_for_load(Seen::Nothing, Some(&aged(0))));
        assert!(calls_for_load(Seen::Nothing, Some(&aged(12))), "stale");
        assert!(
            calls_for_load(Seen::Loaded(Some(SECOND * 12)), Some(&aged(12))),
            "the same"
        );
        assert!(
            !calls_for_load(Seen::Loaded(Some(SECOND * 12)), Some(&aged(0))),
            "a newer one"
        );
        let early = Seen::Loaded(Some(SECOND * 6));
        assert!(
            calls_for_load(early, Some(&aged(6))),
            "fresh, but to be refreshed"
        );
        let plain = Aged {
            value: Value::from("v"),
            remaining: None,
        };
        assert!(calls_for_load(Seen::Plain, Some(&plain)));
        assert!(!calls_for_load(Seen::Nothing, Some(&plain)));
    }

    #[test]
    fn what_has_no_end_stays_fresh() {
        let serving = serving(5, 5, Some(0.0));
        let head = head(None, SECOND, SECOND);
        assert_eq!((head.ttl(), head.life(Some(SECOND))), (None, None));
        assert_eq!(serving.judge(SECOND, None, || 0.0), Verdict::Fresh);
    }
}
