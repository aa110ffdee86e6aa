//! The leases that loads of this store have: what is needed to store what they load. Pure.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;
use tokio::time::Instant;

use super::hints::Hints;
use super::protocol::Seen;
use crate::key::Key;
use crate::request::{LeaseTerms, Token};
use crate::value::Value;

/// Below this number of leases, nobody looks for leases that have ended.
const FEW: usize = 64;

/// All leases, by their tokens and keys: one load may have the leases of many keys.
#[derive(Debug, Default)]
pub(super) struct Leases {
    all: HashMap<(Token, CompactString), Held>,
    /// When there are this many leases, the ones that have ended are removed.
    most: usize,
    /// What loaders have found out.
    pub(super) hints: Hints,
}

/// One lease.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What was seen of the slot when it was taken, and the link.
    pub(super) seen: Seen,
    /// The names under which the key is registered.
    pub(super) names: Vec<CompactString>,
    /// What the key held then, if the load may keep that.
    pub(super) present: Option<Value>,
    /// When it has ended on the server.
    ends: Option<Instant>,
}

impl Held {
    pub(super) fn new(seen: Seen, names: Vec<CompactString>, present: Option<Value>) -> Self {
        Self {
            seen,
            names,
            present,
            ends: None,
        }
    }

    /// Whether the key is registered under all of these names. Loaders may find thousands.
    pub(super) fn has(&self, names: &[CompactString]) -> bool {
        let held: HashSet<_> = self.names.iter().collect();
        names.iter().all(|name| held.contains(name))
    }
}

impl Leases {
    /// Takes in a lease that was asked for under these terms.
    pub(super) fn insert(&mut self, key: &Key, terms: &LeaseTerms, held: Held, now: Instant) {
        if self.all.len() >= self.most {
            self.all.retain(|_, held| held.ends.is_none_or(|ends| ends > now));
            self.most = FEW.max(2 * self.all.len());
        }
        // A TTL that no clock can add ends never.
        let ends = now.checked_add(terms.ttl);
        let held = Held { ends, ..held };
        self.all.insert((terms.token, key.text().clone()), held);
    }

    pub(super) fn get(&self, token: Token, key: &Key) -> Option<&Held> {
        self.all.get(&(token, key.text().clone()))
    }

    /// Takes a lease out that ends. `None` if it was not taken by this store, or over connections that are gone.
    pub(super) fn take(&mut self, token: Token, key: &Key) -> Option<Held> {
        self.all.remove(&(token, key.text().clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::{KeyMaker, Namespace};
    use crate::request::Names;

    /// A load whose end nobody tells leaves nothing for ever.
    #[tokio::test(start_paused = true)]
    async fn what_has_ended_is_removed_with_later_ones() {
        let key = KeyMaker::new(100, false).key(&Namespace::default(), "k").unwrap();
        let mut leases = Leases::default();
        let insert = |leases: &mut Leases, number, ttl| {
            let terms = LeaseTerms {
                token: Token::new(1, number),
                names: Names::default(),
                ttl: Duration::from_secs(ttl),
                late_names: false,
            };
            let held = Held::new(Seen::at(Instant::now()), Vec::new(), None);
            leases.insert(&key, &terms, held, Instant::now());
        };
        (0..63).for_each(|number| insert(&mut leases, number, 1));
        insert(&mut leases, 63, 60);
        assert_eq!(leases.all.len(), 64);
        tokio::time::advance(Duration::from_secs(2)).await;
        insert(&mut leases, 64, 60);
        assert_eq!(leases.all.len(), 2);
        assert!(leases.take(Token::new(1, 63), &key).is_some());
        assert!(leases.take(Token::new(1, 63), &key).is_none());
    }
}
