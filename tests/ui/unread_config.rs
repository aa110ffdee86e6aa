//! Setters return the configuration that they have changed.
#![deny(unused_must_use)]

fn forgetful() -> cachestore::Config {
    let config = cachestore::Config::memory();
    config.clone().namespace("tenant");
    config
}

fn main() {}
