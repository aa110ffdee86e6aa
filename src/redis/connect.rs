//! Opening one connection, ready for use.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo, Value as Wire};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fault;
use super::script::Script;
use super::stream::Stream;
use crate::config::{Address, RedisOptions, Target};
use crate::error::{Error, Phase, Result};

/// A response timeout that never comes: the engine keeps its own.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An open connection. Dropped, it closes at once, whatever is under way.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) since: Instant,
    /// What reads and writes the socket; none for connections that others opened.
    driver: Option<JoinHandle<()>>,
}

impl Connected {
    /// Whether the connection has ended by itself, which wakes the caller once.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.driver {
            Some(driver) => Pin::new(driver).poll(cx).is_ready(),
            None => false,
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// Connects, introduces itself, and waits for a first answer, within `connect_timeout`.
pub(super) async fn connect(options: Arc<RedisOptions>) -> Result<Connected> {
    tokio::time::timeout(options.connect_timeout, open(&options))
        .await
        .unwrap_or(Err(Error::Timeout {
            phase: Phase::Connect,
        }))
}

async fn open(options: &RedisOptions) -> Result<Connected> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(options.max_in_flight.max(1));
    let (connection, driver) = match &options.target {
        Target::Address(address) => {
            let stream = Stream::open(address, options).await?;
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&introduction(address), stream, config)
                    .await
                    .map_err(|error| fault::unopened(&error))?;
            (connection, Some(tokio::spawn(driver)))
        }
        Target::Client(client) => {
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| fault::unopened(&error))?;
            (connection, None)
        }
        Target::Connection(connection) => {
            let mut connection = MultiplexedConnection::clone(connection);
            connection.set_response_timeout(NEVER);
            (connection, None)
        }
    };
    let mut connected = Connected {
        connection,
        since: Instant::now(),
        driver,
    };
    greet(&mut connected.connection, options).await?;
    Ok(connected)
}

pub(super) fn introduction(address: &Address) -> RedisConnectionInfo {
    let protocol = if address.resp3 {
        ProtocolVersion::RESP3
    } else {
        ProtocolVersion::RESP2
    };
    let mut info = RedisConnectionInfo::default()
        .set_db(address.db)
        .set_protocol(protocol)
        .set_skip_set_lib_name();
    if let Some(username) = &address.username {
        info = info.set_username(username);
    }
    if let Some(password) = &address.password {
        info = info.set_password(password);
    }
    info
}

/// A first `PING`, and the scripts, so that they are called by their digests from the start. That
/// they could not be loaded does not matter: they are then sent whole when they are needed.
async fn greet(connection: &mut MultiplexedConnection, options: &RedisOptions) -> Result<()> {
    let mut pipeline = Pipeline::new();
    if let Some(name) = &options.client_name {
        pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
    }
    for script in Script::ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
    }
    pipeline.cmd("PING");
    let replies = connection
        .send_packed_commands(&pipeline, 0, pipeline.len())
        .await
        .map_err(|error| fault::unopened(&error))?;
    match replies.last() {
        Some(Wire::ServerError(error)) => Err(fault::answered(error)),
        _ => Ok(()),
    }
}
