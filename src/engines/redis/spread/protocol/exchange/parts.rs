//! The parts of replies.

use compact_str::CompactString;
use redis::Value as Wire;

use crate::engines::redis::spread::protocol::answer::Sight;
use crate::engines::redis::spread::protocol::life::Life;
use crate::engines::redis::spread::protocol::stamp::Stamp;
use crate::engines::redis::spread::protocol::step::Watcher;

/// Members and leases take turns.
pub(super) fn watchers(reply: Wire) -> Option<Vec<Watcher>> {
    let mut fields = match reply {
        Wire::Map(pairs) => pairs.into_iter().flat_map(|(key, lease)| [key, lease]).collect(),
        reply => array(reply)?,
    }
    .into_iter();
    let mut watchers = Vec::new();
    while let (Some(member), Some(lease)) = (fields.next(), fields.next()) {
        if let Some((key, lease)) = key(member).zip(stamp(&lease)) {
            watchers.push(Watcher { key, lease });
        }
    }
    Some(watchers)
}

pub(super) fn array(reply: Wire) -> Option<Vec<Wire>> {
    match reply {
        Wire::Array(parts) => Some(parts),
        _ => None,
    }
}

pub(super) fn key(reply: Wire) -> Option<CompactString> {
    match reply {
        Wire::BulkString(bytes) => CompactString::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A list of keys. Members that are not UTF-8 are left out: the library writes none.
pub(super) fn keys(reply: Wire) -> Option<Vec<CompactString>> {
    Some(array(reply)?.into_iter().filter_map(key).collect())
}

/// A stamp, and whatever follows it.
pub(super) fn stamp(reply: &Wire) -> Option<Stamp> {
    match reply {
        Wire::BulkString(bytes) => Stamp::parse(bytes.split(|byte| *byte == b' ').next()?),
        _ => None,
    }
}

pub(super) fn sight(stamp: Wire, at: Wire) -> Option<Sight> {
    let (stamp, at) = (self::stamp(&stamp)?, time(&at)?);
    Some(Sight { stamp, at })
}

pub(super) fn time(reply: &Wire) -> Option<u64> {
    match reply {
        Wire::Int(millis) => u64::try_from(*millis).ok(),
        _ => None,
    }
}

pub(super) fn digits(reply: &Wire) -> Option<u64> {
    match reply {
        Wire::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        reply => time(reply),
    }
}

pub(super) fn life(reply: Wire) -> Option<Life> {
    match &reply {
        Wire::BulkString(empty) if empty.is_empty() => Some(Life::Ever),
        reply => digits(reply).map(Life::Millis),
    }
}
