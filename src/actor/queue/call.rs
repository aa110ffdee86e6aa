//! One call and its answers: what a caller waits for, and until when.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use super::{QueueSender, Refused, Stamp, Time};
use crate::calls::Answered;
use crate::error::{Cause, Error, Phase, Result};
use crate::request::{Operation, Reply, Request};
use crate::ttl::LONGEST;
use crate::watch::Watch;

/// How much longer than an engine that keeps deadlines a caller on another runtime waits: the engine
/// knows better what has become of the request.
const GRACE: Duration = Duration::from_millis(100);

/// One call of a caller. All requests that it is split into share its deadline.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(super) queue: &'a QueueSender,
    /// `None` until a request needs it, which saves most calls a look at the clock.
    pub(super) deadline: Option<Instant>,
    pub(super) watch: Watch<'a>,
}

impl<'a> Call<'a> {
    /// The call ends by `timeout`.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.deadline = Some(Instant::now() + timeout.min(LONGEST));
        self
    }

    /// When the call must have ended.
    pub(crate) fn deadline(&mut self) -> Instant {
        *self.deadline.get_or_insert_with(|| self.queue.limit())
    }

    /// The error of a call that has nothing to send.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.queue.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Sends a request and waits for the answer.
    ///
    /// On the engine's own runtime, once there was room, that wait has no timer: whatever keeps the
    /// engine from its turn there is a turn away itself, and a timer for each request would cost a
    /// third of it.
    pub(crate) async fn ask<O: Operation>(&mut self, operation: O) -> Result<O::Answer> {
        let answer = match self.begin(operation).await {
            Ok(answer) => answer.wait().await,
            Err(error) => Err(error),
        };
        self.end(answer)
    }

    /// Sends an operation that may take an engine longer than its turn, and waits for its answer.
    pub(crate) async fn ask_for_long<O: Operation>(&mut self, operation: O) -> Result<O::Answer> {
        if self.queue.stamp == Stamp::TimedWrites {
            // Known, the deadline holds for the answer too.
            self.deadline();
        }
        self.ask(operation).await
    }

    /// Sends an operation at once, if there is room for the request now and its answer needs no timer. Otherwise
    /// drops the operation.
    pub(crate) fn try_begin<O: Operation>(&mut self, operation: O) -> Option<Answer<'a, O::Answer>> {
        if self.queue.is_abroad() {
            return None;
        }
        let (reply, answer) = Reply::new();
        let request = operation.into_request(reply);
        let changes = request.changes();
        self.try_send(request).ok()?;
        Some(Answer {
            queue: self.queue,
            answer,
            changes,
            limit: None,
        })
    }

    /// Sends a request. Returns its answer, to be waited for later.
    pub(crate) async fn begin<O: Operation>(&mut self, operation: O) -> Result<Answer<'a, O::Answer>> {
        let (reply, answer) = Reply::new();
        let request = operation.into_request(reply);
        let changes = request.changes();
        // Not by `send`, whose future holds the request.
        if let Err(refused) = self.try_send(request) {
            self.send_refused(refused).await?;
        }
        Ok(Answer {
            queue: self.queue,
            answer,
            changes,
            limit: self.limit_of_answer(),
        })
    }

    /// Puts `request` into the queue, if need be after waiting for room.
    ///
    /// Cancel safe: once this has ended or was dropped, the request is in the queue, or never will be. A request that
    /// waits for room may be in the queue before this is ready.
    pub(crate) async fn send(&mut self, request: Request) -> Result<()> {
        match self.try_send(request) {
            Ok(()) => Ok(()),
            Err(refused) => self.send_refused(refused).await,
        }
    }

    /// Waits for room for a request that found none.
    pub(crate) async fn send_refused(&mut self, refused: Refused) -> Result<()> {
        let Refused::Full(queued) = refused else {
            return Err(Error::Closed);
        };
        let deadline = self.deadline();
        Box::pin(self.queue.wait_and_send(*queued, deadline)).await
    }

    /// The call goes on, and waits for something other than the engine.
    pub(crate) fn go_on(&mut self) {
        self.watch.begin();
    }

    /// Ends the call, for metrics and spans. A call of one request is ended by [`ask`](Self::ask).
    pub(crate) fn end<A: Answered>(&mut self, answer: A) -> A {
        self.watch.end(&answer);
        answer
    }

    /// The span of the call, if it has one.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.watch.span()
    }

    /// Puts `request` into the queue if there is room for it now.
    pub(crate) fn try_send(&mut self, request: Request) -> std::result::Result<(), Refused> {
        self.watch.begin();
        let time = match self.queue.stamp {
            stamp if stamp.has_deadlines() => Some(Time::Deadline(self.deadline())),
            _ if request.counts_from_the_call() => Some(Time::Made(Instant::now())),
            _ => None,
        };
        self.queue.try_enter(request, time)
    }

    /// Until when the caller waits for an answer; `None` if the engine keeps the deadline, or answers
    /// in its turn, and cannot end before the caller.
    fn limit_of_answer(&mut self) -> Option<Instant> {
        let (stamp, is_abroad) = (self.queue.stamp, self.queue.is_abroad());
        if stamp.has_deadlines() {
            (is_abroad || stamp.is_watched()).then(|| self.deadline() + GRACE)
        } else if is_abroad {
            Some(self.deadline())
        } else {
            self.deadline
        }
    }
}

/// The answer to a request in the queue.
#[derive(Debug)]
pub(crate) struct Answer<'a, T> {
    queue: &'a QueueSender,
    answer: oneshot::Receiver<Result<T>>,
    changes: bool,
    limit: Option<Instant>,
}

impl<T> Answer<'_, T> {
    pub(crate) async fn wait(self) -> Result<T> {
        let Some(limit) = self.limit else {
            let answer = self.answer.await;
            return answer.unwrap_or_else(|_| Err(self.queue.dropped(self.changes)));
        };
        let changes = self.changes;
        let answer = async { Ok(self.answer_or_end().await) };
        // Boxed, as a timer would make the future of every call as large.
        match Box::pin(until(limit, Phase::Reply, answer)).await {
            Ok(answer) => answer,
            // A change in the queue is carried out, although its caller does not wait any more.
            Err(late) if changes => Err(Error::OutcomeUnknown(Cause::new(late))),
            Err(late) => Err(late),
        }
    }

    /// Waits for the answer as long as the engine lives. If that ends with its runtime just as a request enters the
    /// queue, the request stays there, and its reply is never dropped.
    async fn answer_or_end(mut self) -> Result<T> {
        let answer = tokio::select! {
            biased;
            answer = &mut self.answer => answer.ok(),
            () = self.queue.gone() => self.answer.try_recv().ok(),
        };
        answer.unwrap_or_else(|| Err(self.queue.dropped(self.changes)))
    }

    /// Polls for an answer of [`try_begin`](QueueSender::try_begin).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(self.queue.dropped(self.changes))))
    }
}

/// Waits until `limit` at most. Without a runtime there is no timer, and no limit.
pub(crate) async fn until<T>(
    limit: Instant,
    phase: Phase,
    wait: impl Future<Output = Result<T>>,
) -> Result<T> {
    if Handle::try_current().is_err() {
        return wait.await;
    }
    tokio::time::timeout_at(limit, wait)
        .await
        .unwrap_or(Err(Error::Timeout { phase }))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    use super::super::{Bounds, Queued, request_queue};
    use super::*;
    use crate::key::Key;
    use crate::request::{Incr, Ping};

    /// It is carried out later, and must not be called retryable.
    #[tokio::test(start_paused = true)]
    async fn a_change_that_entered_before_its_deadline_is_of_unknown_outcome() {
        let bounds = Bounds {
            length: 1,
            bytes: 1024,
            patience: Duration::from_secs(1),
        };
        let (sender, mut receiver) = request_queue(&bounds, Stamp::TimedWrites, &Handle::current());
        let (reply, _) = Reply::new();
        sender.send(Ping {}.into_request(reply)).await.unwrap();
        let mut call = sender.call();
        let key = Key::with_hash("k", 1);
        let (by, ttl) = (1, None);
        let serve_one = async {
            tokio::time::sleep(Duration::from_millis(999)).await;
            poll_fn(|cx| receiver.poll_batch(cx, 1)).await;
            receiver.next()
        };
        let (late, _) = tokio::join!(call.ask(Incr { key, by, ttl }), serve_one);
        assert!(matches!(late, Err(Error::OutcomeUnknown(_))), "{late:?}");
        assert_eq!(receiver.depth(), 1, "the engine has it still to serve");
    }

    #[test]
    fn a_request_that_enters_as_its_engine_ends_is_answered() {
        let home = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for stamp in [Stamp::TimedWrites, Stamp::All] {
            let bounds = Bounds {
                length: 1,
                bytes: 1024,
                patience: Duration::from_secs(1),
            };
            let (sender, receiver) = request_queue(&bounds, stamp, home.handle());
            // The caller has taken its place, and is interrupted before it puts its request there.
            let place = sender.sender.try_reserve().unwrap();
            drop(receiver);
            let (reply, answer) = Reply::new();
            place.send(Queued {
                request: Ping {}.into_request(reply),
                time: None,
                room: None,
                ticket: None,
            });
            let answer = Answer {
                queue: &sender,
                answer,
                changes: false,
                limit: sender.call().limit_of_answer(),
            };
            let polled = pin!(answer.wait()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Err(Error::Closed))), "{polled:?}");
        }
    }
}
