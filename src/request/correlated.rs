//! Correlated replies: an actor that has many pending requests gets all answers over one channel.

use tokio::sync::mpsc;

use crate::error::Result;

/// What became of a question: `None` if the engine dropped it.
pub(crate) type Outcome<T> = Option<Result<T>>;

/// Where the answer to one of an actor's questions goes: a channel that the actor has for all of them, in
/// which this one is known by its number. A reply that is dropped says so.
#[derive(Debug)]
pub(crate) struct CorrelatedReply<T> {
    to: Option<mpsc::UnboundedSender<(u64, Outcome<T>)>>,
    number: u64,
}

impl<T> CorrelatedReply<T> {
    pub(crate) fn new(to: mpsc::UnboundedSender<(u64, Outcome<T>)>, number: u64) -> Self {
        Self { to: Some(to), number }
    }

    /// Hands out the answer.
    pub(crate) fn send(mut self, answer: Result<T>) {
        if let Some(to) = self.to.take() {
            // The actor that asked may have ended.
            let _ = to.send((self.number, Some(answer)));
        }
    }
}

impl<T> Drop for CorrelatedReply<T> {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let _ = to.send((self.number, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_is_answered_once_and_a_dropped_one_says_so() {
        let (to, mut answers) = mpsc::unbounded_channel();
        CorrelatedReply::new(to.clone(), 1).send(Ok("answer"));
        drop(CorrelatedReply::new(to, 2));
        assert!(matches!(answers.try_recv(), Ok((1, Some(Ok("answer"))))));
        assert!(matches!(answers.try_recv(), Ok((2, None))));
        assert!(answers.try_recv().is_err());
    }
}
