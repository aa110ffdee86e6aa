//! Lists the locks that are held, by the names that they have on the server. docs/operations.md documents these names.

use std::io::Write;

use anyhow::Result;
use cachestore::{Error, LockInfo, Store, redis};
use serde::Serialize;

use crate::output::json;
use crate::source::Target;
use crate::{Ended, Usage, escape, units};

/// What the name of a lock begins and ends with. The key between them has its namespace.
const OPEN: &str = "cachestore:lock:{";
const CLOSE: &str = "}";
/// How many keys one step of the scan looks at.
const PAGE: usize = 512;

#[derive(Serialize)]
struct Lock<'a> {
    key: &'a str,
    fencing_token: u64,
    remaining_ms: u64,
}

/// Refuses a store in a cluster: locks have other names there, and [`print`] asks one node only.
pub(crate) fn check(target: &Target) -> Result<()> {
    if target.is_in_cluster() {
        return Err(Usage::new("the locks of a store in a cluster cannot be listed").into());
    }
    Ok(())
}

/// Prints the locks whose keys begin with `prefix` in the namespace of the store, which is at `path`.
pub(crate) async fn print(
    store: &Store,
    path: Option<&str>,
    prefix: &str,
    as_json: bool,
    out: &mut impl Write,
) -> Result<Ended> {
    if store.config().settings().go_compatible {
        return Err(Usage::new(
            "locks of go-cachestore cannot be told from values: they have the same names",
        )
        .into());
    }
    let namespace = path.map_or_else(String::new, |path| format!("{path}:"));
    let pattern = format!("{}*", literal(&format!("{OPEN}{namespace}{prefix}")));
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(PAGE)
            .arg("TYPE")
            .arg("string");
        let (next, names): (u64, Vec<Vec<u8>>) = store.redis_command(scan).await?;
        for name in &names {
            let Some(key) = key(name, &namespace) else {
                continue;
            };
            match store.lock_info(key).await {
                Ok(Some(lock)) => line(key, &lock, as_json, out)?,
                // It was released meanwhile, or is another program's and no lock of ours can have its name.
                Ok(None) | Err(Error::KeyRequired | Error::KeyTooLong { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if next == 0 {
            return Ok(Ended::Done);
        }
        cursor = next;
    }
}

fn line(key: &str, lock: &LockInfo, as_json: bool, out: &mut impl Write) -> std::io::Result<()> {
    let (fencing_token, left) = (lock.fencing_token, lock.remaining);
    if as_json {
        let remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        return json(
            out,
            &Lock {
                key,
                fencing_token,
                remaining_ms,
            },
        );
    }
    let left = units::span(left);
    writeln!(
        out,
        "{left:>12} left  token {fencing_token:>16}  {}",
        escape::key(key)
    )
}

/// The key in a lock's name.
fn key<'a>(name: &'a [u8], namespace: &str) -> Option<&'a str> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_prefix(OPEN)?
        .strip_prefix(namespace)?
        .strip_suffix(CLOSE)
}

/// A pattern that matches exactly this text.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_between_the_braces() {
        assert_eq!(key(b"cachestore:lock:{jobs:report}}", "jobs:"), Some("report}"));
        assert_eq!(key(b"cachestore:lock:{jobs:report}", ""), Some("jobs:report"));
        for other in [
            &b"cachestore:lock:{a"[..],
            b"cachestore:fence:{a}",
            b"cachestore:lock:{\xff}",
        ] {
            assert_eq!(key(other, ""), None);
        }
        assert_eq!(literal(r"a*[b]\"), r"a\*\[b\]\\");
    }
}
