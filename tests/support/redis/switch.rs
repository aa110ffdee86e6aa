//! What a store does while another server becomes the primary, or the owner of its slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Event, Events, Store};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::opening::{ms, was_not_done};

/// When the store tells of the next switch.
pub(crate) async fn switched(events: &mut Events) -> Instant {
    let told = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::SwitchedPrimary { .. }) {
                return Instant::now();
            }
        }
        panic!("no switch is told");
    };
    timeout(Duration::from_secs(30), told).await.unwrap()
}

/// Tasks that write, each a new key, until they are asked what was acknowledged.
pub(crate) struct Writers {
    going: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<(Instant, String)>>>,
}

impl Writers {
    pub(crate) fn begin(store: &Store) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let tasks = (0..8).map(|writer| tokio::spawn(write(store.clone(), writer, going.clone())));
        Self {
            tasks: tasks.collect(),
            going,
        }
    }

    /// The keys of the writes that were acknowledged after this time. They are more than a few.
    pub(crate) async fn acknowledged_after(self, time: Instant) -> Vec<String> {
        self.going.store(false, Ordering::Relaxed);
        let mut after = Vec::new();
        for task in self.tasks {
            after.extend(task.await.unwrap().into_iter().filter(|(at, _)| *at > time));
        }
        assert!(after.len() > 10);
        after.into_iter().map(|(_, key)| key).collect()
    }
}

async fn write(store: Store, writer: usize, going: Arc<AtomicBool>) -> Vec<(Instant, String)> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if !going.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{writer}-{n}");
        match store.set(&key, "v").await {
            Ok(()) => acknowledged.push((Instant::now(), key)),
            Err(error) => {
                let is_typed = was_not_done(&error) || matches!(error, Error::OutcomeUnknown(_));
                assert!(is_typed, "{error:?}");
                sleep(ms(2)).await;
            }
        }
    }
    acknowledged
}

/// Scans 4,000 keys while something happens behind the first one. None is missed, and keys may come twice.
pub(crate) async fn scan_over(store: &Store, meanwhile: impl Future<Output = ()>) {
    let mut keys: Vec<String> = (0..4000).map(|n| format!("k{n}")).collect();
    for chunk in keys.chunks(500) {
        let pairs: Vec<(&String, &str)> = chunk.iter().map(|key| (key, "v")).collect();
        store.set_many(pairs).await.unwrap();
    }
    keys.sort_unstable();
    let mut scan = store.scan("k");
    let mut found = vec![scan.next().await.unwrap().unwrap()];
    meanwhile.await;
    while let Some(key) = scan.next().await {
        found.push(key.unwrap());
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), keys.len(), "keys are missed");
    assert_eq!(found, keys);
}
