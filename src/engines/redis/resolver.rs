//! Where a connection is opened to.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::cluster::{Directory, Node, SlotOwner};
use super::connect::in_time;
use super::fault::Lost;
use super::generation::Generation;
use super::sentinel::Discovery;
use crate::config::{Access, Address, Place, RedisOptions, Target};
use crate::error::{Cause, Error, Phase, Result};

/// Where one connection leads to.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) address: Address,
    /// The generation that the connection belongs to.
    pub(super) generation: u64,
    /// Whether all leases on the server end first, because the store has come from another primary.
    pub(super) ends_leases: bool,
}

/// Who is asked for an address at each connect. Clones share what they learn.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    generation: Generation,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    /// The address does not change, or others open the connections.
    Fixed,
    /// The primary that Sentinels name.
    Sentinel(Arc<Discovery>),
    /// The node of a cluster that owns a slot.
    Slot(Arc<SlotOwner>),
    /// One node of a cluster.
    Node(Place, Arc<Directory>),
    /// Some node of a cluster that owns slots.
    AnyNode(Arc<Directory>),
}

impl Way {
    /// How many can be asked for the address.
    fn count(&self) -> usize {
        match self {
            Way::Fixed | Way::Node(..) => 0,
            Way::AnyNode(directory) => directory.count(),
            Way::Sentinel(discovery) => discovery.count(),
            Way::Slot(owner) => owner.count(),
        }
    }

    /// Waits until others name another server than the one at a place, which does not answer. A watcher of Sentinels cuts
    /// the generation then, and an engine that knows all nodes closes the connection.
    async fn moved_from(&self, place: &Place) {
        match self {
            Way::Fixed | Way::Sentinel(_) | Way::Node(..) | Way::AnyNode(_) => std::future::pending().await,
            Way::Slot(owner) => owner.moved_from(place).await,
        }
    }

    /// The server at a place cannot be used, though it was named.
    fn doubt(&self, place: &Place) {
        match self {
            Way::Fixed | Way::Node(..) => {}
            Way::AnyNode(directory) => directory.turn(),
            Way::Sentinel(discovery) => discovery.doubt(place),
            Way::Slot(owner) => owner.doubt(),
        }
    }
}

impl Resolver {
    pub(super) fn fixed(generation: Generation) -> Self {
        let way = Way::Fixed;
        Self { generation, way }
    }

    pub(super) fn sentinel(generation: Generation, discovery: Arc<Discovery>) -> Self {
        let way = Way::Sentinel(discovery);
        Self { generation, way }
    }

    pub(super) fn slot(generation: Generation, owner: Arc<SlotOwner>) -> Self {
        let way = Way::Slot(owner);
        Self { generation, way }
    }

    pub(super) fn node(generation: Generation, place: Place, directory: Arc<Directory>) -> Self {
        let way = Way::Node(place, directory);
        Self { generation, way }
    }

    pub(super) fn any_node(generation: Generation, directory: Arc<Directory>) -> Self {
        let way = Way::AnyNode(directory);
        Self { generation, way }
    }

    /// Which connections of the store belong together.
    pub(super) fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Opens a connection of the library's own by `open`, each attempt within `connect_timeout`. It begins anew if another
    /// server becomes the primary or the owner meanwhile, and goes on to another Sentinel or node if that names another server.
    pub(super) async fn open<T, F>(&self, options: &RedisOptions, open: impl Fn(Route) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut failed: Vec<(Place, Error)> = Vec::new();
        loop {
            let route = match (self.route(options).await, failed.pop()) {
                (Ok(route), Some((place, error))) if route.address.place == place => return Err(error),
                (Ok(route), before) => {
                    failed.extend(before);
                    route
                }
                (Err(_), Some((_, error))) | (Err(error), None) => return Err(error),
            };
            let place = route.address.place.clone();
            let generation = route.generation;
            let attempt = in_time(options, &place, enter(options, route, &open));
            let opened = tokio::select! {
                biased;
                () = self.generation.after_cut(generation) => continue,
                opened = attempt => opened.inspect_err(|_| self.way.doubt(&place)),
                () = self.way.moved_from(&place) => Err(Error::Timeout { phase: Phase::Connect }),
            };
            match opened {
                Ok(opened) => return Ok(opened),
                Err(error) => failed.push((place, error)),
            }
            if failed.len() >= self.way.count() {
                let (_, error) = failed.swap_remove(0);
                return Err(error);
            }
        }
    }

    async fn route(&self, options: &RedisOptions) -> Result<Route> {
        // Before the address is known: if it changes meanwhile, this generation is cut.
        let generation = self.generation.current();
        let (address, ends_leases) = match (&self.way, &options.target) {
            (Way::Sentinel(discovery), Target::Sentinel(sentinels)) => {
                let place = discovery.primary().await?;
                let access = sentinels.access.clone();
                (Address { place, access }, discovery.owes_leases())
            }
            (Way::Slot(owner), _) => {
                let place = owner.place().await?;
                let ends_leases = owner.owes_leases(&place);
                (owner.address(place), ends_leases)
            }
            (Way::Node(place, directory), _) => (directory.address(place.clone()), false),
            (Way::AnyNode(directory), _) => (directory.address(directory.some_owner().await?), false),
            (_, Target::Address(address)) => (address.clone(), false),
            _ => {
                let foreign = "others open the connections of this store".to_owned();
                return Err(Error::Unavailable(Cause::new(Lost(foreign))));
            }
        };
        Ok(Route {
            address,
            generation,
            ends_leases,
        })
    }

    /// A connection is open, and its greeting was answered: the server calls itself the primary, or owns the slot. A
    /// connection without a greeting, as that for notifications, tells nothing about that.
    pub(super) fn greeted(&self, route: &mut Route) {
        match &self.way {
            Way::Fixed | Way::Node(..) | Way::AnyNode(_) => {}
            Way::Sentinel(discovery) => {
                discovery.trust(&route.address.place);
                if !route.ends_leases {
                    discovery.ended_leases(route.generation);
                }
            }
            Way::Slot(owner) => owner.greeted(route),
        }
    }

    /// The node at a place has told that the slot belongs to another one.
    pub(super) fn redirected(&self, node: &Node, at: &Place) {
        if let Way::Slot(owner) = &self.way {
            owner.redirected(node, at);
        }
    }

    /// Opens a connection by `open` to the node that the node `at` a place has named.
    pub(super) async fn open_node<T, F>(
        &self,
        options: &RedisOptions,
        (node, at): (&Node, &Place),
        open: impl Fn(Route) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let place = match &self.way {
            Way::Slot(owner) => owner.mapped(node, at).map(|place| owner.address(place)),
            Way::Node(_, directory) => directory.mapped(node, at).map(|place| directory.address(place)),
            Way::Fixed | Way::Sentinel(_) | Way::AnyNode(_) => None,
        };
        let Some(address) = place else {
            let unknown = "the address of another node is not known".to_owned();
            return Err(Error::Unavailable(Cause::new(Lost(unknown))));
        };
        let place = address.place.clone();
        let route = Route {
            address,
            generation: self.generation.current(),
            ends_leases: false,
        };
        in_time(options, &place, enter(options, route, &open)).await
    }
}

/// Opens a connection by `open`, with what the server is shown now.
async fn enter<T, F>(options: &RedisOptions, route: Route, open: &impl Fn(Route) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let Address { place, access } = route.address;
    let access = shown(options, access).await?;
    let address = Address { place, access };
    open(Route { address, ..route }).await
}

/// How the server is entered: as configured, with what the application's callback answers now.
pub(super) async fn shown(options: &RedisOptions, mut access: Access) -> Result<Access> {
    if let Some(source) = options.credentials.clone() {
        // The application's code runs in a task of its own, which ends with this attempt.
        let mut task = JoinSet::new();
        task.spawn(async move { source.ask().await });
        let Some(Ok(Some(credentials))) = task.join_next().await else {
            let none = "the callback for credentials returned none".to_owned();
            return Err(Error::Unavailable(Cause::new(Lost(none))));
        };
        access.username = credentials.username;
        access.password = Some(credentials.password);
    }
    Ok(access)
}
