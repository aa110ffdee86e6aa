//! How an actor takes turns: with the other tasks of its thread, and between its queue, its mailbox and its clock.

use std::task::{Context, Poll};

use kameo::Actor;
use kameo::mailbox::{MailboxReceiver, Signal};

/// What an actor did in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It did something, which takes so much of its turn: at least 1.
    Done(usize),
    /// There is nothing to do until the task is woken.
    Idle,
    /// There is nothing to do any more: the actor stops.
    Ended,
}

impl Step {
    /// A step that takes one part of a turn, if something was done.
    pub(crate) fn of(done: bool) -> Self {
        if done { Step::Done(1) } else { Step::Idle }
    }
}

/// An actor that works in turns. Each of its [`next`](Actor::next) is one [`poll_turn`] after the other.
pub(crate) trait Turns: Actor {
    /// How much is done before other tasks have their turn, in the unit of [`Step::Done`].
    const TURN: usize;

    /// Begins a turn.
    fn begin_turn(&mut self) {}

    /// Does the next thing that can be done now. `left` is what is left of the turn.
    fn step(&mut self, cx: &mut Context<'_>, left: usize) -> Step;

    /// Does the work that is due. Returns `true` if there was any. Otherwise, the task is woken when the next work is due.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool;
}

/// Does all that can be done now, but no more than a turn's worth. Ready with the mailbox's signal, or with `None`
/// when the actor has ended.
///
/// The mailbox and the clock have their turn when the actor is idle, and at the end of each turn. So neither a
/// stop nor a deadline waits behind a queue that is never empty.
pub(crate) fn poll_turn<A: Turns>(
    actor: &mut A,
    mut mailbox: Option<&mut MailboxReceiver<A>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Signal<A>>> {
    actor.begin_turn();
    let mut left = A::TURN;
    loop {
        match actor.step(cx, left) {
            Step::Done(part) => {
                left = left.saturating_sub(part.max(1));
                if left > 0 {
                    continue;
                }
            }
            Step::Idle => {}
            Step::Ended => return Poll::Ready(None),
        }
        if let Some(mailbox) = &mut mailbox
            && let Poll::Ready(signal) = mailbox.poll_recv(cx)
        {
            return Poll::Ready(signal);
        }
        let was_due = actor.keep_time(cx);
        if left == 0 {
            // There may be more to do, after others have had their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !was_due {
            return Poll::Pending;
        }
        left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use kameo::actor::{ActorRef, Spawn, WeakActorRef};
    use kameo::error::Infallible;
    use tokio::time::Instant;

    use super::super::Alarm;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Always has something to do, and a deadline.
    struct Busy {
        steps: usize,
        due: Instant,
        kept: usize,
        alarm: Alarm,
    }

    impl Busy {
        fn new() -> Self {
            Self {
                steps: 0,
                due: Instant::now() + SECOND,
                kept: 0,
                alarm: Alarm::new(),
            }
        }

        async fn turn(&mut self) {
            let turn = poll_fn(|cx| Poll::Ready(poll_turn(self, None, cx))).await;
            assert!(turn.is_pending(), "it goes on");
        }
    }

    impl Actor for Busy {
        type Args = ();
        type Error = Infallible;

        async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
            Ok(Self::new())
        }

        async fn next(
            &mut self,
            _: WeakActorRef<Self>,
            mailbox: &mut MailboxReceiver<Self>,
        ) -> Result<Option<Signal<Self>>, Infallible> {
            Ok(poll_fn(|cx| poll_turn(self, Some(mailbox), cx)).await)
        }
    }

    impl Turns for Busy {
        const TURN: usize = 10;

        fn step(&mut self, _: &mut Context<'_>, left: usize) -> Step {
            assert!(left > 0 && left <= Self::TURN);
            self.steps += 1;
            Step::Done(3)
        }

        fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
            let is_due = self.alarm.poll(self.due, Instant::now(), cx).is_ready();
            if is_due {
                self.kept += 1;
                self.due += SECOND;
            }
            is_due
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_actor_keeps_its_deadlines() {
        let mut busy = Busy::new();
        for turn in 1..=3 {
            busy.turn().await;
            assert_eq!(
                (busy.steps, busy.kept),
                (4 * turn, turn - 1),
                "four steps are a turn"
            );
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test]
    async fn a_busy_actor_can_be_stopped_and_leaves_others_their_turn() {
        let busy = Busy::spawn(());
        tokio::task::yield_now().await;
        busy.stop_gracefully().await.unwrap();
        busy.wait_for_shutdown().await;
    }
}
