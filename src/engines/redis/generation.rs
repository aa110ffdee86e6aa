//! Which connections of a store belong together.
//!
//! All connections of a store lead to the same server, so they are replaced together: when the first of them
//! reaches its age, is lost, or finds that its server takes no writes, a new generation begins. Each connection
//! of an older one is then replaced by its owner. Otherwise, one that is seldom used would stay with the server
//! that a name meant before.
//!
//! When another server has become the primary, all older generations are *cut*: nothing more is sent over their
//! connections, and their owners close them at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::watch;

/// The generation of a store's connections. Clones share it.
pub(super) struct Generation {
    current: watch::Sender<u64>,
    /// All generations before this one are cut.
    first_uncut: Arc<AtomicU64>,
    /// Ends when another generation has begun, with a receiver that has seen it.
    next: Pin<Box<dyn Future<Output = watch::Receiver<u64>> + Send + Sync>>,
}

impl Generation {
    pub(super) fn first() -> Self {
        Self::of(watch::Sender::new(0), Arc::default())
    }

    fn of(current: watch::Sender<u64>, first_uncut: Arc<AtomicU64>) -> Self {
        let next = after(current.subscribe());
        Self {
            current,
            first_uncut,
            next,
        }
    }

    /// What a connection that is opened now belongs to.
    pub(super) fn current(&self) -> u64 {
        *self.current.borrow()
    }

    /// Ends `generation`, unless it has ended.
    pub(super) fn end(&self, generation: u64) {
        self.current.send_if_modified(|current| {
            let ends = *current == generation;
            *current += u64::from(ends);
            ends
        });
    }

    /// Begins a generation and cuts all others: from now on, nothing is sent over their connections.
    pub(super) fn cut(&self) {
        self.current.send_modify(|current| {
            *current += 1;
            self.first_uncut.store(*current, Ordering::Release);
        });
    }

    /// Whether connections of `generation` must not be used any more.
    pub(super) fn is_cut(&self, generation: u64) -> bool {
        generation < self.first_uncut()
    }

    /// The first generation after the last cut.
    pub(super) fn first_uncut(&self) -> u64 {
        self.first_uncut.load(Ordering::Acquire)
    }

    /// Waits until `generation` is cut.
    pub(super) async fn after_cut(&self, generation: u64) {
        let mut current = self.current.subscribe();
        while !self.is_cut(generation) {
            // There is a sender as long as there is this.
            if current.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether another generation has begun since the last call. If none has, the task is woken when one does.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(receiver) = self.next.as_mut().poll(cx) else {
            return false;
        };
        self.next = after(receiver);
        true
    }
}

fn after(
    mut receiver: watch::Receiver<u64>,
) -> Pin<Box<dyn Future<Output = watch::Receiver<u64>> + Send + Sync>> {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            // Nobody is left to begin one. Its owner has a sender, so that it is being dropped.
            std::future::pending::<()>().await;
        }
        receiver
    })
}

impl Clone for Generation {
    fn clone(&self) -> Self {
        Self::of(self.current.clone(), self.first_uncut.clone())
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generation").field(&self.current()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_generation_ends_once_and_all_owners_learn_of_it() {
        let mut engine = Generation::first();
        let mut subscriber = engine.clone();
        poll_fn(|cx| {
            assert!(!engine.poll_next(cx) && !subscriber.poll_next(cx));
            Poll::Ready(())
        })
        .await;
        let seen = engine.current();
        engine.end(seen);
        subscriber.end(seen);
        assert_eq!(subscriber.current(), seen + 1);
        poll_fn(|cx| {
            assert!(engine.poll_next(cx) && subscriber.poll_next(cx));
            assert!(!engine.poll_next(cx) && !subscriber.poll_next(cx));
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_cut_ends_all_generations_so_far() {
        let generation = Generation::first();
        let mut owner = generation.clone();
        generation.end(0);
        assert!(!generation.is_cut(0));
        generation.cut();
        let current = generation.current();
        assert!(owner.is_cut(0) && owner.is_cut(1) && !owner.is_cut(current));
        owner.after_cut(1).await;
        poll_fn(|cx| {
            assert!(owner.poll_next(cx));
            Poll::Ready(())
        })
        .await;
        generation.end(current);
        assert!(!generation.is_cut(current), "it is replaced between two answers");
    }
}
