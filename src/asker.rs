//! What an actor asks an engine, and has not been answered yet.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::error::{Cause, Error, Result};
use crate::lane::{LaneSender, Refused};
use crate::request::{Outcome, Request, TaggedReply};

/// Questions to an engine, each with what the actor wants to remember about it until the answer comes.
/// None waits for another: the actor goes on, and looks for answers when it is polled.
pub(crate) struct Asker<About, Answer> {
    engine: LaneSender,
    asked: HashMap<u64, About>,
    numbers: u64,
    answers: mpsc::UnboundedReceiver<(u64, Outcome<Answer>)>,
    answer_to: mpsc::UnboundedSender<(u64, Outcome<Answer>)>,
    /// What found no room in the engine's lane.
    outbox: VecDeque<Request>,
    sending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<About, Answer> Asker<About, Answer> {
    pub(crate) fn new(engine: LaneSender) -> Self {
        let (answer_to, answers) = mpsc::unbounded_channel();
        Self {
            engine,
            asked: HashMap::new(),
            numbers: 0,
            answers,
            answer_to,
            outbox: VecDeque::new(),
            sending: None,
        }
    }

    /// Asks. Questions about one key are answered in the order in which they are asked.
    pub(crate) fn ask(&mut self, about: About, make: impl FnOnce(TaggedReply<Answer>) -> Request) {
        self.numbers += 1;
        let number = self.numbers;
        self.asked.insert(number, about);
        let request = make(TaggedReply::new(self.answer_to.clone(), number));
        if !self.is_held_up() {
            match self.engine.try_send(request) {
                // One that is refused because the engine has gone is dropped, which answers it.
                Ok(()) | Err(Refused::Closed) => {}
                Err(Refused::Full(envelope)) => self.outbox.push_back(envelope.request),
            }
        } else {
            self.outbox.push_back(request);
        }
    }

    /// Whether questions wait for room in the engine's lane: then whoever asks us should wait in ours.
    pub(crate) fn is_held_up(&self) -> bool {
        self.sending.is_some() || !self.outbox.is_empty()
    }

    /// Whether all has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next answer. What waits for room in the lane is sent meanwhile.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(About, Result<Answer>)> {
        self.poll_outbox(cx);
        // The channel never ends: a sender of it is ours.
        while let Poll::Ready(Some((number, outcome))) = self.answers.poll_recv(cx) {
            if let Some(about) = self.asked.remove(&number) {
                let answer = outcome.unwrap_or_else(|| Err(self.dropped()));
                return Poll::Ready((about, answer));
            }
        }
        Poll::Pending
    }

    fn poll_outbox(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(sending) = &mut self.sending {
                if sending.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.sending = None;
            }
            let Some(request) = self.outbox.pop_front() else {
                return;
            };
            let engine = self.engine.clone();
            // A request that is not sent is dropped, which answers it.
            self.sending = Some(Box::pin(async move { drop(engine.send(request).await) }));
        }
    }

    /// Why a question was dropped unanswered.
    fn dropped(&self) -> Error {
        if self.engine.is_closed() {
            Error::Closed
        } else {
            Error::OutcomeUnknown(Cause::new(Failed))
        }
    }
}

impl<About, Answer> fmt::Debug for Asker<About, Answer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("under_way", &self.asked.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the engine failed while it served this request")]
struct Failed;
