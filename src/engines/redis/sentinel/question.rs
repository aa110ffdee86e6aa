//! One question to one Sentinel, over a connection of its own.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, Value as Wire};

use super::super::connect::{introduction, unopened};
use super::super::connected::Connected;
use super::super::fault::{self, Lost};
use super::super::scanner::Bounds;
use super::super::stream::Stream;
use crate::config::{Address, RedisOptions};
use crate::error::{Cause, Error, Result};

/// What a Sentinel says of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) port: u16,
    /// The number of the failover that made it the primary. `None` if the Sentinel does not tell.
    pub(super) epoch: Option<u64>,
}

/// Asks a Sentinel for the primary of a service. `None` if it does not know the service.
pub(super) async fn ask(seed: &Address, options: &RedisOptions, service: &str) -> Result<Option<Answer>> {
    let stream = Stream::open(seed, options, Bounds::for_notifications()).await?;
    let pulse = stream.pulse();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let introduction = introduction(&seed.access, false);
    let (connection, driver) = MultiplexedConnection::new_with_config(&introduction, stream, config)
        .await
        .map_err(|error| unopened(&error, &pulse))?;
    let mut connected = Connected::own(connection, Box::pin(driver), pulse);
    let mut connection = connected.connection.clone();
    let mut pipeline = Pipeline::new();
    pipeline
        .cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(service);
    // Not every user may ask this.
    pipeline.cmd("SENTINEL").arg("MASTER").arg(service);
    let replies = connected
        .wait_for(connection.send_packed_commands(&pipeline, 0, pipeline.len()))
        .await
        .map_err(|error| fault::unopened(&error))?;
    read(replies)
}

fn read(replies: Vec<Wire>) -> Result<Option<Answer>> {
    let mut replies = replies.into_iter();
    let (address, details) = (replies.next(), replies.next());
    let parts = match address {
        Some(Wire::Nil) => return Ok(None),
        Some(Wire::Array(parts)) => parts,
        Some(Wire::ServerError(error)) => return Err(fault::answered(&error)),
        _ => return Err(no_sentinel()),
    };
    let [host, port] = &parts[..] else {
        return Err(no_sentinel());
    };
    let (Some(host), Some(port)) = (text(host), text(port)) else {
        return Err(no_sentinel());
    };
    let port = port.parse().ok().filter(|port| *port != 0);
    let (Some(port), false) = (port, host.is_empty()) else {
        return Err(no_sentinel());
    };
    Ok(Some(Answer {
        host: host.to_owned(),
        port,
        epoch: details.as_ref().and_then(epoch),
    }))
}

/// The epoch among the fields of a `SENTINEL MASTER`.
fn epoch(details: &Wire) -> Option<u64> {
    let Wire::Array(fields) = details else { return None };
    let (pairs, _) = fields.as_chunks::<2>();
    let [_, epoch] = pairs
        .iter()
        .find(|[name, _]| text(name) == Some("config-epoch"))?;
    text(epoch)?.parse().ok()
}

fn text(part: &Wire) -> Option<&str> {
    match part {
        Wire::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn no_sentinel() -> Error {
    let words = "it does not answer as a Sentinel does".to_owned();
    Error::Unavailable(Cause::new(Lost(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Wire {
        Wire::BulkString(text.as_bytes().to_vec())
    }

    fn array(texts: &[&str]) -> Wire {
        Wire::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn an_answer_names_a_place_and_perhaps_an_epoch() {
        let details = array(&["name", "main", "config-epoch", "7", "odd"]);
        let known = read(vec![array(&["::1", "6379"]), details]).unwrap().unwrap();
        assert_eq!(
            (known.host.as_str(), known.port, known.epoch),
            ("::1", 6379, Some(7))
        );
        let bare = read(vec![array(&["h", "1"]), Wire::Nil]).unwrap().unwrap();
        assert_eq!(bare.epoch, None);
        assert_eq!(read(vec![Wire::Nil, Wire::Nil]).unwrap(), None);
    }

    #[test]
    fn what_no_sentinel_says_is_an_error() {
        for reply in [
            Wire::Int(1),
            array(&["h"]),
            array(&["h", "0"]),
            array(&["h", "65536"]),
            array(&["", "1"]),
            Wire::Array(vec![Wire::Int(1), Wire::Int(2)]),
        ] {
            assert!(matches!(read(vec![reply]), Err(Error::Unavailable(_))));
        }
    }
}
