//! A write that nobody awaits is never made, and the compiler says so.
#![deny(unused_must_use)]

async fn forgetful(store: cachestore::Store) {
    store.set("k", "v");
    store.add("k", "v").depends_on(["u"]);
    store.set_many([("k", "v")]);
    store.scan("k");
}

fn main() {}
