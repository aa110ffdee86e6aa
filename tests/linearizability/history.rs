//! Runs many tasks on a few registers, and writes down what they saw.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use futures_util::FutureExt;

use super::checker::{Action, Answer, Call};

/// Something with keys that hold integers: a store, or what a test takes for one.
pub(crate) trait Registers: Send + Sync + 'static {
    /// Carries out one action. An answer of `None` says that nobody knows whether it happened.
    fn call(&self, key: &str, action: Action) -> impl Future<Output = Option<Answer>> + Send;
}

/// How a history is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) tasks: u64,
    pub(crate) calls: u64,
    pub(crate) keys: u64,
    /// What the keys begin with: a prefix that no history had before.
    pub(crate) prefix: String,
    /// One in so many calls is dropped after its first poll. Each that may have happened doubles the
    /// work of the checker.
    pub(crate) cancelled: u64,
    /// So many in ten calls are reads, and the rest is drawn from all actions.
    pub(crate) reads: u64,
    /// One in so many calls is a clearing of all keys; none if 0.
    pub(crate) clearings: u64,
}

/// The calls on each key.
pub(crate) type Histories = BTreeMap<String, Vec<Call>>;

/// Knuth's MMIX generator.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn action(&mut self, new: i64) -> Action {
        match self.below(22) {
            0..6 => Action::Get,
            6 => Action::Exists,
            7..10 => Action::Set(new),
            10..12 => Action::Add(new),
            12 => Action::Replace(new),
            // A guess at what is there; `incr` below makes it right now and then.
            13..15 => Action::CompareAndSet {
                expected: new - self.below(5) as i64,
                new,
            },
            15 => Action::Take,
            16..18 => Action::Delete,
            18 => Action::Swap(new),
            19 => Action::Touch,
            _ => Action::Incr(1),
        }
    }
}

/// Lets the tasks of a plan loose on `registers`.
pub(crate) async fn record<R: Registers>(registers: Arc<R>, plan: Plan) -> Histories {
    let clock = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..plan.tasks)
        .map(|task| tokio::spawn(run(registers.clone(), plan.clone(), task, clock.clone())))
        .collect();
    let mut histories = Histories::new();
    for task in tasks {
        for (key, call) in task.await.expect("no task panics") {
            histories.entry(key).or_default().push(call);
        }
    }
    histories
}

async fn run<R: Registers>(
    registers: Arc<R>,
    plan: Plan,
    task: u64,
    clock: Arc<AtomicU64>,
) -> Vec<(String, Call)> {
    let mut draw = Draw(plan.seed.wrapping_mul(1_000) + task);
    let mut seen = Vec::new();
    let name = |key: u64| format!("{}{key}", plan.prefix);
    for number in 0..plan.calls {
        let key = name(draw.below(plan.keys));
        // No two tasks write the same value, so that a read says whose write it saw.
        let action = match plan.clearings {
            _ if plan.reads > 0 && draw.below(10) < plan.reads => Action::Get,
            0 => draw.action((number * plan.tasks + task) as i64 * 10),
            often if draw.below(often) == 0 => Action::Clear,
            _ => draw.action((number * plan.tasks + task) as i64 * 10),
        };
        let cancelled = plan.cancelled > 0 && draw.below(plan.cancelled) == 0;
        let began = clock.fetch_add(1, SeqCst);
        let answer = if cancelled {
            registers.call(&key, action).now_or_never().flatten()
        } else {
            registers.call(&key, action).await
        };
        let ended = answer.map(|answer| (clock.fetch_add(1, SeqCst), answer));
        let call = Call { action, began, ended };
        if action == Action::Clear {
            seen.extend((0..plan.keys).map(|key| (name(key), call)));
        } else if ended.is_some() || action.changes() {
            seen.push((key, call));
        }
        if draw.below(4) == 0 {
            tokio::task::yield_now().await;
        }
    }
    seen
}
