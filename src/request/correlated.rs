//! Correlated replies: an actor that has many pending requests gets all answers over one channel.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::error::Result;

/// What became of a question: `None` if the engine dropped it.
pub(crate) type Outcome<T> = Option<Result<T>>;

/// Where the answers to an actor's questions go. A trait object, so that code which drops a request of any kind does not
/// bring a channel for each type of answer with it: all crates that await a call compile such code.
pub(crate) type Answers<T> = Arc<dyn TakeAnswer<T>>;

/// Takes the answers to an actor's questions.
pub(crate) trait TakeAnswer<T>: fmt::Debug + Send + Sync {
    fn take(&self, number: u64, outcome: Outcome<T>);
}

impl<T: Send> TakeAnswer<T> for mpsc::UnboundedSender<(u64, Outcome<T>)> {
    fn take(&self, number: u64, outcome: Outcome<T>) {
        // The actor that asked may have ended.
        let _ = self.send((number, outcome));
    }
}

/// The channel of an actor for the answers to its questions.
pub(crate) fn answers<T: Send + 'static>() -> (Answers<T>, mpsc::UnboundedReceiver<(u64, Outcome<T>)>) {
    let (to, answers) = mpsc::unbounded_channel();
    (Arc::new(to), answers)
}

/// Where the answer to one of an actor's questions goes: a channel that the actor has for all of them, in
/// which this one is known by its number. A reply that is dropped says so.
#[derive(Debug)]
pub(crate) struct CorrelatedReply<T> {
    to: Option<Answers<T>>,
    number: u64,
}

impl<T> CorrelatedReply<T> {
    pub(crate) fn new(to: Answers<T>, number: u64) -> Self {
        Self { to: Some(to), number }
    }

    /// Hands out the answer.
    pub(crate) fn send(mut self, answer: Result<T>) {
        if let Some(to) = self.to.take() {
            to.take(self.number, Some(answer));
        }
    }
}

impl<T> Drop for CorrelatedReply<T> {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            to.take(self.number, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_is_answered_once_and_a_dropped_one_says_so() {
        let (to, mut answers) = answers();
        CorrelatedReply::new(to.clone(), 1).send(Ok("answer"));
        drop(CorrelatedReply::new(to, 2));
        assert!(matches!(answers.try_recv(), Ok((1, Some(Ok("answer"))))));
        assert!(matches!(answers.try_recv(), Ok((2, None))));
        assert!(answers.try_recv().is_err());
    }
}
