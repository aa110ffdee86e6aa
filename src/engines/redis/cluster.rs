//! Which node of a cluster owns the slot of a store.

mod directory;
mod map;
mod question;
mod slot;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use self::directory::Directory;
pub(super) use self::map::{Node, slot_of_redirection};
use self::map::{no_owner, panicked};
pub(super) use self::slot::{SLOTS, slot_of};
use super::generation::Generation;
use super::resolver::Route;
use crate::config::{Address, Place, RedisOptions, Target};
use crate::error::Result;
use crate::events::{Event, Listeners};

/// How often the nodes are asked again while the owner that they have named does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Finds the owner of a slot, and remembers which node that was.
pub(super) struct SlotOwner {
    slot: u16,
    directory: Directory,
    known: Mutex<Known>,
    generation: Generation,
    /// The leases on the owner were ended for this generation.
    leases_ended: AtomicU64,
    listeners: Arc<Listeners>,
}

#[derive(Debug, Default)]
struct Known {
    /// The owner that a connection was opened to.
    owner: Option<Place>,
    /// Where the last redirection led to. It is tried before any node is asked.
    redirected: Option<Place>,
}

impl fmt::Debug for SlotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the owner of slot {} in {:?}", self.slot, self.directory)
    }
}

impl SlotOwner {
    /// `None` if the store is not in a slot of a cluster.
    pub(super) fn new(
        options: &RedisOptions,
        generation: Generation,
        listeners: Arc<Listeners>,
    ) -> Option<Self> {
        let Target::Cluster(cluster) = &options.target else {
            return None;
        };
        Some(Self {
            slot: slot_of(cluster.hash_tag()?.as_bytes()),
            directory: Directory::new(cluster.clone(), options.clone()),
            known: Mutex::default(),
            generation,
            leases_ended: AtomicU64::new(0),
            listeners,
        })
    }

    /// How many nodes are known.
    pub(super) fn count(&self) -> usize {
        self.directory.count()
    }

    /// Where the owner is: where the last redirection led to, or what the nodes answer.
    ///
    /// # Errors
    ///
    /// Those of [`Directory::ask`].
    pub(super) async fn place(&self) -> Result<Place> {
        if let Some(place) = self.known().redirected.take() {
            return Ok(place);
        }
        self.ask().await
    }

    /// Waits until the nodes name another owner than the one `at` a place, which does not answer. That is where
    /// [`place`](Self::place) leads to next.
    pub(super) async fn moved_from(&self, at: &Place) {
        self.directory.avoid(at);
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.ask().await {
                Ok(owner) if owner != *at => {
                    self.known().redirected = Some(owner);
                    return;
                }
                _ => {}
            }
        }
    }

    async fn ask(&self) -> Result<Place> {
        let wanted = format!("the owner of slot {}", self.slot);
        let owner = self.directory.ask(&wanted, |map, at| {
            let owner = map.owner(self.slot).ok_or_else(|| no_owner(self.slot))?;
            self.mapped(owner, at).ok_or_else(panicked)
        });
        owner.await
    }

    /// The node that was named last cannot be reached, or does not own the slot: another node may know better.
    pub(super) fn doubt(&self) {
        self.directory.turn();
        self.known().redirected = None;
    }

    /// A node has told that the slot is elsewhere. `at` is where that node is.
    pub(super) fn redirected(&self, node: &Node, at: &Place) {
        self.known().redirected = self.mapped(node, at);
    }

    /// Where a node is reached that another names, which is reached `at`. `None` if the application's code panics.
    pub(super) fn mapped(&self, node: &Node, at: &Place) -> Option<Place> {
        self.directory.mapped(node, at)
    }

    /// How a node is entered.
    pub(super) fn address(&self, place: Place) -> Address {
        self.directory.address(place)
    }

    /// Whether the leases on a node have to end, because the store may come from another owner.
    pub(super) fn owes_leases(&self, place: &Place) -> bool {
        self.known().owner.as_ref().is_some_and(|owner| owner != place)
            || self.leases_ended.load(Ordering::Acquire) < self.generation.first_uncut()
    }

    /// A connection is open to a node that owns the slot. If another node has owned it before, the connections to that one
    /// are cut, and this one belongs to the generation that begins.
    pub(super) fn greeted(&self, route: &mut Route) {
        let place = &route.address.place;
        let before = self.known().owner.replace(place.clone());
        if let Some(before) = before.filter(|before| before != place) {
            self.generation.cut();
            route.generation = self.generation.current();
            let node = place.to_string();
            tracing::warn!(slot = self.slot, from = %before, %node, "the slot of the store has another owner");
            if self.listeners.any() {
                self.listeners.tell_all(&Event::SwitchedPrimary { node });
            }
        }
        if !route.ends_leases {
            self.leases_ended.fetch_max(route.generation, Ordering::AcqRel);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What it holds is whole at any time.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
