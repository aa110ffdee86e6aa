//! The commands that look at entries.

use std::io::{self, Write};

use anyhow::Result;
use cachestore::{Bytes, Store, Ttl};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::output::json;
use crate::{Ended, escape, units};

/// How many TTLs are asked for at once.
const AT_ONCE: usize = 64;
/// How many bytes a line of hexadecimal shows.
const LINE: usize = 16;

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

#[derive(Serialize)]
struct Lifetime<'a> {
    key: &'a str,
    /// `null` for an entry without an end.
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    key: &'a str,
    bytes: usize,
    #[serde(flatten)]
    value: Contents<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Contents<'a> {
    Text(&'a str),
    Hex(String),
}

pub(crate) async fn scan(
    store: &Store,
    prefix: &str,
    long: bool,
    limit: Option<usize>,
    as_json: bool,
    out: &mut impl Write,
) -> Result<Ended> {
    let keys = store.scan(prefix).take(limit.unwrap_or(usize::MAX));
    if !long {
        let mut keys = keys;
        while let Some(key) = keys.try_next().await? {
            match as_json {
                true => json(out, &Key { key: &key })?,
                false => writeln!(out, "{}", escape::key(&key))?,
            }
        }
        return Ok(Ended::Done);
    }
    let with_ttl = |key: String| async move {
        let ttl = store.ttl(&key).await?;
        Ok::<_, cachestore::Error>((key, ttl))
    };
    let mut entries = keys.map_ok(with_ttl).try_buffered(AT_ONCE);
    while let Some((key, ttl)) = entries.try_next().await? {
        // A key that has gone meanwhile is not there.
        let Some(ttl) = ttl else { continue };
        match as_json {
            true => json(out, &lifetime(&key, ttl))?,
            false => writeln!(out, "{:>12}  {}", shown(ttl), escape::key(&key))?,
        }
    }
    Ok(Ended::Done)
}

fn lifetime(key: &str, ttl: Ttl) -> Lifetime<'_> {
    let ttl_ms = match ttl {
        Ttl::Persistent => None,
        Ttl::Remaining(left) => Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    };
    Lifetime { key, ttl_ms }
}

fn shown(ttl: Ttl) -> String {
    match ttl {
        Ttl::Persistent => "persistent".to_owned(),
        Ttl::Remaining(left) => units::span(left),
    }
}

pub(crate) async fn ttl(store: &Store, key: &str, as_json: bool, out: &mut impl Write) -> Result<Ended> {
    let Some(ttl) = store.ttl(key).await? else {
        return Ok(absent(key));
    };
    match as_json {
        true => json(out, &lifetime(key, ttl))?,
        false => writeln!(out, "{}", shown(ttl))?,
    }
    Ok(Ended::Done)
}

/// In which form a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Readable,
    Model,
    Raw,
    Json,
}

impl Shape {
    pub(crate) fn of(model: bool, raw: bool, json: bool) -> Self {
        match (model, raw, json) {
            (true, ..) => Shape::Model,
            (_, true, _) => Shape::Raw,
            (.., true) => Shape::Json,
            _ => Shape::Readable,
        }
    }
}

pub(crate) async fn get(store: &Store, key: &str, shape: Shape, out: &mut impl Write) -> Result<Ended> {
    if shape == Shape::Model {
        let Some(model) = store.get_model::<serde_json::Value>(key).await? else {
            return Ok(absent(key));
        };
        json(out, &model)?;
        return Ok(Ended::Done);
    }
    let Some(value) = store.get(key).await? else {
        return Ok(absent(key));
    };
    match (shape, std::str::from_utf8(&value)) {
        (Shape::Raw, _) => out.write_all(&value)?,
        (Shape::Json, text) => {
            let contents = text.map_or_else(|_| Contents::Hex(hexadecimal(&value)), Contents::Text);
            let bytes = value.len();
            json(
                out,
                &Entry {
                    key,
                    bytes,
                    value: contents,
                },
            )?;
        }
        (_, Ok(text)) => writeln!(out, "{}", escape::lines(text))?,
        (_, Err(_)) => dump(&value, out)?,
    }
    Ok(Ended::Done)
}

/// Tells that a key is absent, on standard error: standard output is for values.
fn absent(key: &str) -> Ended {
    // Nobody may read it. The exit code says the same.
    let _ = writeln!(io::stderr(), "{}: absent", escape::key(key));
    Ended::Absent
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Offset, bytes and their ASCII, as `xxd` and `hexdump -C` show them.
fn dump(value: &Bytes, out: &mut impl Write) -> io::Result<()> {
    for (number, line) in value.chunks(LINE).enumerate() {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii = line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        let (bytes, ascii) = (bytes.join(" "), ascii.collect::<String>());
        writeln!(out, "{:08x}  {bytes:<47}  {ascii}", number * LINE)?;
    }
    Ok(())
}
