//! What a failure means to a caller. The server's own words may quote arguments, values among them:
//! only their first, the code, is passed on.

use std::fmt;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerError};

use crate::error::{Cause, Error};

/// What the server said, as far as it may be told.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {code}{}", explained(.code))]
struct Answered {
    code: String,
}

fn explained(code: &str) -> &'static str {
    match code {
        "OOM" => ": it has no memory left, see its maxmemory settings",
        "READONLY" => ": it is a replica and takes no writes",
        "LOADING" => ": it is still loading its data",
        "CLUSTERDOWN" => ": the cluster does not serve all its slots",
        "TRYAGAIN" | "ASK" => ": the slot is moving to another node",
        "MOVED" => ": another node owns the slot",
        "BUSY" => ": it is busy with a script",
        "MISCONF" => ": it takes no writes because it cannot save them",
        "NOREPLICAS" => ": it takes no writes because it has too few replicas",
        _ => "",
    }
}

/// Before Redis 7, what stands before the place of an error in a script.
const PLACE: &str = "@user_script:";

/// The connection failed, or could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(pub(super) String);

/// Why a reply was not read to its end: it is not what a server of the protocol sends, or more than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the server's reply has a string of {length} bytes, at most {max} are taken: see max_value_bytes"
    )]
    String { length: u64, max: u64 },
    #[error("the server's reply has more than {max} bytes")]
    Reply { max: u64 },
    #[error("the server's reply has more than {max} values")]
    Values { max: u64 },
    #[error("the server's reply has more than {max} levels of arrays")]
    Depth { max: usize },
    #[error("the server's reply has a line of more than {max} bytes")]
    Line { max: usize },
    #[error("the server's reply is not of the Redis protocol")]
    Form,
    #[error("the server sent a reply that nobody had asked for")]
    Unasked,
}

impl Refusal {
    /// What it means for the call whose reply it was.
    pub(super) fn for_caller(self) -> Error {
        match self {
            Refusal::String { length, max } => Error::ValueTooLarge {
                len: usize::try_from(length).unwrap_or(usize::MAX),
                max: usize::try_from(max).unwrap_or(usize::MAX),
            },
            other => Error::Rejected(Cause::new(other)),
        }
    }
}

/// Whether the server has forgotten the script that was called by its digest.
pub(super) fn is_forgotten_script(error: &ServerError) -> bool {
    error.code() == "NOSCRIPT"
}

/// Whether the connection leads to a server that takes no writes: another may do so now.
pub(super) fn is_demoted(error: &ServerError) -> bool {
    parts(error).0 == "READONLY"
}

/// Whether the user may not run the command, or not on one of its keys. It was not carried out.
pub(super) fn is_forbidden(error: &ServerError) -> bool {
    matches!(answered(error), Error::Unauthorized)
}

/// The code of an error, and its text. Before Redis 7, an error inside a script comes wrapped in another: `ERR
/// Error running script (call to f_…): @user_script:1: @user_script: 1: -OOM command not allowed …`. One that the script
/// catches and returns comes behind its place: `@user_script: 138: -OOM command not allowed …`.
pub(super) fn parts(error: &ServerError) -> (&str, &str) {
    let (code, text) = (error.code(), error.details().unwrap_or(""));
    let place = match code {
        PLACE => Some(text),
        "ERR" if text.starts_with("Error running script") => text.rsplit_once(PLACE).map(|(_, place)| place),
        _ => None,
    };
    let Some(place) = place else {
        return (code, text);
    };
    let inner = place.split_once(": ").map_or(place, |(_, inner)| inner);
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    match inner.split_once(' ') {
        Some((word, rest)) if word.chars().all(|c| c.is_ascii_uppercase()) => (word, rest),
        _ => ("ERR", inner),
    }
}

/// The code of an error, as far as it may be told.
fn told(error: &ServerError) -> String {
    let code = parts(error).0.chars();
    code.filter(char::is_ascii_alphanumeric).take(32).collect()
}

/// What a command was refused for that is not its own fault: another command of its transaction has this error.
pub(super) fn unavailable(error: &ServerError) -> Error {
    Error::Unavailable(Cause::new(Answered { code: told(error) }))
}

/// What an error that the server answered means. The command was not carried out.
pub(super) fn answered(error: &ServerError) -> Error {
    let (code, text) = (told(error), parts(error).1);
    match code.as_str() {
        "WRONGTYPE" => Error::WrongType,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Error::Unauthorized,
        "OOM" | "READONLY" | "LOADING" | "BUSY" | "MISCONF" | "NOREPLICAS" | "MASTERDOWN" | "CLUSTERDOWN"
        | "TRYAGAIN" | "MOVED" | "ASK" | "UNKILLABLE" => Error::Unavailable(Cause::new(Answered { code })),
        "ERR" if text.contains("not an integer") => Error::NotAnInteger,
        "ERR" if text.contains("would overflow") => Error::Overflow,
        "ERR" if text.contains("max number of clients") => Error::Unavailable(Cause::new(Answered { code })),
        // Before Redis 7, these have no code of their own inside a script.
        "ERR" if text.contains("can't run this command") || text.contains("can't access at least one of") => {
            Error::Unauthorized
        }
        _ => Error::Rejected(Cause::new(Answered { code })),
    }
}

/// What a connection's failure is, in words that quote nothing.
pub(super) fn lost(error: &RedisError) -> Cause {
    Cause::new(Lost(described(error)))
}

/// The cause of a connection that could not be opened, with the server's name before it.
pub(super) fn unreachable(server: &impl fmt::Display, cause: &Cause) -> Error {
    Error::Unavailable(Cause::new(Lost(format!("cannot connect to {server}: {cause}"))))
}

/// What a connection that could not be opened means.
pub(super) fn unopened(error: &RedisError) -> Error {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::Unauthorized,
        ErrorKind::Server(_) | ErrorKind::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Error::Unauthorized,
            _ if error.detail().is_some_and(|words| words.contains("DB index")) => Error::InvalidConfig {
                reason: "the server has no database of this number: see its `databases` setting".to_owned(),
            },
            // Of a refused `SELECT` the crate keeps the words, but not the code.
            _ if error
                .detail()
                .is_some_and(|words| words.contains("no permissions")) =>
            {
                Error::Unauthorized
            }
            Some(code) => Error::Unavailable(Cause::new(Answered {
                code: code.chars().take(32).collect(),
            })),
            None => Error::Unavailable(lost(error)),
        },
        _ => Error::Unavailable(lost(error)),
    }
}

fn described(error: &RedisError) -> String {
    use std::error::Error as StdError;

    // The crate shares what it gives as its source.
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn StdError + Send + Sync>>())
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    match io {
        Some(io) => io.to_string(),
        None if error.is_connection_dropped() => "the connection was closed".to_owned(),
        None => format!("the connection failed: {}", error.category()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &[u8]) -> ServerError {
        match redis::parse_redis_value(line).unwrap() {
            redis::Value::ServerError(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    #[test]
    fn codes_mean_what_they_say() {
        let of = |line: &str| answered(&server_error(format!("-{line}\r\n").as_bytes()));
        assert!(matches!(
            of("WRONGTYPE Operation against a key"),
            Error::WrongType
        ));
        assert!(matches!(
            of("NOAUTH Authentication required."),
            Error::Unauthorized
        ));
        assert!(matches!(
            of("NOPERM this user has no permissions"),
            Error::Unauthorized
        ));
        assert!(matches!(of("OOM command not allowed"), Error::Unavailable(_)));
        assert!(matches!(of("LOADING Redis is loading"), Error::Unavailable(_)));
        assert!(matches!(of("READONLY You can't write"), Error::Unavailable(_)));
        assert!(matches!(
            of("ERR value is not an integer or out of range"),
            Error::NotAnInteger
        ));
        assert!(matches!(
            of("ERR increment or decrement would overflow"),
            Error::Overflow
        ));
        assert!(matches!(of("ERR unknown command"), Error::Rejected(_)));
        assert!(is_forgotten_script(&server_error(
            b"-NOSCRIPT No matching script.\r\n"
        )));
    }

    #[test]
    fn what_the_operating_system_says_is_passed_on() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(lost(&error).to_string(), "connection refused");
    }

    /// The texts of a Redis 6.2.
    #[test]
    fn errors_inside_a_script_are_unwrapped() {
        let wrapped = |inner: &str| {
            let line = format!(
                "-ERR Error running script (call to f_4a65a17b81b6381d158aace1f9b88a0d4aa2910a): {inner}\r\n"
            );
            server_error(line.as_bytes())
        };
        let of = |inner: &str| answered(&wrapped(inner));
        for (inner, shown) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            (
                "-READONLY You can't write against a read only replica.",
                "READONLY",
            ),
            ("-NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
            ("-MISCONF Redis is configured to save RDB snapshots", "MISCONF"),
        ] {
            let error = of(&format!("@user_script:1: @user_script: 1: {inner}"));
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
            assert!(format!("{error:?}").contains(shown), "{error:?}");
        }
        assert!(is_demoted(&wrapped(
            "@user_script:1: @user_script: 1: -READONLY You can't write against a read only replica."
        )));
        assert!(matches!(
            of("@user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value"),
            Error::WrongType
        ));
        assert!(matches!(
            of("@user_script:1: ERR value is not an integer or out of range"),
            Error::NotAnInteger
        ));
        assert!(matches!(
            of(
                "@user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand"
            ),
            Error::Unauthorized
        ));
        assert!(matches!(of("@user_script:7: bad argument"), Error::Rejected(_)));
    }

    /// Before Redis 7, an error that a script catches and returns tells its place too.
    #[test]
    fn errors_that_a_script_returns_are_unwrapped() {
        let wrapped = |inner: &str| server_error(format!("-@user_script: 138: {inner}\r\n").as_bytes());
        let of = |inner: &str| answered(&wrapped(inner));
        let full = of("-OOM command not allowed when used memory > 'maxmemory'.");
        assert!(format!("{full:?}").contains("OOM"), "{full:?}");
        assert!(matches!(full, Error::Unavailable(_)), "{full:?}");
        let readonly = wrapped("-READONLY You can't write against a read only replica.");
        assert!(is_demoted(&readonly));
        for words in [
            "The user executing the script can't run this command or subcommand",
            "The user executing the script can't access at least one of the keys mentioned in the command arguments",
        ] {
            assert!(matches!(of(words), Error::Unauthorized), "{words}");
        }
        assert!(matches!(
            of("WRONGTYPE Operation against a key"),
            Error::WrongType
        ));
        assert!(matches!(of("bad argument"), Error::Rejected(_)));
    }

    #[test]
    fn the_servers_words_are_not_repeated() {
        use std::error::Error as _;

        let error = answered(&server_error(
            b"-ERR unknown command 'hunter2', with args: 'hunter2'\r\n",
        ));
        let source = error.source().unwrap();
        assert!(!format!("{error} {error:?} {source} {source:?}").contains("hunter2"));
    }
}
