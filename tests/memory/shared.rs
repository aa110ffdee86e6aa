//! Models that their readers share while their entries are near.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cachestore::{Config, Error, LoadError, NearCache, Store};
use serde::{Deserialize, Serialize};

type List = Vec<u32>;

/// A store whose key `list` is near.
async fn near_list(config: Config) -> Store {
    let store = Store::open(config).await.unwrap();
    store.set_model("list", &List::from_iter(0..100)).await.unwrap();
    for _ in 0..3 {
        store.get("list").await.unwrap();
    }
    assert_eq!(store.stats().await.unwrap().near_entries, 1);
    store
}

async fn shared(store: &Store) -> Arc<List> {
    store.get_shared("list").await.unwrap().unwrap()
}

async fn loaded(store: &Store) -> Arc<List> {
    let load = || async { Err::<List, _>("not to be loaded") };
    store.get_or_load("list", load).shared().await.unwrap()
}

#[tokio::test]
async fn readers_of_a_near_entry_share_one_model() {
    let store = near_list(Config::memory()).await;
    let first = shared(&store).await;
    assert_eq!(first.len(), 100);
    assert!(Arc::ptr_eq(&first, &shared(&store).await));
    assert!(Arc::ptr_eq(&first, &loaded(&store).await), "loads share it too");
    let before = store.stats().await.unwrap();
    shared(&store).await;
    let after = store.stats().await.unwrap();
    assert_eq!(
        (after.hits, after.near_hits),
        (before.hits + 1, before.near_hits + 1)
    );
    // A change ends it, and whoever has it keeps it.
    store.set_model("list", &vec![7]).await.unwrap();
    assert_eq!(*shared(&store).await, [7]);
    assert_eq!(first.len(), 100);
}

#[tokio::test]
async fn what_is_not_near_is_decoded_for_each_reader() {
    let store = near_list(Config::memory().near_cache(NearCache::default())).await;
    let far = store.without_near_cache();
    let (one, other) = (shared(&far).await, shared(&far).await);
    assert!(*one == *other && !Arc::ptr_eq(&one, &other));
    assert_eq!(store.get_shared::<List>("absent").await.unwrap(), None);
    assert!(matches!(
        store.get_shared::<List>("").await,
        Err(Error::KeyRequired)
    ));
    let wrong = store.get_shared::<String>("list").await;
    assert!(matches!(wrong, Err(Error::Decode(_))), "{wrong:?}");
    // One type is kept, and another is decoded.
    shared(&store).await;
    let signed: Arc<Vec<i64>> = store.get_shared("list").await.unwrap().unwrap();
    assert_eq!(signed[99], 99);
}

#[tokio::test]
async fn a_shared_model_counts_twice_its_length_and_within_the_bound() {
    let store = near_list(Config::memory()).await;
    let len = store.get("list").await.unwrap().unwrap().len() as u64;
    let before = store.stats().await.unwrap();
    shared(&store).await;
    let after = store.stats().await.unwrap();
    assert_eq!(after.near_bytes, before.near_bytes + 2 * len);
    assert_eq!(after.bytes, before.bytes.map(|bytes| bytes + 2 * len));
    store.delete("list").await.unwrap();
    assert_eq!(store.stats().await.unwrap().near_bytes, 0);

    let near = NearCache::default().capacity_bytes(after.near_bytes as usize - 1);
    let store = near_list(Config::memory().near_cache(near)).await;
    let (one, other) = (shared(&store).await, shared(&store).await);
    assert!(!Arc::ptr_eq(&one, &other), "there is no room to keep it");
}

#[tokio::test(start_paused = true)]
async fn a_load_is_shared_while_it_is_fresh() {
    let store = Store::open(Config::memory()).await.unwrap();
    let load = |n: u32| {
        let loader = move || async move { Ok::<List, String>(vec![n]) };
        let load = store.get_or_load("list", loader).ttl(Duration::from_secs(10));
        load.stale_if_error(Duration::from_secs(60)).shared()
    };
    assert_eq!(*load(1).await.unwrap(), [1]);
    for _ in 0..3 {
        load(2).await.unwrap();
    }
    let (one, other) = (load(2).await.unwrap(), load(3).await.unwrap());
    assert!(*one == [1] && Arc::ptr_eq(&one, &other));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(
        store.get_shared::<List>("list").await.unwrap(),
        None,
        "it is stale"
    );
    assert_eq!(*load(4).await.unwrap(), [4]);
    let refused = store
        .get_or_load("", || async { Ok::<List, String>(vec![]) })
        .shared()
        .await;
    assert!(matches!(refused, Err(LoadError::Store(Error::KeyRequired))));
}

/// A call draws once whether it refreshes, so that half of the calls do where the chance is a half.
#[tokio::test(start_paused = true)]
async fn shared_loads_refresh_as_often_as_others() {
    const KEYS: u32 = 400;
    static LOADS: AtomicU32 = AtomicU32::new(0);
    let store = Store::open(Config::memory()).await.unwrap();
    let load = |n: u32, ahead: bool| {
        let loader = || async {
            LOADS.fetch_add(1, SeqCst);
            Ok::<List, String>(vec![1])
        };
        let load = store
            .get_or_load(format!("k{n}"), loader)
            .ttl(Duration::from_secs(100));
        if ahead { load.refresh_ahead(0.0) } else { load }.shared()
    };
    for n in 0..KEYS {
        for _ in 0..4 {
            load(n, false).await.unwrap();
        }
    }
    assert_eq!(LOADS.swap(0, SeqCst), KEYS);
    // The lead is a fourth of the fresh time: exp(-left / lead) is a half.
    tokio::time::advance(Duration::from_millis(82_671)).await;
    for n in 0..KEYS {
        load(n, true).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let loads = LOADS.load(SeqCst);
    assert!((150..=250).contains(&loads), "{loads} of {KEYS}");
}

/// Its drop takes as long as somebody wants it to.
#[derive(Serialize, Deserialize)]
struct Slow(u32);

static SLOW_DROP: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
static WAS_LET_GO: AtomicBool = AtomicBool::new(false);

impl Drop for Slow {
    fn drop(&mut self) {
        let waiting = SLOW_DROP.lock().unwrap().take();
        if let Some(waiting) = waiting {
            WAS_LET_GO.store(waiting.recv_timeout(Duration::from_secs(5)).is_ok(), SeqCst);
        }
    }
}

/// The engine goes on while a model is dropped: that is not its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_engine_does_not_drop_models() {
    let store = Store::open(Config::memory()).await.unwrap();
    store.set_model("slow", &Slow(1)).await.unwrap();
    for _ in 0..3 {
        store.get("slow").await.unwrap();
    }
    drop(store.get_shared::<Slow>("slow").await.unwrap());
    let (let_go, waiting) = mpsc::channel();
    *SLOW_DROP.lock().unwrap() = Some(waiting);
    assert!(store.delete("slow").await.unwrap());
    store.without_near_cache().set("other", "v").await.unwrap();
    assert!(store.without_near_cache().exists("other").await.unwrap());
    let_go.send(()).unwrap();
    while !WAS_LET_GO.load(SeqCst) {
        tokio::task::yield_now().await;
    }
}

static DROPS: AtomicUsize = AtomicUsize::new(0);

/// Its drop panics.
#[derive(Serialize, Deserialize)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPS.fetch_add(1, SeqCst);
        if self.0 == 0 {
            panic!("in a drop");
        }
    }
}

/// The entry that holds the last `Arc` is dropped by the engine, by a clear and by the end of the store.
#[tokio::test]
async fn a_panic_of_a_drop_harms_nobody() {
    let store = Store::open(Config::memory()).await.unwrap();
    for how in 0..3 {
        store.set_model("bomb", &0).await.unwrap();
        for _ in 0..3 {
            store.get("bomb").await.unwrap();
        }
        let bomb = store.get_shared::<Bomb>("bomb").await.unwrap().unwrap();
        assert!(Arc::strong_count(&bomb) == 2, "the near cache keeps it");
        drop(bomb);
        assert_eq!(DROPS.load(SeqCst), how);
        match how {
            0 => assert!(store.delete("bomb").await.unwrap()),
            1 => assert!(store.clear().await.unwrap() > 0),
            _ => store.close().await.unwrap(),
        }
        while DROPS.load(SeqCst) == how {
            tokio::task::yield_now().await;
        }
        if how < 2 {
            assert_eq!(store.stats().await.unwrap().resets, 0);
        }
    }
}
