//! The caller's own commands.

use std::borrow::Borrow;

use redis::{Cmd, FromRedisValue};

use super::Store;
use crate::calls::CallName;
use crate::codec::{DecodeError, DecodeErrorKind};
use crate::error::{Error, Result};
use crate::request;

impl Store {
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    /// Sends a command of your own over the engine's connection, and returns the reply.
    ///
    /// The command is owned or a reference, and ends by `request_timeout`. Await each call that the command has to follow: it may
    /// overtake calls that are not answered yet, because it goes over one connection and calls on keys may go over others.
    /// Keys are sent as they are, without this handle's namespace.
    ///
    /// All callers share the connection. So commands that would make others wait, or change the connection's state, are
    /// refused: blocking commands, subscriptions, transactions (use a script), `SELECT`, `AUTH` and similar ones.
    ///
    /// Over a cluster, the command goes to the node that owns the slot of its first key. A command without keys goes to one of
    /// the nodes. If the store is in one slot, by a hash tag, the command goes to the node of that slot, and its keys begin with the tag, as in
    /// `{app}:key`. A key of another slot is [`Unavailable`](Error::Unavailable) with the cause `MOVED` then. While a slot moves,
    /// the command may overtake calls that wait for the move. Errors with the codes `MOVED`, `ASK`, `TRYAGAIN`, `CLUSTERDOWN`,
    /// `READONLY` and `LOADING` say that the command was not carried out, and it is sent again. So a script of your own must
    /// not return such a code.
    ///
    /// ```no_run
    /// use cachestore::{Config, Store, redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// let store = Store::open(Config::redis("redis://localhost:6379")?).await?;
    /// let mut command = redis::cmd("HSET");
    /// command.arg("h").arg("field").arg("value");
    /// let added: u64 = store.redis_command(&command).await?;
    /// let pong: String = store.redis_command(redis::cmd("PING")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`Unsupported`](Error::Unsupported) on the memory engine, and for the refused commands above.
    /// * [`Rejected`](Error::Rejected) if the server refuses the command. The error does not show the server's message,
    ///   because it may quote arguments.
    /// * [`Decode`](Error::Decode) if the reply is not a `T`.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from the engine,
    ///   and [`Unauthorized`](Error::Unauthorized) if the user may not send the command.
    /// * [`OutcomeUnknown`](Error::OutcomeUnknown) if the reply was lost, also for a command that only reads: the store
    ///   does not know that.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the command may be carried out even if the future is dropped.
    pub async fn redis_command<T: FromRedisValue>(&self, command: impl Borrow<Cmd>) -> Result<T> {
        let command = command.borrow();
        if let Some(operation) = crate::engines::redis::unshareable(command) {
            return self.count(Err(Error::Unsupported { operation }));
        }
        let command = Box::new(command.clone());
        let answer = match self
            .call(CallName::RedisCommand)
            .ask(request::Raw { command })
            .await
        {
            // The engine has no such commands.
            Err(error @ Error::Unsupported { .. }) => return self.count(Err(error)),
            answer => answer?,
        };
        let reply = crate::engines::redis::reply(answer)?;
        // The crate's own message quotes the reply.
        let mismatch = |_| Error::Decode(DecodeError::new(DecodeErrorKind::TypeMismatch, None));
        redis::from_redis_value(reply).map_err(mismatch)
    }
}
