//! The actor that listens to Sentinels, so that a store hears of another primary as soon as they agree on one.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use futures_core::Stream as _;
use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox::{MailboxReceiver, Signal};
use redis::Msg;
use redis::aio::{PubSub, PubSubStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::connect::{introduction, unopened};
use super::super::connection_log::why;
use super::super::fault::Lost;
use super::super::scanner::Bounds;
use super::super::stream::Stream;
use super::{Asked, Discovery, silent};
use crate::actor::{Backoff, Step, Turns, poll_turn};
use crate::error::{Cause, Error, Result};

/// What Sentinels announce a new primary by.
const CHANNEL: &str = "+switch-master";
/// How often a Sentinel that is listened to is asked, in case an announcement was lost.
const POLL: Duration = Duration::from_secs(10);
/// How many Sentinels are listened to at the same time.
const LISTENERS: usize = 2;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the watcher is started with.
#[derive(Debug)]
pub(in super::super) struct WatcherStart {
    pub(in super::super) discovery: Arc<Discovery>,
}

/// Listens to two Sentinels, or to one where there is only one.
pub(in super::super) struct Watcher {
    discovery: Arc<Discovery>,
    work: Vec<Work>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher")
            .field("listeners", &self.work.len())
            .finish_non_exhaustive()
    }
}

impl Actor for Watcher {
    type Args = WatcherStart;
    type Error = Infallible;

    async fn on_start(start: WatcherStart, _: ActorRef<Self>) -> std::result::Result<Self, Infallible> {
        let WatcherStart { discovery } = start;
        let work = work(&discovery);
        Ok(Self { discovery, work })
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> std::result::Result<Option<Signal<Self>>, Infallible> {
        Ok(poll_fn(|cx| poll_turn(self, Some(mailbox), cx)).await)
    }

    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        panic: PanicError,
    ) -> std::result::Result<ControlFlow<ActorStopReason>, Infallible> {
        tracing::error!(%panic, "the watcher of Sentinels panicked: it listens anew");
        self.work = work(&self.discovery);
        Ok(ControlFlow::Continue(()))
    }
}

impl Turns for Watcher {
    const TURN: usize = 16;

    fn step(&mut self, cx: &mut Context<'_>, _: usize) -> Step {
        // None of them ends.
        for work in &mut self.work {
            let _ = work.as_mut().poll(cx);
        }
        Step::Idle
    }

    fn keep_time(&mut self, _: &mut Context<'_>) -> bool {
        false
    }
}

/// One listener for each share of the Sentinels, so that no two listen to the same one.
fn work(discovery: &Arc<Discovery>) -> Vec<Work> {
    let count = discovery.sentinels.seeds.len();
    (0..count.min(LISTENERS))
        .map(|first| {
            let share: Vec<usize> = (first..count).step_by(LISTENERS).collect();
            Box::pin(watch(discovery.clone(), share)) as Work
        })
        .collect()
}

/// Listens to one Sentinel of these after the other.
async fn watch(discovery: Arc<Discovery>, share: Vec<usize>) {
    let (shortest, longest) = (
        discovery.options.reconnect_backoff_min,
        discovery.options.reconnect_backoff_max,
    );
    let mut backoff = Backoff::default();
    for index in share.iter().copied().cycle() {
        let began = Instant::now();
        let error = listen(&discovery, index).await;
        let sentinel = &discovery.sentinels.seeds[index].place;
        tracing::debug!(%sentinel, error = %why(&error), "a Sentinel is not listened to any more");
        if began.elapsed() > POLL {
            backoff.reset();
        }
        sleep(backoff.after_failure(shortest, longest)).await;
    }
}

/// Listens to one Sentinel until it fails. Returns why.
async fn listen(discovery: &Discovery, index: usize) -> Error {
    let opened = timeout(discovery.options.sentinel_timeout, subscribe(discovery, index)).await;
    let mut messages = match opened {
        Ok(Ok(messages)) => messages,
        Ok(Err(error)) => return error,
        Err(_) => return silent(),
    };
    loop {
        // At first too: it may have announced something before it was listened to.
        match discovery.ask(index).await {
            Asked::Failed(error) => return error,
            Asked::Named(_) | Asked::Unknown | Asked::Outdated => {}
        }
        let next = Instant::now() + POLL;
        loop {
            let message = tokio::select! {
                message = poll_fn(|cx| Pin::new(&mut messages).poll_next(cx)) => message,
                () = sleep_until(next) => break,
            };
            let Some(message) = message else {
                return Error::Unavailable(Cause::new(Lost("the connection was closed".to_owned())));
            };
            if !hear(discovery, &message) {
                break;
            }
        }
    }
}

/// Takes in an announcement. Returns `false` if the Sentinel has to be asked what it means.
fn hear(discovery: &Discovery, message: &Msg) -> bool {
    let Some((service, from, to)) = std::str::from_utf8(message.get_payload_bytes())
        .ok()
        .and_then(parse)
    else {
        return false;
    };
    if service != discovery.sentinels.service {
        return true;
    }
    let place = |(host, port)| discovery.mapped(host, port);
    let (Some(from), Some(to)) = (place(from), place(to)) else {
        return false;
    };
    // The new primary's number is known once the Sentinel is asked.
    discovery.announced(&from, &to);
    false
}

type Named<'a> = (&'a str, u16);

/// `main 10.0.0.1 6379 10.0.0.2 6379`
fn parse(payload: &str) -> Option<(&str, Named<'_>, Named<'_>)> {
    let mut words = payload.split(' ');
    let mut word = || words.next();
    let service = word()?;
    let from = (word()?, word()?.parse().ok()?);
    let to = (word()?, word()?.parse().ok()?);
    Some((service, from, to))
}

async fn subscribe(discovery: &Discovery, index: usize) -> Result<PubSubStream> {
    let seed = &discovery.sentinels.seeds[index];
    let stream = Stream::open(seed, &discovery.options, Bounds::for_notifications()).await?;
    let pulse = stream.pulse();
    let mut pubsub = PubSub::new(&introduction(&seed.access, false), stream)
        .await
        .map_err(|error| unopened(&error, &pulse))?;
    pubsub
        .subscribe(CHANNEL)
        .await
        .map_err(|error| unopened(&error, &pulse))?;
    Ok(pubsub.into_on_message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read() {
        assert_eq!(
            parse("main ::1 6379 h2 6380"),
            Some(("main", ("::1", 6379), ("h2", 6380)))
        );
        for payload in ["", "main", "main h 1 h", "main h x h 1", "main h 1 h 65536"] {
            assert_eq!(parse(payload), None, "{payload}");
        }
    }
}
