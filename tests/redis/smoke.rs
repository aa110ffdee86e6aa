//! Every call once, over a plain server.

use std::time::Duration;

use cachestore::{Config, Error, Store, Ttl};
use futures_util::TryStreamExt;

#[tokio::test]
async fn every_call_once() {
    let server = crate::harness::RedisServer::start().await;
    let url = server.url();
    let s = Store::open(Config::redis(&url).unwrap()).await.unwrap();
    assert_eq!(s.get("a").await.unwrap(), None);
    s.set("a", "1").await.unwrap();
    assert_eq!(s.get_string("a").await.unwrap().unwrap(), "1");
    assert_eq!(s.ttl("a").await.unwrap(), Some(Ttl::Persistent));
    assert!(s.expire("a", Duration::from_secs(10)).await.unwrap());
    assert!(matches!(s.ttl("a").await.unwrap(), Some(Ttl::Remaining(_))));
    assert!(s.persist("a").await.unwrap());
    assert!(!s.persist("a").await.unwrap());
    assert_eq!(s.incr("a", 4).await.unwrap(), 5);
    assert!(!s.add("a", "x").await.unwrap());
    assert!(s.replace("a", "x").ttl(Duration::from_secs(5)).await.unwrap());
    assert!(matches!(s.incr("a", 4).await, Err(Error::NotAnInteger)));
    assert!(s.compare_and_set("a", "x", "y").await.unwrap());
    assert!(!s.compare_and_set("a", "x", "y").await.unwrap());
    assert_eq!(s.take("a").await.unwrap().unwrap(), "y");
    assert!(!s.delete("a").await.unwrap());
    s.set_many([("m1", "1"), ("m2", "2")])
        .depends_on(["d"])
        .await
        .unwrap();
    assert_eq!(
        s.get_many(["m2", "x", "m1"])
            .await
            .unwrap()
            .iter()
            .flatten()
            .count(),
        2
    );
    s.set("n", "3")
        .depends_on(["m1"])
        .ttl(Duration::from_secs(3))
        .await
        .unwrap();
    assert_eq!(s.invalidate(["d"]).await.unwrap(), 3);
    let left: Vec<String> = s
        .redis_command(cachestore::redis::cmd("KEYS").arg("*").take())
        .await
        .unwrap();
    assert!(
        left.iter()
            .all(|k| k.contains(":parents:") || k.contains(":lasting") || k == "cachestore:layout"),
        "{left:?}"
    );
    let ns = s.namespace("t").unwrap();
    for i in 0..2000 {
        ns.set(format!("k{i}"), "v").await.unwrap();
    }
    s.set("other", "v").await.unwrap();
    let keys: Vec<String> = ns.scan("k1").try_collect().await.unwrap();
    assert_eq!(keys.len(), 1111);
    assert_eq!(ns.clear().await.unwrap(), 2000);
    assert!(s.exists("other").await.unwrap());
    for i in 0..5000 {
        s.set(format!("k{i}"), "v").depends_on(["many"]).await.unwrap();
    }
    assert_eq!(s.invalidate(["many"]).await.unwrap(), 5000);
    println!("{:?}", s.stats().await.unwrap());
    let _: i64 = s
        .redis_command(cachestore::redis::cmd("LPUSH").arg("list").arg("v").take())
        .await
        .unwrap();
    assert!(matches!(s.get("list").await, Err(Error::WrongType)));
    let both = tokio::join!(s.get("list"), s.get("other"));
    assert!(matches!(both.0, Err(Error::WrongType)));
    assert!(both.1.unwrap().is_some());
    println!("{:?}", s.ping().await.unwrap());
    s.close().await.unwrap();
    assert!(matches!(s.get("a").await, Err(Error::Closed)));
}
