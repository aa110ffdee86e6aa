//! The one error type, and the cause that an engine gives for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{DecodeError, EncodeError};

/// The result of a call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// The message says what was wrong and what to do. [`source`](std::error::Error::source) returns the cause. The
/// alternate form (`{:#}`) shows both. None of them ever shows a value, a secret or a URL.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
/// use cachestore::{Config, Error, Store};
///
/// let store = Store::open(Config::memory()).await?;
/// assert!(matches!(store.get("  ").await, Err(Error::KeyRequired)));
///
/// store.set("k", "text").await?;
/// let error = store.get_model::<u32>("k").await.unwrap_err();
/// assert_eq!(error.to_string(), "the stored bytes cannot be decoded");
/// assert!(format!("{error:#}").ends_with("more bytes after the value, at byte 1"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key, or the name of a dependency, is empty or blank.
    #[error("a key is required: it was empty or blank")]
    KeyRequired,
    /// A key is longer than `max_key_bytes`. The namespace does not count.
    #[error("the key has {len} bytes, at most {max} are allowed: shorten or hash it")]
    KeyTooLong {
        /// The key's length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A key at the root begins with `cachestore:`, which is the library's own.
    #[error("keys that begin with `cachestore:` are reserved: choose another, or use a namespace")]
    KeyReserved,
    /// The name of a namespace is not allowed. See [`Store::namespace`](crate::Store::namespace).
    #[error("invalid namespace: {reason}")]
    InvalidNamespace {
        /// The rule that was broken.
        reason: &'static str,
    },
    /// A time to live, or another window of time, is zero or longer than 100 years.
    #[error("invalid TTL {ttl:?}: it must be over zero and at most 100 years")]
    InvalidTtl {
        /// What was given.
        ttl: Duration,
    },
    /// A value is larger than `max_value_bytes`, or than the whole capacity of the memory engine. Nothing was evicted.
    #[error("the value has {len} bytes, at most {max} are allowed")]
    ValueTooLarge {
        /// The value's length in bytes.
        len: usize,
        /// The limit in bytes for this key.
        max: usize,
    },
    /// A setting, a URL or the environment variable `CACHESTORE_URL` cannot be used.
    #[error("invalid configuration: {reason}")]
    InvalidConfig {
        /// What is wrong, and what would be right. Never contains a URL or a password.
        reason: String,
    },
    /// A lock's secret is empty or blank.
    #[error("a secret is required: it was empty or blank")]
    SecretRequired,
    /// `wait_write_lock` was given no time to wait: use `write_lock`.
    #[error("a time to wait is required: it was zero")]
    WaitRequired,
    /// Another caller holds the lock, or others wait for it, and it did not come free within the wait.
    #[error("the lock is held: wait for it, or try again later")]
    LockHeld,
    /// The secret is not the holder's secret. Nothing was changed.
    #[error("the lock is held with another secret")]
    LockMismatch,
    /// `incr` or `counter` found a value that is not a decimal integer of 64 bits.
    #[error("the value is not a decimal integer of 64 bits")]
    NotAnInteger,
    /// `incr` would leave the range of a 64-bit integer. The value is unchanged.
    #[error("the increment would leave the range of a 64-bit integer")]
    Overflow,
    /// At every try of `update_model` or `compare_and_set_model`, another write came first. Nothing was changed.
    #[error("other writes came between at every try: try again, or take a lock for this key")]
    Conflict,
    /// A key holds a list, a set or another type that another program wrote.
    #[error("the key holds another type of data than a value")]
    WrongType,
    /// The server refused the user, the password, or a permission of the user. Nothing was changed.
    #[error("the server refused the user, the password, or the permission")]
    Unauthorized,
    /// The engine has no such operation.
    #[error("this engine has no {operation}")]
    Unsupported {
        /// The call that it does not have.
        operation: &'static str,
    },
    /// The server refused the command itself. Another attempt will not succeed.
    #[error(fmt = message::rejected)]
    Rejected(#[source] Cause),
    /// A model could not be encoded.
    #[error(fmt = message::encode)]
    Encode(#[source] EncodeError),
    /// The stored bytes do not decode to the requested type.
    #[error(fmt = message::decode)]
    Decode(#[source] DecodeError),
    /// The call did not end within its `request_timeout`. It was not carried out, or it only reads. Two calls are an
    /// exception: `close` and the release of a lock go on. They may be repeated, too.
    #[error("timed out while waiting for {phase}")]
    Timeout {
        /// What it was waiting for.
        phase: Phase,
    },
    /// The request was not carried out: the engine could not serve it, too many callers wait for locks or loads, or, on the
    /// memory engine, 65,536 names wait to be invalidated or cleared.
    #[error(fmt = message::unavailable)]
    Unavailable(#[source] Cause),
    /// The engine failed during a change, or did not answer it within the call's `request_timeout`: the change may have
    /// been carried out or not, or may be carried out later. The library never sends it again. A call on many keys also
    /// returns it if some were changed and others were not.
    #[error(fmt = message::outcome_unknown)]
    OutcomeUnknown(#[source] Cause),
    /// The store is closed: [`Store::close`](crate::Store::close) was called, or the runtime that opened the store has
    /// ended.
    ///
    /// The actors of a store run on the runtime that opened it. So if several runtimes use one `static` store, such as
    /// those of several `#[tokio::test]` functions, the store ends with the first runtime. The log says whether the
    /// store was closed or the runtime ended.
    #[error("the store is closed: `close` was called, or the runtime that opened it has ended")]
    Closed,
}

/// The messages of errors that have a cause.
mod message {
    use std::fmt::{Display, Formatter, Result};

    use super::Cause;
    use crate::codec::{DecodeError, EncodeError};

    /// Writes a message. The alternate form also shows the cause.
    fn with(message: &str, cause: &dyn Display, f: &mut Formatter<'_>) -> Result {
        f.write_str(message)?;
        if f.alternate() {
            write!(f, ": {cause:#}")?;
        }
        Ok(())
    }

    pub(super) fn rejected(cause: &Cause, f: &mut Formatter<'_>) -> Result {
        with("the server refused the command", cause, f)
    }

    pub(super) fn encode(cause: &EncodeError, f: &mut Formatter<'_>) -> Result {
        with("the model cannot be encoded", cause, f)
    }

    pub(super) fn decode(cause: &DecodeError, f: &mut Formatter<'_>) -> Result {
        with("the stored bytes cannot be decoded", cause, f)
    }

    pub(super) fn unavailable(cause: &Cause, f: &mut Formatter<'_>) -> Result {
        with("the engine is unavailable", cause, f)
    }

    pub(super) fn outcome_unknown(cause: &Cause, f: &mut Formatter<'_>) -> Result {
        let message = "the outcome is unknown: the change may have been carried out, or not";
        with(message, cause, f)
    }
}

impl Error {
    /// Returns whether the same call may succeed if it is made again with the same arguments.
    ///
    /// `true` for [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) and
    /// [`Conflict`](Error::Conflict).
    /// `false` for [`OutcomeUnknown`](Error::OutcomeUnknown): the change may have been made already, and only the
    /// caller knows whether making it twice does harm. `false` also for [`LockHeld`](Error::LockHeld): a lock has
    /// [`wait`](crate::Lock::wait).
    ///
    /// ```
    /// use cachestore::Error;
    ///
    /// assert!(!Error::KeyRequired.is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::Timeout { .. } | Error::Unavailable(_) | Error::Conflict
        )
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Error::Encode(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Error::Decode(error)
    }
}

/// What a call waited for when its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A place in the engine's queue, or on Redis the requests before it. The request was not sent.
    Queue,
    /// A connection to the server. Nothing was sent.
    Connect,
    /// The engine's answer.
    Reply,
    /// A value that is being loaded.
    Load,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Queue => "a place in the engine's queue",
            Phase::Connect => "a connection to the server",
            Phase::Reply => "the engine's answer",
            Phase::Load => "a value that is being loaded",
        })
    }
}

/// The cause of an engine's failure. It is opaque, so that a change of the backend breaks no caller.
#[derive(Clone, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }

    /// The cause, if it is an error of this type.
    #[cfg(feature = "redis")]
    pub(crate) fn of<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn only_what_was_surely_not_done_is_retryable() {
        let cause = Cause::new("it fell over");
        assert!(Error::Timeout { phase: Phase::Queue }.is_retryable());
        assert!(Error::Unavailable(cause.clone()).is_retryable());
        assert!(!Error::OutcomeUnknown(cause).is_retryable());
        assert!(Error::Conflict.is_retryable());
        assert!(!Error::Closed.is_retryable());
    }

    #[test]
    fn the_cause_is_kept_as_the_source() {
        let error = Error::Unavailable(Cause::new("it fell over"));
        assert_eq!(error.source().unwrap().to_string(), "it fell over");
    }

    #[test]
    fn the_alternate_form_shows_the_cause_too() {
        let cause = Cause::new("it fell over");
        let error = Error::Unavailable(cause.clone());
        assert_eq!(error.to_string(), "the engine is unavailable");
        assert_eq!(format!("{error:#}"), "the engine is unavailable: it fell over");
        assert_eq!(
            format!("{:#}", Error::Rejected(cause)),
            "the server refused the command: it fell over"
        );
        assert_eq!(format!("{:#}", Error::Closed), Error::Closed.to_string());
    }
}
