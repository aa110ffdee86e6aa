//! The first pipeline of a connection.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value as Wire};

use super::abilities::Abilities;
use super::fault::{self, Lost};
use super::layout::Layout;
use super::redirect::Redirect;
use crate::config::RedisOptions;
use crate::error::{Cause, Error, Result};

/// What a connection says first: it takes a name, loads the scripts, checks the layout's version, and waits for a first
/// answer.
#[derive(Debug)]
pub(super) struct Greeting<'a> {
    options: &'a RedisOptions,
    layout: &'a Layout,
    /// Whether the server has to call itself the primary.
    pub(super) is_primary: bool,
    /// Whether the server has to own the slot of the layout's names, if these are in one.
    pub(super) is_owner: bool,
    /// Whether all leases on the server end.
    pub(super) ends_leases: bool,
}

/// What a server answered to a greeting.
#[derive(Debug)]
pub(super) struct Greeted {
    /// Whether it took all scripts. One that did not is sent a script whole when it misses it.
    pub(super) scripts_loaded: bool,
    /// What it lets its user do.
    pub(super) abilities: Abilities,
    /// Whether it ended the leases, if it was asked to.
    pub(super) ended_leases: bool,
    /// What only this process of a server calls itself; see [`run`].
    pub(super) run: Option<u64>,
}

impl<'a> Greeting<'a> {
    pub(super) fn of(options: &'a RedisOptions, layout: &'a Layout) -> Self {
        Self {
            options,
            layout,
            is_primary: false,
            is_owner: layout.is_in_a_slot(),
            ends_leases: false,
        }
    }

    fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        if let Some(name) = &self.options.client_name {
            pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
        }
        for source in self.layout.scripts() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        if self.is_primary {
            pipeline.cmd("ROLE");
        }
        if self.is_owner {
            pipeline.cmd("MULTI");
            pipeline.cmd("EXEC");
        }
        if self.ends_leases {
            pipeline.cmd("UNLINK").arg(self.layout.leases());
        }
        Abilities::ask(self.layout, &mut pipeline);
        pipeline.cmd("INFO").arg("server");
        for command in self.layout.ask_version() {
            pipeline.add_command(command);
        }
        pipeline.cmd("PING");
        pipeline
    }

    /// Sends it, and takes in what the server answers.
    pub(super) async fn send(self, mut connection: MultiplexedConnection) -> Result<Greeted> {
        let pipeline = self.pipeline();
        let replies = connection
            .send_packed_commands(&pipeline, 0, pipeline.len())
            .await
            .map_err(|error| fault::unopened(&error))?;
        if let Some(Wire::ServerError(error)) = replies.last() {
            return Err(fault::answered(error));
        }
        let mut replies = replies.into_iter();
        if self.options.client_name.is_some()
            && let Some(Wire::ServerError(error)) = replies.next()
        {
            let error = fault::answered(&error);
            tracing::debug!(%error, "the server refused the connection's name");
        }
        let is_refused = |reply: &Wire| matches!(reply, Wire::ServerError(_));
        let (scripts, mut loaded) = (self.layout.scripts().count(), 0);
        for reply in replies.by_ref().take(scripts) {
            loaded += usize::from(!is_refused(&reply));
        }
        if self.is_primary {
            check_role(replies.next())?;
        }
        let mut abilities = Abilities {
            transacts: self.is_owner && transacts([replies.next(), replies.next()])?,
            ..Abilities::default()
        };
        let ended_leases = self.ends_leases && replies.next().is_some_and(|reply| !is_refused(&reply));
        let answers: Vec<Wire> = replies.by_ref().take(Abilities::questions(self.layout)).collect();
        let about = text(replies.next()).unwrap_or_default();
        abilities.learn(answers.into_iter(), &about);
        // The last is the answer to `PING`.
        if let Some(version) = replies.rev().nth(1) {
            if self.is_owner {
                check_owner(&version)?;
            }
            self.layout.check_version(&version)?;
        }
        Ok(Greeted {
            scripts_loaded: loaded == scripts,
            abilities,
            ended_leases,
            run: run(&about),
        })
    }
}

fn text(reply: Option<Wire>) -> Option<String> {
    match reply? {
        Wire::BulkString(text) => String::from_utf8(text).ok(),
        Wire::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// The begin of the `run_id` that a server tells: another one after each start, and on each server. `None` if it tells none.
fn run(about: &str) -> Option<u64> {
    let id = about.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    u64::from_str_radix(id.get(..16)?, 16).ok()
}

/// Refuses a server that does not call itself the primary.
fn check_role(reply: Option<Wire>) -> Result<()> {
    let role = match reply {
        Some(Wire::Array(parts)) => parts.into_iter().next(),
        Some(Wire::ServerError(error)) => return Err(fault::answered(&error)),
        _ => None,
    };
    match role {
        Some(Wire::BulkString(role)) if role == b"master" => Ok(()),
        _ => {
            let not_primary = "Sentinel names it as the primary, and it does not call itself so";
            Err(Error::Unavailable(Cause::new(Lost(not_primary.to_owned()))))
        }
    }
}

/// Whether a server carries out transactions. One that refuses `EXEC` by its rules has ended the transaction. Refuses a server
/// that begins a transaction and does not end it: it would carry out nothing any more.
fn transacts([begun, ended]: [Option<Wire>; 2]) -> Result<bool> {
    match (begun, ended) {
        (Some(Wire::Okay), Some(Wire::ServerError(error))) if error.code() == "EXECABORT" => Ok(false),
        (Some(Wire::Okay), Some(Wire::ServerError(error))) => Err(fault::answered(&error)),
        (Some(Wire::Okay), ended) => Ok(matches!(ended, Some(Wire::Array(_)))),
        _ => Ok(false),
    }
}

/// Refuses a node of a cluster that does not serve the slot, by what it answers to a command on a key there.
fn check_owner(reply: &Wire) -> Result<()> {
    match reply {
        Wire::ServerError(error) => match Redirect::read(error) {
            // The slot is moving away: until that has ended, this is the node to ask first.
            None | Some(Redirect::Ask(_) | Redirect::Later) => Ok(()),
            Some(Redirect::Moved(_) | Redirect::Elsewhere | Redirect::Down) => Err(fault::answered(error)),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_tell_its_run() {
        let told = "# Server\r\nredis_version:7.0.15\r\nrun_id:00000000000000ff5a0d5b2f0c3e1a4b6d7c8e9f\r\n";
        let told = text(Some(Wire::BulkString(told.as_bytes().to_vec())));
        assert_eq!(run(&told.unwrap()), Some(255));
        for other in [
            "run_id:",
            "run_id:12",
            "run_id:ünïcödé and more of it",
            "",
            "run_id:xxxxxxxxxxxxxxxx",
        ] {
            assert_eq!(run(other), None);
        }
        assert_eq!(text(Some(Wire::BulkString(vec![0xff]))), None);
        assert_eq!(text(None), None);
    }

    #[test]
    fn only_a_primary_is_one() {
        let role = |name: &str| {
            Some(Wire::Array(vec![
                Wire::BulkString(name.as_bytes().to_vec()),
                Wire::Int(0),
            ]))
        };
        assert!(check_role(role("master")).is_ok());
        for reply in [
            role("slave"),
            role("sentinel"),
            Some(Wire::Nil),
            Some(Wire::Array(Vec::new())),
            None,
        ] {
            assert!(matches!(check_role(reply), Err(Error::Unavailable(_))));
        }
    }
}
