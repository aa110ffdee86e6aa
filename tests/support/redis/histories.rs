//! Rounds of callers on a few registers of a store, each of which is checked for linearizability.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachestore::{Bytes, Error, Store};
use tokio::time::timeout;

use super::Seeded;
use super::opening::{ms, was_not_done};
use super::register::{Answer, Call, Event, is_linearizable};

pub(crate) const CALLERS: u64 = 6;
pub(crate) const KEYS: u64 = 3;
const CALLS: u64 = 14;

/// What the keys of a register have in braces. It is the same in each round, so that they share a slot.
pub(crate) fn group(register: u64) -> String {
    format!("hot{register}")
}

#[derive(Debug, Default)]
struct Shared {
    clock: AtomicU64,
    value: AtomicU64,
    maybe: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

fn number(bytes: Option<Bytes>) -> Answer {
    Answer::Held(bytes.map(|bytes| String::from_utf8_lossy(&bytes).parse().expect("a number")))
}

async fn make(store: &Store, key: &str, call: Call) -> Result<Answer, Error> {
    Ok(match call {
        Call::Read => number(store.get(key).await?),
        Call::Write(value) if value % 3 == 0 => {
            store.set(key, value.to_string()).depends_on(["d"]).await?;
            Answer::Done
        }
        Call::Write(value) => {
            store.set(key, value.to_string()).await?;
            Answer::Done
        }
        Call::Add(value) => Answer::Was(store.add(key, value.to_string()).await?),
        Call::Swap { from, to } => Answer::Was(
            store
                .compare_and_set(key, from.to_string(), to.to_string())
                .await?,
        ),
        Call::Take => number(store.take(key).await?),
        Call::Exchange(value) if value % 2 == 0 => {
            number(store.swap(key, value.to_string()).depends_on(["d"]).await?)
        }
        Call::Exchange(value) => number(store.swap(key, value.to_string()).await?),
        Call::Delete => Answer::Was(store.delete(key).await?),
    })
}

/// One caller's part of a round: its events, by key.
async fn caller(
    store: Store,
    shared: Arc<Shared>,
    round: u64,
    seed: u64,
    reads_stale: bool,
) -> Vec<(u64, Event)> {
    let mut random = Seeded::new(seed);
    let mut events = Vec::new();
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for _ in 0..CALLS {
        let n = random.below(KEYS);
        let key = format!("{{{}}}{round}", group(n));
        let fresh = || shared.value.fetch_add(1, Ordering::SeqCst) + 1;
        let call = match random.below(13) {
            0..=4 => Call::Read,
            5..=7 => Call::Write(fresh()),
            8 => Call::Add(fresh()),
            9 => Call::Swap {
                from: seen.get(&n).copied().unwrap_or(0),
                to: fresh(),
            },
            10 => Call::Take,
            11 => Call::Exchange(fresh()),
            _ => Call::Delete,
        };
        let patience = if random.percent(15) {
            Duration::from_micros(random.below(3000))
        } else {
            ms(60_000)
        };
        let began = shared.tick();
        let made = timeout(patience, make(&store, &key, call)).await;
        let answer = match made {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(Error::OutcomeUnknown(_))) | Err(_) => None,
            Ok(Err(error)) if was_not_done(&error) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Ok(Err(error)) => panic!("{error:?}"),
        };
        let ended = shared.tick();
        let answer = match answer {
            Some(Answer::Held(_)) if reads_stale && call == Call::Read && random.percent(30) => {
                Some(Answer::Held(seen.get(&n).copied()))
            }
            answer => answer,
        };
        match answer {
            Some(Answer::Held(Some(value))) => drop(seen.insert(n, value)),
            None if call == Call::Read => continue,
            None => drop(shared.maybe.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        events.push((
            n,
            Event {
                call,
                answer,
                began,
                ended,
            },
        ));
    }
    events
}

/// The rounds on one store.
pub(crate) struct Histories {
    store: Store,
    shared: Arc<Shared>,
    /// Planted: a caller sometimes answers with what it read before.
    reads_stale: bool,
    round: u64,
    pub(crate) checked: usize,
    /// How many could not have happened.
    pub(crate) wrong: usize,
    /// The last one of these.
    pub(crate) example: Option<String>,
}

impl Histories {
    pub(crate) fn new(store: Store, reads_stale: bool) -> Self {
        Self {
            store,
            shared: Arc::default(),
            reads_stale,
            round: 0,
            checked: 0,
            wrong: 0,
            example: None,
        }
    }

    /// Lets callers loose on new keys, while something happens.
    pub(crate) async fn round(&mut self, during: impl Future<Output = ()>) {
        self.round += 1;
        let round = self.round;
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| {
                let (store, shared) = (self.store.clone(), self.shared.clone());
                tokio::spawn(caller(
                    store,
                    shared,
                    round,
                    round * CALLERS + n,
                    self.reads_stale,
                ))
            })
            .collect();
        during.await;
        let mut by_key: HashMap<u64, Vec<Event>> = HashMap::new();
        for caller in callers {
            for (key, event) in caller.await.unwrap() {
                by_key.entry(key).or_default().push(event);
            }
        }
        for (key, history) in by_key {
            self.checked += 1;
            if !is_linearizable(&history) {
                self.wrong += 1;
                self.example = Some(format!("round {round}, key {key}: {history:#?}"));
            }
        }
    }

    /// Replies that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.maybe.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}
