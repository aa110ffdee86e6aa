//! What happens between the steps of an invalidation.

use super::loader::{Loader, RedisServer, store};
use super::*;
use crate::engines::redis::walk::{Caller, Walk};
use crate::request;
use crate::request::Progress;

/// An invalidation that goes on when it is told to.
struct Invalidation<'l> {
    walk: Walk,
    loader: &'l Loader,
}

impl<'l> Invalidation<'l> {
    fn new(loader: &'l Loader, name: &str) -> Self {
        let caller = Caller::new(Reply::new().0, Progress::default(), Instant::now());
        let walk = Walk::invalidation(&[key(name)], caller, false);
        Self { walk, loader }
    }

    /// Whether it has ended.
    async fn step(&mut self) -> bool {
        let command = Box::new(self.walk.command(&Layout::new(false), By::Source));
        let answer = self.loader.ask(request::Raw { command }).await.unwrap();
        self.walk
            .advance(crate::engines::redis::reply(answer).unwrap())
            .unwrap()
    }

    async fn end(&mut self) {
        while !self.step().await {}
    }
}

/// More dependents than one step removes, each with one dependent of its own.
async fn two_levels(store: &crate::store::Store) -> Vec<String> {
    let middle: Vec<String> = (0..400).map(|n| format!("middle{n}")).collect();
    let entries = middle.iter().map(|key| (key.as_str(), "v"));
    store.set_many(entries).depends_on(["all"]).await.unwrap();
    let mut leaves = Vec::new();
    for name in middle {
        let leaf = format!("leaf of {name}");
        store.set(&leaf, "v").depends_on([name.as_str()]).await.unwrap();
        leaves.push(leaf);
    }
    leaves
}

#[tokio::test]
async fn an_invalidation_waits_for_what_another_has_begun_to_remove() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    let leaves = two_levels(&store).await;
    let mut one = Invalidation::new(&loader, "all");
    let mut other = Invalidation::new(&loader, "all");
    // The name itself, and the first chunk of its dependents.
    assert!(!one.step().await && !one.step().await);
    // The rest of them goes with the other invalidation, which then pauses.
    while server.command(&["EXISTS", "cachestore:depend:{all}"]).int() == 1 {
        assert!(!other.step().await);
    }
    one.end().await;
    let left = store.get_many(leaves.iter().map(String::as_str)).await.unwrap();
    assert_eq!(left.iter().flatten().count(), 0, "dependents are left");
    other.end().await;
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
}

#[tokio::test]
async fn what_a_crash_left_is_found_however_long_it_lives() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    let short = Duration::from_millis(400);
    store.set("middle", "v").depends_on(["name"]).await.unwrap();
    store
        .set("leaf", "v")
        .ttl(short)
        .depends_on(["middle"])
        .await
        .unwrap();
    let mut crashed = Invalidation::new(&loader, "name");
    assert!(!crashed.step().await && !crashed.step().await);
    assert!(!store.exists("middle").await.unwrap());
    assert!(store.expire("leaf", Duration::from_secs(60)).await.unwrap());
    let tombstones = "cachestore:tombstones:{name}";
    assert_eq!(
        server.command(&["PTTL", tombstones]).int(),
        -1,
        "it ends before the leaf"
    );
    store.invalidate(["name"]).await.unwrap();
    assert!(!store.exists("leaf").await.unwrap());
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
}

/// An invalidation that ends must leave what others have yet to remove.
#[tokio::test]
async fn an_invalidation_leaves_the_tombstones_of_one_that_crashed_beside_it() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    let chain = async |middle: &str, leaf: &str| {
        store.set(middle, "v").depends_on(["name"]).await.unwrap();
        store.set(leaf, "v").depends_on([middle]).await.unwrap();
    };
    chain("middle1", "leaf1").await;
    let mut paused = Invalidation::new(&loader, "name");
    assert!(!paused.step().await && !paused.step().await);
    chain("middle2", "leaf2").await;
    let mut crashed = Invalidation::new(&loader, "name");
    assert!(!crashed.step().await && !crashed.step().await);
    paused.end().await;
    assert!(!store.exists("leaf1").await.unwrap());
    assert!(store.exists("leaf2").await.unwrap(), "it has come later");
    store.invalidate(["name"]).await.unwrap();
    assert!(!store.exists("leaf2").await.unwrap());
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
}

/// Each of the two has the other as a tombstone.
#[tokio::test]
async fn the_tombstones_of_a_cycle_stay_while_it_leads_to_something() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    store.set("a", "v").depends_on(["b"]).await.unwrap();
    store.set("b", "v").depends_on(["a"]).await.unwrap();
    let mut paused = Invalidation::new(&loader, "a");
    for _ in 0..3 {
        assert!(!paused.step().await);
    }
    store.set("middle", "v").depends_on(["b"]).await.unwrap();
    store.set("leaf", "v").depends_on(["middle"]).await.unwrap();
    let mut crashed = Invalidation::new(&loader, "b");
    assert!(!crashed.step().await && !crashed.step().await);
    paused.end().await;
    store.invalidate(["a"]).await.unwrap();
    assert!(!store.exists("leaf").await.unwrap());
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
}

/// More tombstones than one step at the end looks at. A crash left them, so that the name is told once to have tombstones.
#[tokio::test]
async fn many_tombstones_go_step_by_step() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    let names: Vec<String> = (0..3000).map(|n| format!("middle{n}")).collect();
    let entries = names.iter().map(|key| (key.as_str(), "v"));
    store.set_many(entries).depends_on(["all"]).await.unwrap();
    for name in &names {
        let leaf = format!("leaf of {name}");
        store.set(&leaf, "v").depends_on([name.as_str()]).await.unwrap();
    }
    let mut crashed = Invalidation::new(&loader, "all");
    while server.command(&["EXISTS", "cachestore:depend:{all}"]).int() == 1 {
        assert!(!crashed.step().await);
    }
    let tombstones = server.command(&["SCARD", "cachestore:tombstones:{all}"]);
    assert_eq!(tombstones.int(), 3000);
    store.invalidate(["all"]).await.unwrap();
    assert_eq!(server.keys("*"), [""; 0]);
}

/// Leaves the tombstones of an invalidation that crashed half way, with nothing below them any more.
async fn crash_above_nothing(server: &RedisServer, loader: &Loader, store: &crate::store::Store) {
    let leaves = two_levels(store).await;
    let mut crashed = Invalidation::new(loader, "all");
    while server.command(&["EXISTS", "cachestore:depend:{all}"]).int() == 1 {
        assert!(!crashed.step().await);
    }
    let keys = leaves.iter().map(String::as_str);
    store.delete_many(keys).await.unwrap();
}

/// Also where there are more than one look takes.
#[tokio::test]
async fn what_a_crash_left_goes_once_nothing_is_below_it() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    crash_above_nothing(&server, &loader, &store).await;
    // What marks the one that crashed ends by itself.
    let left = || {
        let mut keys = server.keys("cachestore:*");
        keys.retain(|key| key != "cachestore:draining");
        keys
    };
    assert!(left().len() > 400);
    for round in 0.. {
        // Those who write look around.
        store.set("k", "v").depends_on(["name"]).await.unwrap();
        store.invalidate(["name"]).await.unwrap();
        if round % 100 == 0 && left().is_empty() {
            break;
        }
        assert!(round < 10_000, "{:?}", left());
    }
}

/// The place where a look at a name's tombstones begins must not follow from the place where the name was found.
#[tokio::test]
async fn what_a_crash_left_goes_among_names_that_live() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    for n in 0..60 {
        let name = format!("living{n}");
        store
            .set(format!("of {name}"), "v")
            .depends_on([name])
            .await
            .unwrap();
    }
    crash_above_nothing(&server, &loader, &store).await;
    let tombstones = || server.command(&["SCARD", "cachestore:tombstones:{all}"]).int();
    assert!(tombstones() > 300);
    for round in 0.. {
        store.set("k", "v").depends_on(["name"]).await.unwrap();
        store.invalidate(["name"]).await.unwrap();
        if round % 100 == 0 && tombstones() == 0 {
            break;
        }
        assert!(round < 20_000, "{} tombstones are left", tombstones());
    }
}

/// One more tombstone than one step at the end looks at, and the first of them leads to what another invalidation that
/// crashed has not removed.
#[tokio::test]
async fn an_end_in_several_steps_leaves_the_tombstones_of_one_that_crashed_beside_it() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let store = store(&server, false).await;
    let middle = |n: usize| format!("middle{n}");
    let entries = (0..1001).map(|n| (middle(n), "v"));
    store.set_many(entries).depends_on(["all"]).await.unwrap();
    for n in 0..1001 {
        let leaf = store.set(format!("leaf{n}"), "v");
        leaf.depends_on([middle(n)]).await.unwrap();
    }
    let mut paused = Invalidation::new(&loader, "all");
    while !server.keys("cachestore:depend:*").is_empty() {
        assert!(!paused.step().await);
    }
    // Made anew, and again from it.
    for (key, name) in [("middle0", "all"), ("part", "middle0"), ("page", "part")] {
        store.set(key, "v").depends_on([name]).await.unwrap();
    }
    let mut crashed = Invalidation::new(&loader, "all");
    while store.exists("part").await.unwrap() {
        assert!(!crashed.step().await);
    }
    assert!(store.exists("page").await.unwrap(), "it has yet to be removed");
    paused.end().await;
    store.invalidate(["all"]).await.unwrap();
    assert!(
        !store.exists("page").await.unwrap(),
        "nothing leads to it any more"
    );
    assert_eq!(server.keys("cachestore:*"), [""; 0]);
}

/// A server may tell of new names for ever, and nobody may wait for the invalidation any more.
#[test]
fn an_invalidation_holds_no_more_names_than_it_may() {
    let (reply, mut answer) = Reply::new();
    let caller = Caller::new(reply, Progress::default(), Instant::now());
    let walk = Walk::invalidation(&[key("all")], caller, false).holding(100_000);
    let mut job = Some(Job::new(Task::Walk(walk), Instant::now()));
    let mut steps = 0;
    while let Some(walk) = job.take() {
        let none = || Wire::Array(Vec::new());
        let below = (0..20).map(|n| bulk(&format!("name:{steps}:{n}"))).collect();
        let told = if steps == 0 {
            vec![Wire::Int(0), none()]
        } else {
            let counts = [0, 1, 0].map(Wire::Int).to_vec();
            let names = vec![none(), none(), Wire::Array(below), none(), Wire::Int(2)];
            [counts, names].concat()
        };
        steps += 1;
        assert!(steps < 200, "it holds all that it is told of");
        let (_, mut outcome) = settle(batch(vec![walk]).parts, vec![Wire::Array(told)]);
        job = outcome.later.pop();
    }
    // Each name is held twice, and costs more than its bytes.
    assert!(steps > 40, "{steps}");
    let error = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error:?}");
    assert!(format!("{error:#}").contains("1 GiB"), "{error:#}");
}
