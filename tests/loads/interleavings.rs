//! Loads, changes and reads in random order over a source that counts its versions: whoever begins to read
//! after a change was acknowledged gets that version or a later one.
//!
//! All run on one thread, and at each step let the others go first a few times, drawn from a seed: a round
//! that fails fails again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use cachestore::{Fetched, Load, LoadContext, LoadError, Loader, One, Origin, Store};
use tokio::task::JoinSet;

use crate::seeded::Seeded;
use crate::support::{memory, ms};

/// The version of each row that a value was made from.
type Versions = [Option<u32>; 2];
type Boxed<T> = BoxedIn<'static, T>;
type BoxedIn<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Each key, and what it is made from and depends on: rows of the source, or other keys.
const KEYS: [(&str, &[&str]); 4] = [
    ("user0", &["row0"]),
    ("user1", &["row1"]),
    ("book", &["user0", "user1"]),
    ("page", &["book"]),
];

fn parents(key: &str) -> &'static [&'static str] {
    let found = KEYS.iter().find(|(name, _)| *name == key);
    found.map_or(&[], |(_, parents)| parents)
}

/// Whether a change of `name` reaches `key` through what it depends on.
fn is_made_from(key: &str, name: &str) -> bool {
    key == name || parents(key).iter().any(|parent| is_made_from(parent, name))
}

struct World {
    rows: [u32; 2],
    /// What each key's readers may expect at least.
    floors: BTreeMap<&'static str, Versions>,
    random: Seeded,
    reads: u64,
    superseded: u64,
}

/// What a run is made with.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u64,
    /// Whether what pages are made from lives for a few milliseconds only.
    parts_expire: bool,
    /// Whether most loaders find out what their values depend on, which no call names.
    late_names: bool,
}

#[derive(Clone)]
struct Round {
    store: Store,
    world: Arc<Mutex<World>>,
    plan: Plan,
}

impl Round {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn below(&self, end: u64) -> u64 {
        self.world().random.below(end)
    }

    /// Lets the others go first, often just once, seldom for milliseconds.
    async fn pause(&self) {
        // What has expired is reclaimed within 10 ms.
        let (one_in, longest) = if self.plan.parts_expire { (3, 30) } else { (20, 4) };
        if self.below(one_in) == 0 {
            tokio::time::sleep(ms(self.below(longest))).await;
        } else {
            for _ in 0..self.below(6) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// What a loader of `key` does.
    fn make(self, key: &'static str) -> Boxed<Result<Versions, String>> {
        Box::pin(async move {
            self.pause().await;
            if self.below(40) == 0 {
                return Err("the source is down".to_owned());
            }
            let rows = self.world().rows;
            let made = match key {
                "user0" => [Some(rows[0]), None],
                "user1" => [None, Some(rows[1])],
                "book" => {
                    let first = self
                        .clone()
                        .load("user0")
                        .await
                        .map_err(|error| error.to_string())?;
                    self.pause().await;
                    let second = self
                        .clone()
                        .load("user1")
                        .await
                        .map_err(|error| error.to_string())?;
                    [first.0[0], second.0[1]]
                }
                _ => {
                    self.clone()
                        .load("book")
                        .await
                        .map_err(|error| error.to_string())?
                        .0
                }
            };
            self.pause().await;
            if self.below(30) == 0 {
                tokio::time::sleep(ms(500)).await;
            }
            Ok(made)
        })
    }

    /// Loads a key with options of its own.
    fn load(self, key: &'static str) -> Boxed<Result<(Versions, Origin), LoadError<String>>> {
        Box::pin(async move {
            let round = self.clone();
            if self.plan.late_names && self.below(4) != 0 {
                let load = move |context| round.clone().find_out(key, context);
                return self.await_load(key, self.store.get_or_load_with(key, load)).await;
            }
            let load = self.store.get_or_load(key, move || round.make(key));
            self.await_load(key, load.depends_on(parents(key))).await
        })
    }

    /// What a loader of `key` does that tells what its value depends on. It confirms the old value if nothing has changed.
    fn find_out(
        self,
        key: &'static str,
        context: LoadContext<Versions>,
    ) -> Boxed<Result<Fetched<Versions>, String>> {
        Box::pin(async move {
            let made = self.clone().make(key).await?;
            let is_old = context.stale() == Some(&made) && self.below(4) != 0;
            let fetched = if is_old {
                Fetched::not_modified()
            } else {
                Fetched::new(made)
            };
            let fetched = fetched.depends_on(parents(key));
            Ok(match self.below(12) {
                0 => fetched.do_not_store(),
                1 => fetched.ttl(ms(1 + self.below(3))),
                _ => fetched,
            })
        })
    }

    /// Waits for a load with options of its own.
    fn await_load<'a, F>(
        &'a self,
        key: &'static str,
        mut load: Load<'a, Versions, F>,
    ) -> BoxedIn<'a, Result<(Versions, Origin), LoadError<String>>>
    where
        F: Loader<One, Value = Versions, Error = String>,
    {
        Box::pin(async move {
            if self.below(4) == 0 {
                load = load.timeout(ms(100));
            }
            if key == "page" || self.plan.parts_expire {
                load = load.ttl(ms(1 + self.below(3)));
                if self.below(2) == 0 {
                    load = load.stale_while_revalidate(ms(self.below(4)));
                }
                if self.below(2) == 0 {
                    load = load.stale_if_error(ms(self.below(8))).soft_timeout(ms(1));
                }
                if self.below(2) == 0 {
                    load = load.refresh_ahead(0.1);
                }
            }
            let loaded = load.outcome().await?;
            Ok((loaded.value, loaded.origin))
        })
    }

    async fn read(&self) {
        let key = KEYS[self.below(4) as usize].0;
        let floor = self.world().floors[key];
        let (read, origin) = match self.below(10) {
            0 => (
                self.store.get_model::<Versions>(key).await.unwrap_or_default(),
                None,
            ),
            // The caller goes away, which is nobody's business.
            1 => {
                let mut load = self.clone().load(key);
                for _ in 0..self.below(6) {
                    let polled = futures_util::FutureExt::now_or_never(&mut load);
                    if polled.is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                (None, None)
            }
            2 if key.starts_with("user") && self.plan.late_names => {
                let round = self.clone();
                let load = move |contexts: Vec<LoadContext<Versions>>| {
                    let round = round.clone();
                    async move {
                        let mut made = std::collections::HashMap::new();
                        for context in contexts {
                            let key = if context.key() == "user0" {
                                "user0"
                            } else {
                                "user1"
                            };
                            made.insert(key.to_owned(), round.clone().find_out(key, context).await?);
                        }
                        Ok::<_, String>(made)
                    }
                };
                let load = self.store.get_or_load_many_with(["user0", "user1"], load).await;
                (load.ok().map(|users| users[key]), None)
            }
            2 if key.starts_with("user") => {
                let round = self.clone();
                let load = self
                    .store
                    .get_or_load_many(["user0", "user1"], move |missing| async move {
                        let mut made = std::collections::HashMap::new();
                        for name in missing {
                            let key = if name == "user0" { "user0" } else { "user1" };
                            made.insert(name, round.clone().make(key).await?);
                        }
                        Ok::<_, String>(made)
                    });
                let load = load.depends_on(["row0", "row1"]).await;
                (load.ok().map(|users| users[key]), None)
            }
            _ => match self.clone().load(key).await {
                Ok((value, origin)) => (Some(value), Some(origin)),
                Err(LoadError::Loader(_) | LoadError::Timeout) => (None, None),
                Err(error) => panic!("{key}: {error:?}"),
            },
        };
        {
            let mut world = self.world();
            world.reads += 1;
            world.superseded += u64::from(origin == Some(Origin::Superseded));
        }
        if let Some(read) = read {
            let is_new = read.iter().zip(floor).all(|(read, floor)| *read >= floor);
            assert!(
                is_new,
                "{key}: {read:?} ({origin:?}), when {floor:?} was acknowledged before"
            );
        }
    }

    /// A change of the source, and then of what is stored of it.
    async fn change(&self) {
        let row = self.below(2) as usize;
        self.world().rows[row] += 1;
        self.pause().await;
        let (name, user) = [("row0", "user0"), ("row1", "user1")][row];
        let key = KEYS[self.below(4) as usize].0;
        let (rows, before) = {
            let world = self.world();
            (world.rows, world.floors.clone())
        };
        let store = &self.store;
        // What is changed itself, and whether that reaches what is made from it.
        let (changed, cascades) = match self.below(9) {
            0 => (store.invalidate([name]).await.map(|_| vec![name]), true),
            1 => (store.invalidate([user]).await.map(|_| vec![user]), true),
            2 => (store.invalidate([key, name]).await.map(|_| vec![key, name]), true),
            3 => (store.delete(key).await.map(|_| vec![key]), false),
            4 => (store.take(key).await.map(|_| vec![key]), false),
            5 => (
                store.delete_many([key, user]).await.map(|_| vec![key, user]),
                false,
            ),
            // Nothing that could be read, so that it is loaded again.
            6 => (
                store
                    .set(key, "!")
                    .depends_on(parents(key))
                    .await
                    .map(|()| vec![key]),
                false,
            ),
            7 => {
                let set = store.set_many([(user, "!")]).depends_on(parents(user));
                (set.await.map(|()| vec![user]), false)
            }
            _ => (store.clear().await.map(|_| vec!["row0", "row1"]), true),
        };
        let changed = changed.unwrap();
        let mut world = self.world();
        // From the rows upwards: what is made anew is as new as what it is made from then.
        for (key, parents) in KEYS {
            let reached = changed.iter().any(|changed| match cascades {
                true => is_made_from(key, changed),
                false => key == *changed,
            });
            if !reached {
                continue;
            }
            let mut floor: Versions = [None, None];
            for parent in parents {
                let parent: Versions = match *parent {
                    "row0" => [Some(rows[0]), None],
                    "row1" => [None, Some(rows[1])],
                    // One that was reached too has its new floor already.
                    other
                        if changed
                            .iter()
                            .any(|changed| cascades && is_made_from(other, changed)) =>
                    {
                        world.floors[other]
                    }
                    other => before[other],
                };
                floor = [floor[0].max(parent[0]), floor[1].max(parent[1])];
            }
            let known = world.floors.entry(key).or_default();
            *known = [known[0].max(floor[0]), known[1].max(floor[1])];
        }
    }
}

/// How many reads there were, how many were superseded, and how many rounds began with this.
async fn run(plan: Plan, seed: u64) -> (u64, u64) {
    let (mut reads, mut superseded) = (0, 0);
    let mut root = memory().await;
    for number in 0..plan.rounds {
        if number % 50 == 49 {
            root = memory().await;
        }
        let world = World {
            rows: [1, 1],
            floors: KEYS.iter().map(|(key, _)| (*key, [None, None])).collect(),
            random: Seeded::new(seed.wrapping_add(number)),
            reads: 0,
            superseded: 0,
        };
        let round = Round {
            store: root.namespace(format!("round{number}")).unwrap(),
            world: Arc::new(Mutex::new(world)),
            plan,
        };
        let mut tasks = JoinSet::new();
        for task in 0..3 + round.below(3) {
            let round = round.clone();
            tasks.spawn(async move {
                round.pause().await;
                if task == 0 || round.below(4) == 0 {
                    round.change().await;
                } else {
                    round.read().await;
                }
                // What has been acknowledged by now is so for all that is read from here on.
                round.read().await;
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                panic!("round {number} of seed {seed}: {error}");
            }
        }
        let world = round.world();
        (reads, superseded) = (reads + world.reads, superseded + world.superseded);
    }
    (reads, superseded)
}

#[tokio::test(start_paused = true)]
async fn after_an_acknowledged_change_nobody_reads_what_was_before() {
    let plan = Plan {
        rounds: 1_500,
        parts_expire: false,
        late_names: false,
    };
    let (reads, superseded) = run(plan, 1).await;
    assert!(
        reads > 3 * plan.rounds && superseded > plan.rounds / 20,
        "{reads} reads, {superseded} superseded"
    );
}

#[tokio::test(start_paused = true)]
async fn nor_when_what_it_was_made_from_expires() {
    let plan = Plan {
        rounds: 1_500,
        parts_expire: true,
        late_names: false,
    };
    let (reads, superseded) = run(plan, 2).await;
    assert!(
        reads > 3 * plan.rounds && superseded > plan.rounds / 20,
        "{reads} reads, {superseded} superseded"
    );
}

/// By names that appear in results alone.
#[tokio::test(start_paused = true)]
async fn nor_when_only_the_result_tells_what_it_depends_on() {
    for (parts_expire, seed) in [(false, 3), (true, 4)] {
        let plan = Plan {
            rounds: 1_500,
            parts_expire,
            late_names: true,
        };
        let (reads, superseded) = run(plan, seed).await;
        assert!(
            reads > 3 * plan.rounds && superseded > plan.rounds / 20,
            "{reads} reads, {superseded} superseded"
        );
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: tests/soak.sh"]
async fn soak_a_million_interleavings() {
    // `CACHESTORE_ROUNDS` makes it shorter or longer.
    let rounds = std::env::var("CACHESTORE_ROUNDS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let plans = [(false, false), (true, false), (false, true), (true, true)];
    for ((parts_expire, late_names), seed) in plans.into_iter().zip(1..) {
        let plan = Plan {
            rounds: rounds / 4,
            parts_expire,
            late_names,
        };
        let (reads, superseded) = run(plan, seed << 32).await;
        println!(
            "{} rounds, {reads} reads, {superseded} of them superseded",
            plan.rounds
        );
    }
}
