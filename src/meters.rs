//! What a store tells a recorder of metrics, by the Cargo feature `metrics`.
//!
//! [`Meters`] is what a store and its actors hold, [`Calls`] has the metrics of calls, and `figures` is the table of the
//! metrics that follow [`Stats`]. Without the feature all of them are empty, and without a recorder they do nothing.
//!
//! [`Stats`]: crate::Stats

#[cfg(not(feature = "metrics"))]
mod absent;
#[cfg(feature = "metrics")]
mod calls;
#[cfg(all(feature = "redis", feature = "metrics"))]
mod connections;
#[cfg(feature = "metrics")]
mod figures;
#[cfg(feature = "metrics")]
mod follow;
#[cfg(feature = "metrics")]
mod handle;
#[cfg(feature = "metrics")]
mod recorded;
#[cfg(feature = "metrics")]
mod series;

#[cfg(all(feature = "redis", not(feature = "metrics")))]
pub(crate) use self::absent::OpenConnection;
#[cfg(not(feature = "metrics"))]
pub(crate) use self::absent::{Calls, Meters};
#[cfg(feature = "metrics")]
pub(crate) use self::calls::Calls;
#[cfg(all(feature = "redis", feature = "metrics"))]
pub(crate) use self::connections::OpenConnection;
#[cfg(feature = "metrics")]
pub(crate) use self::recorded::Meters;
