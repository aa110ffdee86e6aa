//! The model of an entry, decoded once for all who share it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::Handle;

use crate::contain::contained;

/// How many bytes a model counts for each byte of its encoded form. Nobody knows what it really takes.
const ESTIMATE: usize = 2;

pub(crate) type Model = Arc<dyn Any + Send + Sync>;

/// The room of a near cache, for what the engine publishes and for models.
#[derive(Debug)]
pub(super) struct Room {
    capacity: usize,
    published: AtomicUsize,
    models: AtomicUsize,
}

impl Room {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            published: AtomicUsize::new(0),
            models: AtomicUsize::new(0),
        }
    }

    /// Takes note of what the engine has published.
    pub(super) fn publish(&self, bytes: usize) {
        self.published.store(bytes, Relaxed);
    }

    /// What models take.
    pub(super) fn models(&self) -> usize {
        self.models.load(Relaxed)
    }

    /// Takes room for a model. Returns `false` if there is none.
    fn take(&self, bytes: usize) -> bool {
        let free = self.capacity.saturating_sub(self.published.load(Relaxed));
        let taken = self.models.fetch_update(Relaxed, Relaxed, |models| {
            models.checked_add(bytes).filter(|sum| *sum <= free)
        });
        taken.is_ok()
    }
}

/// A model beside its entry. The drop of the last `Arc` is the user's code: it runs in a task of its own, and never in
/// the engine that drops the entry.
pub(super) struct Decoded {
    model: Option<Model>,
    bytes: usize,
    room: Arc<Room>,
    home: Handle,
}

impl Decoded {
    /// `None` if there is no room for a model of so many encoded bytes.
    pub(super) fn new(model: Model, encoded: usize, room: &Arc<Room>, home: &Handle) -> Option<Self> {
        let bytes = encoded.saturating_mul(ESTIMATE);
        room.take(bytes).then(|| Self {
            model: Some(model),
            bytes,
            room: room.clone(),
            home: home.clone(),
        })
    }

    pub(super) fn model(&self) -> Option<Model> {
        self.model.clone()
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        self.room.models.fetch_sub(self.bytes, Relaxed);
        if let Some(model) = self.model.take() {
            // A runtime that has ended drops the task, and the model with it, at once.
            contained(|| drop(self.home.spawn(async move { contained(|| drop(model)) })));
        }
    }
}
