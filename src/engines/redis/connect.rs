//! Opening one connection, ready for use.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError,
    Value as Wire,
};

use super::cluster::Node;
use super::connected::Connected;
use super::fault;
use super::greeting::Greeting;
use super::layout::Layout;
use super::resolver::{Resolver, Route};
use super::scanner::Bounds;
use super::stream::{Pulse, Stream};
use super::tracker::{TrackedConnection, Tracker};
use crate::config::{Access, Address, Place, RedisOptions, Target};
use crate::error::{Cause, Error, Phase, Result};

/// A response timeout that never comes: the engine keeps its own.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Connects, introduces itself, and waits for a first answer, within `connect_timeout`. What is read over it can be
/// near if the server tracks it for `tracker`.
pub(super) async fn connect(
    options: Arc<RedisOptions>,
    bounds: Bounds,
    layout: Layout,
    tracker: Option<Tracker>,
    resolver: Resolver,
) -> Result<Connected> {
    let (options, tracker) = (&*options, tracker.as_ref());
    match &options.target {
        Target::Address(_) | Target::Sentinel(_) | Target::Cluster(_) => {
            let open = |route| open(route, options, bounds, &layout, tracker);
            let mut connected = resolver.open(options, open).await?;
            if let Some(route) = &mut connected.route {
                resolver.greeted(route);
            }
            Ok(connected)
        }
        Target::Client(client) => {
            let config = connection_config(options);
            let open = async {
                let opened = client.get_multiplexed_async_connection_with_config(&config);
                let connection = opened.await.map_err(|error| fault::unopened(&error))?;
                foreign(connection, options, &layout).await
            };
            in_time(options, &options.target, open).await
        }
        Target::Connection(connection) => {
            let mut connection = MultiplexedConnection::clone(connection);
            connection.set_response_timeout(NEVER);
            in_time(options, &options.target, foreign(connection, options, &layout)).await
        }
    }
}

/// Connects to the node of a cluster that the node `at` a place has named, because some keys of the slot are there already.
pub(super) async fn connect_node(
    options: Arc<RedisOptions>,
    bounds: Bounds,
    layout: Layout,
    resolver: Resolver,
    (node, at): (Node, Place),
) -> Result<Connected> {
    let open = |route| enter_node(route, &options, bounds, &layout);
    resolver.open_node(&options, (&node, &at), open).await
}

async fn enter_node(
    route: Route,
    options: &RedisOptions,
    bounds: Bounds,
    layout: &Layout,
) -> Result<Connected> {
    let config = connection_config(options);
    let mut connected = open_address(&route.address, options, bounds, config, &mut None).await?;
    let mut greeting = Greeting::of(options, layout);
    greeting.is_owner = false;
    greeted(&mut connected, greeting).await?;
    connected.route = Some(Box::new(route));
    Ok(connected)
}

/// Waits for a connection, for `connect_timeout` at most. An error names the `server`.
pub(super) async fn in_time<T>(
    options: &RedisOptions,
    server: &impl fmt::Display,
    open: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(options.connect_timeout, open).await {
        Ok(Err(Error::Unavailable(cause))) => Err(fault::unreachable(server, &cause)),
        Ok(opened) => opened,
        Err(_) => Err(Error::Timeout {
            phase: Phase::Connect,
        }),
    }
}

fn connection_config(options: &RedisOptions) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        // One more than there are pipelines: a sign of life may be asked for beside them.
        .set_pipeline_buffer_size(options.max_in_flight.max(1) + 1)
}

/// Greets a server over a connection that others opened.
async fn foreign(
    connection: MultiplexedConnection,
    options: &RedisOptions,
    layout: &Layout,
) -> Result<Connected> {
    let mut connected = Connected::foreign(connection);
    greeted(&mut connected, Greeting::of(options, layout)).await?;
    Ok(connected)
}

async fn open(
    route: Route,
    options: &RedisOptions,
    bounds: Bounds,
    layout: &Layout,
    tracker: Option<&Tracker>,
) -> Result<Connected> {
    let mut tracked = tracker.map(Tracker::open);
    let config = connection_config(options);
    let mut connected = open_address(&route.address, options, bounds, config, &mut tracked).await?;
    let mut greeting = Greeting::of(options, layout);
    greeting.is_primary = matches!(options.target, Target::Sentinel(_));
    greeting.ends_leases = route.ends_leases;
    let ended_leases = greeted(&mut connected, greeting).await?;
    if let Some(tracked) = tracked {
        match connected.wait_for(track(connected.connection.clone())).await? {
            None => connected.tracked = Some(tracked),
            Some(refusal) => tracked.tracker().refused(&refusal),
        }
    }
    connected.route = Some(Box::new(Route {
        ends_leases: route.ends_leases && !ended_leases,
        ..route
    }));
    Ok(connected)
}

/// Greets the server. Returns `true` if it ended the leases.
async fn greeted(connected: &mut Connected, greeting: Greeting<'_>) -> Result<bool> {
    let connection = connected.connection.clone();
    let greeted = connected.wait_for(greeting.send(connection)).await;
    let told = match connected.refusal() {
        Some(refusal) => return Err(Error::Unavailable(Cause::new(refusal))),
        None => greeted?,
    };
    connected.scripts_loaded = told.scripts_loaded;
    connected.abilities = told.abilities;
    connected.run = told.run;
    Ok(told.ended_leases)
}

async fn open_address(
    address: &Address,
    options: &RedisOptions,
    bounds: Bounds,
    config: AsyncConnectionConfig,
    tracked: &mut Option<TrackedConnection>,
) -> Result<Connected> {
    let mut speaks_resp3 = address.access.resp3.unwrap_or(tracked.is_some());
    loop {
        let stream = Stream::open(address, options, bounds).await?;
        let (pulse, announcer) = (stream.pulse(), stream.announcer());
        let introduction = introduction(&address.access, speaks_resp3);
        let mut config = config.clone();
        // Over RESP2 a server agrees to track and then tells nothing.
        if !speaks_resp3 && let Some(tracked) = tracked.take() {
            tracked.tracker().refused(&"the connection speaks RESP2");
        }
        if let Some(tracked) = tracked {
            config = config.set_push_sender(tracked.receiver());
        }
        match MultiplexedConnection::new_with_config(&introduction, stream, config).await {
            Ok((connection, driver)) => {
                return Ok(Connected::own(connection, Box::pin(driver), pulse).unfolding(announcer));
            }
            // A server that is too old for the near cache serves all the rest.
            Err(error)
                if speaks_resp3
                    && address.access.resp3.is_none()
                    && error.kind() == ErrorKind::RESP3NotSupported =>
            {
                speaks_resp3 = false;
            }
            Err(error) => return Err(unopened(&error, &pulse)),
        }
    }
}

/// Asks the server to track what is read after `CLIENT CACHING YES`, and makes sure of the rights that a fetch needs.
/// Returns why the server refuses.
async fn track(mut connection: MultiplexedConnection) -> Result<Option<Error>> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN");
    pipeline.cmd("CLIENT").arg("CACHING").arg("YES");
    pipeline.cmd("MULTI");
    pipeline.cmd("EXEC");
    let replies = connection
        .send_packed_commands(&pipeline, 0, pipeline.len())
        .await
        .map_err(|error| fault::unopened(&error))?;
    Ok(replies.iter().find_map(|reply| match reply {
        Wire::ServerError(error) => Some(fault::answered(error)),
        _ => None,
    }))
}

/// What a connection that could not be opened means. Its reader does not pass on why a reply was refused.
pub(super) fn unopened(error: &RedisError, pulse: &Pulse) -> Error {
    match pulse.refusal() {
        Some(refusal) => Error::Unavailable(Cause::new(refusal)),
        None => fault::unopened(error),
    }
}

pub(super) fn introduction(access: &Access, speaks_resp3: bool) -> RedisConnectionInfo {
    let protocol = if speaks_resp3 {
        ProtocolVersion::RESP3
    } else {
        ProtocolVersion::RESP2
    };
    let mut info = RedisConnectionInfo::default()
        .set_db(access.db)
        .set_protocol(protocol)
        .set_skip_set_lib_name();
    if let Some(username) = &access.username {
        info = info.set_username(username);
    }
    if let Some(password) = &access.password {
        info = info.set_password(password);
    }
    info
}
