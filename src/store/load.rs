//! Loads: the builders, and what a call does with what it finds.

mod asked;
mod future;
mod many;
mod options;
mod plan;
mod single;

pub use self::future::LoadFuture;
pub use self::many::LoadMany;
pub use self::options::LoadOptions;
pub use self::single::Load;
