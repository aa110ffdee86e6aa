//! What the types promise without saying: they cross threads, they show themselves, they stay small.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::future::{Future, IntoFuture};
use std::panic::{RefUnwindSafe, UnwindSafe};

use cachestore::{
    Cause, Codec, Config, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, EngineKind, Error,
    Incr, MemoryConfig, Phase, Scan, ScanEntries, Set, SetFuture, SetIf, SetMany, Settings, Stats, Store,
    Ttl, Value,
};
use futures_util::{Stream, TryStreamExt};

use crate::support::{memory, secs};

fn is_value<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}

fn is_sent<T: Debug + Send>() {}

fn sent<F: Future + Send>(future: F) -> F {
    future
}

fn built<B: IntoFuture<IntoFuture: Send + Unpin> + Debug + Send>(builder: B) -> B::IntoFuture {
    builder.into_future()
}

#[test]
fn a_store_goes_everywhere() {
    is_value::<Store>();
    is_value::<Config>();
    is_value::<MemoryConfig>();
    is_value::<Settings>();
    is_value::<Value>();
    is_value::<Error>();
    is_value::<Cause>();
    is_value::<DecodeError>();
    is_value::<EncodeError>();
}

#[test]
fn what_only_tells_is_copied() {
    fn is_copied<T: Copy + Eq + Debug + Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
    is_copied::<Codec>();
    is_copied::<EngineKind>();
    is_copied::<Phase>();
    is_copied::<Stats>();
    is_copied::<Ttl>();
    is_copied::<DecodeErrorKind>();
    is_copied::<EncodeErrorKind>();
}

#[test]
fn builders_and_streams_are_sent() {
    is_sent::<Set<'static>>();
    is_sent::<SetFuture<'static>>();
    is_sent::<SetIf<'static>>();
    is_sent::<SetMany<'static>>();
    is_sent::<Incr<'static>>();
    fn is_stream<T: Stream<Item = cachestore::Result<String>> + Debug + Send + Unpin + 'static>() {}
    is_stream::<Scan>();
    fn is_stream_of_entries<T>()
    where
        T: Stream<Item = cachestore::Result<(String, cachestore::Bytes)>> + Debug + Send + Unpin + 'static,
    {
    }
    is_stream_of_entries::<ScanEntries>();
}

#[test]
fn errors_are_errors_and_small() {
    fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
    is_error::<Error>();
    is_error::<Cause>();
    is_error::<DecodeError>();
    is_error::<EncodeError>();
    // Clippy warns at 128 bytes; every result of every call carries this much.
    assert!(size_of::<Error>() <= 64, "{} bytes", size_of::<Error>());
    assert!(
        size_of::<Store>() <= 4 * size_of::<usize>(),
        "{} bytes",
        size_of::<Store>()
    );
}

#[tokio::test]
async fn every_future_is_sent() {
    let store = memory().await;
    let one = [("k", &1_u8)];
    sent(Store::open(Config::memory())).await.unwrap();
    sent(store.ping()).await.unwrap();
    sent(store.stats()).await.unwrap();
    built(store.set("k", "1").ttl(secs(9)).persistent().depends_on(["u"]))
        .await
        .unwrap();
    built(store.add("k", "1").ttl(secs(9)).persistent().depends_on(["u"]))
        .await
        .unwrap();
    built(store.replace("k", "1")).await.unwrap();
    built(store.compare_and_set("k", "1", "1")).await.unwrap();
    built(
        store
            .set_many([("k", "1")])
            .ttl(secs(9))
            .persistent()
            .depends_on(["u"]),
    )
    .await
    .unwrap();
    built(store.set_model("k", &1)).await.unwrap();
    built(store.set_models(one)).await.unwrap();
    sent(store.get("k")).await.unwrap();
    sent(store.get_string("absent")).await.unwrap();
    sent(store.get_model::<u8>("k")).await.unwrap();
    sent(store.get_models::<u8>(["k"])).await.unwrap();
    sent(store.get_many(["k"])).await.unwrap();
    sent(store.exists("k")).await.unwrap();
    sent(store.ttl("k")).await.unwrap();
    sent(store.expire("k", secs(1))).await.unwrap();
    sent(store.persist("k")).await.unwrap();
    sent(store.take("k")).await.unwrap();
    sent(store.delete("k")).await.unwrap();
    sent(store.delete_many(["k"])).await.unwrap();
    built(store.add_model("m", &1)).await.unwrap();
    built(store.compare_and_set_model("m", &1, &2).ttl(secs(9)).persistent())
        .await
        .unwrap();
    built(
        store
            .update_model("m", |old: Option<u8>| old)
            .ttl(secs(9))
            .persistent()
            .depends_on("u"),
    )
    .await
    .unwrap();
    sent(store.scan_entries("").try_collect::<Vec<_>>())
        .await
        .unwrap();
    built(store.incr("n", 1).ttl(secs(9))).await.unwrap();
    sent(store.counter("n")).await.unwrap();
    built(store.invalidate(["k"])).await.unwrap();
    sent(store.scan("").try_collect::<Vec<_>>()).await.unwrap();
    built(store.clear()).await.unwrap();
    sent(store.close()).await.unwrap();
}

/// What a task owns, it can iterate over in a call and still be spawned: iterators that borrow, that
/// map with a closure, and that own.
#[tokio::test]
async fn calls_are_spawned_with_iterators_of_all_kinds() {
    let store = memory().await;
    let task = tokio::spawn(async move {
        let ids: Vec<u64> = (1..=3).collect();
        let names: Vec<String> = ids.iter().map(|id| format!("user:{id}")).collect();
        let models: HashMap<String, u64> = names.iter().cloned().zip(ids.iter().copied()).collect();
        store
            .set_many(ids.iter().map(|id| (format!("user:{id}"), id.to_string())))
            .await?;
        store
            .set_models(models.iter().filter(|(_, model)| **model > 0))
            .await?;
        store
            .set_models(&models)
            .depends_on(names.iter().map(|name| format!("of:{name}")))
            .await?;
        assert_eq!(
            store
                .get_many(ids.iter().map(|id| format!("user:{id}")))
                .await?
                .len(),
            3
        );
        assert_eq!(store.get_many(&names).await?.len(), 3);
        assert_eq!(
            store
                .get_models::<u64>(names.iter().filter(|name| name.ends_with('2')))
                .await?,
            [Some(2)]
        );
        assert_eq!(
            store
                .get_models::<u64>(names.iter().cloned().collect::<BTreeSet<_>>())
                .await?
                .len(),
            3
        );
        assert_eq!(
            store
                .invalidate(names.iter().map(|name| format!("of:{name}")))
                .await?,
            3
        );
        assert_eq!(store.delete_many(names.iter().map(String::as_str)).await?, 0);
        assert_eq!(store.delete_many(names).await?, 0);
        Ok::<_, Error>(())
    });
    task.await.unwrap().unwrap();
}

/// A `dyn Error` is what most applications make of it, by `?`.
#[tokio::test]
async fn an_error_converts() {
    async fn application() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        memory().await.get("").await?;
        Ok(())
    }
    assert!(application().await.unwrap_err().downcast_ref::<Error>().is_some());
}
