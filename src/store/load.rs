//! Loads: the builders, and what a call does with what it finds.
//!
//! `single` and `many` are the builders. `plan` checks a call's options, once, and tells what follows from them. `run` is
//! the one algorithm. In front of it, `future` serves a hit of one key, and `direct` loads a key that nobody else loads.

// The documentation shows a load of one key before a load of many.
mod single;

mod answers;
mod asked;
mod bypass;
mod context;
mod direct;
mod findings;
mod found;
mod future;
mod loader;
mod many;
mod options;
mod order;
mod plan;
mod run;
mod seal;
mod send;
mod setters;
mod shared;

pub use self::context::{ContextLoader, Fetched, LoadContext};
pub use self::future::LoadFuture;
pub use self::loader::{Loader, Model};
pub use self::many::LoadMany;
pub use self::options::LoadOptions;
pub use self::single::Load;
