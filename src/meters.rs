//! What a store tells a recorder of metrics, by the Cargo feature `metrics`.
//!
//! A [`Watch`] sees one call, from what it first asks to its end. [`Meters`] is what a store and its actors hold, and
//! `figures` is the table of the metrics that follow [`Stats`]. Without the feature all of them are empty, and without a
//! recorder they do nothing.
//!
//! [`Stats`]: crate::Stats

mod call;

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
mod outcome;
#[cfg(feature = "metrics")]
mod recorded;
#[cfg(feature = "metrics")]
mod series;
#[cfg(feature = "metrics")]
mod watch;

#[cfg(all(feature = "redis", not(feature = "metrics")))]
pub(crate) use self::absent::OpenConnection;
#[cfg(not(feature = "metrics"))]
pub(crate) use self::absent::{Answered, Meters, Watch};
pub(crate) use self::call::CallName;
#[cfg(all(feature = "redis", feature = "metrics"))]
pub(crate) use self::connections::OpenConnection;
#[cfg(feature = "metrics")]
pub(crate) use self::outcome::{Answered, Outcome};
#[cfg(feature = "metrics")]
pub(crate) use self::recorded::Meters;
#[cfg(feature = "metrics")]
pub(crate) use self::watch::Watch;
