//! A write borrows its store: it cannot be sent to one that is gone.

fn dangling(store: cachestore::Store) -> cachestore::Set<'static> {
    store.set("k", "v")
}

fn main() {}
