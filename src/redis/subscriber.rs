//! One connection of a store's own on which the server tells of locks that were released. It is opened
//! when somebody waits for the first time, and subscribed to the locks that are waited for, no others.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream as _;
use redis::Msg;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connect::introduction;
use super::layout::Layout;
use super::stream::Stream;
use crate::config::{RedisOptions, Target};
use crate::request::{News, Topic, Watch};

/// How often the connection is asked for a sign of life while somebody waits.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Watches what it is told to, until nobody is there to tell it. It never fails: without it, waiters sleep
/// until the holder's TTL ends.
pub(crate) async fn subscribe(
    options: Box<RedisOptions>,
    mut watches: mpsc::UnboundedReceiver<Watch>,
    listeners: Listeners,
) {
    let mut wanted: HashSet<Topic> = HashSet::new();
    let mut failures = 0;
    let mut lost = false;
    loop {
        if wanted.is_empty() {
            match watches.recv().await {
                None => return,
                Some(watch) => apply(&mut wanted, &watch),
            };
            continue;
        }
        let connected = tokio::select! {
            connected = timeout(options.connect_timeout, connect(&options)) => connected.ok().flatten(),
            () = ended(&mut watches, &mut wanted) => return,
        };
        if let Some((sink, stream)) = connected {
            failures = 0;
            let session = Session {
                sink,
                stream,
                listeners: &listeners,
            };
            match session.run(&mut wanted, &mut watches, lost).await {
                Ended::Nobody => return,
                Ended::Lost => tracing::debug!("the connection for released locks is lost"),
            }
            lost = true;
        }
        let longest = options.reconnect_max;
        let wait = options
            .reconnect_min
            .saturating_mul(1 << u32::min(failures, 20))
            .min(longest);
        failures += 1;
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
            () = ended(&mut watches, &mut wanted) => return,
        }
    }
}

/// Whether the watch was new.
fn apply(wanted: &mut HashSet<Topic>, watch: &Watch) -> bool {
    match watch {
        Watch::Begin(name) => wanted.insert(name.clone()),
        Watch::End(name) => wanted.remove(name),
    }
}

/// Keeps the list while there is no connection, until nobody is there.
async fn ended(watches: &mut mpsc::UnboundedReceiver<Watch>, wanted: &mut HashSet<Topic>) {
    while let Some(watch) = watches.recv().await {
        apply(wanted, &watch);
    }
}

async fn connect(options: &RedisOptions) -> Option<(PubSubSink, PubSubStream)> {
    let pubsub = match &options.target {
        Target::Address(address) => {
            let stream = Stream::open(address, options).await.ok()?;
            PubSub::new(&introduction(address), stream).await.ok()?
        }
        Target::Client(client) => client.get_async_pubsub().await.ok()?,
        // It is shared with others, and there is no way to open another.
        Target::Connection(_) => std::future::pending().await,
    };
    Some(pubsub.split())
}

enum Ended {
    /// The store is closed.
    Nobody,
    Lost,
}

struct Session<'a> {
    sink: PubSubSink,
    stream: PubSubStream,
    listeners: &'a Listeners,
}

impl Session<'_> {
    async fn run(
        mut self,
        wanted: &mut HashSet<Topic>,
        watches: &mut mpsc::UnboundedReceiver<Watch>,
        again: bool,
    ) -> Ended {
        let channels: Vec<String> = wanted.iter().map(|name| Layout::channel_of(name)).collect();
        if !self
            .answered(|sink| Box::pin(async move { sink.subscribe(channels).await }))
            .await
        {
            return Ended::Lost;
        }
        for topic in wanted.iter() {
            self.watching(topic);
        }
        if again {
            self.listeners.tell_all(&News::Missed);
        }
        loop {
            tokio::select! {
                watch = watches.recv() => {
                    let Some(watch) = watch else { return Ended::Nobody };
                    if !self.follow(wanted, watches, watch).await {
                        return Ended::Lost;
                    }
                }
                message = next(&mut self.stream) => match message {
                    Some(message) => self.pass_on(&message),
                    None => return Ended::Lost,
                },
                () = tokio::time::sleep(HEARTBEAT), if !wanted.is_empty() => {
                    let alive = self.answered(|sink| Box::pin(async move { sink.ping::<redis::Value>().await.map(drop) }));
                    if !alive.await {
                        return Ended::Lost;
                    }
                }
            }
        }
    }

    /// Carries out what the list's changes ask for, all that there are in one command.
    async fn follow(
        &mut self,
        wanted: &mut HashSet<Topic>,
        watches: &mut mpsc::UnboundedReceiver<Watch>,
        first: Watch,
    ) -> bool {
        let before = wanted.clone();
        apply(wanted, &first);
        while let Ok(watch) = watches.try_recv() {
            apply(wanted, &watch);
        }
        let gone: Vec<String> = before
            .difference(wanted)
            .map(|name| Layout::channel_of(name))
            .collect();
        let new: Vec<Topic> = wanted.difference(&before).cloned().collect();
        if !gone.is_empty()
            && !self
                .answered(|sink| Box::pin(async move { sink.unsubscribe(gone).await }))
                .await
        {
            return false;
        }
        if !new.is_empty() {
            let channels: Vec<String> = new.iter().map(|name| Layout::channel_of(name)).collect();
            if !self
                .answered(|sink| Box::pin(async move { sink.subscribe(channels).await }))
                .await
            {
                return false;
            }
        }
        // One that ended and began again was never left, but whoever began it waits to be told.
        for name in wanted.iter().filter(|name| new.contains(name)) {
            self.watching(name);
        }
        if let Watch::Begin(name) = first
            && before.contains(&name)
        {
            self.watching(&name);
        }
        true
    }

    /// Whether the server confirms a command in time.
    async fn answered<F>(&mut self, command: F) -> bool
    where
        F: for<'s> FnOnce(
            &'s mut PubSubSink,
        ) -> Pin<Box<dyn Future<Output = redis::RedisResult<()>> + Send + 's>>,
    {
        matches!(timeout(HEARTBEAT, command(&mut self.sink)).await, Ok(Ok(())))
    }

    fn pass_on(&self, message: &Msg) {
        let fence = std::str::from_utf8(message.get_payload_bytes())
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(topic) = Layout::topic_of(message.get_channel_name()) {
            let key = topic.key().clone();
            self.listeners.tell(&topic, News::Released { key, fence });
        }
    }

    fn watching(&self, topic: &Topic) {
        self.listeners.tell(topic, News::Watching(topic.key().clone()));
    }
}

/// Who is told.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) locks: mpsc::Sender<News>,
    pub(crate) leases: mpsc::Sender<News>,
}

impl Listeners {
    fn tell(&self, topic: &Topic, news: News) {
        let listener = match topic {
            Topic::Lock(_) => &self.locks,
            Topic::Lease(_) => &self.leases,
        };
        // The listener may have gone: then nobody waits.
        let _ = listener.try_send(news);
    }

    fn tell_all(&self, news: &News) {
        for listener in [&self.locks, &self.leases] {
            let _ = listener.try_send(news.clone());
        }
    }
}

async fn next(stream: &mut PubSubStream) -> Option<Msg> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
