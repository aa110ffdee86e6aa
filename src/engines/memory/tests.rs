//! The memory engine against naive models of it.

mod engine;
mod eviction;
mod interleaving;
mod leases;
mod lookups;
mod model;
mod sweeps;
mod table;
mod tombstones;

use crate::key::{Key, KeyMaker, Namespace};
use crate::request::Write;
use crate::value::Value;

/// Makes keys in the root namespace of one store.
struct Keys(KeyMaker);

impl Keys {
    fn new() -> Self {
        Self(KeyMaker::new(1024, false))
    }

    fn key(&self, text: impl AsRef<str>) -> Key {
        self.0.key(&Namespace::default(), text.as_ref()).unwrap()
    }

    fn write<D: AsRef<str>>(&self, key: impl AsRef<str>, depends_on: impl IntoIterator<Item = D>) -> Write {
        let depends_on: Vec<Key> = depends_on.into_iter().map(|name| self.key(name)).collect();
        Write {
            key: self.key(key),
            value: Value::from("v"),
            ttl: None,
            depends_on: depends_on.into(),
        }
    }
}

/// Knuth's MMIX generator: long runs are the same on every machine.
#[derive(Clone)]
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator repeat soon; two draws give 64 good ones.
        let high = self.0 >> 32;
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        high << 32 | self.0 >> 32
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
