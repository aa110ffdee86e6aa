//! The locks of a store whose engine is this process: who holds which, until when. Apart from the map of
//! entries, and not even in its actor: no write, clearing, invalidation, eviction or fault of the map touches
//! it, and it counts towards no bound of theirs. Pure: `now` is a time since an origin of the caller's.

use std::time::Duration;

use super::name::Name;
use crate::prehashed::Map;
use crate::request::{LockAction, LockAnswer};
use crate::secret::Secret;

/// How many locks are held before the table looks for those whose TTL is over.
const FEW: usize = 64;

/// Serves the steps that an engine would.
#[derive(Debug)]
pub(crate) struct Table {
    /// What is held, and what nobody has asked for since its time was over.
    held: Map<Name, Held>,
    /// How many there are when the latter are dropped: so they are never more than the former were.
    sweep_at: usize,
    /// The last token of any lock. One count for all keys only grows, also for a key that was long gone.
    token: u64,
}

#[derive(Debug)]
struct Held {
    secret: Secret,
    token: u64,
    until: Duration,
}

impl Held {
    /// Whether this is the hold of the secret, and the one with the token if one is given.
    fn is(&self, secret: &Secret, token: Option<u64>) -> bool {
        self.secret == *secret && token.is_none_or(|token| token == self.token)
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            held: Map::default(),
            sweep_at: FEW,
            token: 0,
        }
    }

    /// Carries out one step.
    pub(crate) fn serve(&mut self, name: &Name, action: LockAction, now: Duration) -> LockAnswer {
        let held = self.held.get_mut(name).filter(|held| held.until > now);
        match (action, held) {
            (LockAction::Acquire { secret, ttl, .. }, None) => self.take(name, secret, ttl, now),
            (_, None) => LockAnswer::NotHeld,
            (LockAction::Acquire { secret, ttl, .. } | LockAction::Renew { secret, ttl, .. }, Some(held)) => {
                if held.secret != secret {
                    return LockAnswer::Busy {
                        remaining: held.until - now,
                        token: held.token,
                        announces: true,
                    };
                }
                held.until = now + ttl;
                LockAnswer::Granted {
                    token: held.token,
                    renewed: true,
                    announces: true,
                }
            }
            (LockAction::Check { secret, ttl, token }, Some(held)) => {
                if !held.is(&secret, Some(token)) {
                    return LockAnswer::Mismatch;
                }
                held.until = held.until.max(now + ttl);
                LockAnswer::Done
            }
            (LockAction::Extend { secret, ttl, token }, Some(held)) => {
                if !held.is(&secret, token) {
                    return LockAnswer::Mismatch;
                }
                held.until = now + ttl;
                LockAnswer::Done
            }
            (LockAction::Release { secret, token }, Some(held)) if !held.is(&secret, token) => {
                LockAnswer::Mismatch
            }
            (LockAction::Release { .. } | LockAction::Force, Some(_)) => {
                self.held.remove(name);
                LockAnswer::Done
            }
            (LockAction::Info, Some(held)) => LockAnswer::Held {
                remaining: held.until - now,
                token: held.token,
            },
        }
    }

    fn take(&mut self, name: &Name, secret: Secret, ttl: Duration, now: Duration) -> LockAnswer {
        self.token += 1;
        let (token, until) = (self.token, now + ttl);
        self.held.insert(name.clone(), Held { secret, token, until });
        if self.held.len() >= self.sweep_at {
            self.held.retain(|_, held| held.until > now);
            self.sweep_at = (2 * self.held.len()).max(FEW);
        }
        LockAnswer::Granted {
            token,
            renewed: false,
            announces: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::name::named;

    const TTL: Duration = Duration::from_secs(1);

    fn name(n: usize) -> Name {
        named(&format!("k{n}"))
    }

    fn acquire(secret: &str) -> LockAction {
        let secret = Secret::given(secret).unwrap();
        LockAction::Acquire {
            secret,
            ttl: TTL,
            known: 0,
        }
    }

    #[test]
    fn a_lock_is_held_until_its_end_and_not_at_it() {
        let mut table = Table::new();
        let granted = table.serve(&name(0), acquire("a"), Duration::ZERO);
        let (renewed, announces) = (false, true);
        assert_eq!(
            granted,
            LockAnswer::Granted {
                token: 1,
                renewed,
                announces
            }
        );
        let before = TTL - Duration::from_nanos(1);
        let remaining = Duration::from_nanos(1);
        let busy = table.serve(&name(0), acquire("b"), before);
        assert_eq!(
            busy,
            LockAnswer::Busy {
                remaining,
                token: 1,
                announces
            }
        );
        for action in [LockAction::Info, LockAction::Force] {
            assert_eq!(table.serve(&name(0), action, TTL), LockAnswer::NotHeld);
        }
        let granted = table.serve(&name(0), acquire("b"), TTL);
        assert_eq!(
            granted,
            LockAnswer::Granted {
                token: 2,
                renewed,
                announces
            }
        );
        let secret = Secret::given("a").unwrap();
        let late = table.serve(&name(0), LockAction::Release { secret, token: None }, TTL);
        assert_eq!(late, LockAnswer::Mismatch);
    }

    #[test]
    fn a_check_shortens_nothing_and_is_of_one_hold() {
        let mut table = Table::new();
        table.serve(&name(0), acquire("a"), Duration::ZERO);
        let check = |token| LockAction::Check {
            secret: Secret::given("a").unwrap(),
            ttl: TTL / 2,
            token,
        };
        assert_eq!(table.serve(&name(0), check(1), Duration::ZERO), LockAnswer::Done);
        assert_eq!(table.serve(&name(0), check(2), TTL / 4 * 3), LockAnswer::Mismatch);
        assert_eq!(table.serve(&name(0), check(1), TTL), LockAnswer::NotHeld);
    }

    #[test]
    fn what_nobody_asks_for_again_goes() {
        let mut table = Table::new();
        for n in 0..100 * FEW {
            // Each is over when the next tenth comes.
            let now = TTL / 10 * u32::try_from(n).unwrap();
            table.serve(&name(n), acquire("a"), now);
            assert!(table.held.len() <= FEW, "{n}");
        }
    }
}
