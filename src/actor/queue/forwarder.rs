//! The sending end of an engine that passes its requests on to another.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::{QueueSender, Queued};

/// The sending end of a queue whose requests were taken from another queue.
pub(crate) struct Forwarder {
    sender: mpsc::Sender<Queued>,
    /// A place in the queue.
    place: Option<Place>,
    /// The wait for one.
    wait: Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>>,
}

type Place = mpsc::OwnedPermit<Queued>;

impl Forwarder {
    /// Waits until there is room for a request, or the engine has gone.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_none() {
            let sender = &self.sender;
            let wait = self.wait.get_or_insert_with(|| {
                let sender = sender.clone();
                Box::pin(async { sender.reserve_owned().await.ok() })
            });
            self.place = ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(())
    }

    /// Sends on a request. Without a place for it, the engine has gone, and the dropped reply tells so.
    pub(crate) fn send(&mut self, queued: Queued) {
        if let Some(place) = self.place.take() {
            place.send(queued);
        }
    }
}

impl QueueSender {
    pub(crate) fn into_forwarder(self) -> Forwarder {
        Forwarder {
            sender: self.sender,
            place: None,
            wait: None,
        }
    }
}
