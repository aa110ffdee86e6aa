//! The pipelines that are under way on a connection, in the order in which the server answers.

use std::collections::VecDeque;

use redis::{RedisResult, Value as Wire};
use tokio::time::Instant;

use super::Boxed;
use crate::engines::redis::part::Part;
use crate::engines::redis::reply;

/// One pipeline under way.
pub(super) struct Flight {
    pub(super) replies: Boxed<RedisResult<Vec<Wire>>>,
    pub(super) parts: Vec<Part>,
    pub(super) busy: Vec<u64>,
    pub(super) bytes: usize,
    pub(super) values: usize,
    /// How many replies it has.
    pub(super) count: u64,
    pub(super) sent: Instant,
    /// The number of its launch, if the near cache is fed by this connection.
    pub(super) launch: Option<u64>,
    /// The keys, by their hashes, of changes whose callers left at their deadlines. The server may make
    /// these changes yet.
    pub(super) left: Vec<u64>,
}

/// All pipelines under way, and what they add up to.
#[derive(Default)]
pub(super) struct Flights {
    all: VecDeque<Flight>,
    bytes: usize,
    values: usize,
    /// How many were sent so far, those that are answered included.
    sent: u64,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The bytes that were sent.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many are not under way any more.
    pub(super) fn answered(&self) -> u64 {
        self.sent - self.all.len() as u64
    }

    /// The replies to come.
    pub(super) fn replies(&self) -> u64 {
        self.all.iter().map(|flight| flight.count).sum()
    }

    /// The keys that are read or written, and other commands.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.all.iter()
    }

    /// The one that is answered next.
    pub(super) fn first(&self) -> Option<&Flight> {
        self.all.front()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Flight> {
        self.all.front_mut()
    }

    pub(super) fn push(&mut self, flight: Flight) {
        self.bytes += flight.bytes;
        self.values += flight.values;
        self.sent += 1;
        self.all.push_back(flight);
    }

    /// Takes out the one that was answered.
    pub(super) fn pop(&mut self) -> Option<Flight> {
        let flight = self.all.pop_front()?;
        self.bytes -= flight.bytes;
        self.values -= flight.values;
        Some(flight)
    }

    /// Takes out all of them: they are not answered any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Flight> {
        let sent = self.sent;
        let all = std::mem::take(self).all;
        self.sent = sent;
        all.into_iter()
    }

    /// Answers callers whose time is over. Returns the earliest deadline of the others.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.all
            .iter_mut()
            .filter_map(|flight| reply::expire(&mut flight.parts, now, &mut flight.left))
            .min()
    }

    /// Calls `see` with the hash of each key that is read for a caller, or that the server may change.
    pub(super) fn each_key(&self, mut see: impl FnMut(u64)) {
        for flight in &self.all {
            flight.left.iter().copied().for_each(&mut see);
            for part in &flight.parts {
                part.each_key(&mut |key| see(key.hash()));
            }
        }
    }
}
