//! The stored form of a loaded value: a head that tells its times, then the encoded model.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | `0xC1`, with which neither MessagePack nor JSON can begin |
//! | 1 | the version of this form: 2, or 18 with a validator; others, up to 31, are other forms |
//! | 2..6 | `load`, in every version: it tells an envelope from bytes that somebody wrote with `set` |
//! | 6..14 | how long it is fresh from the writing of this head on, in milliseconds, `u64`, big-endian; all ones for ever |
//! | 14..22 | how long it is kept after that, likewise: the longest of its stale windows |
//! | 22..30 | how old the value was when this head was written, likewise |
//! | 30..34 | how long it took to load, in microseconds, `u32`, big-endian; all ones for longer |
//! | 34.. | in version 2, the model |
//! | 34..36 | in version 18, the length of the validator in bytes, `u16`, big-endian |
//! | 36.. | in version 18, the validator, in UTF-8, and then the model |
//!
//! A *validator* tells a source which version of a value the store has, as an ETag does.
//!
//! The head holds no point in time. An entry's TTL is its fresh time and its window. So the TTL that is left,
//! which the engine alone counts, tells how long ago the head was written, and no clocks of different machines
//! are compared. `expire` and `persist` write a new head together with the new TTL.
//!
//! On Redis, scripts read and write this head too: see `redis/scripts/loaded.lua`.

use std::fmt;
use std::time::Duration;

use crate::ttl::{LONGEST, Ttl};
use crate::value::Value;

/// The first byte.
const MARK: u8 = 0xC1;
/// The version without a validator.
const VERSION: u8 = 2;
/// The version with a validator.
const WITH_VALIDATOR: u8 = 16 + VERSION;
/// The last version there will ever be. What has a greater second byte is no envelope, but garbage.
const LAST_VERSION: u8 = 31;
/// What follows the version. Of random values, one in two thousand has a mark and a version; `add` would write
/// over it if that made it an envelope.
const SIGNATURE: &[u8; 4] = b"load";
/// The length of the head in bytes, without the validator.
pub(crate) const HEAD: usize = 34;
/// The most bytes of a validator.
pub(crate) const LONGEST_VALIDATOR: usize = u16::MAX as usize;
/// What stands for "for ever".
const EVER: u64 = u64::MAX;
/// A `None` as MessagePack and JSON write it. Neither is a whole model in the other codec.
const NOTHING: [&[u8]; 2] = [&[0xC0], b"null"];

/// The times of a loaded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// How long it is fresh from the writing of this head on, in whole milliseconds; `None` for ever.
    pub(crate) fresh: Option<Duration>,
    /// How long it is kept after its fresh time.
    pub(crate) window: Duration,
    /// How old the value was when this head was written.
    pub(crate) age: Duration,
    /// How long it took to load.
    pub(crate) cost: Duration,
}

/// How far a loaded value has come in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// How long ago it was loaded.
    pub(crate) age: Duration,
    /// How long ago its fresh time began.
    pub(crate) elapsed: Duration,
    /// The length of its fresh time.
    pub(crate) fresh: Duration,
}

/// What stored bytes are.
#[derive(PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// A value that was not loaded: all of it.
    Plain(&'a [u8]),
    /// A loaded value.
    Loaded(Head, Body<'a>),
    /// An envelope of another version. It counts as absent.
    Foreign,
}

/// What follows the head of a loaded value.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Body<'a> {
    pub(crate) validator: Option<&'a str>,
    pub(crate) model: &'a [u8],
}

/// Shows the length of a value.
impl fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stored::Plain(bytes) => f.debug_tuple("Plain").field(&bytes.len()).finish(),
            Stored::Loaded(head, body) => f.debug_tuple("Loaded").field(head).field(body).finish(),
            Stored::Foreign => f.write_str("Foreign"),
        }
    }
}

/// Shows the length of the model, and no validator.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("has_validator", &self.validator.is_some())
            .field("length", &self.model.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Body<'a> {
    /// A body without a validator.
    pub(crate) fn of(model: &'a [u8]) -> Self {
        let validator = None;
        Self { validator, model }
    }

    /// Splits the bytes behind a head that tells of a validator. If not all of it is there, there is nothing.
    fn with_validator(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (validator, model) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let validator = Some(std::str::from_utf8(validator).ok()?);
        Some(Self { validator, model })
    }
}

/// The only place that decides whether a value is stale; `redis/scripts/loaded.lua` does the same on the server.
impl Life {
    /// How long the value is still fresh. Zero if it is stale.
    pub(crate) fn fresh_for(&self) -> Duration {
        self.fresh.saturating_sub(self.elapsed)
    }

    /// How long ago the fresh time ended. `None` while the value is fresh.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        self.elapsed.checked_sub(self.fresh)
    }

    /// Whether the fresh time is over.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale_for().is_some()
    }
}

impl Head {
    /// The bytes to store: this head, then the body. A validator has [`LONGEST_VALIDATOR`] bytes at most.
    pub(crate) fn seal(&self, body: Body<'_>) -> Value {
        let mut head = [0; HEAD];
        let (mark, times) = head.split_at_mut(2 + SIGNATURE.len());
        let version = if body.validator.is_some() {
            WITH_VALIDATOR
        } else {
            VERSION
        };
        mark[..2].copy_from_slice(&[MARK, version]);
        mark[2..].copy_from_slice(SIGNATURE);
        let (times, cost) = times.split_at_mut(3 * 8);
        let all = [self.fresh, Some(self.window), Some(self.age)];
        for (place, time) in times.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&millis(time).to_be_bytes());
        }
        cost.copy_from_slice(&self.stored_cost().to_be_bytes());
        let length = body
            .validator
            .map(|validator| u16::try_from(validator.len()).unwrap_or_default().to_be_bytes());
        let parts = [
            &head[..],
            length.as_ref().map_or(&[], |length| &length[..]),
            body.validator.unwrap_or_default().as_bytes(),
            body.model,
        ];
        Value::from(parts.concat())
    }

    /// How long the value took to load, in microseconds, as it is stored.
    pub(crate) fn stored_cost(&self) -> u32 {
        u32::try_from(self.cost.as_micros()).unwrap_or(u32::MAX)
    }

    /// The TTL of its entry when this head is written; `None` for ever.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        Some(self.fresh?.saturating_add(self.window).min(LONGEST))
    }

    /// How far the value has come whose entry has `remaining` of its TTL left. `None` if it is fresh for ever.
    pub(crate) fn life(&self, remaining: Option<Duration>) -> Option<Life> {
        let elapsed = self.ttl()?.saturating_sub(remaining?);
        Some(Life {
            age: self.age.saturating_add(elapsed),
            elapsed,
            fresh: self.fresh?,
        })
    }

    /// Whether its entry can be there and not be fresh.
    pub(crate) fn turns_stale(&self) -> bool {
        self.fresh.is_some() && !self.window.is_zero()
    }

    /// The head of the same value with a fresh time that begins now.
    pub(crate) fn renewed(&self, fresh: Option<Duration>, remaining: Option<Duration>) -> Self {
        let age = self.life(remaining).map_or(self.age, |life| life.age);
        Self { fresh, age, ..*self }
    }
}

impl Stored<'_> {
    /// How long it lives if its entry has `remaining` of its TTL left. A loaded value lives while it is fresh.
    /// `None` if its life is over, or its form is not known.
    pub(crate) fn ttl(&self, remaining: Option<Duration>) -> Option<Ttl> {
        let left = match self {
            Stored::Plain(_) => remaining,
            Stored::Loaded(head, _) => match head.life(remaining) {
                Some(life) if life.is_stale() => return None,
                Some(life) => Some(life.fresh_for()),
                None => remaining,
            },
            Stored::Foreign => return None,
        };
        Some(left.map_or(Ttl::Persistent, Ttl::Remaining))
    }

    /// Whether `add` may write over it: its life is over, or it is a cached `None`.
    pub(crate) fn is_vacant(&self, remaining: Option<Duration>) -> bool {
        self.ttl(remaining).is_none() || matches!(self, Stored::Loaded(_, body) if is_nothing(body.model))
    }
}

/// The model of bytes that are known to be an envelope.
pub(crate) fn model_of_loaded(bytes: &[u8]) -> &[u8] {
    body_of_loaded(bytes).model
}

/// What follows the head of bytes that are known to be an envelope.
pub(crate) fn body_of_loaded(bytes: &[u8]) -> Body<'_> {
    let rest = bytes.get(HEAD..).unwrap_or_default();
    match bytes.get(1) {
        Some(&WITH_VALIDATOR) => Body::with_validator(rest).unwrap_or_default(),
        _ => Body::of(rest),
    }
}

/// Whether a model is a `None`.
pub(crate) fn is_nothing(model: &[u8]) -> bool {
    NOTHING.contains(&model)
}

/// Reads what is stored, or the first [`HEAD`] bytes of it.
pub(crate) fn open(bytes: &[u8]) -> Stored<'_> {
    match bytes {
        [MARK, version @ 0..=LAST_VERSION, rest @ ..] if rest.starts_with(SIGNATURE) => {
            if ![VERSION, WITH_VALIDATOR].contains(version) {
                return Stored::Foreign;
            }
        }
        _ => return Stored::Plain(bytes),
    }
    // What is shorter than its head was not written as an envelope, and is none of a codec's values either.
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        return Stored::Plain(bytes);
    };
    let mut rest = &head[2 + SIGNATURE.len()..];
    let mut time = || {
        let (number, after) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        rest = after;
        duration(u64::from_be_bytes(*number))
    };
    let (fresh, window, age) = (time(), time(), time());
    let cost = rest.first_chunk().copied().unwrap_or_default();
    let head = Head {
        fresh,
        window: window.unwrap_or_default(),
        age: age.unwrap_or_default(),
        cost: Duration::from_micros(u32::from_be_bytes(cost).into()),
    };
    Stored::Loaded(head, body_of_loaded(bytes))
}

fn millis(time: Option<Duration>) -> u64 {
    time.map_or(EVER, |time| u64::try_from(time.as_millis()).unwrap_or(EVER))
}

fn duration(millis: u64) -> Option<Duration> {
    (millis != EVER).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests;
