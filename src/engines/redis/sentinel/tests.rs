//! Who is asked, and who is believed, with Sentinels that say what a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::resolver::{Resolver, Route};
use super::*;
use crate::config::{Config, EngineConfig, RedisConfig};

/// Answers each question with this primary and number of the failover. Counts the connections.
struct Fake {
    address: String,
    accepted: Arc<AtomicUsize>,
}

impl Fake {
    /// `None` closes each connection at once.
    async fn start(says: Option<(u16, u64)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::<AtomicUsize>::default();
        let count = accepted.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let Some((port, epoch)) = says else { continue };
                tokio::spawn(async move {
                    let _ = socket.read(&mut [0; 1024]).await;
                    let (port, epoch) = (port.to_string(), epoch.to_string());
                    let replies = [["127.0.0.1", port.as_str()], ["config-epoch", epoch.as_str()]]
                        .map(|[a, b]| format!("*2\r\n${}\r\n{a}\r\n${}\r\n{b}\r\n", a.len(), b.len()));
                    let _ = socket.write_all(replies.concat().as_bytes()).await;
                    let _ = socket.read(&mut [0; 1024]).await;
                });
            }
        });
        Self { address, accepted }
    }

    fn asked(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn place(port: u16) -> Place {
    Place::Tcp("127.0.0.1".to_owned(), port)
}

fn discovery(sentinels: &[&Fake], generation: &Generation) -> (Arc<Discovery>, RedisOptions) {
    let seeds = sentinels.iter().map(|sentinel| &sentinel.address);
    let config = RedisConfig::sentinel("main", seeds).unwrap();
    let EngineConfig::Redis(options) = Config::from(config.sentinel_timeout(Duration::from_secs(20))).engine
    else {
        panic!("a configuration of Redis");
    };
    let discovery = Discovery::new(&options, generation.clone(), Arc::default()).unwrap();
    (Arc::new(discovery), *options)
}

#[tokio::test]
async fn the_sentinel_that_answered_is_asked_first() {
    let (away, answers) = (Fake::start(None).await, Fake::start(Some((7, 1))).await);
    let (discovery, _) = discovery(&[&away, &answers], &Generation::first());
    for asked in 1..4 {
        assert_eq!(discovery.primary().await.unwrap(), place(7));
        assert_eq!((away.asked(), answers.asked()), (1, asked));
    }
}

/// A server that was named and could not be reached, or is no primary, is doubted. The connection for notifications
/// does not ask for the role: it may be open to such a server.
#[tokio::test]
async fn only_a_connection_that_was_greeted_ends_a_doubt() {
    let (one, other) = (Fake::start(Some((7, 1))).await, Fake::start(Some((8, 1))).await);
    let generation = Generation::first();
    let (discovery, options) = discovery(&[&one, &other], &generation);
    let resolver = Resolver::sentinel(generation, discovery.clone());
    let open = |route| async { Ok::<_, Error>(route) };
    let route = resolver.open(&options, open).await.unwrap();
    assert_eq!(route.address.place, place(7));
    discovery.doubt(&place(7));
    // The other Sentinel is asked first now. It is asked for nothing here, as one that does not answer for a moment.
    discovery.first.store(0, Ordering::Relaxed);
    let route = resolver.open(&options, open).await.unwrap();
    assert_eq!(route.address.place, place(7));
    let (at_the_other, now) = (place(8), Instant::now());
    let verdict = discovery.known().answered(&at_the_other, Some(1), now);
    assert_eq!(verdict, Verdict::Moves { cut: true }, "it is doubted still");
    // A greeting ends it.
    discovery.doubt(&at_the_other);
    let address = crate::config::Address {
        place: at_the_other,
        access: route.address.access.clone(),
    };
    resolver.greeted(&mut Route { address, ..route });
    let verdict = discovery.known().answered(&place(7), Some(1), now);
    assert_eq!(verdict, Verdict::Outdated);
}
