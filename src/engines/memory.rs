//! The embedded engine: one actor that alone owns the map.

mod changes;
mod dependency;
mod engine;
mod eviction;
mod expiry;
mod figures;
mod held;
mod index;
mod leases;
mod operation;
mod sketch;
mod slab;
mod start;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use start::Memory;
