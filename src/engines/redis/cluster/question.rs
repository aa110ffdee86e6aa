//! One question to one node, over a connection of its own.

use redis::AsyncConnectionConfig;
use redis::Value as Wire;
use redis::aio::MultiplexedConnection;

use super::super::connect::{introduction, unopened};
use super::super::connected::Connected;
use super::super::fault;
use super::super::scanner::Bounds;
use super::super::stream::Stream;
use crate::config::{Address, RedisOptions};
use crate::error::Result;

/// Asks a node which node owns which slots.
pub(super) async fn ask(node: &Address, options: &RedisOptions) -> Result<Wire> {
    let stream = Stream::open(node, options, Bounds::for_notifications()).await?;
    let pulse = stream.pulse();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let introduction = introduction(&node.access, false);
    let (connection, driver) = MultiplexedConnection::new_with_config(&introduction, stream, config)
        .await
        .map_err(|error| unopened(&error, &pulse))?;
    let mut connected = Connected::own(connection, Box::pin(driver), pulse);
    let mut connection = connected.connection.clone();
    let mut pipeline = redis::Pipeline::new();
    pipeline.cmd("CLUSTER").arg("SLOTS");
    let replies = connected
        .wait_for(connection.send_packed_commands(&pipeline, 0, pipeline.len()))
        .await
        .map_err(|error| fault::unopened(&error))?;
    Ok(replies.into_iter().next().unwrap_or_default())
}
