use cachestore::*;
use std::time::Duration;
#[tokio::test(start_paused = true)]
async fn smoke() {
    let s = Store::open(Config::memory()).await.unwrap();
    s.set("a", "1").ttl(Duration::from_secs(1)).await.unwrap();
    assert_eq!(s.get_string("a").await.unwrap().unwrap(), "1");
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert!(s.exists("a").await.unwrap());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!s.exists("a").await.unwrap());
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let st = s.stats().await.unwrap();
    assert_eq!((st.entries, st.bytes, st.expired), (0, 0, 1), "{st:?}");
    s.set("b", "x").depends_on(["u"]).await.unwrap();
    s.set("c", "x").depends_on(["b"]).await.unwrap();
    s.delete("b").await.unwrap();
    assert_eq!(s.invalidate(["u"]).await.unwrap(), 1);
    println!("{:?}", s.stats().await.unwrap());
    s.close().await.unwrap();
    s.close().await.unwrap();
    assert!(matches!(s.get("a").await, Err(Error::Closed)));
}
#[tokio::test]
async fn drops() {
    for _ in 0..20 {
        let s = Store::open(Config::memory()).await.unwrap();
        for i in 0..1000 {
            s.set(format!("k{i}"), "v").await.unwrap();
        }
        if rand_ish() {
            assert!(s.get("k1").await.unwrap().is_some());
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
fn rand_ish() -> bool {
    true
}
