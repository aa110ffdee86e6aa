//! What engines are asked about loads: who may store what, and whether anything has changed meanwhile.
//!
//! A lease names a key and all that its value will depend on. It is dead once any of these names was
//! written, deleted, invalidated or cleared, or its time is over: what was loaded under it is then not
//! stored, because it may have been read from the source before the change.

use std::fmt;
use std::time::Duration;

use super::{Names, Write};
use crate::envelope::Head;
use crate::key::Key;
use crate::value::Value;

/// Proves whose lease it is: the store, by 64 random bits, and the number of the load in that store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token(u128);

impl Token {
    pub(crate) fn new(store: u64, load: u64) -> Self {
        Self((u128::from(store) << 64) | u128::from(load))
    }

    /// The random bits of the store, and the number of the load.
    #[cfg(feature = "redis")]
    pub(crate) fn parts(self) -> (u64, u64) {
        // The upper half, and the lower half, cut off.
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    /// The number of the load, if it is one of this store.
    pub(crate) fn load_of(self, store: u64) -> Option<u64> {
        // The lower half, cut off.
        ((self.0 >> 64) as u64 == store).then_some(self.0 as u64)
    }

    #[cfg(test)]
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

impl std::str::FromStr for Token {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// One step on one lease. Each is atomic.
#[derive(Debug)]
pub(crate) enum LeaseAction {
    /// Takes the lease of a key, unless another that lives holds it.
    Take { key: Key, terms: LeaseTerms },
    /// Writes the key if the lease lives, and ends it. The write depends on the names of the lease. If the lease allows
    /// that, it may depend on further ones, of which none may have changed since the lease was taken. A lease that is
    /// found dead takes those with it that name its key.
    Fulfil { token: Token, write: Write },
    /// Keeps the loaded value that the key holds, with a new head, if the lease lives, and ends it. If the key holds no such
    /// value, or the lease is dead, nothing is changed.
    Renew {
        key: Key,
        token: Token,
        renewal: Renewal,
    },
    /// Ends a lease without storing a value. `given` says that there was one, or that it was found that there is
    /// none, and that somebody was told: what is made from that comes from all that the lease names.
    End {
        key: Key,
        token: Token,
        names: Names,
        given: bool,
    },
}

impl LeaseAction {
    /// The bytes that the queue counts for it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            LeaseAction::Take { key, terms } => key.heap_bytes() + terms.bytes(),
            LeaseAction::End { key, names, .. } => key.heap_bytes() + super::bytes_of(names),
            LeaseAction::Fulfil { write, .. } => write.bytes(),
            LeaseAction::Renew { key, renewal, .. } => key.heap_bytes() + renewal.bytes(),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        match self {
            LeaseAction::Take { key, .. } | LeaseAction::Renew { key, .. } | LeaseAction::End { key, .. } => {
                key
            }
            LeaseAction::Fulfil { write, .. } => &write.key,
        }
    }

    /// All that the lease names, its key among them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Key> {
        let others = match self {
            LeaseAction::Take { terms, .. } => &terms.names,
            LeaseAction::End { names, .. } => names,
            LeaseAction::Fulfil { write, .. } => &write.depends_on,
            LeaseAction::Renew { renewal, .. } => &renewal.names,
        };
        std::iter::once(self.key()).chain(others.iter())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeaseAnswer {
    /// To `Take`: the lease is the caller's. `present` is what the key holds; of its value the first
    /// [`PREFIX`] bytes at least.
    Taken { present: Option<Aged> },
    /// To `Take`: another has it, for so long if it is not ended before.
    Held { token: Token, remaining: Duration },
    /// To `Fulfil` and `Renew`: whether the lease lived, so that the value was stored, or kept.
    Stored(bool),
    /// To `End`.
    Ended,
}

/// The terms under which a loaded value is kept.
pub(crate) struct Renewal {
    /// The new head. Its age is zero: the value was confirmed just now.
    pub(crate) head: Head,
    /// The new validator, if it is another one.
    pub(crate) validator: Option<Box<str>>,
    /// What the value depends on, beside what it has depended on.
    pub(crate) names: Names,
}

/// Shows no validator.
impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("head", &self.head)
            .field("has_validator", &self.validator.is_some())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Renewal {
    fn bytes(&self) -> usize {
        self.validator.as_ref().map_or(0, |validator| validator.len()) + super::bytes_of(&self.names)
    }
}

/// The terms under which a lease is asked for.
#[derive(Debug)]
pub(crate) struct LeaseTerms {
    pub(crate) token: Token,
    /// What the value of the key will depend on.
    pub(crate) names: Names,
    /// In whole milliseconds.
    pub(crate) ttl: Duration,
    /// Whether the value may turn out to depend on further names. Then the engine remembers what changes meanwhile, and
    /// tells all of the value that the key holds.
    pub(crate) late_names: bool,
}

impl LeaseTerms {
    /// The bytes that the queue counts for it.
    pub(super) fn bytes(&self) -> usize {
        super::bytes_of(&self.names)
    }
}

/// What a read finds that asks for a lease too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The key holds a value. No lease is given.
    Found(Aged),
    /// The key holds none, and its lease is the caller's.
    Leased,
    /// The key holds none, and another has its lease.
    Held,
}

/// How much of a value is needed to tell how old it is: the length of an envelope's head.
pub(crate) const PREFIX: usize = crate::envelope::HEAD;

/// A value, and how long it still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aged {
    pub(crate) value: Value,
    /// `None` for ever.
    pub(crate) remaining: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Body, Stored};

    /// What is debugged ends up in logs.
    #[test]
    fn no_value_and_no_validator_is_shown() {
        let head = Head {
            fresh: None,
            window: Duration::ZERO,
            age: Duration::ZERO,
            cost: Duration::ZERO,
        };
        let renewal = Renewal {
            head,
            validator: Some("secret".into()),
            names: Names::default(),
        };
        let body = Body {
            validator: Some("secret"),
            model: b"secret",
        };
        let stored = [Stored::Plain(b"secret"), Stored::Loaded(head, body)];
        let shown = format!("{renewal:?} {stored:?} {:?}", head.seal(body));
        let bytes = format!("{:?}", b"secret");
        assert!(!shown.contains("secret") && !shown.contains(&bytes), "{shown}");
    }
}
