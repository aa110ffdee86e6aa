//! Locks on the server: one script for each step. Pure.
//!
//! A lock is a string that holds its secret, under a name of its own; beside it is the last token that was
//! given for it, and whether its holder announces the release. The server counts all time. The token is the
//! largest of three: the last one plus one, the highest one that the client has seen plus one, and the server's time
//! in microseconds. So it grows for a client that knows the last one, whatever the server has forgotten. For others
//! it grows unless the last one was forgotten and the clock is behind.

use std::time::Duration;

use redis::{Cmd, Value as Wire};

use super::exchange::{Commands, Exchange, Replies, Settled, Way};
use super::script::Script;
use super::tally::Tally;
use super::wire::{millis, refuse_errors, unexpected};
use crate::request::{Asked, Lock, LockAction, LockAnswer};
use crate::secret::Secret;
use crate::ttl::LONGEST;

/// How long the last token of a lock is remembered after its end.
const MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Why releases are not announced, and what to do.
pub(super) const MAY_NOT_PUBLISH: &str = "the server's user may not publish: it needs `+publish` and `&cachestore:*`, in a cluster behind the hash tag";

impl Exchange for Lock {
    fn way(&self) -> Way {
        Way::LockScript
    }

    fn encode(&self, to: &mut Commands) {
        let key = self.step.key.as_str();
        let action = &self.step.action;
        let script = match action {
            LockAction::Acquire { .. } | LockAction::Renew { .. } => Script::LockAcquire,
            LockAction::Check { .. } => Script::LockCheck,
            LockAction::Extend { .. } => Script::LockExtend,
            LockAction::Release { .. } => Script::LockRelease,
            LockAction::Force => Script::LockForce,
            LockAction::Info => Script::LockInfo,
        };
        to.call(script, 2, |command, layout| {
            command.arg(layout.lock(key)).arg(layout.fence(key));
            match action {
                LockAction::Acquire { secret, ttl, known } | LockAction::Renew { secret, ttl, known } => {
                    let leaves_free = matches!(action, LockAction::Renew { .. });
                    timed(command, secret, *ttl)
                        .arg(u8::from(leaves_free))
                        .arg(layout.channel(key))
                        .arg(layout.unheard_channel(key))
                        .arg(*known);
                }
                LockAction::Check { secret, ttl, token } => {
                    command
                        .arg(secret.expose())
                        .arg(millis(*ttl))
                        .arg(millis(MEMORY))
                        .arg(*token)
                        .arg(layout.unheard_channel(key));
                }
                LockAction::Extend { secret, ttl, token } => {
                    timed(command, secret, *ttl).arg(layout.channel(key)).arg(*token);
                }
                LockAction::Release { secret, token } => {
                    command.arg(secret.expose()).arg(layout.channel(key)).arg(*token);
                }
                LockAction::Force => {
                    command.arg(layout.channel(key));
                }
                LockAction::Info => {}
            }
        });
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        let answer = refuse_errors(replies.take())
            .and_then(|got| answer(&asked.operation.step.action, got).ok_or_else(unexpected));
        asked.answer(answer, tally)
    }
}

/// The secret, the lock's TTL, and that of its record.
fn timed<'c>(command: &'c mut Cmd, secret: &Secret, ttl: Duration) -> &'c mut Cmd {
    command
        .arg(secret.expose())
        .arg(millis(ttl))
        .arg(millis(ttl + MEMORY))
}

/// What the server's reply means; `None` if no script of ours gives it.
fn answer(action: &LockAction, got: Wire) -> Option<LockAnswer> {
    match action {
        LockAction::Acquire { .. } | LockAction::Renew { .. } => {
            let Wire::Array(parts) = got else { return None };
            match parts.as_slice() {
                [Wire::Int(1), token, Wire::Int(renewed), Wire::Int(announces)] => {
                    Some(LockAnswer::Granted {
                        token: number(token)?,
                        renewed: *renewed == 1,
                        announces: *announces == 1,
                    })
                }
                [Wire::Int(0), Wire::Int(left), token, Wire::Int(announces)] => Some(LockAnswer::Busy {
                    remaining: remaining(*left),
                    token: number(token)?,
                    announces: *announces == 1,
                }),
                [Wire::Int(2)] => Some(LockAnswer::NotHeld),
                _ => None,
            }
        }
        LockAction::Info => match got {
            Wire::Int(0) => Some(LockAnswer::NotHeld),
            Wire::Array(parts) => match parts.as_slice() {
                [Wire::Int(left), token] => Some(LockAnswer::Held {
                    remaining: remaining(*left),
                    token: number(token)?,
                }),
                _ => None,
            },
            _ => None,
        },
        LockAction::Check { .. } => match got {
            Wire::Int(1) => Some(LockAnswer::Done),
            Wire::Int(2) => Some(LockAnswer::Restored),
            Wire::Int(-1) => Some(LockAnswer::Mismatch),
            _ => None,
        },
        LockAction::Extend { .. } | LockAction::Release { .. } | LockAction::Force => match got {
            Wire::Int(1) => Some(LockAnswer::Done),
            Wire::Int(0) => Some(LockAnswer::NotHeld),
            Wire::Int(-1) => Some(LockAnswer::Mismatch),
            _ => None,
        },
    }
}

/// A time that the server tells. One that another program made without an end has the longest.
fn remaining(millis: i64) -> Duration {
    u64::try_from(millis).map_or(LONGEST, Duration::from_millis)
}

fn number(token: &Wire) -> Option<u64> {
    match token {
        Wire::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Wire::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_mean_what_the_scripts_say() {
        let secret = Secret::given("s").unwrap();
        let ttl = Duration::from_secs(1);
        let known = 0;
        let acquire = LockAction::Acquire { secret, ttl, known };
        let granted = Wire::Array(vec![
            Wire::Int(1),
            Wire::BulkString(b"7".to_vec()),
            Wire::Int(0),
            Wire::Int(1),
        ]);
        assert_eq!(
            answer(&acquire, granted),
            Some(LockAnswer::Granted {
                token: 7,
                renewed: false,
                announces: true
            })
        );
        for (left, remaining) in [(5, Duration::from_millis(5)), (-1, LONGEST)] {
            let busy = Wire::Array(vec![
                Wire::Int(0),
                Wire::Int(left),
                Wire::BulkString(b"7".to_vec()),
                Wire::Int(0),
            ]);
            assert_eq!(
                answer(&acquire, busy),
                Some(LockAnswer::Busy {
                    remaining,
                    token: 7,
                    announces: false
                })
            );
        }
        assert_eq!(answer(&LockAction::Info, Wire::Int(0)), Some(LockAnswer::NotHeld));
        let (secret, token) = (Secret::given("s").unwrap(), 7);
        let check = LockAction::Check { secret, ttl, token };
        for (got, told) in [
            (1, Some(LockAnswer::Done)),
            (2, Some(LockAnswer::Restored)),
            (-1, Some(LockAnswer::Mismatch)),
            (0, None),
        ] {
            assert_eq!(answer(&check, Wire::Int(got)), told);
        }
        assert_eq!(answer(&LockAction::Force, Wire::Okay), None);
    }
}
