//! A number alone is no time: it could be seconds or milliseconds.

async fn unclear(store: cachestore::Store) -> cachestore::Result<bool> {
    store.expire("k", 60).await
}

fn main() {}
