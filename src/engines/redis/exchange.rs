//! How an operation is exchanged with the server: the commands that are sent, and what their replies mean.
//!
//! Each operation implements [`Exchange`] in one place, encoding and decoding side by side: reads in `values`,
//! writes in `writes`, removals in `deletes`, steps of leases and locks in `lease` and `lock`, commands of the caller's
//! own in `raw`, the rest here.

use std::fmt;

use redis::{Cmd, Value as Wire};

use super::abilities::Abilities;
use super::doubt::Doubt;
use super::layout::Layout;
use super::script::{By, Script};
use super::tally::Tally;
use super::wire::{FRAME, bytes, refuse_errors};
use crate::error::Result;
use crate::request::{Asked, Effect, EntryRequest, LeaseAction, LockAction, Operation, Ping, on_entry};

/// An operation as the server knows it.
pub(super) trait Exchange: Operation {
    /// How it travels.
    fn way(&self) -> Way;

    /// How it travels to a server with these abilities.
    fn way_to(&self, _: Abilities) -> Way {
        self.way()
    }

    /// Adds its commands.
    fn encode(&self, to: &mut Commands);

    /// Answers with what the replies mean, counts it, and tells what is still to be sent.
    fn decode(asked: Asked<Self>, replies: Replies, tally: &mut Tally) -> Settled;
}

/// How an operation travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By plain commands. They end no leases: the batch does so for those that change values.
    Plain,
    /// By scripts, which end leases themselves. If the server has forgotten one, the script is sent again, so
    /// nothing but scripts may be sent for its keys before it has been answered.
    Script,
    /// By a script whose keys no plain command touches.
    LockScript,
}

/// What became of a request once its replies are there.
#[derive(Debug)]
pub(super) enum Settled {
    Answered,
    /// The server has forgotten a script: this is to be sent again, with the script's source.
    Forgotten(EntryRequest),
    /// The absence of keys is to be made sure of.
    Doubted(Box<Doubt>),
}

/// The replies to the commands of one operation, in their order, and how these were sent.
pub(super) struct Replies {
    pub(super) by: By,
    replies: std::vec::IntoIter<Wire>,
}

/// Shows no reply.
impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("by", &self.by)
            .field("replies", &self.replies.len())
            .finish()
    }
}

impl Replies {
    pub(super) fn new(replies: Vec<Wire>, by: By) -> Self {
        let replies = replies.into_iter();
        Self { by, replies }
    }

    /// The next reply. One that is missing is nil, as no command of ours answers.
    pub(super) fn take(&mut self) -> Wire {
        self.replies.next().unwrap_or_default()
    }

    pub(super) fn take_many(&mut self, count: usize) -> impl Iterator<Item = Wire> {
        self.replies.by_ref().take(count)
    }

    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }
}

/// The commands of a pipeline.
pub(super) struct Commands {
    pub(super) layout: Layout,
    /// What the server lets its user do.
    pub(super) abilities: Abilities,
    /// How scripts are called.
    pub(super) by: By,
    pub(super) sent: Vec<Cmd>,
    /// The bytes to send, or a few more.
    pub(super) bytes: usize,
    /// The scripts among the commands.
    pub(super) scripts: usize,
    /// Whether the replies are to tell what happened to each key, because somebody listens.
    pub(super) tells: bool,
    /// The slot of the keys of the next script, if the store is spread over slots.
    pub(super) slot: Option<u16>,
    /// Whether they are in a transaction, which ends the leases.
    pub(super) in_transaction: bool,
}

/// Shows no command.
impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands")
            .field("by", &self.by)
            .field("sent", &self.sent.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Commands {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            abilities: Abilities::default(),
            by: By::Digest,
            sent: Vec::new(),
            bytes: 0,
            scripts: 0,
            tells: false,
            slot: None,
            in_transaction: false,
        }
    }

    /// Whether all changes have to be scripts; see [`Layout::is_in_a_cluster`].
    pub(super) fn are_scripts(&self) -> bool {
        self.layout.is_in_a_cluster() && !self.in_transaction
    }

    pub(super) fn add(&mut self, command: Cmd) {
        self.bytes += FRAME + bytes(&command);
        self.sent.push(command);
    }

    /// Adds the call of a script. `give` adds its arguments: first so many keys, then the others.
    pub(super) fn call(&mut self, script: Script, keys: usize, give: impl FnOnce(&mut Cmd, &Layout)) {
        let mut command = match self.slot {
            Some(slot) => self.layout.call_in(slot, script, self.by, keys),
            None => self.layout.call(script, self.by, keys),
        };
        give(&mut command, &self.layout);
        self.scripts += 1;
        self.add(command);
    }
}

impl EntryRequest {
    /// How it travels by itself. In a cluster all changes are scripts; see [`Layout::is_in_a_cluster`]. In one slot, scans are
    /// too.
    pub(super) fn way(&self, layout: &Layout, abilities: Abilities) -> Way {
        match self.own_way(abilities) {
            Way::Plain if layout.is_in_a_cluster() && self.effect() == Effect::Change => Way::Script,
            Way::Plain if layout.is_in_a_slot() && matches!(self, EntryRequest::Scan(_)) => Way::Script,
            way => way,
        }
    }

    /// How it travels outside of a cluster, and in a transaction.
    pub(super) fn own_way(&self, abilities: Abilities) -> Way {
        on_entry!(self, Asked { operation, .. } => operation.way_to(abilities))
    }

    /// The bytes that it holds, those of values to be written included.
    pub(super) fn bytes(&self) -> usize {
        on_entry!(self, Asked { operation, .. } => operation.bytes())
    }

    /// Whether this changes values by plain commands, which end no leases.
    pub(super) fn changes_plainly(&self, layout: &Layout, abilities: Abilities) -> bool {
        self.effect() == Effect::Change && self.way(layout, abilities) == Way::Plain
    }

    /// Whether this may change what its keys hold, or their TTLs.
    pub(super) fn changes_entries(&self) -> bool {
        match self {
            EntryRequest::Lock(_) | EntryRequest::GetOrLease(_) => false,
            EntryRequest::Lease(asked) => matches!(
                *asked.operation.step,
                LeaseAction::Fulfil { .. } | LeaseAction::Renew { .. }
            ),
            _ => self.effect() != Effect::Question,
        }
    }

    /// Whether this may change keys that it does not name, or lets its caller go on after another who did. The near
    /// cache is not read then until it is known what has happened before.
    pub(super) fn needs_barrier(&self) -> bool {
        match self {
            EntryRequest::Raw(_) => true,
            EntryRequest::Lock(asked) => matches!(asked.operation.step.action, LockAction::Acquire { .. }),
            _ => false,
        }
    }

    pub(super) fn encode(&self, to: &mut Commands) {
        on_entry!(self, Asked { operation, .. } => operation.encode(to));
    }

    pub(super) fn settle(self, replies: Replies, tally: &mut Tally) -> Settled {
        on_entry!(self, asked => Exchange::decode(asked, replies, tally))
    }
}

impl<O: Operation> Asked<O> {
    /// Tells listeners, then answers: nothing is left to be done.
    pub(super) fn answer(self, answer: Result<O::Answer>, tally: &Tally) -> Settled {
        tally.tell(&self.operation, &answer);
        self.reply.send(answer);
        Settled::Answered
    }
}

impl Exchange for Ping {
    fn way(&self) -> Way {
        Way::Plain
    }

    fn encode(&self, to: &mut Commands) {
        to.add(redis::cmd("PING"));
    }

    fn decode(asked: Asked<Self>, mut replies: Replies, tally: &mut Tally) -> Settled {
        asked.answer(refuse_errors(replies.take()).map(drop), tally)
    }
}
