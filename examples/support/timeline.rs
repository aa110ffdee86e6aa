//! What callers of a store have seen in each slice of time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cachestore::Error;
use tokio::time::Instant;

pub(crate) const SLICE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Timeline {
    began: Instant,
    slices: Arc<Mutex<BTreeMap<u128, Slice>>>,
}

#[derive(Default)]
struct Slice {
    calls: u64,
    errors: BTreeMap<&'static str, u64>,
    notes: Vec<String>,
}

impl Timeline {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            slices: Arc::default(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Slice)) {
        let number = self.began.elapsed().as_millis() / SLICE.as_millis();
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        change(slices.entry(number).or_default());
    }

    /// A call has ended.
    pub(crate) fn count<T>(&self, result: &cachestore::Result<T>) {
        self.change(|slice| match result {
            Ok(_) => slice.calls += 1,
            Err(error) => *slice.errors.entry(kind(error)).or_default() += 1,
        });
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.change(|slice| slice.notes.push(note.into()));
    }

    pub(crate) fn print(&self) {
        println!("   time   calls  errors");
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let last = slices.keys().last().copied().unwrap_or_default();
        let nothing = Slice::default();
        for number in 0..=last {
            let slice = slices.get(&number).unwrap_or(&nothing);
            let errors: Vec<String> = slice
                .errors
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            let seconds = number as f64 * SLICE.as_secs_f64();
            println!("{seconds:6.1} s  {:6}  {}", slice.calls, errors.join(", "));
            for note in &slice.notes {
                println!("          -> {note}");
            }
        }
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Unavailable(_) => "unavailable",
        Error::OutcomeUnknown(_) => "outcome unknown",
        Error::Timeout { .. } => "timed out",
        _ => "other",
    }
}
