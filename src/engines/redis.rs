//! The Redis engine: an actor that sends requests over the connections of a store.
//!
//! `start` starts it, and `engine` is its actor: it takes requests from the queue, keeps their deadlines, and drives
//! connections. A request becomes a job (`job`) of one connection (`link`), which sends the jobs that wait as one
//! pipeline (`batch`) and hands out the replies (`reply`).
//!
//! What an operation sends and what its replies mean is in one place for each operation (`exchange`): reads in `values`,
//! writes in `writes`, steps of leases and locks in `lease` and `lock`, raw commands in `raw`. Work of many steps is in
//! `walk`. All of them stand on `wire` (what commands and replies are made of), `layout` (names on the server) and
//! `script` (the Lua scripts).
//!
//! What was to be removed while there was no connection is kept in `removals`, and `replay` makes up for it.
//!
//! `connect` opens a connection to the address that `resolver` gives: the one that was configured, that of the primary
//! which Sentinels name (`sentinel`), or that of the node of a cluster which owns the store's slot (`cluster`). What a node of a
//! cluster refuses because the slot is elsewhere is a redirection (`redirect`). The link follows it.
//!
//! A store over all nodes of a cluster has an engine of its own (`spread`), which drives the same links.

mod abilities;
mod backoff;
mod batch;
mod clearings;
mod cluster;
mod connect;
mod connected;
mod connection_log;
mod deletes;
mod doubt;
mod engine;
mod exchange;
mod fault;
mod fetch;
mod generation;
mod gets;
mod greeting;
mod job;
mod layout;
mod lease;
mod link;
mod lock;
mod own;
mod parking;
mod part;
mod partly;
mod process;
mod raw;
mod redirect;
mod removals;
mod replay;
mod reply;
mod resolver;
mod scanner;
mod script;
mod sentinel;
mod sets;
mod spread;
mod start;
mod stream;
mod stripe;
mod subscriber;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod tracker;
mod tracking;
mod transaction;
mod unfold;
mod unsent;
mod values;
mod walk;
mod wire;
mod writes;

pub(crate) use self::raw::{reply, unshareable};
pub(crate) use self::start::Redis;
