//! Loads on behalf of actors.

use kameo::actor::Recipient;
use tracing::Instrument;

use super::super::One;
use super::loader::{Loader, Model};
use super::single::Load;
use crate::actor::Guarded;
use crate::load::{LoadError, Loading};

impl<T: Model, F> Load<'_, T, F> {
    /// Loads for an actor and returns at once.
    ///
    /// The value or the error is sent to `recipient` as a [`Loading`], which names the key. So an actor need not block
    /// its mailbox while it waits for a load, and can wait for several loads. The message waits for room in the actor's
    /// mailbox. If the actor has ended, a load that has begun goes on, and its value is stored.
    ///
    /// The store stays open until the message is sent.
    ///
    /// ```
    /// use cachestore::kameo::prelude::*;
    /// use cachestore::{Config, Loading, Store};
    ///
    /// struct Prices;
    /// impl Actor for Prices {
    ///     type Args = Self;
    ///     type Error = std::convert::Infallible;
    ///     async fn on_start(prices: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
    ///         Ok(prices)
    ///     }
    /// }
    /// impl Message<Loading<u32, String>> for Prices {
    ///     type Reply = ();
    ///     async fn handle(&mut self, loading: Loading<u32, String>, ctx: &mut Context<Self, ()>) {
    ///         assert_eq!(loading.key, "price:tea");
    ///         assert_eq!(loading.result.unwrap(), 3);
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(Config::memory()).await?;
    /// let prices = Prices::spawn(Prices);
    /// store.get_or_load("price:tea", || async { Ok(3) }).send_to(prices.clone().recipient());
    /// prices.wait_for_shutdown().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The message holds the errors of [`get_or_load`](crate::Store::get_or_load). [`Panicked`](LoadError::Panicked)
    /// also if the model's `Deserialize` panics.
    pub fn send_to<E>(self, recipient: Recipient<Loading<T, E>>)
    where
        F: Loader<One, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let key = self.name();
        let store = self.store().clone();
        let home = store.inner.home.clone();
        let unbound = self.unbound();
        let load = async move {
            // What reads a stored value is the caller's code too.
            let load = Guarded::new(unbound.of(&store).into_future()).await;
            let result = load.unwrap_or(Err(LoadError::Panicked));
            // An actor that has ended is not told.
            drop(recipient.tell(Loading { key, result }).await);
        };
        home.spawn(load.in_current_span());
    }
}
