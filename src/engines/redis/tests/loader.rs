//! An engine over a server of its own, asked for what loads ask.

use std::time::Duration;

use kameo::actor::{ActorRef, Spawn};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::key;
use crate::actor::queue::{Bounds, QueueSender, Stamp, request_queue};
use crate::config::{Config, EngineConfig, RedisConfig};
use crate::engine::RemovalLimits;
use crate::engines::redis::engine::{RedisEngine, Setup};
use crate::engines::redis::generation::Generation;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::resolver::Resolver;
use crate::error::Result;
use crate::key::{Key, Namespace};
use crate::meters::Meters;
use crate::request::{
    CorrelatedReply, GetOrLease, Lease, LeaseAction, LeaseAnswer, LeaseTerms, Lookup, Names, Operation,
    Reply, Token, Write,
};
use crate::store::Store;
use crate::value::Value;

#[path = "../../../../tests/support/redis"]
#[allow(
    dead_code,
    clippy::expect_used,
    reason = "the tests' servers, of which this uses a part"
)]
pub(in crate::engines::redis) mod harness {
    pub(crate) mod resp;
    pub(crate) mod server;
}

pub(in crate::engines::redis) use harness::server::RedisServer;

/// Longer than any test takes.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// One process that loads.
pub(super) struct Loader {
    queue: QueueSender,
    _engine: ActorRef<RedisEngine>,
}

/// A lease as its taker knows it.
pub(super) struct Taken {
    pub(super) key: Key,
    pub(super) token: Token,
    pub(super) names: Vec<Key>,
}

impl Loader {
    pub(super) fn new(server: &RedisServer, go_compatible: bool) -> Self {
        let config = Config::from(RedisConfig::new(&server.url()).unwrap());
        let EngineConfig::Redis(options) = config.engine else {
            panic!("a store over Redis");
        };
        let bounds = Bounds {
            length: 1024,
            bytes: 1 << 20,
            patience: Duration::from_secs(10),
        };
        let (queue, receiver) = request_queue(&bounds, Stamp::All, &Handle::current());
        let engine = RedisEngine::spawn(Setup {
            queue: receiver,
            options,
            resolver: Resolver::fixed(Generation::first()),
            max_value_bytes: 1 << 20,
            removals: RemovalLimits { keys: 0, bytes: 0 },
            namespace: Namespace::default(),
            layout: Layout::new(go_compatible),
            meters: Meters::default(),
            listeners: Default::default(),
            tracker: None,
        });
        Self {
            queue,
            _engine: engine,
        }
    }

    pub(super) async fn ask<O: Operation>(&self, operation: O) -> Result<O::Answer> {
        self.queue.call().ask(operation).await
    }

    pub(super) async fn step(&self, action: LeaseAction) -> Result<LeaseAnswer> {
        let (to, mut answers) = mpsc::unbounded_channel();
        let step = Box::new(action);
        let request = Lease { step }.into_request(Reply::Actor(CorrelatedReply::new(to, 0)));
        self.queue.send(request).await.unwrap();
        answers.recv().await.unwrap().1.unwrap()
    }

    /// Tries to take a lease.
    pub(super) async fn try_take(
        &self,
        name: &str,
        names: &[&str],
        ttl: Duration,
    ) -> (Taken, Result<LeaseAnswer>) {
        let taken = Taken {
            key: key(name),
            token: Token::random(),
            names: names.iter().map(|name| key(name)).collect(),
        };
        let answer = self.step(LeaseAction::Take {
            key: taken.key.clone(),
            terms: LeaseTerms {
                token: taken.token,
                names: Names::from(taken.names.clone()),
                ttl,
                late_names: false,
            },
        });
        let answer = answer.await;
        (taken, answer)
    }

    /// Reads a value, or tries to take its lease.
    pub(super) async fn look(&self, name: &str, names: &[&str], ttl: Duration) -> (Taken, Lookup) {
        let taken = Taken {
            key: key(name),
            token: Token::random(),
            names: names.iter().map(|name| key(name)).collect(),
        };
        let terms = LeaseTerms {
            token: taken.token,
            names: Names::from(taken.names.clone()),
            ttl,
            late_names: false,
        };
        let found = self.ask(GetOrLease {
            key: taken.key.clone(),
            terms: Box::new(terms),
        });
        let found = found.await.unwrap();
        (taken, found)
    }

    /// Takes a lease that is free.
    pub(super) async fn take(&self, name: &str, names: &[&str], ttl: Duration) -> Taken {
        let (taken, answer) = self.try_take(name, names, ttl).await;
        let answer = answer.unwrap();
        assert!(matches!(answer, LeaseAnswer::Taken { .. }), "{name}: {answer:?}");
        taken
    }

    /// Takes a lease as soon as it is free.
    pub(super) async fn take_later(&self, name: &str, names: &[&str], ttl: Duration) -> Taken {
        let end = Instant::now() + LONG / 6;
        loop {
            match self.try_take(name, names, ttl).await {
                (taken, Ok(LeaseAnswer::Taken { .. })) => return taken,
                (_, answer) => assert!(Instant::now() < end, "{name}: {answer:?}"),
            }
        }
    }

    /// Stores `loaded`: whether the lease lived.
    pub(super) async fn fulfil(&self, taken: &Taken) -> bool {
        let write = Write {
            key: taken.key.clone(),
            value: Value::from("loaded"),
            ttl: Some(LONG),
            depends_on: Names::from(taken.names.clone()),
        };
        let token = taken.token;
        match self.step(LeaseAction::Fulfil { token, write }).await.unwrap() {
            LeaseAnswer::Stored(stored) => stored,
            other => panic!("{other:?}"),
        }
    }

    /// Ends a lease of which nobody was given anything.
    pub(super) async fn end(&self, taken: &Taken) {
        self.end_as(taken, false).await;
    }

    /// Ends a lease of which something was given out that is not stored.
    pub(super) async fn give(&self, taken: &Taken) {
        self.end_as(taken, true).await;
    }

    pub(super) async fn end_as(&self, taken: &Taken, given: bool) {
        let answer = self.step(LeaseAction::End {
            key: taken.key.clone(),
            token: taken.token,
            names: Names::from(taken.names.clone()),
            given,
        });
        assert_eq!(answer.await.unwrap(), LeaseAnswer::Ended);
    }
}

/// A store of another process.
pub(super) async fn store(server: &RedisServer, go_compatible: bool) -> Store {
    let config = RedisConfig::new(&server.url()).unwrap();
    let config = if go_compatible {
        config.go_compatible()
    } else {
        config
    };
    Store::open(config).await.unwrap()
}

/// The names of what is kept for leases.
pub(super) fn kept(server: &RedisServer) -> Vec<String> {
    server.keys("cachestore:lease*")
}

/// The names that leases have.
pub(super) fn names(server: &RedisServer) -> Vec<String> {
    server.command(&["HKEYS", "cachestore:leases"]).sorted()
}
