//! What a node says of its cluster. Pure.

use redis::Value as Wire;

use super::slot::SLOTS;
use crate::engines::redis::fault::{self, Lost};
use crate::error::{Cause, Error, Result};

/// More nodes than this are not remembered: each of them knows the owner.
const MOST_NODES: usize = 64;

/// A node as another names it. It has no host if it is the one of the node that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engines::redis) struct Node {
    pub(in crate::engines::redis) host: Option<String>,
    pub(in crate::engines::redis) port: u16,
}

/// Who owns which slots, and which nodes there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engines::redis) struct Map {
    /// The first and the last slot of each range, and its owner.
    pub(in crate::engines::redis) ranges: Vec<(u16, u16, Node)>,
    /// Some of the nodes, replicas among them.
    pub(super) nodes: Vec<Node>,
}

impl Map {
    /// Reads the reply to `CLUSTER SLOTS`: for each range of slots its first and its last one, its owner, and the replicas.
    pub(super) fn read(reply: Wire) -> Result<Self> {
        let ranges = match reply {
            Wire::Array(ranges) => ranges,
            Wire::ServerError(error) => return Err(refusal(&error)),
            _ => return Err(no_node()),
        };
        let mut map = Self::default();
        for range in ranges {
            let Wire::Array(parts) = range else {
                return Err(no_node());
            };
            let [Wire::Int(first), Wire::Int(last), nodes @ ..] = &parts[..] else {
                return Err(no_node());
            };
            let slot = |slot: &i64| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS);
            for (place, node) in nodes.iter().enumerate() {
                let Some(node) = node_of(node) else { continue };
                if place == 0
                    && map.ranges.len() < usize::from(SLOTS)
                    && let (Some(first), Some(last)) = (slot(first), slot(last))
                {
                    map.ranges.push((first, last, node.clone()));
                }
                if map.nodes.len() < MOST_NODES && !map.nodes.contains(&node) {
                    map.nodes.push(node);
                }
            }
        }
        Ok(map)
    }

    /// The node that owns a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Node> {
        let mut ranges = self.ranges.iter();
        let found = ranges.find(|(first, last, _)| (*first..=*last).contains(&slot));
        found.map(|(_, _, owner)| owner)
    }
}

/// One node: its host, its port, its id, and where it may be reached otherwise. `None` if it does not know its host's name.
fn node_of(node: &Wire) -> Option<Node> {
    let Wire::Array(parts) = node else { return None };
    let [host, Wire::Int(port), rest @ ..] = &parts[..] else {
        return None;
    };
    let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
    let host = match text(host) {
        None | Some("") => None,
        Some("?") => Some(ip(rest)?.to_owned()),
        Some(host) => Some(host.to_owned()),
    };
    Some(Node { host, port })
}

/// The address among what is told of a node beside its name, after its id.
fn ip(rest: &[Wire]) -> Option<&str> {
    let pairs: Vec<(&Wire, &Wire)> = match rest.get(1)? {
        Wire::Array(told) => told
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[name, told]| (name, told))
            .collect(),
        Wire::Map(told) => told.iter().map(|(name, told)| (name, told)).collect(),
        _ => return None,
    };
    let (_, ip) = pairs.into_iter().find(|(name, _)| text(name) == Some("ip"))?;
    text(ip)
}

fn text(part: &Wire) -> Option<&str> {
    match part {
        Wire::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Wire::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// A server that is no node of a cluster has no command for that, or says that it is switched off.
fn refusal(error: &redis::ServerError) -> Error {
    match fault::answered(error) {
        Error::Rejected(_) => no_node(),
        other => other,
    }
}

fn no_node() -> Error {
    Error::InvalidConfig {
        reason: "the server is no node of a cluster: see its `cluster-enabled` setting".to_owned(),
    }
}

impl Node {
    /// Reads where a redirection leads to: `3999 127.0.0.1:6381`. Without a host, it is that of the node that answered.
    pub(in crate::engines::redis) fn of_redirection(text: &str) -> Option<Self> {
        let (host, port) = text.split_once(' ')?.1.rsplit_once(':')?;
        let port = port.trim().parse().ok().filter(|port| *port != 0)?;
        let host = (!matches!(host, "" | "?")).then(|| host.to_owned());
        Some(Self { host, port })
    }
}

/// The slot that a redirection is about.
pub(in crate::engines::redis) fn slot_of_redirection(text: &str) -> Option<u16> {
    text.split(' ').next()?.parse().ok()
}

/// No node owns the slot.
pub(super) fn no_owner(slot: u16) -> Error {
    Error::Unavailable(Cause::new(Lost(format!("no node owns slot {slot}"))))
}

/// The application's code that maps addresses has panicked.
pub(super) fn panicked() -> Error {
    Error::Unavailable(Cause::new(Lost("map_address panicked".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Wire {
        Wire::BulkString(text.as_bytes().to_vec())
    }

    fn told(host: Wire, port: i64, beside: Vec<Wire>) -> Wire {
        Wire::Array(vec![host, Wire::Int(port), bulk("id"), Wire::Array(beside)])
    }

    fn range(first: i64, last: i64, nodes: Vec<Wire>) -> Wire {
        let mut parts = vec![Wire::Int(first), Wire::Int(last)];
        parts.extend(nodes);
        Wire::Array(parts)
    }

    fn node(host: Option<&str>, port: u16) -> Node {
        let host = host.map(str::to_owned);
        Node { host, port }
    }

    #[test]
    fn the_first_node_of_a_range_owns_it() {
        let (a, b) = (told(bulk("h1"), 1, vec![]), told(bulk("::1"), 2, vec![]));
        let reply = || {
            Wire::Array(vec![
                range(0, 9, vec![a.clone(), b.clone()]),
                range(10, 16_383, vec![b.clone()]),
            ])
        };
        let known = vec![node(Some("h1"), 1), node(Some("::1"), 2)];
        for (slot, owner) in [(9, &known[0]), (10, &known[1]), (16_383, &known[1])] {
            let map = Map::read(reply()).unwrap();
            assert_eq!(map.owner(slot), Some(owner));
            assert_eq!(map.nodes, known);
        }
        let map = Map::read(Wire::Array(vec![range(0, 9, vec![a])])).unwrap();
        assert_eq!(map.owner(10), None);
    }

    #[test]
    fn a_node_without_a_name_is_where_it_was_asked_or_at_its_address() {
        let of = |host, beside| {
            let reply = Wire::Array(vec![range(0, 16_383, vec![told(host, 7, beside)])]);
            Map::read(reply).unwrap().owner(5).cloned()
        };
        assert_eq!(of(Wire::Nil, vec![]), Some(node(None, 7)));
        assert_eq!(of(bulk(""), vec![]), Some(node(None, 7)));
        assert_eq!(
            of(bulk("?"), vec![bulk("ip"), bulk("10.0.0.1")]),
            Some(node(Some("10.0.0.1"), 7))
        );
        assert_eq!(of(bulk("?"), vec![]), None);
    }

    #[test]
    fn what_no_node_says_is_an_error() {
        for reply in [
            Wire::Nil,
            Wire::Array(vec![Wire::Int(1)]),
            Wire::Array(vec![Wire::Array(vec![Wire::Int(1)])]),
            redis::parse_redis_value(b"-ERR This instance has cluster support disabled\r\n").unwrap(),
        ] {
            assert!(matches!(Map::read(reply), Err(Error::InvalidConfig { .. })));
        }
        let refused = redis::parse_redis_value(b"-NOPERM no\r\n").unwrap();
        assert!(matches!(Map::read(refused), Err(Error::Unauthorized)));
    }

    #[test]
    fn redirections_are_read() {
        assert_eq!(Node::of_redirection("3999 h:6381"), Some(node(Some("h"), 6381)));
        assert_eq!(
            Node::of_redirection("3999 ::1:6381"),
            Some(node(Some("::1"), 6381))
        );
        assert_eq!(Node::of_redirection("3999 :6381"), Some(node(None, 6381)));
        for text in ["", "3999", "3999 h", "3999 h:0", "3999 h:x"] {
            assert_eq!(Node::of_redirection(text), None, "{text}");
        }
    }
}
