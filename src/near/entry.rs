//! One entry of the near cache, shared by its map and the engine's table.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use tokio::time::Instant;

use super::decoded::{Decoded, Model};
use crate::key::Key;
use crate::value::Value;

/// Uses are counted up to here, as far as the eviction policy counts.
const MAX_USES: u8 = 3;

/// A value that readers find without the engine.
pub(crate) struct NearEntry {
    key: Key,
    value: Value,
    /// When it expires.
    due: Option<Instant>,
    uses: AtomicU8,
    /// Its place among the writer's entries. Only the writer looks at it.
    seat: AtomicU32,
    /// What the value decodes to, once a reader has asked for it to be shared.
    decoded: OnceLock<Box<Decoded>>,
}

impl NearEntry {
    pub(super) fn new(key: Key, value: Value, due: Option<Instant>, seat: u32) -> Self {
        Self {
            key,
            value,
            due,
            uses: AtomicU8::new(0),
            seat: AtomicU32::new(seat),
            decoded: OnceLock::new(),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Counts a use. Where two threads count at once, one use may be lost: that is cheaper than a counter that both
    /// write to for ever.
    pub(super) fn count_use(&self) {
        let uses = self.uses.load(Relaxed);
        if uses < MAX_USES {
            self.uses.store(uses + 1, Relaxed);
        }
    }

    /// Takes the uses since this was last called, up to three.
    pub(crate) fn take_uses(&self) -> u8 {
        match self.uses.load(Relaxed) {
            0 => 0,
            _ => self.uses.swap(0, Relaxed),
        }
    }

    /// The model that its readers share, if one has been kept.
    pub(crate) fn model(&self) -> Option<Model> {
        self.decoded.get()?.model()
    }

    /// Keeps a model, unless another reader was first.
    pub(super) fn keep(&self, decoded: Decoded) {
        drop(self.decoded.set(Box::new(decoded)));
    }

    pub(super) fn seat(&self) -> usize {
        self.seat.load(Relaxed) as usize
    }

    pub(super) fn set_seat(&self, seat: u32) {
        self.seat.store(seat, Relaxed);
    }
}

/// Shows no value.
impl fmt::Debug for NearEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearEntry")
            .field("key", &self.key)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
