//! What is loaded is in the dependency sets of its names, as an entry is.

use super::loader::{LONG, Loader, RedisServer, kept, names, store};
use super::*;

/// The sets of a server, each with its members, and from which keys there is a way back.
fn sets(server: &RedisServer) -> Vec<String> {
    let sets = ["*depend:*", "cachestore:tombstones:*"];
    let names = sets.iter().flat_map(|names| server.keys(names));
    let with_members = |name: String| {
        let members = server.command(&["SMEMBERS", &name]).sorted().join(" ");
        format!("{name} {members}")
    };
    let mut sets: Vec<_> = names.map(with_members).collect();
    let parents = server.keys("cachestore:parents:*");
    let keys = parents
        .iter()
        .map(|parents| server.command(&["HKEYS", parents]).sorted());
    sets.extend(keys.map(|keys| format!("from {}", keys.join(" "))));
    sets
}

fn left(server: &RedisServer, set: &str) -> Duration {
    match server.command(&["PTTL", set]).int() {
        -1 => Duration::MAX,
        left => Duration::from_millis(u64::try_from(left).unwrap()),
    }
}

#[tokio::test]
async fn what_is_loaded_is_a_dependent_of_its_names() {
    for (go, x) in [(false, "cachestore:depend:{x}"), (true, "depend:x")] {
        let server = RedisServer::start().await;
        let loader = Loader::new(&server, go);
        let taken = loader.take("k", &["x", "k", "x"], LONG).await;
        let dependent = [format!("{x} k"), "from k".to_owned()];
        assert_eq!(sets(&server), dependent);
        // What is extended gets a hundredth more.
        assert!(left(&server, x) <= LONG + LONG / 100 && left(&server, x) > LONG / 2);
        loader.end(&taken).await;
        assert_eq!(sets(&server), [""; 0]);
        let taken = loader.take("k", &["x"], LONG).await;
        loader.give(&taken).await;
        assert_eq!(sets(&server), dependent);
        assert_eq!(kept(&server), [""; 0]);
    }
}

#[tokio::test]
async fn a_dependency_set_that_is_none_refuses_a_lease_and_nothing_is_changed() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let invalidated = loader.take("k", &["z"], LONG).await;
    let outer = loader.take("outer", &["k"], LONG).await;
    store.delete("z").await.unwrap();
    server.command(&["SET", "cachestore:depend:{y}", "v"]);
    let before = (kept(&server), names(&server));
    let (_, refused) = loader.try_take("k", &["x", "y"], LONG).await;
    assert!(matches!(refused, Err(Error::WrongType)), "{refused:?}");
    assert_eq!((kept(&server), names(&server)), before);
    assert_eq!(server.command(&["EXISTS", "cachestore:depend:{x}"]).int(), 0);
    assert!(loader.fulfil(&outer).await, "nothing was invalidated");
    assert!(!loader.fulfil(&invalidated).await);
}

/// From what depends on it down to what is loaded from that: each with the time of the longest.
#[tokio::test]
async fn what_leads_to_a_lease_lives_as_long() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let short = Duration::from_millis(500);
    loader.take("part", &["row"], short).await;
    let page = loader.take("page", &["part"], LONG).await;
    let sets = ["depend:{row}", "depend:{part}"];
    let all_live = |at_least: Duration| {
        for set in sets {
            let left = left(&server, &format!("cachestore:{set}"));
            assert!(left > at_least, "{set}: {left:?}");
        }
    };
    all_live(LONG / 2);
    // One that begins when something depends on it already lives as long, and a shorter one shortens nothing.
    server.flush();
    loader.take("page", &["part"], LONG).await;
    loader.take("part", &["row"], short).await;
    all_live(LONG / 2);
    loader.end(&page).await;
    assert!(left(&server, "cachestore:depend:{row}") > LONG / 2);
}

#[tokio::test]
async fn an_invalidation_reaches_what_is_loaded_through_what_is_not_there() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (loader, store) = (Loader::new(&server, go), store(&server, go).await);
        let part = loader.take("part", &["row"], LONG).await;
        let middle = loader.take("middle", &["part"], LONG).await;
        let page = loader.take("page", &["middle"], LONG).await;
        loader.give(&part).await;
        loader.give(&middle).await;
        assert_eq!(store.invalidate(["row"]).await.unwrap(), 0);
        assert!(!loader.fulfil(&page).await);
        assert_eq!(kept(&server), [""; 0]);
        // And what was stored.
        let part = loader.take("part", &["row"], LONG).await;
        let page = loader.take("page", &["part"], LONG).await;
        loader.give(&part).await;
        assert!(loader.fulfil(&page).await);
        assert_eq!(store.invalidate(["row"]).await.unwrap(), 1);
        // The first page was given out too.
        assert_eq!(store.invalidate(["middle"]).await.unwrap(), 0);
        assert_eq!(sets(&server), [""; 0]);
    }
}

#[tokio::test]
async fn whoever_ends_without_a_value_takes_nothing_from_others() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let x = || server.command(&["SMEMBERS", "cachestore:depend:{x}"]).sorted();
    // Others in the set.
    let beside = loader.take("beside", &["x"], LONG).await;
    let taken = loader.take("k", &["x"], LONG).await;
    loader.end(&taken).await;
    assert_eq!(x(), ["beside"]);
    loader.end(&beside).await;
    assert_eq!(x(), [""; 0]);
    // Who was told something before.
    let told = loader.take("k", &["x"], LONG).await;
    loader.give(&told).await;
    let taken = loader.take("k", &["x", "y"], LONG).await;
    loader.end(&taken).await;
    assert_eq!(x(), ["k"]);
    let y = server.command(&["EXISTS", "cachestore:depend:{y}"]);
    assert_eq!(y.int(), 0);
    // A value that was there, or came, with its dependency.
    for first in [true, false] {
        server.flush();
        let set = async || store.set("k", "v").depends_on(["x"]).await.unwrap();
        if first {
            set().await;
        }
        let taken = loader.take("k", &["x"], LONG).await;
        if !first {
            set().await;
        }
        loader.end(&taken).await;
        assert_eq!(x(), ["k"]);
    }
    // The same, and it has gone: what was made from it may be anywhere.
    server.flush();
    let taken = loader.take("k", &["x"], LONG).await;
    store.set("k", "v").depends_on(["x"]).await.unwrap();
    store.delete("k").await.unwrap();
    loader.end(&taken).await;
    assert_eq!(x(), ["k"]);
    // Something below.
    server.flush();
    let taken = loader.take("k", &["x"], LONG).await;
    store.set("below", "v").depends_on(["k"]).await.unwrap();
    loader.end(&taken).await;
    assert_eq!(x(), ["k"]);
}

/// Whoever comes too late has told somebody all the same.
#[tokio::test]
async fn whoever_ends_takes_nothing_from_who_was_refused() {
    for stored in [true, false] {
        let server = RedisServer::start().await;
        let loader = Loader::new(&server, false);
        let late = loader.take("k", &["x"], Duration::from_millis(20)).await;
        let next = loader.take_later("k", &["x"], LONG).await;
        if stored {
            assert!(!loader.fulfil(&late).await);
        } else {
            loader.give(&late).await;
        }
        loader.end(&next).await;
        assert_eq!(sets(&server)[0], "cachestore:depend:{x} k");
    }
}

#[tokio::test]
async fn what_is_given_too_late_invalidates_who_loads_from_it() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    // Invalidated.
    let inner = loader.take("k", &["x"], LONG).await;
    let outer = loader.take("other", &["k"], LONG).await;
    store.delete("x").await.unwrap();
    loader.give(&inner).await;
    assert!(!loader.fulfil(&outer).await);
    assert_eq!(kept(&server), [""; 0]);
    // Another's by now, which lives on.
    let inner = loader.take("k", &["x"], LONG).await;
    store.delete("x").await.unwrap();
    let next = loader.take("k", &["x"], LONG).await;
    let outer = loader.take("other", &["k"], LONG).await;
    loader.give(&inner).await;
    assert!(!loader.fulfil(&outer).await);
    assert!(loader.fulfil(&next).await);
    assert_eq!(kept(&server), [""; 0]);
    // In time it invalidates nothing, nor does one that gave nothing.
    let inner = loader.take("k", &["x"], LONG).await;
    let outer = loader.take("other", &["k"], LONG).await;
    loader.give(&inner).await;
    loader.end(&inner).await;
    assert!(loader.fulfil(&outer).await);
}

/// A change invalidates the lease, and for a while nothing tells of its key. But its caller is given the value in the end, and
/// may make something from it.
#[tokio::test]
async fn what_is_loaded_under_an_invalidated_lease_is_a_dependent_once_it_is_given_out() {
    for by_invalidation in [false, true] {
        let server = RedisServer::start().await;
        let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
        let invalidated = loader.take("part", &["row", "column"], LONG).await;
        if by_invalidation {
            store.invalidate(["row"]).await.unwrap();
        } else {
            store.delete("part").await.unwrap();
            // Those who write look around, and find it dead.
            for n in 0..200 {
                let other = format!("other{n}");
                store.set(&other, "v").depends_on(["row"]).await.unwrap();
            }
        }
        assert!(!loader.fulfil(&invalidated).await);
        store.set("page", "v").depends_on(["part"]).await.unwrap();
        for name in ["row", "column"] {
            let set = format!("cachestore:depend:{{{name}}}");
            assert_eq!(server.command(&["SISMEMBER", &set, "part"]).int(), 1, "{name}");
            assert_eq!(left(&server, &set), Duration::MAX, "{name}");
        }
        store.invalidate(["row"]).await.unwrap();
        assert!(!store.exists("page").await.unwrap());
    }
}
