//! Loads beside what they are made of, and beside moka's and cached's: hits, misses, many callers of one cold
//! key, many keys at once, stale answers; and over Redis.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a program that prints and may fail"
)]

mod support;

#[path = "../tests/support/redis"]
#[allow(
    dead_code,
    clippy::expect_used,
    reason = "the tests' servers, of which this uses a part"
)]
mod harness {
    pub(crate) mod resp;
    pub(crate) mod server;
}

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cached::{CachedAsync, LruTtlCache};
use cachestore::{Config, Fetched, LoadContext, MemoryConfig, Store};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use harness::server::RedisServer;
use support::{Flavor, KEYS, Samples, Table, in_turn, key, nanos_of, sized, zipf};

/// Keys in one call of the many.
const MANY: usize = 100;
/// Callers of one cold key.
const CALLERS: usize = 1000;
/// How long the loader takes that they wait for.
const LOADING: Duration = Duration::from_millis(20);
/// Keys that are stale, each with a load under way.
const STALE: usize = 1000;
/// Keys on the server.
const REMOTE: usize = 10_000;
const HOUR: Duration = Duration::from_secs(3600);
const TASKS: [usize; 2] = [1, 64];

/// Keys in memory.
fn local() -> usize {
    sized(KEYS, 10_000)
}

fn main() {
    let mut table = Table::of_ratios();
    let all: [(&str, Measure); 7] = [
        ("hits", hits),
        ("shared", shared),
        ("misses", misses),
        ("cold", cold),
        ("many", many),
        ("stale", stale),
        ("redis", redis),
    ];
    for (_, measure) in all.into_iter().filter(|(name, _)| support::is_wanted(name)) {
        for flavor in Flavor::BOTH {
            measure(flavor, &mut table);
        }
    }
    println!(
        "{} keys ({REMOTE} on Redis), models of 64 bytes in MessagePack, Zipf {}; time a key\n",
        local(),
        support::SKEW
    );
    table.print();
}

/// How many models a shared list has.
const LIST: usize = 50;

type Measure = fn(Flavor, &mut Table);

/// What is loaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Profile {
    id: u64,
    name: String,
    mail: String,
}

fn profile() -> Profile {
    Profile {
        id: 1_000_000,
        name: "Ada Lovelace".to_owned(),
        mail: "ada.lovelace@engine.example.org".to_owned(),
    }
}

fn decoded(bytes: &[u8]) -> Profile {
    rmp_serde::from_slice(bytes).unwrap()
}

/// A cache that loads what it does not hold.
trait Contestant: Clone + Send + Sync + 'static {
    /// What it gives its callers: their own, or shared by all.
    type Value: Send + 'static;

    fn load(
        &self,
        key: &str,
        loader: impl Future<Output = Profile> + Send + 'static,
    ) -> impl Future<Output = Self::Value> + Send;

    /// Ends, with all that it held.
    async fn end(self) {}
}

impl Contestant for Store {
    type Value = Profile;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Profile {
        let load = || async { Ok::<_, Infallible>(loader.await) };
        self.get_or_load(key, load).ttl(HOUR).await.unwrap()
    }

    async fn end(self) {
        self.close().await.unwrap();
    }
}

/// With stale windows, so that each read asks how old the value is.
#[derive(Clone)]
struct Windows(Store);

impl Contestant for Windows {
    type Value = Profile;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Profile {
        let load = || async { Ok::<_, Infallible>(loader.await) };
        let load = self.0.get_or_load(key, load).ttl(HOUR);
        load.stale_while_revalidate(HOUR).await.unwrap()
    }
}

/// With a loader that is given a context.
#[derive(Clone)]
struct WithContext(Store);

impl Contestant for WithContext {
    type Value = Profile;

    /// The loader may be called again, so it is not a future.
    async fn load(&self, key: &str, _: impl Future<Output = Profile> + Send + 'static) -> Profile {
        let load = |_: LoadContext<Profile>| async { Ok::<_, Infallible>(Fetched::new(profile())) };
        self.0.get_or_load_with(key, load).ttl(HOUR).await.unwrap()
    }

    async fn end(self) {
        self.0.close().await.unwrap();
    }
}

/// By hand, without anything that keeps two callers from loading the same: our `get_model`, and our
/// `set_model` if it finds nothing.
#[derive(Clone)]
struct Model(Store);

impl Contestant for Model {
    type Value = Profile;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Profile {
        if let Some(profile) = self.0.get_model(key).await.unwrap() {
            return profile;
        }
        let profile = loader.await;
        self.0.set_model(key, &profile).ttl(HOUR).await.unwrap();
        profile
    }

    async fn end(self) {
        self.0.close().await.unwrap();
    }
}

/// The same with our `get` and rmp-serde.
#[derive(Clone)]
struct Plain(Store);

impl Contestant for Plain {
    type Value = Profile;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Profile {
        if let Some(bytes) = self.0.get(key).await.unwrap() {
            return decoded(&bytes);
        }
        let profile = loader.await;
        let bytes = rmp_serde::to_vec_named(&profile).unwrap();
        self.0.set(key, bytes).ttl(HOUR).await.unwrap();
        profile
    }
}

/// Holds the values themselves, and shares them.
type Moka = moka::future::Cache<String, Arc<Profile>>;

fn moka() -> Moka {
    Moka::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(HOUR)
        .build()
}

impl Contestant for Moka {
    type Value = Arc<Profile>;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Arc<Profile> {
        let load = async { Ok::<_, Infallible>(Arc::new(loader.await)) };
        self.try_get_with_by_ref(key, load).await.unwrap()
    }
}

/// What comes nearest in `cached`: its bounded store with a TTL, behind the lock that its macro for async
/// functions would put around it, so that loads of one key are one, and loads of all keys are one after another.
type Cached = Arc<Mutex<LruTtlCache<String, Arc<Profile>>>>;

fn cached() -> Cached {
    let store = LruTtlCache::builder().max_size(2 * KEYS).ttl(HOUR).build();
    Arc::new(Mutex::new(store.unwrap()))
}

impl Contestant for Cached {
    type Value = Arc<Profile>;

    async fn load(&self, key: &str, loader: impl Future<Output = Profile> + Send + 'static) -> Arc<Profile> {
        let load = || async { Ok::<_, Infallible>(Arc::new(loader.await)) };
        let mut store = self.lock().await;
        let value = store.async_try_get_or_set_with(key.to_owned(), load);
        value.await.unwrap().clone()
    }
}

/// How a contest runs.
#[derive(Clone, Copy)]
struct How {
    flavor: Flavor,
    tasks: usize,
    calls: usize,
    /// Whether the processor's time does not tell, because there is somebody else to wait for.
    on_the_wall: bool,
}

impl How {
    fn now(&self) -> Duration {
        if self.on_the_wall {
            Flavor::MultiThread.now()
        } else {
            self.flavor.now()
        }
    }

    fn name(&self) -> String {
        let tasks = match self.tasks {
            1 => "1 task".to_owned(),
            tasks => format!("{tasks} tasks"),
        };
        format!("{tasks}, {}", self.flavor.name())
    }
}

/// The keys, and the order in which they are asked for.
#[derive(Clone)]
struct Workload {
    keys: Arc<[String]>,
    order: Arc<[u32]>,
}

impl Workload {
    fn new(keys: usize) -> Self {
        Self {
            keys: (0..keys).map(key).collect(),
            order: zipf(keys, sized(1 << 20, 1 << 17), 1).into(),
        }
    }

    /// Each key once.
    fn of_each(keys: usize) -> Self {
        Self {
            keys: (0..keys).map(key).collect(),
            order: (0..keys as u32).collect(),
        }
    }

    async fn fill<C: Contestant>(&self, contestant: C) -> C {
        for key in &*self.keys {
            contestant.load(key, async { profile() }).await;
        }
        contestant
    }

    /// Loads from a contestant that ends with it.
    async fn once<C: Contestant>(&self, how: How, contestant: C) -> f64 {
        let time = self.time(how, &contestant, load).await;
        contestant.end().await;
        time
    }

    /// Runs `run` on as many tasks as are told, each with its share of the keys: the time a key.
    async fn time<C: Clone, F: Future<Output = ()> + Send + 'static>(
        &self,
        how: How,
        contestant: &C,
        run: fn(C, Share) -> F,
    ) -> f64 {
        let calls = how.calls / how.tasks;
        let shares: Vec<Share> = (0..how.tasks)
            .map(|task| Share {
                workload: self.clone(),
                begin: task * self.order.len() / how.tasks,
                calls,
            })
            .collect();
        let began = how.now();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| tokio::spawn(run(contestant.clone(), share)))
            .collect();
        for task in running {
            task.await.unwrap();
        }
        nanos_of(how.now() - began) / (calls * how.tasks) as f64
    }
}

/// One task's part of the workload.
struct Share {
    workload: Workload,
    begin: usize,
    calls: usize,
}

impl Share {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let Workload { keys, order } = &self.workload;
        let order = order[self.begin..].iter().chain(order.iter().cycle());
        order
            .take(self.calls)
            .map(|number| keys[*number as usize].as_str())
    }
}

async fn load<C: Contestant>(contestant: C, share: Share) {
    for key in share.keys() {
        contestant.load(key, async { profile() }).await;
    }
}

async fn store() -> Store {
    Store::open(MemoryConfig::default().capacity_bytes(1 << 30))
        .await
        .unwrap()
}

fn hits(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let workload = Workload::new(local());
    let (ours, context, windows, model, plain, moka, cached) = runtime.block_on(async {
        (
            workload.fill(store().await).await,
            workload.fill(WithContext(store().await)).await,
            workload.fill(Windows(store().await)).await,
            workload.fill(Model(store().await)).await,
            workload.fill(Plain(store().await)).await,
            workload.fill(moka()).await,
            workload.fill(cached()).await,
        )
    });
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls: sized(1 << 18, 1 << 15),
            on_the_wall: false,
        };
        let [ours, context, windows, model, plain, moka, cached] = in_turn(sized(11, 5), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => workload.time(how, &ours, load).await,
                    1 => workload.time(how, &context, load).await,
                    2 => workload.time(how, &windows, load).await,
                    3 => workload.time(how, &model, load).await,
                    4 => workload.time(how, &plain, load).await,
                    5 => workload.time(how, &moka, load).await,
                    _ => workload.time(how, &cached, load).await,
                }
            })
        });
        let name = how.name();
        let what = format!("hit with a context, {name}: without");
        table.times(what, &context, &ours);
        let what = format!("hit with a stale window, {name}: get_model");
        table.times(what, &windows, &model);
        for (peer, samples) in [
            ("get_model", model),
            ("get, rmp-serde", plain),
            ("moka try_get_with", moka),
            ("cached", cached),
        ] {
            table.times(format!("hit, {name}: {peer}"), &ours, &samples);
        }
    }
}

/// A list that its readers share. Moka's keep it as it is, ours decode it once while it is near.
fn shared(flavor: Flavor, table: &mut Table) {
    type Lists = moka::future::Cache<String, Arc<Vec<Profile>>>;

    async fn list() -> Result<Vec<Profile>, Infallible> {
        Ok(std::iter::repeat_with(profile).take(LIST).collect())
    }

    let runtime = flavor.runtime().unwrap();
    let calls = sized(1 << 16, 1 << 13);
    let lists: Lists = Lists::builder().max_capacity(16).time_to_live(HOUR).build();
    let store = runtime.block_on(async {
        let store = store().await;
        lists
            .insert("list".to_owned(), Arc::new(list().await.unwrap()))
            .await;
        // Read a few times, it is near.
        for _ in 0..4 {
            store.get_or_load("list", list).ttl(HOUR).shared().await.unwrap();
        }
        store
    });
    let [ours, moka, decoded] = in_turn(sized(11, 5), |contestant| {
        let (store, lists) = (store.clone(), lists.clone());
        // The same work for all: a hit, and a look at the list.
        let hits = async move {
            let (began, mut seen) = (flavor.now(), 0);
            let calls = if contestant == 2 { calls / 16 } else { calls };
            for _ in 0..calls {
                seen += match contestant {
                    0 => store
                        .get_or_load("list", list)
                        .ttl(HOUR)
                        .shared()
                        .await
                        .unwrap()
                        .len(),
                    1 => {
                        let load = async { list().await.map(Arc::new) };
                        lists.try_get_with_by_ref("list", load).await.unwrap().len()
                    }
                    _ => store.get_or_load("list", list).ttl(HOUR).await.unwrap().len(),
                };
            }
            assert_eq!(seen, calls * LIST);
            (flavor.now() - began).as_nanos() as f64 / calls as f64
        };
        runtime.block_on(async { tokio::spawn(hits).await.unwrap() })
    });
    let name = flavor.name();
    table.times(
        format!("shared hit of a list of {LIST}, {name}: moka try_get_with"),
        &ours,
        &moka,
    );
    table.times(
        format!("shared hit of a list of {LIST}, {name}: not shared"),
        &ours,
        &decoded,
    );
}

fn misses(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let calls = sized(1 << 16, 1 << 13);
    let workload = Workload::of_each(calls);
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls,
            on_the_wall: false,
        };
        // A new cache each time, so that every key is a miss.
        let [ours, context, model, moka, cached] = in_turn(sized(11, 5), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => workload.once(how, store().await).await,
                    1 => workload.once(how, WithContext(store().await)).await,
                    2 => workload.once(how, Model(store().await)).await,
                    3 => workload.once(how, moka()).await,
                    _ => workload.once(how, cached()).await,
                }
            })
        });
        let name = how.name();
        table.times(format!("miss with a context, {name}: without"), &context, &ours);
        for (peer, samples) in [
            ("get_model, set_model", model),
            ("moka try_get_with", moka),
            ("cached", cached),
        ] {
            table.times(format!("miss, {name}: {peer}"), &ours, &samples);
        }
    }
}

/// What many callers of one cold key have seen.
struct Crowd {
    loads: usize,
    /// Nanoseconds from the first call to the last caller's value.
    total: f64,
    /// Likewise, from the loader's end.
    woken: f64,
}

async fn crowd<C: Contestant>(contestant: &C, clock: impl Fn() -> Duration, loading: Duration) -> Crowd {
    let loads = Arc::new(AtomicUsize::new(0));
    let loaded = Arc::new(OnceLock::new());
    let began = clock();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (contestant, loads, loaded) = (contestant.clone(), loads.clone(), loaded.clone());
            let loader = async move {
                loads.fetch_add(1, Ordering::Relaxed);
                if !loading.is_zero() {
                    sleep(loading).await;
                }
                loaded.get_or_init(Instant::now);
                profile()
            };
            tokio::spawn(async move { contestant.load("cold", loader).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    Crowd {
        loads: loads.load(Ordering::Relaxed),
        total: nanos_of(clock() - began),
        woken: nanos_of(loaded.get().unwrap().elapsed()),
    }
}

fn cold(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let mut most = [0, 0];
    let [ours, moka, ours_woken, moka_woken] = in_turn(sized(51, 11), |contestant| {
        let loading = if contestant < 2 { Duration::ZERO } else { LOADING };
        let crowd = runtime.block_on(async {
            match contestant {
                0 | 2 => {
                    let store = store().await;
                    let crowd = crowd(&store, || flavor.now(), loading).await;
                    store.end().await;
                    crowd
                }
                _ => crowd(&moka(), || flavor.now(), loading).await,
            }
        });
        let most = &mut most[contestant % 2];
        *most = crowd.loads.max(*most);
        if loading.is_zero() {
            crowd.total
        } else {
            crowd.woken
        }
    });
    let what = format!("{CALLERS} callers of one cold key, {}", flavor.name());
    let peer = "moka try_get_with";
    table.row([
        format!("{what}, loader calls, the most in a round: {peer}"),
        most[0].to_string(),
        most[1].to_string(),
        format!("{:.2}", most[0] as f64 / most[1] as f64),
    ]);
    let each = |samples: &Samples| samples.scaled(1.0 / CALLERS as f64);
    table.times(
        format!("{what}, a caller of them: {peer}"),
        &each(&ours),
        &each(&moka),
    );
    table.times(
        format!("{what}, from the loader's end to the last: {peer}"),
        &ours_woken,
        &moka_woken,
    );
}

async fn load_many(store: Store, share: Share) {
    let mut keys = share.keys();
    for _ in 0..share.calls / MANY {
        let load = async |_| Ok::<_, Infallible>(HashMap::<String, Profile>::new());
        let loaded = store.get_or_load_many(keys.by_ref().take(MANY), load).ttl(HOUR);
        assert!(!loaded.await.unwrap().is_empty());
    }
}

async fn get_models(store: Store, share: Share) {
    let mut keys = share.keys();
    for _ in 0..share.calls / MANY {
        let models: Vec<Option<Profile>> = store.get_models(keys.by_ref().take(MANY)).await.unwrap();
        assert!(models.iter().all(Option::is_some));
    }
}

async fn get_many(store: Store, share: Share) {
    let mut keys = share.keys();
    for _ in 0..share.calls / MANY {
        let found = store.get_many(keys.by_ref().take(MANY)).await.unwrap();
        let models: Vec<Profile> = found.iter().flatten().map(|bytes| decoded(bytes)).collect();
        assert_eq!(models.len(), MANY);
    }
}

fn many(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let workload = Workload::new(local());
    let (ours, Model(model)) = runtime.block_on(async {
        (
            workload.fill(store().await).await,
            workload.fill(Model(store().await)).await,
        )
    });
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls: sized(1_usize << 18, 1 << 16).next_multiple_of(tasks * MANY),
            on_the_wall: false,
        };
        let [ours, models, plain] = in_turn(sized(11, 5), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => workload.time(how, &ours, load_many).await,
                    1 => workload.time(how, &model, get_models).await,
                    _ => workload.time(how, &model, get_many).await,
                }
            })
        });
        let what = format!("hits of {MANY}, {}", how.name());
        table.times(format!("{what}: get_models"), &ours, &models);
        table.times(format!("{what}: get_many, rmp-serde"), &ours, &plain);
    }
}

/// Reads what is stale, while a load of it is under way that does not end.
async fn load_stale(store: Store, share: Share) {
    for key in share.keys() {
        let load = pending::<Result<Profile, Infallible>>;
        let load = store.get_or_load(key, load).stale_while_revalidate(HOUR);
        load.timeout(HOUR).await.unwrap();
    }
}

fn stale(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let workload = Workload::new(STALE);
    let (ours, model) = runtime.block_on(async {
        let ours = store().await;
        for key in &*workload.keys {
            let load = || async { Ok::<_, Infallible>(profile()) };
            let load = ours.get_or_load(key, load).ttl(Duration::from_millis(1));
            load.stale_while_revalidate(HOUR).await.unwrap();
        }
        sleep(Duration::from_millis(5)).await;
        (ours, workload.fill(Model(store().await)).await)
    });
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls: sized(1 << 18, 1 << 15),
            on_the_wall: false,
        };
        let [ours, model] = in_turn(sized(11, 5), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => workload.time(how, &ours, load_stale).await,
                    _ => workload.time(how, &model, load).await,
                }
            })
        });
        let what = format!("stale_while_revalidate, {}", how.name());
        table.times(format!("{what}: get_model"), &ours, &model);
    }
}

fn redis(flavor: Flavor, table: &mut Table) {
    let runtime = flavor.runtime().unwrap();
    let server = runtime.block_on(RedisServer::start());
    let config = Config::redis(&server.url()).unwrap();
    let open = || async { Store::open(config.clone()).await.unwrap() };
    let workload = Workload::new(REMOTE);
    let (ours, model) = runtime.block_on(async {
        (
            workload.fill(open().await.namespace("loaded").unwrap()).await,
            workload.fill(Model(open().await.namespace("set").unwrap())).await,
        )
    });
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls: sized(1 << 15, 1 << 12),
            on_the_wall: true,
        };
        let [ours, model] = in_turn(sized(9, 3), |contestant| {
            runtime.block_on(async {
                match contestant {
                    0 => workload.time(how, &ours, load).await,
                    _ => workload.time(how, &model, load).await,
                }
            })
        });
        table.times(format!("Redis, hit, {}: get_model", how.name()), &ours, &model);
    }
    redis_misses(flavor, &runtime, &ours, &model, table);
    let what = format!("Redis, {CALLERS} callers of one cold key, {}", flavor.name());
    let mut most = 0;
    let [ours, get] = in_turn(sized(11, 3), |contestant| {
        runtime.block_on(async {
            if contestant == 0 {
                ours.delete("cold").await.unwrap();
                let crowd = crowd(&ours, || Flavor::MultiThread.now(), LOADING).await;
                most = crowd.loads.max(most);
                return crowd.woken;
            }
            let began = Instant::now();
            ours.get_model::<Profile>("cold").await.unwrap();
            nanos_of(began.elapsed())
        })
    });
    table.row([
        format!("{what}, loader calls, the most in a round: one"),
        most.to_string(),
        "1".to_owned(),
        format!("{most:.2}"),
    ]);
    table.times(
        format!("{what}, from the loader's end to the last: one get_model"),
        &ours,
        &get,
    );
}

fn redis_misses(flavor: Flavor, runtime: &Runtime, ours: &Store, model: &Model, table: &mut Table) {
    let calls = sized(1 << 13, 1 << 10);
    let workload = Workload::of_each(calls);
    for tasks in TASKS {
        let how = How {
            flavor,
            tasks,
            calls,
            on_the_wall: true,
        };
        let [ours, model] = in_turn(sized(9, 3), |contestant| {
            runtime.block_on(async {
                if contestant == 0 {
                    ours.clear().await.unwrap();
                    workload.time(how, ours, load).await
                } else {
                    model.0.clear().await.unwrap();
                    workload.time(how, model, load).await
                }
            })
        });
        let what = format!("Redis, miss, {}: get_model, set_model", how.name());
        table.times(what, &ours, &model);
    }
}
