//! An actor that passes on what it is told.

use cachestore::kameo::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

pub(crate) struct Listener<M>(pub(crate) UnboundedSender<M>);

impl<M: Send + 'static> Actor for Listener<M> {
    type Args = Self;
    type Error = std::convert::Infallible;

    async fn on_start(listener: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(listener)
    }
}

impl<M: Send + 'static> Message<M> for Listener<M> {
    type Reply = ();

    async fn handle(&mut self, told: M, _: &mut Context<Self, ()>) {
        self.0.send(told).unwrap();
    }
}
