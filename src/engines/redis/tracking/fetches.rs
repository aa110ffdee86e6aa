//! The reads under way whose replies may be published.

use std::collections::HashMap;

use compact_str::CompactString;

use super::ConnectionId;

#[derive(Debug, Default)]
pub(super) struct Fetches(HashMap<CompactString, Fetch>);

#[derive(Debug)]
struct Fetch {
    over: ConnectionId,
    /// The key was changed, or read over another connection, since this was launched.
    spoiled: bool,
}

impl Fetches {
    pub(super) fn begin(&mut self, key: CompactString, over: ConnectionId) {
        let spoiled = false;
        self.0.insert(key, Fetch { over, spoiled });
    }

    /// The connection over which a key is being fetched.
    pub(super) fn connection_of(&self, key: &str) -> Option<ConnectionId> {
        self.0.get(key).map(|fetch| fetch.over)
    }

    /// Keeps the value of a key that is being fetched from being published.
    pub(super) fn spoil(&mut self, key: &str) {
        if let Some(fetch) = self.0.get_mut(key) {
            fetch.spoiled = true;
        }
    }

    /// Keeps all values that are being fetched over a connection from being published.
    pub(super) fn spoil_those_of(&mut self, connection: ConnectionId) {
        let all = self.0.values_mut();
        all.filter(|fetch| fetch.over == connection)
            .for_each(|fetch| fetch.spoiled = true);
    }

    pub(super) fn spoil_all(&mut self) {
        self.0.values_mut().for_each(|fetch| fetch.spoiled = true);
    }

    /// Ends the fetch of a key over this connection. Returns whether it was spoiled, or `None` if there is none.
    pub(super) fn end(&mut self, key: &str, connection: ConnectionId) -> Option<bool> {
        self.connection_of(key).filter(|over| *over == connection)?;
        self.0.remove(key).map(|fetch| fetch.spoiled)
    }

    /// Nothing will come over a connection any more.
    pub(super) fn lost(&mut self, connection: ConnectionId) {
        self.0.retain(|_, fetch| fetch.over != connection);
    }
}
