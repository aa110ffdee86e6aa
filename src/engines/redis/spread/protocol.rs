//! The protocol of dependencies in a cluster whose values are spread over all nodes.
//!
//! A value and the names that it depends on are in different slots, and no command is atomic over two slots. So each call
//! that concerns dependencies is a [`Machine`]: it tells which [`Step`]s are next, and each step is one command on one
//! slot. All of it is pure: no I/O, no clock, no randomness but a seed.
//!
//! # How an engine drives a machine
//!
//! 1. Make it, for example with [`Write::new`](write::Write::new), and call [`Machine::start`].
//! 2. Send the steps of [`Next::Steps`], each to the slot of [`Step::place`]. They may go at the same time. The machine
//!    may have other steps under way meanwhile.
//! 3. For each answer call [`Machine::advance`] with the step and the [`Answered`], which carries the [`Epoch`](step::Epoch) of the link
//!    that the answer came over. It gives more steps, perhaps none, until it gives [`Next::Done`]. Then no step is under way.
//! 4. Give each answer to [`Seens::learn`](seen::Seens::learn) too. A later write into the slot is one round trip shorter.
//!
//! An *epoch* is the number of a link to the owner of a slot. It changes when the connection is replaced, and when the
//! slot has another owner, and no number is used twice in a process. A step for which [`Step::epoch`] is `Some` may only
//! be carried out over the link of that epoch. If that is gone, or if the node answers `MOVED` or `ASK`, do not send the
//! step. Answer [`Answer::Void`](answer::Answer::Void). All other steps follow redirections. Only a look is not asked of the
//! node that a slot is moving to: a write is bound to the link of its look. It waits until the slot has moved.
//!
//! If a connection is lost before the answer, [`Step::is_repeatable`] tells what to do: such a step may be sent again.
//! Any other step may have been carried out: answer the caller with `OutcomeUnknown` and drop the machine. Dropping a
//! machine is always safe: what it leaves on the server is registered too often, and never too seldom. If a
//! *step fails* with an error of the server, answer the caller with that error and drop the machine.
//!
//! [`Next::Done`] may have a `rest`: steps that tidy up. Send them, wait for nothing, and ignore their answers.
//!
//! # What is kept in a slot
//!
//! | what | meaning |
//! |---|---|
//! | the value | |
//! | `kills` | the unique stamp of the slot's last invalidation. It is kept for an hour. A slot without one gets one from the first who asks, so that a server that has lost its data does not look as it did before |
//! | `depend` of a name | the *registrations*: each member with a unique stamp and with the time until which it is kept |
//! | `records` | for each key the *record* of its last write: the names that it depends on, and how long the key is registered there |
//! | `leases` | who loads which key, and which names it reads |
//! | `intents` | the tokens of writers that were refused too often. An invalidation of their key removes these |
//! | `watch` of a name | the loads under way that name it. Any change of the name returns them |
//! | `clearings` | the clearings under way. While one is noted, nothing is stored that was loaded under its prefix |
//!
//! # Rules
//!
//! 1. *Look, register, put.* A writer knows `kills` of its key's slot, then registers the key under each name, then puts
//!    the value. The put is refused if `kills` has changed. An invalidation that saw the registration has killed the
//!    key, or will. So no value stays whose registration is gone.
//! 2. *Scan, kill, drain, forget.* An invalidation removes a registration after the key was killed and all below it is
//!    drained, and only if its stamp is the one that the scan has seen.
//! 3. *Reach.* A registration lives for as long as the value may: its life is counted from a time in the key's slot
//!    that was read before the registration was made. A key whose new dependent lives longer than the key's own
//!    registrations is registered anew under its own names, and so on upwards, before the dependent is put.
//! 4. *Lease, watch, load, register, put.* A load takes its lease before it is registered, and it is registered under all
//!    names before its loader begins. It stores its value only while it has the lease, and only over the link that the
//!    lease was taken over. A value that depends on names which the lease does not have is not stored: end its lease with
//!    [`End`](lease::End).
//! 5. *Change, cancel, answer.* A plain change of a key returns the loads that name the key, in the same command. Their
//!    leases end, and what they have stored meanwhile goes, before the change is answered. The loads stay noted until they
//!    end: another change does not rely on this one to cancel them.
//! 6. *Mark, remove, mark.* A clearing ends the loads in all slots whose key or one of whose names is under its prefix,
//!    removes the values, and ends such loads once more. In between, no such load stores anything.
//!
//! # What a failover can lose
//!
//! Redis replicates asynchronously. If a replica is promoted that has not received a registration whose value was put in
//! another node, or a kill whose registration was forgotten in another node, a value stays that no invalidation finds until
//! its TTL ends. The same is true if a node with names restarts empty. Nothing of that happens at a planned
//! failover, nor if acknowledged writes are replicated.

mod answer;
mod change;
mod exchange;
mod invalidation;
mod lease;
mod life;
mod marking;
mod seen;
mod stamp;
mod step;
#[cfg(test)]
mod tests;
mod touch;
mod upward;
mod write;

pub(in crate::engines::redis) use self::answer::{Answer, Answered, Changed, Present, PutAnswer};
pub(in crate::engines::redis) use self::change::Change;
pub(in crate::engines::redis) use self::invalidation::Invalidation;
pub(in crate::engines::redis) use self::lease::{End, Lease, Leased, Terms};
pub(in crate::engines::redis) use self::life::Life;
pub(in crate::engines::redis) use self::marking::Marking;
pub(in crate::engines::redis) use self::seen::{Seen, Seens};
pub(in crate::engines::redis) use self::stamp::{Stamp, Stamps};
pub(in crate::engines::redis) use self::step::{Act, Condition, Epoch, Given, Next, Step};
pub(in crate::engines::redis) use self::touch::{Touch, Touched};
pub(in crate::engines::redis) use self::write::{Content, Write, Written};

use tokio::time::Instant;

/// A call in steps of one slot each.
pub(in crate::engines::redis) trait Machine {
    /// What the call answers.
    type Output;

    /// The first steps. `now` is the client's time.
    fn start(&mut self, now: Instant) -> Next<Self::Output>;

    /// Takes in the answer to a step. `now` is the client's time.
    fn advance(&mut self, now: Instant, step: &Step, answered: Answered) -> Next<Self::Output>;
}
