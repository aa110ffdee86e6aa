//! The nodes of a cluster, which are asked in turn who owns what.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::map::{Map, Node, no_owner, panicked};
use super::question::ask;
use crate::actor::contained;
use crate::config::{Address, Cluster, Place, RedisOptions};
use crate::engines::redis::connection_log::why;
use crate::engines::redis::fault::Lost;
use crate::engines::redis::resolver::shown;
use crate::error::{Cause, Error, Result};

/// How long one node may take to answer, its connection included, before the next one is asked. It doubles with each round
/// in which no node answers, up to the `connect_timeout`.
const PATIENCE: Duration = Duration::from_millis(500);

/// The nodes that are known, and which of them is asked first.
pub(in crate::engines::redis) struct Directory {
    cluster: Cluster,
    options: RedisOptions,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The nodes that others have told of.
    nodes: Vec<Place>,
    /// The node that is asked first.
    first: usize,
    /// In how many rounds in a row no node has answered.
    failures: u32,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cluster, f)
    }
}

impl Directory {
    pub(in crate::engines::redis) fn new(cluster: Cluster, options: RedisOptions) -> Self {
        Self {
            cluster,
            options,
            known: Mutex::default(),
        }
    }

    /// How many nodes are known.
    pub(in crate::engines::redis) fn count(&self) -> usize {
        self.nodes().len()
    }

    /// Asks the nodes in turn, beginning with the one that answered last, until `find` finds what is `wanted` in an answer.
    /// `find` also gets the place of that node.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if all of them answer that they are no node of a cluster, `Unauthorized` if all refuse the user,
    /// otherwise `Unavailable`. All but `Unauthorized` name each node and what came of it.
    pub(in crate::engines::redis) async fn ask<T>(
        &self,
        wanted: &str,
        find: impl Fn(Map, &Place) -> Result<T>,
    ) -> Result<T> {
        let nodes = self.nodes();
        let (first, failures) = {
            let known = self.known();
            (known.first, known.failures)
        };
        let patience = PATIENCE.saturating_mul(1 << failures.min(16));
        let patience = patience.min(self.options.connect_timeout);
        let mut refused = Vec::new();
        let mut has_answered = false;
        for index in (0..nodes.len()).map(|n| (first + n) % nodes.len()) {
            let node = &nodes[index];
            let map = self.ask_one(node, patience).await;
            has_answered |= map.is_ok();
            match map.and_then(|map| find(map, node)) {
                Ok(found) => {
                    let mut known = self.known();
                    (known.first, known.failures) = (index, 0);
                    return Ok(found);
                }
                Err(error) => refused.push((node, error)),
            }
        }
        self.known().failures = if has_answered {
            0
        } else {
            failures.saturating_add(1)
        };
        Err(refusal(wanted, &refused))
    }

    /// Asks who owns which slots: the first and the last slot of each range, and where its owner is reached.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub(in crate::engines::redis) async fn owners(&self) -> Result<Vec<(u16, u16, Place)>> {
        let owners = self.ask("the owners of the slots", |map, at| {
            let ranges = map.ranges.iter();
            let owners = ranges.map(|(first, last, owner)| Some((*first, *last, self.mapped(owner, at)?)));
            // A node that has not joined a cluster yet, or has left it, knows of no slots.
            let owners: Vec<_> = owners.collect::<Option<_>>().ok_or_else(panicked)?;
            if owners.is_empty() {
                Err(no_owner(0))
            } else {
                Ok(owners)
            }
        });
        owners.await
    }

    /// Where one of the nodes is that own slots.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub(in crate::engines::redis) async fn some_owner(&self) -> Result<Place> {
        let owners = self.owners().await?;
        let chosen = rand::random_range(0..owners.len());
        owners
            .into_iter()
            .nth(chosen)
            .map(|(_, _, place)| place)
            .ok_or_else(|| no_owner(0))
    }

    /// Begins the next round with the next node: the one that was asked last may know too little.
    pub(in crate::engines::redis) fn turn(&self) {
        let count = self.count();
        let mut known = self.known();
        known.first = (known.first + 1) % count;
    }

    /// Begins the next round with another node than the one `at` a place.
    pub(in crate::engines::redis) fn avoid(&self, at: &Place) {
        let first = self.known().first;
        let nodes = self.nodes();
        if nodes.get(first % nodes.len().max(1)) == Some(at) {
            self.turn();
        }
    }

    /// Where a node is reached that another names, which is reached `at`. `None` if the application's code panics.
    pub(in crate::engines::redis) fn mapped(&self, node: &Node, at: &Place) -> Option<Place> {
        let (host, port) = match (&node.host, at) {
            (Some(host), _) => contained(|| self.options.address_map.apply(host, node.port))?,
            (None, Place::Tcp(host, _)) => (host.clone(), node.port),
            (None, Place::Unix(_)) => return None,
        };
        Some(Place::Tcp(host, port))
    }

    /// How a node is entered.
    pub(in crate::engines::redis) fn address(&self, place: Place) -> Address {
        let access = self.cluster.access.clone();
        Address { place, access }
    }

    async fn ask_one(&self, node: &Place, patience: Duration) -> Result<Map> {
        let Address { place, access } = self.address(node.clone());
        // The application's callback has a time of its own.
        let access = timeout(self.options.connect_timeout, shown(&self.options, access));
        let access = access.await.unwrap_or_else(|_| {
            let late = "the callback for credentials did not answer in time".to_owned();
            Err(Error::Unavailable(Cause::new(Lost(late))))
        })?;
        let address = Address { place, access };
        let Ok(reply) = timeout(patience, ask(&address, &self.options)).await else {
            let silent = "it did not answer in time".to_owned();
            return Err(Error::Unavailable(Cause::new(Lost(silent))));
        };
        let map = Map::read(reply?)?;
        let nodes: Vec<Place> = map
            .nodes
            .iter()
            .filter_map(|told| self.mapped(told, node))
            .collect();
        if !nodes.is_empty() {
            self.known().nodes = nodes;
        }
        Ok(map)
    }

    /// All known nodes: the seeds, and the nodes that other nodes have named.
    fn nodes(&self) -> Vec<Place> {
        let mut nodes = self.cluster.seeds.clone();
        let known = self.known();
        let others = known
            .nodes
            .iter()
            .filter(|node| !self.cluster.seeds.contains(node));
        nodes.extend(others.cloned());
        nodes
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What it holds is whole at any time.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no node answers what is `wanted`.
fn refusal(wanted: &str, refused: &[(&Place, Error)]) -> Error {
    let all = |is: fn(&Error) -> bool| refused.iter().all(|(_, error)| is(error));
    let told: Vec<String> = refused
        .iter()
        .map(|(place, error)| match error {
            Error::InvalidConfig { .. } => format!("{place} is no node of a cluster"),
            error => format!("{place}: {}", why(error)),
        })
        .collect();
    let reason = format!("no node names {wanted}: {}", told.join(", "));
    if all(|error| matches!(error, Error::InvalidConfig { .. })) {
        return Error::InvalidConfig { reason };
    }
    if all(|error| matches!(error, Error::Unauthorized)) {
        tracing::debug!(reason, "all nodes refuse the user");
        return Error::Unauthorized;
    }
    Error::Unavailable(Cause::new(Lost(reason)))
}

#[cfg(test)]
mod tests;
