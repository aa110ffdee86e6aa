//! Leases over a server, against a list of them.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::loader::{LONG, Loader, RedisServer, Taken, kept, store};
use crate::request::{LeaseAnswer, Token};
use crate::store::Store;

#[derive(Debug, Clone)]
enum Step {
    Take(usize, Vec<usize>),
    /// The lease that was taken so many takes ago.
    Fulfil(usize),
    End(usize),
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, ago) = (0..4usize, 0..4usize);
    prop_oneof![
        3 => (name.clone(), proptest::collection::hash_set(name.clone(), 0..3))
            .prop_map(|(key, names)| Step::Take(key, names.into_iter().collect())),
        2 => ago.clone().prop_map(Step::Fulfil),
        1 => ago.prop_map(Step::End),
        1 => name.prop_map(Step::Delete),
    ]
}

/// Who loads what.
struct Flight {
    token: Token,
    key: usize,
    names: Vec<usize>,
    alive: bool,
}

#[derive(Default)]
struct Model(Vec<Flight>);

impl Model {
    fn of(&self, key: usize) -> Option<usize> {
        self.0.iter().position(|flight| flight.key == key)
    }

    fn kill(&mut self, name: usize, but: Option<Token>) {
        let has = |flight: &&mut Flight| flight.key == name || flight.names.contains(&name);
        for flight in self.0.iter_mut().filter(has) {
            flight.alive &= Some(flight.token) == but;
        }
    }

    /// Whether the lease is given out.
    fn take(&mut self, token: Token, key: usize, names: &[usize]) -> bool {
        if let Some(at) = self.of(key) {
            if self.0[at].alive {
                return false;
            }
            self.0.remove(at);
            self.kill(key, None);
        }
        self.0.push(Flight {
            token,
            key,
            names: names.to_vec(),
            alive: true,
        });
        true
    }

    /// Whether the value is stored.
    fn fulfil(&mut self, token: Token, key: usize) -> bool {
        let at = self.of(key);
        let alive = at.filter(|at| self.0[*at].alive).map(|at| self.0[at].token);
        if alive.is_none() || alive == Some(token) {
            at.map(|at| self.0.remove(at));
        }
        if alive != Some(token) {
            self.kill(key, alive);
        }
        alive == Some(token)
    }

    fn end(&mut self, token: Token) {
        self.0.retain(|flight| flight.token != token);
    }
}

async fn agree(server: &RedisServer, loader: &Loader, store: &Store, steps: &[Step]) {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    server.flush();
    let mut model = Model::default();
    let mut taken: Vec<(Taken, usize)> = Vec::new();
    for step in steps {
        match step {
            Step::Take(key, names) => {
                let texts: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
                let (lease, answer) = loader.try_take(NAMES[*key], &texts, LONG).await;
                let given = matches!(answer.unwrap(), LeaseAnswer::Taken { .. });
                assert_eq!(given, model.take(lease.token, *key, names), "{step:?}");
                taken.push((lease, *key));
            }
            Step::Fulfil(ago) => {
                if let Some((lease, key)) = taken.iter().rev().nth(*ago) {
                    let stored = loader.fulfil(lease).await;
                    assert_eq!(stored, model.fulfil(lease.token, *key), "{step:?}");
                }
            }
            Step::End(ago) => {
                if let Some((lease, _)) = taken.iter().rev().nth(*ago) {
                    loader.end(lease).await;
                    model.end(lease.token);
                }
            }
            Step::Delete(name) => {
                store.delete(NAMES[*name]).await.unwrap();
                model.kill(*name, None);
            }
        }
    }
    for (lease, _) in &taken {
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
