//! Asking the nodes who owns which slots: every minute, when a node tells that it has changed, and while a node cannot be
//! reached.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Place;
use crate::engines::redis::cluster::Directory;
use crate::error::Result;

/// How long an answer counts while nothing tells that it is wrong.
const EVERY: Duration = Duration::from_secs(60);
/// How soon the nodes are asked again at the earliest.
const SOONEST: Duration = Duration::from_millis(20);
/// How soon after failures in a row, at the latest.
const LATEST: Duration = Duration::from_secs(1);
/// How often the nodes are asked while one of them cannot be reached.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The ranges of slots, and where their owners are.
pub(super) type Owners = Vec<(u16, u16, Place)>;

type Asking = Pin<Box<dyn Future<Output = Result<Owners>> + Send>>;

pub(super) struct Refresh {
    directory: Arc<Directory>,
    asking: Option<Asking>,
    /// When the nodes are asked next.
    at: Instant,
    /// When they were asked last.
    begun: Option<Instant>,
    /// How often they were asked.
    count: u64,
    /// How often in a row nobody has answered.
    failures: u32,
    /// Somebody needs an answer to a question that begins later than the one under way.
    once_more: bool,
}

impl Refresh {
    pub(super) fn new(directory: Arc<Directory>, now: Instant) -> Self {
        Self {
            directory,
            asking: None,
            at: now,
            begun: None,
            count: 0,
            failures: 0,
            once_more: false,
        }
    }

    /// Has the nodes asked soon: what is known is wrong, or may be. Returns the number of that question.
    pub(super) fn want(&mut self, now: Instant) -> u64 {
        let next = self.count + 1;
        if self.asking.is_some() {
            self.once_more = true;
            return next;
        }
        self.ask_after(self.pause(), now);
        next
    }

    /// Has the nodes asked again before long: one of them cannot be reached, and another may have got its slots.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.asking.is_none() {
            self.ask_after(self.pause().max(LOOK_AGAIN), now);
        }
    }

    /// How long after the last question the next one is put at the earliest.
    fn pause(&self) -> Duration {
        SOONEST.saturating_mul(1 << self.failures.min(8)).min(LATEST)
    }

    fn ask_after(&mut self, pause: Duration, now: Instant) {
        let soonest = self.begun.map_or(now, |begun| begun + pause);
        self.at = self.at.min(soonest.max(now));
    }

    /// Goes on. Returns what the nodes answer, and the number of the question.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<(u64, Result<Owners>)> {
        if self.asking.is_none() && self.at <= now {
            let directory = self.directory.clone();
            self.asking = Some(Box::pin(async move { directory.owners().await }));
            self.begun = Some(now);
            self.count += 1;
        }
        let Poll::Ready(answer) = self.asking.as_mut()?.as_mut().poll(cx) else {
            return None;
        };
        self.asking = None;
        self.at = now + EVERY;
        match &answer {
            Ok(_) => self.failures = 0,
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                // Another node may know better.
                self.directory.turn();
                self.want(now);
            }
        }
        if std::mem::take(&mut self.once_more) {
            self.want(now);
        }
        Some((self.count, answer))
    }

    /// Forgets the question under way, and asks anew.
    pub(super) fn reset(&mut self, now: Instant) {
        (self.asking, self.at) = (None, now);
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asking.is_none().then_some(self.at)
    }
}
