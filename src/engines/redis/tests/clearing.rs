//! What happens between the steps of a clearing.

use std::sync::Arc;

use super::loader::{LONG, Loader, RedisServer, kept, store};
use super::*;
use crate::engines::redis::walk::{Caller, Walk};
use crate::request;
use crate::request::Progress;
use crate::store::Store;

/// A clearing that goes on when it is told to.
struct Clearing<'l> {
    walk: Walk,
    layout: Layout,
    loader: &'l Loader,
    over: bool,
}

impl<'l> Clearing<'l> {
    fn new(loader: &'l Loader, prefix: &str, go: bool) -> Self {
        Self {
            walk: Walk::clearing_in_small_steps(vec![prefix.to_owned()]),
            layout: Layout::new(go),
            loader,
            over: false,
        }
    }

    /// Whether it has ended.
    async fn step(&mut self) -> bool {
        if self.over {
            return true;
        }
        let command = Box::new(self.walk.command(&self.layout, By::Source));
        let answer = self.loader.ask(request::Raw { command }).await.unwrap();
        self.over = self
            .walk
            .advance(crate::engines::redis::reply(answer).unwrap())
            .unwrap();
        self.over
    }

    async fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            assert!(!self.step().await);
        }
    }

    /// How many values it removed in all.
    async fn end(&mut self) -> u64 {
        while !self.step().await {}
        self.walk.removed
    }
}

/// What the server keeps beside values.
fn beside(server: &RedisServer) -> Vec<String> {
    server.keys("cachestore:*")
}

/// How many of the keys hold something.
async fn there(store: &Store, keys: &[&str]) -> u64 {
    let values = store.get_many(keys.iter().copied()).await.unwrap();
    values.iter().flatten().count() as u64
}

/// More than one step of a clearing looks at.
async fn fill(store: &Store) {
    let keys = |range: std::ops::Range<u32>| range.map(|number| (format!("k{number}"), "v"));
    let dependent = store.set_many(keys(0..300)).depends_on(["all"]);
    dependent.await.unwrap();
    store.set_many(keys(300..600)).await.unwrap();
}

/// A page in the root that is made from a part in a namespace, which is made from a row there.
async fn page(server: &RedisServer) -> (Loader, Store, Store) {
    let (loader, root) = (Loader::new(server, false), store(server, false).await);
    let store = root.namespace("t").unwrap();
    store.set("part", "v").depends_on(["row"]).await.unwrap();
    root.set("page", "v").depends_on(["t:part"]).await.unwrap();
    (loader, root, store)
}

/// Goes through a clearing, and lets something happen before a step, for each of its steps.
async fn at_each_step(go: bool, meanwhile: impl AsyncFn(&RedisServer, &Loader, &Store, &mut Clearing<'_>)) {
    let mut steps = 0;
    loop {
        let server = RedisServer::start().await;
        let loader = Loader::new(&server, go);
        let store = store(&server, go).await.namespace("t").unwrap();
        fill(&store).await;
        store.set("part", "old").depends_on(["row"]).await.unwrap();
        let mut clearing = Clearing::new(&loader, "t:", go);
        for _ in 0..steps {
            if clearing.step().await {
                assert!(steps >= 5, "{steps}");
                return;
            }
        }
        meanwhile(&server, &loader, &store, &mut clearing).await;
        steps += 1;
    }
}

#[tokio::test]
async fn nothing_is_stored_that_was_loaded_before_its_end() {
    for go in [false, true] {
        at_each_step(go, async |server, loader, store, clearing| {
            let soon = loader.take("t:soon", &["t:part"], LONG).await;
            let late = loader.take("t:late", &["t:part"], LONG).await;
            let given = loader.take("t:given", &["t:part"], LONG).await;
            let from_given = loader.take("elsewhere", &["t:given"], LONG).await;
            let beside_it = loader.take("u:k", &["u:part"], LONG).await;
            let begun = clearing.walk.begun;
            assert_eq!(loader.fulfil(&soon).await, !begun);
            loader.give(&given).await;
            clearing.end().await;
            assert!(!loader.fulfil(&late).await);
            assert!(!loader.fulfil(&from_given).await);
            assert_eq!(store.get("soon").await.unwrap(), None);
            assert!(loader.fulfil(&beside_it).await, "not in the namespace");
            let after = loader.take("t:soon", &["t:part"], LONG).await;
            assert!(loader.fulfil(&after).await, "all is over");
            assert_eq!(kept(server), [""; 0]);
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_written_meanwhile_is_found_by_what_it_depends_on() {
    for go in [false, true] {
        at_each_step(go, async |_, _, store, clearing| {
            store.set("page", "v").depends_on(["part"]).await.unwrap();
            store.set("part", "new").depends_on(["row"]).await.unwrap();
            clearing.end().await;
            let held = there(store, &["page", "part"]).await;
            assert_eq!(store.invalidate(["row"]).await.unwrap(), held);
            assert_eq!(there(store, &["page", "part"]).await, 0);
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_still_there_is_found_by_what_it_depends_on() {
    at_each_step(false, async |_, _, store, clearing| {
        let held = there(store, &["part"]).await;
        assert_eq!(store.invalidate(["row"]).await.unwrap(), held);
        let end = clearing.end().await;
        assert_eq!(end, 601 - held);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (loader, root) = (Loader::new(&server, go), store(&server, go).await);
        for prefix in ["", "t:"] {
            let store = root.namespace("t").unwrap();
            fill(&store).await;
            store.set("part", "v").depends_on(["row"]).await.unwrap();
            store.set("row", "v").depends_on(["part"]).await.unwrap();
            store.delete("k7").await.unwrap();
            let mut clearing = Clearing::new(&loader, prefix, go);
            assert_eq!(clearing.end().await, 601);
            assert_eq!(server.size(), 0, "{:?}", beside(&server));
        }
    }
}

#[tokio::test]
async fn all_namespaces_inside_one_are_cleared_by_its_slash() {
    let server = RedisServer::start().await;
    let (loader, root) = (Loader::new(&server, false), store(&server, false).await);
    let inside = ["t/a:k", "t/a/b:k"];
    let outside = ["t:k", "ta:k", "t/a", "k"];
    for key in inside.into_iter().chain(outside) {
        root.set(key, "v").await.unwrap();
    }
    assert_eq!(Clearing::new(&loader, "t/", false).end().await, 2);
    assert_eq!(there(&root, &inside).await, 0);
    assert_eq!(there(&root, &outside).await, 4);
}

#[tokio::test]
async fn what_leads_out_of_the_namespace_stays() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (loader, root) = (Loader::new(&server, go), store(&server, go).await);
        let tenant = root.namespace("t").unwrap();
        fill(&tenant).await;
        tenant.set("row", "v").depends_on(["table"]).await.unwrap();
        tenant.set("part", "v").depends_on(["row"]).await.unwrap();
        tenant.set("beside", "v").depends_on(["part"]).await.unwrap();
        root.set("page", "v").depends_on(["t:part"]).await.unwrap();
        let mut clearing = Clearing::new(&loader, "t:", go);
        assert_eq!(clearing.end().await, 603);
        let depend = if go { "depend:t:" } else { "cachestore:depend:{t:" };
        let sets = server.keys(&format!("{depend}*"));
        assert_eq!(sets.len(), 3, "of table, row and part: {sets:?}");
        assert_eq!(root.invalidate(["t:table"]).await.unwrap(), 1);
        assert_eq!(server.size(), 0);
    }
}

#[tokio::test]
async fn one_that_never_ends_is_over_in_time() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    fill(&store).await;
    Clearing::new(&loader, "", false).steps(3).await;
    let marks = "cachestore:clearing";
    let left = server.command(&["PTTL", marks]).int();
    assert!(left > 0 && left <= 60_000, "{left}");
    // Another goes on beside it, so that what they have in common does not expire.
    let taken = loader.take("k", &[], LONG).await;
    let id = &server.command(&["HKEYS", marks]).sorted()[0];
    server.command(&["HSET", marks, id, "1 "]);
    assert!(loader.fulfil(&taken).await, "the mark has ended");
    let mut other = Clearing::new(&loader, "", false);
    other.steps(1).await;
    assert_eq!(server.command(&["HLEN", marks]).int(), 1, "and is forgotten");
    other.end().await;
    assert_eq!(server.size(), 0, "{:?}", beside(&server));
}

#[tokio::test]
async fn one_that_is_held_up_until_its_mark_has_gone_begins_anew() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    fill(&store).await;
    let mut clearing = Clearing::new(&loader, "", false);
    while server.size() > 400 {
        clearing.steps(1).await;
    }
    server.command(&["DEL", "cachestore:clearing"]);
    let behind_its_back = (0..100).map(|number| (format!("more{number}"), "v"));
    store.set_many(behind_its_back).depends_on(["all"]).await.unwrap();
    assert_eq!(clearing.end().await, 700);
    assert_eq!(server.size(), 0);
}

#[tokio::test]
async fn one_ends_and_another_goes_on() {
    let server = RedisServer::start().await;
    let (loader, root) = (Loader::new(&server, false), store(&server, false).await);
    let mut all = Clearing::new(&loader, "", false);
    let mut some = Clearing::new(&loader, "t:", false);
    all.steps(1).await;
    some.steps(1).await;
    some.end().await;
    let taken = loader.take("t:k", &[], LONG).await;
    assert!(!loader.fulfil(&taken).await);
    root.set("page", "v").depends_on(["part"]).await.unwrap();
    all.end().await;
    assert_eq!(
        there(&root, &["page"]).await,
        root.invalidate(["part"]).await.unwrap()
    );
    assert_eq!(beside(&server), ["cachestore:given"], "what was loaded in vain");
}

#[tokio::test]
async fn what_leads_out_stays_wherever_the_mark_is_lost() {
    for steps in 0.. {
        let server = RedisServer::start().await;
        let (loader, root, store) = page(&server).await;
        fill(&store).await;
        let mut clearing = Clearing::new(&loader, "t:", false);
        for _ in 0..steps {
            clearing.step().await;
        }
        if clearing.over {
            assert!(steps >= 5, "{steps}");
            return;
        }
        server.command(&["DEL", "cachestore:clearing"]);
        store.set("late", "v").depends_on(["soon"]).await.unwrap();
        clearing.step().await;
        let late = there(&store, &["late"]).await;
        assert_eq!(store.invalidate(["soon"]).await.unwrap(), late, "{steps}");
        clearing.end().await;
        assert_eq!(root.invalidate(["t:row"]).await.unwrap(), 1, "{steps}: the page");
    }
}

#[tokio::test]
async fn a_server_that_is_full_is_cleared() {
    for prefix in ["", "t:"] {
        let server = RedisServer::start().await;
        let (loader, root, store) = page(&server).await;
        fill(&store).await;
        let lost = loader.take("t:k", &["t:part"], LONG).await;
        server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
        assert!(store.set("k", "v").await.is_err(), "it is full");
        let mut clearing = Clearing::new(&loader, prefix, false);
        let marks = "cachestore:clearing";
        clearing.steps(1).await;
        while !clearing.step().await {
            server.command(&["PEXPIRE", marks, "10000"]);
            clearing.step().await;
            let left = server.command(&["PTTL", marks]).int();
            assert!(left > 50_000 || left == -2, "it is renewed: {left}");
        }
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert!(!loader.fulfil(&lost).await);
        if prefix.is_empty() {
            assert_eq!(clearing.walk.removed, 602);
            root.invalidate(["t:part"]).await.unwrap();
            assert_eq!(beside(&server), ["cachestore:given"], "what was loaded in vain");
        } else {
            assert_eq!(clearing.walk.removed, 601);
            assert_eq!(root.invalidate(["t:row"]).await.unwrap(), 1, "the page");
        }
    }
}

#[tokio::test]
async fn large_sets_go_too() {
    let server = RedisServer::start().await;
    let (loader, root) = (Loader::new(&server, false), store(&server, false).await);
    let store = root.namespace("t").unwrap();
    for leads_out in [false, true] {
        for name in ["one", "two"] {
            let pairs = (0..1500).map(|number| (format!("{name}{number}"), "v"));
            store.set_many(pairs).depends_on([name, "all"]).await.unwrap();
        }
        store.set("one", "v").depends_on(["row"]).await.unwrap();
        if leads_out {
            root.set("page", "v").depends_on(["t:one"]).await.unwrap();
        }
        let mut clearing = Clearing::new(&loader, "t:", false);
        assert_eq!(clearing.end().await, 3001);
        if leads_out {
            let members = |set: &str| server.command(&["SMEMBERS", set]).sorted();
            assert_eq!(members("cachestore:depend:{t:one}"), ["page"]);
            assert_eq!(members("cachestore:depend:{t:row}"), ["t:one"]);
            assert_eq!(server.size(), 4, "{:?}", beside(&server));
        } else {
            assert_eq!(server.size(), 0, "{:?}", beside(&server));
        }
    }
}

#[tokio::test]
async fn what_a_crash_left_of_an_invalidation_still_leads_out() {
    let server = RedisServer::start().await;
    let (loader, root, _) = page(&server).await;
    let caller = Caller::new(Reply::new().0, Progress::default(), Instant::now() + LONG);
    let mut crashed = Walk::invalidation(&[key("t:row")], caller, false);
    for _ in 0..2 {
        let command = Box::new(crashed.command(&Layout::new(false), By::Source));
        let answer = loader.ask(request::Raw { command }).await;
        let reply = crate::engines::redis::reply(answer.unwrap()).unwrap();
        assert!(!crashed.advance(reply).unwrap());
    }
    assert_eq!(
        there(&root, &["page", "t:part"]).await,
        1,
        "it has come to the part"
    );
    assert_eq!(Clearing::new(&loader, "t:", false).end().await, 0);
    assert_eq!(root.invalidate(["t:row"]).await.unwrap(), 1, "the page");
    assert_eq!(server.size(), 0, "{:?}", beside(&server));
}

#[tokio::test]
async fn a_set_too_large_for_a_step_leaves_its_room_to_small_ones() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let add = |name: &str, members: u32| {
        let members: Vec<String> = (0..members).map(|number| format!("t:{number}")).collect();
        let set = format!("cachestore:depend:{{t:{name}}}");
        let command = ["SADD", &set].into_iter();
        let command: Vec<&str> = command.chain(members.iter().map(String::as_str)).collect();
        server.command(&command);
    };
    (0..200).for_each(|number| add(&format!("small{number}"), 1));
    (0..3).for_each(|number| add(&format!("large{number}"), 1100));
    let mut clearing = Clearing {
        walk: Walk::clearing(vec!["t:".to_owned()], Vec::new(), Arc::default()),
        ..Clearing::new(&loader, "t:", false)
    };
    let mut steps = 1;
    while !clearing.step().await {
        steps += 1;
    }
    assert!(steps < 30, "{steps} steps");
    assert_eq!(server.size(), 0, "{:?}", beside(&server));
}
