//! What a server can do that not every server can. It is found out at each connection, and never required.

use redis::{Pipeline, Value as Wire};

use super::layout::Layout;

/// What a server lets this user do, as its answers to a greeting show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// It carries out transactions. Asked only if the store is in a slot of a cluster.
    pub(super) transacts: bool,
    /// `SET … IFEQ`: Valkey 8.1, Redis 8.4.
    pub(super) compares: bool,
    /// `MSETEX` costs it less than a `SET` for each key: Valkey 9.1. Redis 8.4 has the command too. It fetches the keys of the next
    /// `SET`s ahead, and not those of one command: there, the command costs up to a third more.
    pub(super) sets_many: bool,
}

impl Abilities {
    /// How many commands [`ask`](Self::ask) adds for a store of this layout.
    pub(super) fn questions(layout: &Layout) -> usize {
        if layout.is_spread() { 0 } else { 2 }
    }

    /// Asks by commands that change nothing: the key never exists. A version would not tell what an ACL or a proxy permits.
    /// Over all nodes of a cluster changes are scripts.
    pub(super) fn ask(layout: &Layout, pipeline: &mut Pipeline) {
        if layout.is_spread() {
            return;
        }
        let key = layout.absent();
        pipeline.cmd("SET").arg(key).arg("").arg("IFEQ").arg("");
        pipeline.cmd("MSETEX").arg(1).arg(key).arg("").arg("XX");
    }

    /// Takes in the replies of a server that tells `about` itself what `INFO server` does.
    pub(super) fn learn(&mut self, mut replies: impl Iterator<Item = Wire>, about: &str) {
        let is_valkey = about.contains("\nvalkey_version:");
        self.compares = replies.next() == Some(Wire::Nil);
        self.sets_many = replies.next() == Some(Wire::Int(0)) && is_valkey;
    }
}
