//! By how much a busy machine is late, for tests that hold a call against a time.

use std::collections::VecDeque;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// What a call may take past its deadline on a machine that is not late.
const USUAL: Duration = Duration::from_millis(250);
/// How long the thread that looks at the machine sleeps at once, and when it counts as late.
const SLEEP: Duration = Duration::from_millis(2);
const GRAIN: Duration = Duration::from_millis(1);
/// No call of a test is given longer than this.
const WINDOW: Duration = Duration::from_secs(2);

/// The most by which the machine was late within a window, in microseconds.
static WORST: AtomicU64 = AtomicU64::new(0);

/// Looks at the machine from now on.
pub(crate) fn watch() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| drop(thread::spawn(look)));
}

fn look() {
    let mut late: VecDeque<(Instant, Duration)> = VecDeque::new();
    let mut sum = Duration::ZERO;
    loop {
        let began = Instant::now();
        thread::sleep(SLEEP);
        let overslept = began.elapsed().saturating_sub(SLEEP + GRAIN);
        late.push_back((began, overslept));
        sum += overslept;
        while let Some((at, time)) = late.front()
            && at.elapsed() > WINDOW
        {
            sum -= *time;
            late.pop_front();
        }
        WORST.fetch_max(
            u64::try_from(sum.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }
}

/// What a call may take past its deadline: a little, and more if other programs had the processors meanwhile. What
/// needs them several times in a row is late each time.
pub(crate) fn late() -> Duration {
    watch();
    USUAL + 2 * Duration::from_micros(WORST.load(Ordering::Relaxed))
}
