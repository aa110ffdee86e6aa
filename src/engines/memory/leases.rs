//! Who may store what is being loaded. A lease is found by its key, and in the graph of dependencies by every name
//! that it depends on. It ends with the first change to any of them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::changes::Changes;
use super::dependency::{Dependencies, EdgeId, LeaseId};
use super::expiry::Moment;
use crate::key::Key;
use crate::prehashed::Map;
use crate::request::{LeaseTerms, Token};

/// The leases of one store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Map<LeaseId, Lease>,
    /// Which lease a key has.
    of_key: Map<Key, LeaseId>,
    /// The ends of all that is held, so that what nobody asks for again goes too.
    ends: BTreeSet<(Moment, LeaseId)>,
    /// The last that was given.
    last: LeaseId,
    /// How many may be fulfilled with further names, and what has changed since the first of them.
    watching: usize,
    changes: Changes,
}

/// The state of a living lease, once all names of the value are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The value depends on names that the lease does not have.
    pub(super) has_late_names: bool,
    /// One of them may have changed meanwhile.
    pub(super) changed: bool,
}

#[derive(Debug)]
struct Lease {
    key: Key,
    token: Token,
    until: Moment,
    /// Its edges in the graph, to which it is a dependent of its names.
    edges: EdgeId,
    /// The last change before it was taken, if its loader may find further names.
    began: Option<u64>,
}

impl Leases {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who holds the lease of `key`, and for how long.
    pub(super) fn holder(&self, key: &Key, now: Moment) -> Option<(Token, Duration)> {
        let lease = self.held.get(self.of_key.get(key)?)?;
        Some((lease.token, lease.until.left(now)))
    }

    /// Gives out the lease of `key`, which nobody holds.
    pub(super) fn take(&mut self, key: &Key, terms: &LeaseTerms, until: Moment, graph: &mut Dependencies) {
        while self.held.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        let id = self.last;
        let lease = Lease {
            key: key.clone(),
            token: terms.token,
            until,
            edges: graph.attach_load(id, &terms.names),
            began: terms.late_names.then(|| self.changes.last()),
        };
        self.watching += usize::from(terms.late_names);
        self.of_key.insert(key.clone(), id);
        self.ends.insert((until, id));
        self.held.insert(id, lease);
    }

    /// Ends a lease. Returns its edges, which the caller releases, if it lives.
    pub(super) fn end(&mut self, key: &Key, token: Token) -> Option<EdgeId> {
        let id = *self.of_key.get(key)?;
        if self.held.get(&id)?.token != token {
            return None;
        }
        Some(self.remove(id)?.edges)
    }

    /// The state of a lease. `None` if it has ended. `names` are all names that the value depends on.
    pub(super) fn standing(
        &self,
        key: &Key,
        token: Token,
        names: &[Key],
        graph: &Dependencies,
    ) -> Option<Standing> {
        let lease = self.held.get(self.of_key.get(key)?)?;
        if lease.token != token {
            return None;
        }
        let late = if names.len() > graph.names_of(lease.edges).count() {
            graph.missing(lease.edges, names)
        } else {
            Vec::new()
        };
        // Without a number, nothing was remembered.
        let changed = match lease.began {
            Some(began) => self.changes.may_touch(&late, began),
            None => !late.is_empty(),
        };
        Some(Standing {
            has_late_names: !late.is_empty(),
            changed,
        })
    }

    /// Takes note of a change of `name`, for the loads that may find out that they depend on it.
    pub(super) fn note(&mut self, name: &Key) {
        if self.watching > 0 {
            self.changes.note(name);
        }
    }

    /// Ends all leases that have `name`, which has changed, and the leases of all keys that are loaded from theirs.
    pub(super) fn invalidate(&mut self, name: &Key, graph: &mut Dependencies) {
        if self.is_empty() {
            return;
        }
        self.note(name);
        if let Some(id) = self.of_key.get(name) {
            let id = *id;
            self.drop_edges(id, graph);
        }
        self.invalidate_loaded_from(name.clone(), graph);
    }

    /// Ends the leases of keys that are loaded from `key`, but not the lease of `key` itself. A value of `key` was given
    /// out and not stored.
    pub(super) fn invalidate_derived(&mut self, key: &Key, graph: &mut Dependencies) {
        self.note(key);
        for id in graph.loads_of(key) {
            match self.held.get(&id) {
                Some(lease) if lease.key != *key => {
                    let derived = lease.key.clone();
                    self.invalidate(&derived, graph);
                }
                _ => {}
            }
        }
    }

    /// Ends all leases that have a name with this prefix.
    pub(super) fn invalidate_all(&mut self, prefix: &str, graph: &mut Dependencies) {
        if self.watching > 0 {
            self.changes.note_unknown();
        }
        let begins = |name: &Key| name.as_str().starts_with(prefix);
        let named_so = |lease: &&Lease| begins(&lease.key) || graph.names_of(lease.edges).any(begins);
        let keys: Vec<Key> = self
            .held
            .values()
            .filter(named_so)
            .map(|lease| lease.key.clone())
            .collect();
        for key in keys {
            self.invalidate(&key, graph);
        }
    }

    /// Ends what has had its time.
    pub(super) fn expire(&mut self, now: Moment, graph: &mut Dependencies) {
        while let Some((until, id)) = self.ends.first()
            && *until <= now
        {
            let id = *id;
            self.drop_edges(id, graph);
        }
    }

    fn invalidate_loaded_from(&mut self, name: Key, graph: &mut Dependencies) {
        let mut changed = vec![name];
        while let Some(name) = changed.pop() {
            for id in graph.loads_of(&name) {
                changed.extend(self.drop_edges(id, graph));
            }
        }
    }

    /// Ends a lease with its edges. Returns its key, if it lived.
    fn drop_edges(&mut self, id: LeaseId, graph: &mut Dependencies) -> Option<Key> {
        let lease = self.remove(id)?;
        graph.release(lease.edges);
        Some(lease.key)
    }

    fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.held.remove(&id)?;
        self.ends.remove(&(lease.until, id));
        self.of_key.remove(&lease.key);
        self.watching -= usize::from(lease.began.is_some());
        if lease.began.is_some() && self.watching == 0 {
            self.changes.forget();
        }
        Some(lease)
    }

    /// How many leases, keys and ends there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.held.len(), self.of_key.len(), self.ends.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyMaker, Namespace};
    use crate::request::Names;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: u8) -> Key {
        thread_local! {
            static MAKER: KeyMaker = KeyMaker::new(10, false);
        }
        let namespace = Namespace::default();
        MAKER.with(|maker| maker.key(&namespace, &format!("k{name}")).unwrap())
    }

    fn at(seconds: u64) -> Moment {
        Moment::since_start(SECOND * u32::try_from(seconds).unwrap())
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u8, Vec<u8>, u32),
        End(u8),
        Invalidate(u8),
        InvalidateDerived(u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = 0..6u8;
        prop_oneof![
            3 => (name.clone(), proptest::collection::vec(name.clone(), 0..3), 1..9u32)
                .prop_map(|(key, names, ttl)| Step::Take(key, names, ttl)),
            1 => name.clone().prop_map(Step::End),
            1 => name.clone().prop_map(Step::Invalidate),
            1 => name.prop_map(Step::InvalidateDerived),
            1 => (0..4u64).prop_map(Step::Wait),
        ]
    }

    /// A list of leases, gone through whole at each step.
    #[derive(Default)]
    struct Model(Vec<(u8, Token, HashSet<u8>, u64, usize)>);

    impl Model {
        fn invalidate(&mut self, name: u8) {
            while let Some(at) = self.0.iter().position(|lease| lease.2.contains(&name)) {
                let (key, ..) = self.0.remove(at);
                self.invalidate(key);
            }
        }
    }

    proptest! {
        #[test]
        fn leases_live_and_die_as_in_a_list_of_them(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut leases, mut model, mut now) = (Leases::default(), Model::default(), 0u64);
            let mut graph = Dependencies::new();
            let mut tokens = HashMap::new();
            for step in steps {
                model.0.retain(|lease| lease.3 > now);
                match step {
                    Step::Take(name, names, ttl) => {
                        let token = Token::random();
                        let depends: Vec<Key> = names.iter().map(|name| key(*name)).collect();
                        leases.expire(at(now), &mut graph);
                        let holder = leases.holder(&key(name), at(now));
                        match model.0.iter().find(|lease| lease.0 == name) {
                            Some(held) => {
                                let left = SECOND * u32::try_from(held.3 - now).unwrap();
                                prop_assert_eq!(holder, Some((held.1, left)));
                            }
                            None => {
                                prop_assert_eq!(holder, None);
                                let until = at(now + u64::from(ttl));
                                let terms = LeaseTerms {
                                    token,
                                    names: Names::from(depends.clone()),
                                    ttl: SECOND,
                                    late_names: false,
                                };
                                leases.take(&key(name), &terms, until, &mut graph);
                                let names = names.into_iter().chain([name]).collect();
                                model.0.push((name, token, names, now + u64::from(ttl), depends.len()));
                                tokens.insert(name, token);
                            }
                        }
                    }
                    Step::End(name) => {
                        let token = tokens.get(&name).copied().unwrap_or_else(Token::random);
                        let held = model.0.iter().position(|lease| lease.0 == name && lease.1 == token);
                        leases.expire(at(now), &mut graph);
                        let ended = leases.end(&key(name), token);
                        prop_assert_eq!(ended.is_some(), held.is_some());
                        if let Some(edges) = ended {
                            graph.release(edges);
                        }
                        held.map(|held| model.0.remove(held));
                    }
                    Step::Invalidate(name) => {
                        leases.invalidate(&key(name), &mut graph);
                        model.invalidate(name);
                    }
                    Step::InvalidateDerived(name) => {
                        leases.invalidate_derived(&key(name), &mut graph);
                        let derived: Vec<u8> = model.0.iter()
                            .filter(|lease| lease.0 != name && lease.2.contains(&name))
                            .map(|lease| lease.0)
                            .collect();
                        derived.into_iter().for_each(|name| model.invalidate(name));
                    }
                    Step::Wait(seconds) => now += seconds,
                }
                leases.expire(at(now), &mut graph);
                model.0.retain(|lease| lease.3 > now);
                let held = model.0.len();
                prop_assert_eq!(leases.sizes(), (held, held, held));
                let edges: usize = model.0.iter().map(|lease| lease.4).sum();
                graph.check();
                prop_assert_eq!(graph.sizes().1, edges, "an edge for each name of a lease");
            }
        }
    }
}
