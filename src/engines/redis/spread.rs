//! A store that is spread over all nodes of a cluster: each key is in the slot that it hashes to.
//!
//! `engine` is the actor. `intake` takes requests from the queue, splits those for many keys (`join`), and sends them to the
//! node that owns the slot (`slots`), over connections to that node (`nodes`). A call that changes something is a machine
//! (`protocol`): `calls` chooses it, `machines` has those under way, `steps` sends their steps and hands them the answers, and
//! `answers` tells the caller. `leases` knows the leases of this store's loads, and `hints` the names that loaders have found
//! out.
//!
//! `moves` follows slots that get another owner: the jobs of such a slot are `held` until the former owner has answered all
//! requests that it was sent. `refresh` asks the nodes who owns which slots. `scan` and `clear` go over all nodes, and
//! `scans` and `clears` hold those under way. `near` tells the near cache of calls in several slots.

mod answers;
mod calls;
mod clear;
mod clears;
mod engine;
mod held;
mod hints;
mod intake;
mod join;
mod leases;
mod machines;
mod moves;
mod near;
mod nodes;
mod protocol;
mod refresh;
mod scan;
mod scans;
mod slots;
mod steps;

pub(super) use self::engine::{Setup, SpreadEngine};
pub(super) use self::protocol::{Epoch, Step};
