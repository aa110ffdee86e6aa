//! Which faults were asked for, and what happened: what `testing::Faults` holds.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many calls the log keeps.
const LOG: usize = 10_000;

/// The faults of all stores that were opened with it, and a log of their requests. Clones share both.
///
/// A fault affects a request to the engine. Most calls of a [`Store`](crate::Store) are one request. A call on more
/// than 512 keys is several requests. A load reads its key, takes a lease (often in the same request), and stores its
/// value. Faults do not affect `stats`, and `stats` is not logged.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    delay: Duration,
    fail: usize,
    lose: usize,
    is_down: bool,
    probability: f64,
    /// The state of SplitMix64.
    random: u64,
    log: VecDeque<Call>,
}

/// One request that reached the engine. It shows no values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The operation, such as `get`, `set`, `get_many`, `invalidate` or `lock`.
    pub name: String,
    /// The keys, with their namespace. Empty for an operation without keys.
    pub keys: Vec<String>,
}

impl Call {
    /// Returns the first key, if the operation has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.keys.first().map(String::as_str)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Served,
    /// It is not carried out.
    Failed,
    /// It is carried out if it changes something, and its reply is lost.
    Lost,
}

impl Faults {
    /// Delays every request from now on by `delay` before the engine gets it. If the deadline comes first, the request
    /// is not carried out, and its call returns [`Timeout`](crate::Error::Timeout). Default: zero.
    pub fn delay(&self, delay: Duration) -> &Self {
        self.state().delay = delay;
        self
    }

    /// Makes the next `n` requests fail: they are not carried out, and their calls return
    /// [`Unavailable`](crate::Error::Unavailable).
    pub fn fail_next(&self, n: usize) -> &Self {
        self.state().fail = n;
        self
    }

    /// Loses the replies to the next `n` requests. Changes are carried out, and their calls return
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown). Reads return [`Unavailable`](crate::Error::Unavailable).
    ///
    /// The store sends the release of a lock a second time if its reply is lost. So
    /// [`LockGuard::release`](crate::LockGuard::release) returns `Released`, and the second request uses up the next
    /// fault.
    pub fn lose_next_replies(&self, n: usize) -> &Self {
        self.state().lose = n;
        self
    }

    /// Makes every request fail until [`up`](Self::up): calls return [`Unavailable`](crate::Error::Unavailable) at
    /// once.
    pub fn down(&self) -> &Self {
        self.state().is_down = true;
        self
    }

    /// Ends [`down`](Self::down).
    pub fn up(&self) -> &Self {
        self.state().is_down = false;
        self
    }

    /// Makes each request fail with this probability, as [`fail_next`](Self::fail_next) does: 0 for none, 1 for all.
    /// Default: 0.
    pub fn probability(&self, probability: f64) -> &Self {
        self.state().probability = probability;
        self
    }

    /// Seeds the random numbers of [`probability`](Self::probability). The same seed and the same requests give the
    /// same faults. Default: 0.
    pub fn seed(&self, seed: u64) -> &Self {
        self.state().random = seed;
        self
    }

    /// Returns the last 10,000 requests, failed ones included, the oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<Call> {
        self.state().log.iter().cloned().collect()
    }

    /// Logs a request by its name and keys. Returns what becomes of it, and after which delay.
    pub(crate) fn meet(&self, name: String, keys: Vec<String>) -> (Fate, Duration) {
        let mut state = self.state();
        if state.log.len() == LOG {
            state.log.pop_front();
        }
        state.log.push_back(Call { name, keys });
        if state.is_down {
            return (Fate::Failed, Duration::ZERO);
        }
        (state.fate(), state.delay)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change to the state can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        if self.fail > 0 {
            self.fail -= 1;
            Fate::Failed
        } else if self.lose > 0 {
            self.lose -= 1;
            Fate::Lost
        } else if self.probability > 0.0 && self.draw() < self.probability {
            Fate::Failed
        } else {
            Fate::Served
        }
    }

    /// A number from 0 to 1, without 1.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // 53 bits, as many as a float holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl PartialEq for Faults {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Shows the faults, and how many calls were logged.
impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Faults")
            .field("delay", &state.delay)
            .field("fail_next", &state.fail)
            .field("lose_next_replies", &state.lose)
            .field("is_down", &state.is_down)
            .field("probability", &state.probability)
            .field("logged", &state.log.len())
            .finish()
    }
}
