//! All who listen to one store, and what the store tells them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Event;
use super::backlog::Backlog;
use crate::key::Namespace;
use crate::request::KeyChange;

/// The event of a change of one key.
fn event(change: KeyChange, key: &str) -> Event {
    let key = key.to_owned();
    match change {
        KeyChange::Written => Event::Written { key },
        KeyChange::Expired => Event::Expired { key },
        KeyChange::Evicted => Event::Evicted { key },
        KeyChange::Deleted => Event::Deleted { key },
        KeyChange::Invalidated => Event::Invalidated { key },
    }
}

/// The listeners of one store, which its handles share with its actors.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Whether there are any, so that a store without listeners pays for one load.
    any: AtomicBool,
    all: Mutex<All>,
    root: Namespace,
}

#[derive(Default)]
struct All {
    backlogs: Arc<[Arc<Backlog>]>,
    closed: bool,
}

impl Listeners {
    /// Those of a store whose keys are in the namespaces of `root`.
    pub(crate) fn of(root: Namespace) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    pub(super) fn add(&self, backlog: Arc<Backlog>) {
        let mut all = self.all();
        if all.closed {
            backlog.close();
            return;
        }
        all.backlogs = all.backlogs.iter().cloned().chain([backlog]).collect();
        // A listener hears of the calls that its task makes next: they reach an engine through a queue, which
        // orders this before what the engine does.
        self.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, backlog: &Arc<Backlog>) {
        let mut all = self.all();
        let others = all.backlogs.iter().filter(|other| !Arc::ptr_eq(other, backlog));
        all.backlogs = others.cloned().collect();
        self.any.store(!all.backlogs.is_empty(), Ordering::Relaxed);
    }

    /// Tells what happened to a key.
    #[inline]
    pub(crate) fn tell_of(&self, key: &str, change: KeyChange) {
        if self.any() {
            self.tell_of_key(key, change);
        }
    }

    #[cold]
    fn tell_of_key(&self, key: &str, change: KeyChange) {
        for backlog in self.backlogs().iter() {
            if let Some(name) = key.strip_prefix(backlog.prefix()) {
                backlog.push(|| event(change, name));
            }
        }
    }

    /// Tells that all keys with this prefix, the namespace's, were cleared.
    pub(crate) fn tell_of_clearing(&self, prefix: &str, removed: u64) {
        let path = prefix.strip_prefix(self.root.prefix()).unwrap_or(prefix);
        for backlog in self.backlogs().iter() {
            let other = backlog.prefix();
            if other.starts_with(prefix) || prefix.starts_with(other) {
                backlog.push(|| Event::Cleared {
                    namespace: path.trim_end_matches(':').to_owned(),
                    removed,
                });
            }
        }
    }

    /// Tells all listeners, whatever their keys are.
    pub(crate) fn tell_all(&self, event: &Event) {
        for backlog in self.backlogs().iter() {
            backlog.push(|| event.clone());
        }
    }

    /// Whether anybody listens.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The listeners of this moment. They are told without a lock around all of them: waking one may run a user's code.
    fn backlogs(&self) -> Arc<[Arc<Backlog>]> {
        self.all().backlogs.clone()
    }

    fn close(&self) {
        let backlogs = {
            let mut all = self.all();
            all.closed = true;
            all.backlogs.clone()
        };
        for backlog in backlogs.iter() {
            backlog.close();
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // Nothing that runs under the lock panics.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("any", &self.any())
            .finish_non_exhaustive()
    }
}

/// Ends the streams of all listeners when it is dropped: its owner outlives the actors of a store.
#[derive(Debug)]
pub(crate) struct EndOfEvents(pub(crate) Arc<Listeners>);

impl Drop for EndOfEvents {
    fn drop(&mut self) {
        self.0.close();
    }
}
