//! What an actor asks an engine, and has not been answered yet.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use crate::actor::queue::{EngineFailed, QueueSender, Refused};
use crate::error::{Cause, Error, Result};
use crate::prehashed::Map;
use crate::request::{CorrelatedReply, Operation, Outcome, Reply, Request};

type Sending = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Questions to an engine, each with what the actor wants to remember about it until the answer comes.
/// None waits for another: the actor goes on, and looks for answers when it is polled.
pub(crate) struct PendingRequests<About, Answer> {
    engine: QueueSender,
    asked: Map<u64, About>,
    numbers: u64,
    answers: mpsc::UnboundedReceiver<(u64, Outcome<Answer>)>,
    answer_to: mpsc::UnboundedSender<(u64, Outcome<Answer>)>,
    /// What found no room in the engine's queue, by its number.
    outbox: VecDeque<(u64, Request)>,
    sending: Option<(u64, Sending)>,
}

impl<About, Answer> PendingRequests<About, Answer> {
    pub(crate) fn new(engine: QueueSender) -> Self {
        let (answer_to, answers) = mpsc::unbounded_channel();
        Self {
            engine,
            asked: Map::default(),
            numbers: 0,
            answers,
            answer_to,
            outbox: VecDeque::new(),
            sending: None,
        }
    }

    /// Asks. Questions about one key are answered in the order in which they are asked.
    pub(crate) fn ask(&mut self, about: About, operation: impl Operation<Answer = Answer>) {
        self.numbers += 1;
        let number = self.numbers;
        self.asked.insert(number, about);
        let reply = CorrelatedReply::new(self.answer_to.clone(), number);
        let request = operation.into_request(Reply::Actor(reply));
        if !self.is_held_up() {
            match self.engine.try_send(request) {
                // A request that is refused because the engine has gone is dropped, which answers it.
                Ok(()) | Err(Refused::Closed) => {}
                Err(Refused::Full(queued)) => self.outbox.push_back((number, queued.request)),
            }
        } else {
            self.outbox.push_back((number, request));
        }
    }

    /// Whether requests wait for room in the engine's queue. The actor then leaves its own callers in its inbox.
    pub(crate) fn is_held_up(&self) -> bool {
        self.sending.is_some() || !self.outbox.is_empty()
    }

    /// Whether every request has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next answer. Meanwhile sends the requests that wait for room in the queue.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(About, Result<Answer>)> {
        if let Poll::Ready(refused) = self.poll_outbox(cx) {
            return Poll::Ready(refused);
        }
        // The channel never ends: a sender of it is ours.
        while let Poll::Ready(Some((number, outcome))) = self.answers.poll_recv(cx) {
            if let Some(about) = self.asked.remove(&number) {
                let answer = outcome.unwrap_or_else(|| Err(self.dropped()));
                return Poll::Ready((about, answer));
            }
        }
        Poll::Pending
    }

    /// Sends what waits for room in the queue, until there is none. Ready with a question that has waited too
    /// long for it, and was not asked.
    fn poll_outbox(&mut self, cx: &mut Context<'_>) -> Poll<(About, Result<Answer>)> {
        loop {
            if let Some((number, sending)) = &mut self.sending {
                let sent = ready!(sending.as_mut().poll(cx));
                let about = sent.as_ref().err().and_then(|_| self.asked.remove(number));
                self.sending = None;
                if let (Some(about), Err(error)) = (about, sent) {
                    return Poll::Ready((about, Err(error)));
                }
            }
            let Some((number, request)) = self.outbox.pop_front() else {
                return Poll::Pending;
            };
            let engine = self.engine.clone();
            self.sending = Some((number, Box::pin(async move { engine.send(request).await })));
        }
    }

    /// Why a question was dropped unanswered.
    fn dropped(&self) -> Error {
        if self.engine.is_closed() {
            Error::Closed
        } else {
            Error::OutcomeUnknown(Cause::new(EngineFailed))
        }
    }
}

impl<About, Answer> fmt::Debug for PendingRequests<About, Answer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingRequests")
            .field("under_way", &self.asked.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::*;
    use crate::actor::queue::{Bounds, Stamp, request_queue};
    use crate::error::Phase;
    use crate::request::{Lease, LeaseAction, LeaseAnswer, Names, Token};

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_was_not_asked() {
        let bounds = Bounds {
            length: 1,
            bytes: 1024,
            patience: Duration::from_secs(1),
        };
        let (sender, _engine) = request_queue(&bounds, Stamp::TimedWrites, &Handle::current());
        let mut pending: PendingRequests<u32, LeaseAnswer> = PendingRequests::new(sender);
        let maker = crate::key::KeyMaker::new(10, false);
        for about in 1..=2 {
            let action = LeaseAction::End {
                key: maker.key(&crate::key::Namespace::default(), "k").unwrap(),
                token: Token::random(),
                names: Names::default(),
                given: false,
            };
            let step = Box::new(action);
            pending.ask(about, Lease { step });
        }
        let (about, answer) = poll_fn(|cx| pending.poll_answer(cx)).await;
        assert_eq!(about, 2, "the first is in the queue, where it waits");
        assert!(
            matches!(answer, Err(Error::Timeout { phase: Phase::Queue })),
            "{answer:?}"
        );
        assert!(!pending.is_idle() && !pending.is_held_up());
    }
}
