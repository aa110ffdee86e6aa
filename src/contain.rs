//! Where the panics of users' code end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Runs what may be a user's code, such as a drop or a waker: a panic ends here, with `None`.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(words) => {
            // The panic hook has told of it, and what it panicked with may panic in its own drop.
            std::mem::forget(words);
            None
        }
    }
}

/// A future of a user's. A panic of it or of its drop ends here, and gives `None`.
#[derive(Debug)]
pub(crate) struct Guarded<F>(Option<Pin<Box<F>>>);

impl<F> Guarded<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let output = match contained(|| future.as_mut().poll(cx)) {
            Some(polled) => Some(ready!(polled)),
            None => None,
        };
        let future = self.0.take();
        contained(|| drop(future));
        Poll::Ready(output)
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        contained(|| drop(future));
    }
}

/// Something of a user's whose drop may panic, which ends here.
#[derive(Clone)]
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(Some(inner))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            contained(|| drop(inner));
        }
    }
}
