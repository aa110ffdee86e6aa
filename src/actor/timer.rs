//! Sleeping where the caller may have no runtime, and so no timer.

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

/// The runtime whose timer was used has ended.
#[derive(Debug)]
pub(crate) struct Ended;

/// Sleeps until `at`: on the timer of the caller's runtime or, if there is none, on that of `home`.
///
/// A caller's own timer goes first, because it rings also while `home` is busy.
pub(crate) async fn sleep_until(at: Instant, home: &Handle) -> Result<(), Ended> {
    if Handle::try_current().is_ok() {
        time::sleep_until(at).await;
        return Ok(());
    }
    // The set ends its task when it is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn_on(async move { time::sleep_until(at).await }, home);
    match tasks.join_next().await {
        Some(Ok(())) => Ok(()),
        // The task was stopped with its runtime.
        Some(Err(_)) | None => Err(Ended),
    }
}
