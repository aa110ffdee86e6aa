//! Who may store what is being loaded. A lease is found by its key and by every name that it depends on,
//! and ends with the first change to any of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use compact_str::CompactString;

use super::dependency::EdgeId;
use super::expiry::Moment;
use crate::key::Key;
use crate::request::Token;

/// The leases of one store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<CompactString, Lease>,
    /// The keys of the leases that name a name, their own keys among the names.
    naming: HashMap<CompactString, HashSet<CompactString>>,
    /// The ends of all that is held, so that what nobody asks for again goes too.
    ends: BTreeSet<(Moment, CompactString)>,
    /// The edges of leases that have died.
    dead: Vec<EdgeId>,
}

#[derive(Debug)]
struct Lease {
    token: Token,
    until: Moment,
    names: Vec<CompactString>,
    /// Its edges in the graph of dependencies, to which it is a dependent of its names.
    edges: EdgeId,
}

impl Leases {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who holds the lease of `key`, and for how long.
    pub(super) fn holder(&self, key: &Key, now: Moment) -> Option<(Token, Duration)> {
        let lease = self.held.get(key.text())?;
        Some((lease.token, lease.until.left(now)))
    }

    /// Gives out the lease of `key`, which nobody holds.
    pub(super) fn take(&mut self, key: &Key, token: Token, names: &[Key], until: Moment, edges: EdgeId) {
        let mut lease = Lease {
            token,
            until,
            names: names.iter().map(|name| name.text().clone()).collect(),
            edges,
        };
        lease.names.push(key.text().clone());
        for name in &lease.names {
            self.naming
                .entry(name.clone())
                .or_default()
                .insert(key.text().clone());
        }
        self.ends.insert((until, key.text().clone()));
        self.held.insert(key.text().clone(), lease);
    }

    /// Ends a lease: its edges, if it lives.
    pub(super) fn end(&mut self, key: &Key, token: Token) -> Option<EdgeId> {
        let lives = self
            .held
            .get(key.text())
            .is_some_and(|lease| lease.token == token);
        if lives { self.remove(key.text()) } else { None }
    }

    /// The edges of a lease that has died, each once.
    pub(super) fn dead(&mut self) -> Option<EdgeId> {
        self.dead.pop()
    }

    /// `name` has changed. What is loaded under a lease that names it may be old, and so may be all that is
    /// loaded from that.
    pub(super) fn kill(&mut self, name: &CompactString) {
        let mut changed = vec![name.clone()];
        while let Some(name) = changed.pop() {
            for key in self.naming.get(&name).cloned().unwrap_or_default() {
                let edges = self.remove(&key);
                self.dead.extend(edges);
                changed.push(key);
            }
        }
    }

    /// As [`kill`](Self::kill) for those who load from `key`, but not for who loads `key` itself: a value of
    /// it was given out that has not been stored.
    pub(super) fn kill_derived(&mut self, key: &CompactString) {
        for derived in self.naming.get(key).cloned().unwrap_or_default() {
            if derived != *key {
                self.kill(&derived);
            }
        }
    }

    /// As [`kill`](Self::kill), for all names that begin with `prefix`.
    pub(super) fn kill_all(&mut self, prefix: &str) {
        let names: Vec<_> = self
            .naming
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        for name in names {
            self.kill(&name);
        }
    }

    fn remove(&mut self, key: &CompactString) -> Option<EdgeId> {
        let lease = self.held.remove(key)?;
        self.ends.remove(&(lease.until, key.clone()));
        for name in &lease.names {
            if let Some(keys) = self.naming.get_mut(name) {
                keys.remove(key);
                if keys.is_empty() {
                    self.naming.remove(name);
                }
            }
        }
        Some(lease.edges)
    }

    /// Ends what has had its time.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some((until, key)) = self.ends.first()
            && *until <= now
        {
            let key = key.clone();
            let edges = self.remove(&key);
            self.dead.extend(edges);
        }
    }

    /// How many leases, names and ends there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.held.len(), self.naming.len(), self.ends.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyMaker, Namespace};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: u8) -> Key {
        let namespace = Namespace::default();
        KeyMaker::new(10, false)
            .key(&namespace, &format!("k{name}"))
            .unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment::since_start(SECOND * u32::try_from(seconds).unwrap())
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u8, Vec<u8>, u32),
        End(u8),
        Kill(u8),
        KillDerived(u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = 0..6u8;
        prop_oneof![
            3 => (name.clone(), proptest::collection::vec(name.clone(), 0..3), 1..9u32)
                .prop_map(|(key, names, ttl)| Step::Take(key, names, ttl)),
            1 => name.clone().prop_map(Step::End),
            1 => name.clone().prop_map(Step::Kill),
            1 => name.prop_map(Step::KillDerived),
            1 => (0..4u64).prop_map(Step::Wait),
        ]
    }

    /// A list of leases, gone through whole at each step.
    #[derive(Default)]
    struct Model(Vec<(u8, Token, HashSet<u8>, u64)>);

    impl Model {
        fn kill(&mut self, name: u8) {
            while let Some(at) = self.0.iter().position(|lease| lease.2.contains(&name)) {
                let (key, ..) = self.0.remove(at);
                self.kill(key);
            }
        }
    }

    proptest! {
        #[test]
        fn leases_live_and_die_as_in_a_list_of_them(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut leases, mut model, mut now) = (Leases::default(), Model::default(), 0u64);
            let (mut taken, mut ended) = (0, 0);
            let mut tokens = std::collections::HashMap::new();
            for step in steps {
                model.0.retain(|lease| lease.3 > now);
                match step {
                    Step::Take(name, names, ttl) => {
                        let token = Token::random();
                        let depends: Vec<Key> = names.iter().map(|name| key(*name)).collect();
                        leases.expire(at(now));
                        let holder = leases.holder(&key(name), at(now));
                        match model.0.iter().find(|lease| lease.0 == name) {
                            Some(held) => {
                                let left = SECOND * u32::try_from(held.3 - now).unwrap();
                                prop_assert_eq!(holder, Some((held.1, left)));
                            }
                            None => {
                                prop_assert_eq!(holder, None);
                                let until = at(now + u64::from(ttl));
                                taken += 1;
                                leases.take(&key(name), token, &depends, until, taken);
                                let names = names.into_iter().chain([name]).collect();
                                model.0.push((name, token, names, now + u64::from(ttl)));
                                tokens.insert(name, token);
                            }
                        }
                    }
                    Step::End(name) => {
                        let token = tokens.get(&name).copied().unwrap_or_else(Token::random);
                        let held = model.0.iter().position(|lease| lease.0 == name && lease.1 == token);
                        leases.expire(at(now));
                        prop_assert_eq!(leases.end(&key(name), token).is_some(), held.is_some());
                        ended += u32::from(held.is_some());
                        held.map(|held| model.0.remove(held));
                    }
                    Step::Kill(name) => {
                        leases.kill(key(name).text());
                        model.kill(name);
                    }
                    Step::KillDerived(name) => {
                        leases.kill_derived(key(name).text());
                        let derived: Vec<u8> = model.0.iter()
                            .filter(|lease| lease.0 != name && lease.2.contains(&name))
                            .map(|lease| lease.0)
                            .collect();
                        derived.into_iter().for_each(|name| model.kill(name));
                    }
                    Step::Wait(seconds) => now += seconds,
                }
                leases.expire(at(now));
                model.0.retain(|lease| lease.3 > now);
                let held = u32::try_from(model.0.len()).unwrap();
                let dead: HashSet<EdgeId> = leases.dead.iter().copied().collect();
                prop_assert_eq!(u32::try_from(dead.len()).unwrap(), taken - held - ended, "edges, each once");
                let names: HashSet<u8> = model.0.iter().flat_map(|lease| lease.2.iter().copied()).collect();
                prop_assert_eq!(leases.sizes(), (model.0.len(), names.len(), model.0.len()));
            }
        }
    }
}
