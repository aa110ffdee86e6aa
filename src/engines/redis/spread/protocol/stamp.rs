//! Stamps: no two are the same.

use std::fmt;

use crate::request::Token;

/// A unique mark. Counted ones would not do: what is counted begins anew when it is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engines::redis) struct Stamp {
    seed: u64,
    number: u64,
}

impl Stamp {
    #[cfg(test)]
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self { seed, number }
    }

    #[cfg(test)]
    pub(super) fn number(self) -> u64 {
        self.number
    }

    /// A stamp by itself, by a random number.
    pub(in crate::engines::redis) fn random(seed: u64) -> Self {
        Self { seed, number: 0 }
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (seed, number) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some(Self {
            seed: u64::from_str_radix(seed, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        })
    }
}

/// The token of a lease, as loads have it.
impl From<Token> for Stamp {
    fn from(token: Token) -> Self {
        let (seed, number) = token.parts();
        Self { seed, number }
    }
}

impl From<Stamp> for Token {
    fn from(Stamp { seed, number }: Stamp) -> Self {
        Self::new(seed, number)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.seed, self.number)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({self})")
    }
}

/// Where the stamps of one machine come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Stamps {
    seed: u64,
    next: u64,
}

impl Stamps {
    /// `seed` is a random number. Its 64 bits keep the stamps of all machines of all clients apart.
    pub(in crate::engines::redis) fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    pub(super) fn next(&mut self) -> Stamp {
        let number = self.next;
        self.next += 1;
        let seed = self.seed;
        Stamp { seed, number }
    }
}
