//! A store that is spread over all nodes of a cluster: each key is in the slot that it hashes to.
//!
//! `engine` is the actor. `intake` takes requests from the queue, splits those for many keys (`join`) and sends them to the
//! node that owns the slot (`slots`), over connections of that node (`nodes`). `moves` follows slots that get another owner:
//! the jobs of such a slot are `held` until the old owner has answered all that it was sent. `refresh` asks the nodes who
//! owns which slots. What goes over all nodes is in `scan` and `clear`.

mod clear;
mod clears;
mod engine;
mod held;
mod intake;
mod join;
mod machines;
mod moves;
mod nodes;
#[allow(
    dead_code,
    unused_imports,
    reason = "loads, clearings and plain changes do not use the protocol yet"
)]
mod protocol;
mod refresh;
mod scan;
mod scans;
mod slots;
mod steps;
mod support;

pub(super) use self::engine::{Setup, SpreadEngine};
pub(super) use self::protocol::{Epoch, Step};
