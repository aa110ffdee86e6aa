//! The events that wait for one listener.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Event;
use crate::actor::contained;

/// A bounded queue of events. Engines put events in without ever waiting, one listener takes them out.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// What the keys begin with that the listener hears of.
    prefix: Box<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Event>,
    capacity: usize,
    /// Events lost since the last one in `waiting`.
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl Backlog {
    pub(super) fn new(prefix: &str, capacity: usize) -> Self {
        Self {
            prefix: prefix.into(),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                capacity,
                missed: 0,
                closed: false,
                waker: None,
            }),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.state().capacity = capacity;
    }

    /// Adds an event, which is made only if there is room for it.
    pub(super) fn push(&self, event: impl FnOnce() -> Event) {
        let mut state = self.state();
        state.push(event);
        state.wake_unlocked();
    }

    /// No event will be added any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake_unlocked();
    }

    /// The listener has gone: nobody is woken any more.
    pub(super) fn leave(&self) {
        // The lock is released before the waker is dropped, which may be a user's code.
        let waker = self.state().waker.take();
        drop(waker);
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut own = None;
        loop {
            let mut state = self.state();
            if let Some(event) = state.pop() {
                return Poll::Ready(Some(event));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let known = state.waker.as_ref();
            if known.is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            // A waker is cloned and dropped without the lock: that may be a user's code.
            if let Some(own) = own.take() {
                let old = state.waker.replace(own);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            own = Some(cx.waker().clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Events resume only once there is room for `Missed` and one event more, so that each gap is told in its place.
    fn push(&mut self, event: impl FnOnce() -> Event) {
        let needed = if self.missed > 0 { 2 } else { 1 };
        if self.closed {
            return;
        }
        if self.waiting.len() + needed > self.capacity {
            self.missed += 1;
            return;
        }
        if self.missed > 0 {
            self.waiting.push_back(Event::Missed(take(&mut self.missed)));
        }
        self.waiting.push_back(event());
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        if event.is_some() {
            // A burst is over: its room is given back.
            if self.waiting.is_empty() && self.waiting.capacity() > 64 {
                self.waiting = VecDeque::new();
            }
            return event;
        }
        (self.missed > 0).then(|| Event::Missed(take(&mut self.missed)))
    }
}

/// Wakes the listener after the lock is released.
trait WakeUnlocked {
    fn wake_unlocked(self);
}

impl WakeUnlocked for MutexGuard<'_, State> {
    fn wake_unlocked(mut self) {
        let waker = self.waker.take();
        drop(self);
        if let Some(waker) = waker {
            contained(|| waker.wake());
        }
    }
}
