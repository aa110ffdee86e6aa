//! Loads: the builders, and what a call does with what it finds.

mod many;
mod options;
mod single;

pub use self::many::LoadMany;
pub use self::single::Load;
