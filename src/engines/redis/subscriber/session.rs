//! One connection for notifications: how it is opened, and the command that is under way on it.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use redis::RedisResult;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::time::Instant;

use super::super::connect::{in_time, introduction, unopened};
use super::super::fault;
use super::super::layout::Layout;
use super::super::resolver::{Resolver, Route};
use super::super::scanner::Bounds;
use super::super::stream::{Pulse, Stream};
use super::channels::Change;
use crate::config::{Address, RedisOptions, Target};
use crate::request::Subject;

/// An open connection.
pub(super) struct Opened {
    pub(super) sink: PubSubSink,
    pub(super) stream: PubSubStream,
    pub(super) pulse: Pulse,
    /// The generation that it belongs to. `None` if another opened it.
    pub(super) generation: Option<u64>,
}

pub(super) type Opening = Pin<Box<dyn Future<Output = crate::Result<Opened>> + Send>>;

pub(super) struct Session {
    pub(super) sink: PubSubSink,
    pub(super) stream: PubSubStream,
    pub(super) pulse: Pulse,
    pub(super) command: Option<Command>,
    pub(super) since: Instant,
    /// When it is to be replaced, because a new generation has begun.
    pub(super) replace_at: Option<Instant>,
    /// When the server confirmed its first command.
    pub(super) proven: Option<Instant>,
    /// The last sign of life.
    pub(super) heard: Instant,
}

/// The one command that is under way.
pub(super) struct Command {
    /// What it subscribes to.
    pub(super) subjects: Vec<Subject>,
    /// The answer has to be there by then.
    pub(super) until: Instant,
    /// Ready when the server has confirmed it.
    pub(super) answer: Pin<Box<dyn Future<Output = RedisResult<()>> + Send>>,
}

/// Opens the connection, within `connect_timeout`.
pub(super) async fn open_connection(options: Arc<RedisOptions>, resolver: Resolver) -> crate::Result<Opened> {
    if matches!(options.target, Target::Connection(_)) {
        // It is shared with others, and there is no way to open another.
        tracing::warn!(
            "a store over `from_connection` has no connection for notifications, so that waiters for locks poll: \
             give it a URL or `from_client`"
        );
        return pending().await;
    }
    let (pubsub, pulse, generation) = match &options.target {
        Target::Client(client) => {
            let open = async {
                let opened = client.get_async_pubsub().await;
                opened.map_err(|error| fault::unopened(&error))
            };
            let pubsub = in_time(&options, &options.target, open).await?;
            (pubsub, Pulse::default(), None)
        }
        _ => {
            let open = |route| open_route(route, &options);
            resolver.open(&options, open).await?
        }
    };
    let (sink, stream) = pubsub.split();
    Ok(Opened {
        sink,
        stream,
        pulse,
        generation,
    })
}

async fn open_route(route: Route, options: &RedisOptions) -> crate::Result<(PubSub, Pulse, Option<u64>)> {
    let Address { access, .. } = &route.address;
    let stream = Stream::open(&route.address, options, Bounds::for_notifications()).await?;
    let pulse = stream.pulse();
    match PubSub::new(&introduction(access, access.resp3 == Some(true)), stream).await {
        Ok(pubsub) => Ok((pubsub, pulse, Some(route.generation))),
        Err(error) => Err(unopened(&error, &pulse)),
    }
}

pub(super) fn carry_out(mut sink: PubSubSink, change: Change, layout: &Layout, until: Instant) -> Command {
    let names = |subjects: &[Subject]| -> Vec<String> {
        let names = subjects.iter().map(|subject| layout.channel_of(subject));
        names.collect()
    };
    match change {
        Change::Subscribe(subjects) => {
            let channels = names(&subjects);
            Command {
                subjects,
                until,
                answer: Box::pin(async move { sink.subscribe(channels).await }),
            }
        }
        Change::Unsubscribe(subjects) => {
            let channels = names(&subjects);
            Command {
                subjects: Vec::new(),
                until,
                answer: Box::pin(async move { sink.unsubscribe(channels).await }),
            }
        }
    }
}

pub(super) fn ping(mut sink: PubSubSink, until: Instant) -> Command {
    Command {
        subjects: Vec::new(),
        until,
        answer: Box::pin(async move { sink.ping::<redis::Value>().await.map(drop) }),
    }
}
