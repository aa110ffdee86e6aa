//! Leases over a server, against a list of them.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::loader::{LONG, Loader, RedisServer, Taken, kept, store};
use crate::engines::redis::script::chosen;
use crate::request::{LeaseAnswer, Lookup, Token};
use crate::store::Store;

#[derive(Debug, Clone)]
enum Step {
    Take(usize, Vec<usize>),
    /// A read that takes the lease if it finds nothing.
    Look(usize, Vec<usize>),
    /// The lease that was taken so many takes ago.
    Fulfil(usize),
    /// Whether something was given out.
    End(usize, bool),
    Delete(usize),
    Invalidate(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, ago) = (0..4usize, 0..4usize);
    prop_oneof![
        3 => (name.clone(), proptest::collection::hash_set(name.clone(), 0..3))
            .prop_map(|(key, names)| Step::Take(key, names.into_iter().collect())),
        3 => (name.clone(), proptest::collection::hash_set(name.clone(), 0..3))
            .prop_map(|(key, names)| Step::Look(key, names.into_iter().collect())),
        2 => ago.clone().prop_map(Step::Fulfil),
        2 => (ago, any::<bool>()).prop_map(|(ago, given)| Step::End(ago, given)),
        1 => name.clone().prop_map(Step::Delete),
        1 => name.prop_map(Step::Invalidate),
    ]
}

/// Who loads what.
struct Lease {
    token: Token,
    key: usize,
    names: Vec<usize>,
    alive: bool,
    /// Nothing has changed its own key.
    alone: bool,
    /// Whose dependent its key was not before.
    added: Vec<usize>,
}

#[derive(Default)]
struct Model {
    leases: Vec<Lease>,
    values: HashSet<usize>,
    /// A name and who depends on it.
    dependents: BTreeSet<(usize, usize)>,
}

impl Model {
    fn of(&self, key: usize) -> Option<usize> {
        self.leases.iter().position(|lease| lease.key == key)
    }

    fn invalidate_leases(&mut self, name: usize, but: Option<Token>) {
        for lease in &mut self.leases {
            let is_kept = Some(lease.token) == but;
            if lease.key == name || lease.names.contains(&name) {
                lease.alive &= is_kept;
            }
            if lease.key == name {
                lease.alone &= is_kept;
            }
        }
    }

    /// Whether the lease is given out.
    fn take(&mut self, token: Token, key: usize, names: &[usize]) -> bool {
        if let Some(at) = self.of(key) {
            if self.leases[at].alive {
                return false;
            }
            self.leases.remove(at);
            self.invalidate_leases(key, None);
        }
        let others = names.iter().copied().filter(|name| *name != key);
        let added = others
            .filter(|name| self.dependents.insert((*name, key)))
            .collect();
        self.leases.push(Lease {
            token,
            key,
            names: names.to_vec(),
            alive: true,
            alone: true,
            added,
        });
        true
    }

    /// Something that depends on these names is given out, and not stored under this lease.
    fn disown(&mut self, key: usize, names: &[usize]) {
        let at = self.of(key);
        if at.is_some() {
            let others = names.iter().filter(|name| **name != key);
            self.dependents.extend(others.map(|name| (*name, key)));
        }
        let alive = at.filter(|at| self.leases[*at].alive);
        let alive = alive.map(|at| self.leases[at].token);
        match at {
            Some(at) if alive.is_some() => self.leases[at].added.clear(),
            Some(at) => drop(self.leases.remove(at)),
            None => {}
        }
        self.invalidate_leases(key, alive);
    }

    /// Where a lease is that lives.
    fn alive(&self, token: Token) -> Option<usize> {
        let lives = |lease: &Lease| lease.token == token && lease.alive;
        self.leases.iter().position(lives)
    }

    /// Whether the value is stored.
    fn fulfil(&mut self, token: Token, key: usize, names: &[usize]) -> bool {
        let Some(at) = self.alive(token) else {
            self.disown(key, names);
            return false;
        };
        let lease = self.leases.remove(at);
        self.values.insert(key);
        self.dependents
            .extend(lease.names.iter().map(|name| (*name, key)));
        true
    }

    fn end(&mut self, token: Token, key: usize, names: &[usize], given: bool) {
        if given && self.alive(token).is_none() {
            return self.disown(key, names);
        }
        let Some(at) = self.leases.iter().position(|lease| lease.token == token) else {
            return;
        };
        let lease = self.leases.remove(at);
        let below = self.dependents.iter().any(|(name, _)| *name == key);
        if !given && lease.alone && !below && !self.values.contains(&key) {
            for name in lease.added {
                self.dependents.remove(&(name, key));
            }
        }
    }

    fn delete(&mut self, name: usize) {
        self.values.remove(&name);
        self.invalidate_leases(name, None);
    }

    /// How many values go.
    fn invalidate(&mut self, name: usize) -> usize {
        let before = self.values.len();
        let (mut names, mut seen) = (vec![name], HashSet::from([name]));
        while let Some(name) = names.pop() {
            self.delete(name);
            let below = self.dependents.iter().filter(|edge| edge.0 == name);
            names.extend(below.map(|edge| edge.1).filter(|key| seen.insert(*key)));
            self.dependents.retain(|edge| edge.0 != name);
        }
        before - self.values.len()
    }
}

async fn agree(server: &RedisServer, loader: &Loader, store: &Store, steps: &[Step]) {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    server.flush();
    let mut model = Model::default();
    let mut taken: Vec<(Taken, usize, &[usize])> = Vec::new();
    for step in steps {
        match step {
            Step::Take(key, names) => {
                let texts: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
                let (lease, answer) = loader.try_take(NAMES[*key], &texts, LONG).await;
                let given = matches!(answer.unwrap(), LeaseAnswer::Taken { .. });
                assert_eq!(given, model.take(lease.token, *key, names), "{step:?}");
                taken.push((lease, *key, names));
            }
            Step::Look(key, names) => {
                let texts: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
                let (lease, found) = loader.look(NAMES[*key], &texts, LONG).await;
                let expected = match &found {
                    Lookup::Found(_) => model.values.contains(key),
                    Lookup::Leased => !model.values.contains(key) && model.take(lease.token, *key, names),
                    Lookup::Held => !model.values.contains(key) && !model.take(lease.token, *key, names),
                };
                assert!(expected, "{step:?}: {found:?}");
                taken.push((lease, *key, names));
            }
            Step::Fulfil(ago) => {
                if let Some((lease, key, names)) = taken.iter().rev().nth(*ago) {
                    let stored = loader.fulfil(lease).await;
                    assert_eq!(stored, model.fulfil(lease.token, *key, names), "{step:?}");
                }
            }
            Step::End(ago, given) => {
                if let Some((lease, key, names)) = taken.iter().rev().nth(*ago) {
                    loader.end_as(lease, *given).await;
                    model.end(lease.token, *key, names, *given);
                }
            }
            Step::Delete(name) => {
                store.delete(NAMES[*name]).await.unwrap();
                model.delete(*name);
            }
            Step::Invalidate(name) => {
                let removed = store.invalidate([NAMES[*name]]).await.unwrap();
                assert_eq!(removed, model.invalidate(*name) as u64, "{step:?}");
            }
        }
    }
    for (at, name) in NAMES.into_iter().enumerate() {
        let set = server.command(&["SMEMBERS", &format!("cachestore:depend:{{{name}}}")]);
        let dependents = model.dependents.iter().filter(|edge| edge.0 == at);
        let dependents: Vec<_> = dependents.map(|edge| NAMES[edge.1]).collect();
        assert_eq!(set.sorted(), dependents, "{name}");
    }
    for (lease, ..) in &taken {
        loader.end(lease).await;
    }
    assert_eq!(kept(server), [""; 0]);
}

#[test]
fn leases_live_and_die_as_in_a_list_of_them() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Dead members stay, so that the model knows all.
    chosen::look_at_nothing();
    let (server, loader, store) = runtime.block_on(async {
        let server = RedisServer::start().await;
        let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
        (server, loader, store)
    });
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = proptest::collection::vec(step(), 1..40);
    let held = runner.run(&steps, |steps| {
        runtime.block_on(agree(&server, &loader, &store, &steps));
        Ok(())
    });
    held.unwrap();
}
