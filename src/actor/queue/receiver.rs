//! The receiving end of a request queue.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use tokio::sync::{mpsc, watch};

use super::Queued;

/// The receiving end, part of an engine's state: what it has received outlives a panic of the
/// engine and is served next.
#[derive(Debug)]
pub(crate) struct QueueReceiver {
    receiver: mpsc::Receiver<Queued>,
    /// Received and not yet served.
    batch: VecDeque<Queued>,
    /// Empty: where the next batch is received.
    buffer: Vec<Queued>,
    /// Dropped last: it tells callers that nobody will answer what is still in the queue.
    _alive: watch::Sender<()>,
}

impl QueueReceiver {
    pub(super) fn new(receiver: mpsc::Receiver<Queued>, alive: watch::Sender<()>) -> Self {
        Self {
            receiver,
            batch: VecDeque::new(),
            buffer: Vec::new(),
            _alive: alive,
        }
    }

    /// Waits until there is a batch to serve: its length, or 0 when the queue has ended.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<usize> {
        if !self.batch.is_empty() {
            return Poll::Ready(self.batch.len());
        }
        let received = ready!(self.receiver.poll_recv_many(cx, &mut self.buffer, limit));
        // A vector becomes a queue, and an empty queue a vector, without being copied.
        let batch = VecDeque::from(std::mem::take(&mut self.buffer));
        self.buffer = Vec::from(std::mem::replace(&mut self.batch, batch));
        Poll::Ready(received)
    }

    /// The next request of the batch.
    pub(crate) fn next(&mut self) -> Option<Queued> {
        self.batch.pop_front()
    }

    /// Refuses every further request; those in the queue stay.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
    }

    /// Requests that wait, the batch included.
    pub(crate) fn depth(&self) -> usize {
        self.receiver.len() + self.batch.len()
    }
}
