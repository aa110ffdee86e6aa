//! Leases over a server.

use super::loader::{self, LONG, Loader, RedisServer, kept, store};
use super::*;
use crate::request::{Aged, GetAged, GetManyAged, LeaseAction, LeaseAnswer, LeaseTerms, Names};

#[tokio::test]
async fn the_lease_of_a_key_is_given_to_one_at_a_time() {
    let server = RedisServer::start().await;
    let (one, two) = (Loader::new(&server, false), Loader::new(&server, false));
    let first = one.take("k", &["x"], LONG).await;
    let (second, held) = two.try_take("k", &[], LONG).await;
    match held.unwrap() {
        LeaseAnswer::Held { token, remaining } => {
            assert_eq!(token, first.token);
            assert!(remaining <= LONG && remaining > LONG / 2, "{remaining:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!two.fulfil(&second).await, "it was not taken");
    two.end(&second).await;
    one.take("another", &["x", "k"], LONG).await;
    assert!(one.fulfil(&first).await);
    let third = two.take("k", &["x"], LONG).await;
    two.end(&third).await;
    assert!(!two.fulfil(&third).await, "it has ended");
    two.take("k", &[], LONG).await;
}

#[tokio::test]
async fn what_is_stored_is_a_value_with_its_time_and_dependencies_and_no_lease_is_left() {
    for go in [false, true] {
        let server = RedisServer::start().await;
        let (loader, store) = (Loader::new(&server, go), store(&server, go).await);
        let taken = loader.take("k", &["x", "y", "k"], LONG).await;
        assert_eq!(loader::names(&server), ["k", "x", "y"]);
        assert!(loader.fulfil(&taken).await);
        assert_eq!(kept(&server), [""; 0]);
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("loaded"));
        let left = store.ttl("k").await.unwrap().unwrap().remaining().unwrap();
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
        assert_eq!(store.invalidate(["y"]).await.unwrap(), 1);
        assert_eq!(store.get("k").await.unwrap(), None);
        let taken = loader.take("k", &["x"], LONG).await;
        loader.end(&taken).await;
        assert_eq!(kept(&server), [""; 0]);
        let taken = loader.take("k", &[], LONG).await;
        assert!(loader.fulfil(&taken).await);
        assert_eq!(kept(&server), [""; 0]);
    }
}

#[tokio::test]
async fn a_taker_is_shown_what_there_is() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let present = async |name| match loader.try_take(name, &[], LONG).await.1.unwrap() {
        LeaseAnswer::Taken { present } => present,
        other => panic!("{other:?}"),
    };
    assert_eq!(present("absent").await, None);
    store.set("ever", "").await.unwrap();
    let found = present("ever").await.unwrap();
    assert_eq!((found.value, found.remaining), (Value::from(""), None));
    store
        .set("long", "0123456789".repeat(10))
        .ttl(LONG)
        .await
        .unwrap();
    let found = present("long").await.unwrap();
    assert_eq!(found.value, Value::from("0123456789012345678901234567890123"));
    let left = found.remaining.unwrap();
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
}

#[tokio::test]
async fn what_is_no_value_has_no_lease() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    server.command(&["LPUSH", "k", "v"]);
    let (_, refused) = loader.try_take("k", &["x"], LONG).await;
    assert!(matches!(refused, Err(Error::WrongType)), "{refused:?}");
    assert_eq!(kept(&server), [""; 0]);
    let aged = loader.ask(GetAged { key: key("k") });
    assert!(matches!(aged.await, Err(Error::WrongType)));
    let keys = vec![key("absent"), key("k")];
    let aged = loader.ask(GetManyAged { keys });
    assert!(matches!(aged.await, Err(Error::WrongType)));
}

#[tokio::test]
async fn values_come_with_the_time_that_is_left() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    store.set("ever", "1").await.unwrap();
    store.set("long", "2").ttl(LONG).await.unwrap();
    let keys = ["ever", "absent", "long"].map(key).to_vec();
    let many = loader.ask(GetManyAged { keys });
    let many = many.await.unwrap();
    let ever = Aged {
        value: Value::from("1"),
        remaining: None,
    };
    assert_eq!(many[..2], [Some(ever), None]);
    let long = loader.ask(GetAged { key: key("long") });
    for long in [&many[2], &long.await.unwrap()] {
        let long = long.as_ref().unwrap();
        assert_eq!(long.value, Value::from("2"));
        let left = long.remaining.unwrap();
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
    }
}

#[tokio::test]
async fn a_lease_ends_with_its_time() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let short = Duration::from_millis(30);
    let late = loader.take("k", &["x"], short).await;
    let derived = loader.take("other", &["k"], LONG).await;
    let next = loader.take_later("k", &[], LONG).await;
    assert!(!loader.fulfil(&late).await);
    assert!(
        !loader.fulfil(&derived).await,
        "it may have seen what came too late"
    );
    assert!(loader.fulfil(&next).await, "whoever came after it lives");
}

#[tokio::test]
async fn what_is_kept_goes_with_the_longest_lease() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    loader.take("a", &["x"], LONG).await;
    loader.take("b", &["x"], Duration::from_millis(20)).await;
    while kept(&server).len() > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kept(&server), ["cachestore:lease:{a}", "cachestore:leases"]);
    for name in kept(&server) {
        let left = server.command(&["PTTL", &name]).int();
        assert!(left > 30_000 && left <= 60_000, "{name}: {left}");
    }
}

#[tokio::test]
async fn what_crashes_left_goes_when_others_come() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let mut client = server.client();
    let field = ["HSET", "cachestore:leases", "x", "1 7 token"];
    client.try_command(&field).unwrap();
    for number in 0..100 {
        let name = format!("crashed{number}");
        let field = ["HSET", "cachestore:leases", &name, "1 1 token"];
        client.try_command(&field).unwrap();
    }
    for _ in 0..500 {
        let taken = loader.take("k", &["x"], LONG).await;
        loader.end(&taken).await;
    }
    assert_eq!(kept(&server), [""; 0]);
}

#[tokio::test]
async fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let forget = || assert_eq!(server.command(&["SCRIPT", "FLUSH"]).text(), "OK");
    forget();
    let taken = loader.take("k", &["x"], LONG).await;
    forget();
    assert!(loader.fulfil(&taken).await);
    forget();
    loader.end(&loader.take("k", &["x"], LONG).await).await;
    let taken = loader.take("k", &["x"], LONG).await;
    forget();
    store.set("x", "v").depends_on(["y"]).await.unwrap();
    forget();
    assert!(!loader.fulfil(&taken).await, "invalidated by a script sent again");
    // Behind a step that is sent again, nothing for its key overtakes it.
    let taken = loader.take("k", &[], LONG).await;
    forget();
    let read = loader.ask(Get { key: key("k") });
    let (stored, read) = tokio::join!(biased; loader.fulfil(&taken), read);
    assert!(stored);
    assert_eq!(read.unwrap(), Some(Value::from("loaded")));
}

#[tokio::test]
async fn ends_are_announced() {
    let server = RedisServer::start().await;
    let loader = Loader::new(&server, false);
    let mut monitor = server.monitor();
    let mut told = || {
        let seen = monitor.take();
        let published = seen.iter().filter(|seen| seen.name() == "PUBLISH");
        published.map(|seen| seen.line()).collect::<Vec<_>>()
    };
    let taken = loader.take("k", &["x"], LONG).await;
    assert_eq!(told(), [""; 0]);
    assert!(loader.fulfil(&taken).await);
    assert_eq!(told(), ["PUBLISH cachestore:lease:{k} "]);
    assert!(!loader.fulfil(&taken).await);
    assert_eq!(told(), ["PUBLISH cachestore:lease:{k} "]);
    loader.end(&taken).await;
    assert_eq!(told(), ["PUBLISH cachestore:lease:{k} "]);
}

/// One load may have the leases of many keys: one that was invalidated does not live again because another was taken.
#[tokio::test]
async fn what_was_invalidated_stays_dead_when_the_same_load_takes_more() {
    let server = RedisServer::start().await;
    let (loader, store) = (Loader::new(&server, false), store(&server, false).await);
    let first = loader.take("k1", &["x"], LONG).await;
    store.set("x", "v").await.unwrap();
    let second = LeaseAction::Take {
        key: key("k2"),
        terms: LeaseTerms {
            token: first.token,
            names: Names::from(first.names.clone()),
            ttl: LONG,
            late_names: false,
        },
    };
    let second = loader.step(second).await.unwrap();
    assert!(matches!(second, LeaseAnswer::Taken { .. }), "{second:?}");
    assert!(!loader.fulfil(&first).await);
}

#[tokio::test]
async fn leases_end_on_a_server_that_is_full() {
    for given in [false, true] {
        let server = RedisServer::start().await;
        let (loader, other) = (Loader::new(&server, false), Loader::new(&server, false));
        let outer = loader.take("outer", &["inner"], LONG).await;
        let inner = loader.take("inner", &["x"], LONG).await;
        server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
        loader.end_as(&inner, given).await;
        // One that is not the holder's own, and gives what may be old.
        other.end_as(&inner, given).await;
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(loader.fulfil(&outer).await, !given);
        let again = other.take("inner", &["x"], LONG).await;
        assert!(other.fulfil(&again).await);
    }
}
