//! The table of operations: one row for each thing that an engine can be asked to do.
//!
//! A row tells what the operation is given, what it answers, what it changes and which keys it touches. All
//! else that the protocol needs follows from the row. CONTRIBUTING.md says how to add one.

use std::time::Duration;

use super::change::{KeyChange, Tells};
use super::field::Field;
use super::keys::{Keyed, Keys};
use super::operation::{Asked, Effect, Operation, operations};
use super::{
    Aged, Condition, Cursor, LeaseAction, LeaseAnswer, LeaseTerms, LockAnswer, LockStep, Lookup, Page,
    Progress, RawAnswer, RawCommand, Reply, Request, Write,
};
use crate::key::{Key, Within};
use crate::stats::EngineStats;
use crate::ttl::Ttl;
use crate::value::Value;

operations! {
    $
    /// An operation on entries, or on the leases and locks beside them. An engine answers it in one step.
    enum EntryRequest in Request::Entry, matched by on_entry;

    /// Reads a value.
    Get { key: Key } -> Option<Value>: Question of key;

    /// Reads values. With `peek` it is no use of the entries, is not counted, and finds what is no value absent.
    GetMany { keys: Vec<Key>, peek: bool } -> Vec<Option<Value>>: Question of keys;

    /// Reads a value and the time that is left.
    GetAged { key: Key } -> Option<Aged>: Question of key;

    /// Reads values, each with the time that is left.
    GetManyAged { keys: Vec<Key> } -> Vec<Option<Aged>>: Question of keys;

    /// Reads a value and the time that is left. Takes the lease of a key that holds none, unless another has it.
    GetOrLease { key: Key, terms: Box<LeaseTerms> } -> Lookup: Aside of key;

    /// Whether a key holds a value. It is no use of the entry, and is not counted.
    Exists { key: Key } -> bool: Question of key;

    /// Reads how long an entry still lives.
    GetTtl { key: Key } -> Option<Ttl>: Question of key;

    /// Reads one page of the keys that begin with `prefix`.
    Scan { prefix: String, cursor: Cursor } -> Page: Question of nothing;

    /// Writes an entry. Where queueing completes it, nobody waits for the answer: later reads come after it.
    Set { write: Write } -> (): Writes of write;

    /// Writes entries in their order, each as `Set` does.
    SetMany { writes: Vec<Write> } -> (): Writes of writes;

    /// Writes an entry if the condition holds. Answers whether it was written.
    SetIf { write: Box<Write>, condition: Condition } -> bool: Writes of write;

    /// Reads a value and deletes it.
    Take { key: Key } -> Option<Value>: Deletes of key;

    /// Deletes a key. Answers whether it held a value.
    Delete { key: Key, within: Within } -> bool: Deletes of key;

    /// Deletes a key if it holds this value. Answers whether it was deleted.
    DeleteIf { key: Key, expected: Value } -> bool: Deletes of key;

    /// Deletes keys. Answers how many held a value.
    DeleteMany { keys: Vec<Key>, within: Within } -> u64: Deletes of keys;

    /// Gives an entry a new TTL. `None` makes it persistent, and answers `true` only if it was not.
    Expire { key: Key, ttl: Option<Duration> } -> bool: Aside of key;

    /// Reads a value and gives its entry a new TTL.
    GetAndTouch { key: Key, ttl: Duration } -> Option<Value>: Aside of key;

    /// Writes an entry and answers the value that the key held before.
    Swap { write: Box<Write> } -> Option<Value>: Writes of write;

    /// Adds to an integer and answers the sum. An entry that this creates gets `ttl`.
    Incr { key: Key, by: i64, ttl: Option<Duration> } -> i64: Writes of key;

    /// Carries out one step on a lock.
    Lock { step: Box<LockStep> } -> LockAnswer: Decided by step of step;

    /// Carries out one step on a lease.
    Lease { step: Box<LeaseAction> } -> LeaseAnswer: Aside of step;

    /// Asks the server, or the engine without one, for a sign of life.
    Ping {} -> (): Question of nothing;

    /// Carries out a command in the engine's own language. Other engines refuse it.
    Raw { command: Box<dyn RawCommand> } -> RawAnswer: Aside of nothing;
}

operations! {
    $
    /// An operation on an engine as a whole. It may take longer than one step.
    enum EngineRequest in Request::Engine, matched by on_engine;

    /// Removes all entries whose keys begin with `prefix`. Answers how many there were.
    Clear { prefix: String, progress: Progress } -> u64: Change of nothing;

    /// Removes the entries of these names and all that depends on them. Answers how many there were.
    Invalidate { names: Vec<Key>, within: Within, progress: Progress } -> u64: Change of names;

    /// Reads the engine's figures.
    Stats {} -> EngineStats: Question of nothing;

    /// Panics, for the tests of the engine's recovery.
    #[cfg(test)]
    Panic { inside_the_table: bool } -> (): Question of nothing;
}
