//! Events: what happens in a store, sent to its listeners.

mod backlog;
mod listeners;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use kameo::actor::Recipient;
use tokio::runtime::Handle;

use self::backlog::Backlog;
pub(crate) use self::listeners::{EndOfEvents, Listeners};
use crate::key::Namespace;

/// A change in a store or its connections: see [`Store::events`](crate::Store::events).
///
/// Keys are named as the listening handle names them: without its namespace. Events never hold values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A value was written by a call, or by a load that stored its result. A new TTL alone is not a write.
    Written {
        /// The key of the value.
        key: String,
    },
    /// The TTL of an entry ended, and the engine reclaimed the entry.
    ///
    /// Readers find the entry absent from the end of its TTL. The memory engine reclaims it up to some milliseconds
    /// later. If the key is written before that, only `Written` is sent.
    Expired {
        /// The key of the entry.
        key: String,
    },
    /// An entry was removed to make room for others.
    Evicted {
        /// The key of the entry.
        key: String,
    },
    /// An entry was removed by `delete`, `delete_many`, `take`, or an `update_model` whose closure returned `None`.
    Deleted {
        /// The key of the entry.
        key: String,
    },
    /// An entry was removed by `invalidate` of its key or of a dependency.
    ///
    /// On Redis with a near cache, it is also sent if another client has written or removed a key of the near cache, or
    /// if the server has evicted the key. It is not sent when a TTL ends.
    Invalidated {
        /// The key of the entry.
        key: String,
    },
    /// A `clear` has ended. Its entries have no events of their own.
    Cleared {
        /// The namespace that was cleared, as `a/b`. Empty for the root, which holds all keys.
        namespace: String,
        /// How many entries were removed.
        removed: u64,
    },
    /// A lost connection to a server is open again. Each connection for requests has events of its own.
    Connected {
        /// The server, as `host:port` or the path of its socket.
        node: String,
    },
    /// A connection to a server was lost, or could not be opened. Further failed attempts have no event.
    Disconnected {
        /// The server, as `host:port` or the path of its socket.
        node: String,
        /// Why, in one line.
        cause: String,
    },
    /// Sentinel names another server as the primary, or another node of a cluster owns the slot of the store. All connections
    /// to the former primary are closed. A store over all nodes of a cluster does not send it.
    SwitchedPrimary {
        /// The new primary, as `host:port`.
        node: String,
    },
    /// The engine lost all its entries because of a bug in the engine.
    Reset,
    /// The near cache lost all its entries at once. The engine still has them.
    NearCacheFlushed,
    /// This number of events was lost at this place, because the listener was slower than the store.
    Missed(u64),
}

/// How many events wait for a listener unless [`Events::capacity`] was called.
const CAPACITY: usize = 1024;

/// The events of a store, as a [`Stream`]: see [`Store::events`](crate::Store::events).
///
/// The stream listens from its creation until it is dropped. It ends once the store is closed and all events are read.
/// It does not keep the store open.
#[must_use = "events are lost unless they are read"]
pub struct Events {
    backlog: Arc<Backlog>,
    listeners: Arc<Listeners>,
    home: Handle,
}

impl Events {
    /// Listens to what happens to the keys of `namespace` from now on. `home` runs what [`send_to`](Self::send_to) starts.
    pub(crate) fn new(listeners: &Arc<Listeners>, namespace: &Namespace, home: Handle) -> Self {
        let backlog = Arc::new(Backlog::new(namespace.prefix(), CAPACITY));
        listeners.add(backlog.clone());
        Self {
            backlog,
            listeners: listeners.clone(),
            home,
        }
    }

    /// Sets how many events may wait to be read: at least 1. Default: 1,024.
    ///
    /// If that many events wait, further events are lost. One [`Event::Missed`] takes their place and counts them.
    pub fn capacity(self, events: usize) -> Self {
        self.backlog.set_capacity(events.max(1));
        self
    }

    /// Waits for the next event. Returns `None` once the store is closed and all events were read.
    ///
    /// The stream yields the same events. `recv` needs no crate with stream adapters.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// use cachestore::{Config, Event, Store};
    ///
    /// let store = Store::open(Config::memory()).await?;
    /// let mut events = store.events();
    /// store.set("k", "v").await?;
    /// store.close().await?;
    /// assert_eq!(events.recv().await, Some(Event::Written { key: "k".into() }));
    /// assert_eq!(events.recv().await, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        poll_fn(|cx| self.backlog.poll_next(cx)).await
    }

    /// Sends each event to an actor as a message, until the store is closed or the actor ends.
    ///
    /// It waits for room in the actor's mailbox. Meanwhile, at most [`capacity`](Self::capacity) further events wait.
    /// The actor is kept alive as long as the store is open.
    ///
    /// ```
    /// use cachestore::kameo::prelude::*;
    /// use cachestore::{Config, Event, Store};
    ///
    /// struct Audit(Vec<Event>);
    /// impl Actor for Audit {
    ///     type Args = Self;
    ///     type Error = std::convert::Infallible;
    ///     async fn on_start(audit: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
    ///         Ok(audit)
    ///     }
    /// }
    /// impl Message<Event> for Audit {
    ///     type Reply = ();
    ///     async fn handle(&mut self, event: Event, ctx: &mut Context<Self, ()>) {
    ///         self.0.push(event);
    ///         if self.0.len() == 2 {
    ///             assert_eq!(self.0[1], Event::Deleted { key: "k".into() });
    ///             ctx.stop();
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(Config::memory()).await?;
    /// let audit = Audit::spawn(Audit(Vec::new()));
    /// store.events().send_to(audit.clone().recipient());
    /// store.set("k", "v").await?;
    /// store.delete("k").await?;
    /// audit.wait_for_shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn send_to(mut self, recipient: Recipient<Event>) {
        let home = self.home.clone();
        home.spawn(async move {
            loop {
                let event = tokio::select! {
                    event = self.recv() => event,
                    () = recipient.wait_for_shutdown() => None,
                };
                let Some(event) = event else { return };
                if recipient.tell(event).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.backlog.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.listeners.remove(&self.backlog);
        // An engine that tells listeners right now may drop the backlog later than this.
        self.backlog.leave();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
