//! The builders of long work, awaited like calls: invalidations and clearings.

use std::fmt;
use std::future::IntoFuture;
use std::pin::{Pin, pin};
use std::time::Duration;

use super::Store;
use crate::calls::CallName;
use crate::error::Result;
use crate::key::Key;
use crate::request::{self, Operation, Progress};
use crate::ttl::Ttl;

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<u64>> + Send + 'a>>;

/// What the caller does with each report.
type OnProgress<'a> = Box<dyn FnMut(u64) + Send + 'a>;

/// What both kinds of long work can be given.
struct Options<'a> {
    store: &'a Store,
    timeout: Option<Duration>,
    on_progress: Option<OnProgress<'a>>,
}

impl<'a> Options<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            timeout: None,
            on_progress: None,
        }
    }

    /// Sends the request that `make` builds, and waits until the work is done.
    async fn run<O: Operation<Answer = u64>>(
        self,
        name: CallName,
        make: impl FnOnce(Progress) -> O,
    ) -> Result<u64> {
        let timeout = self.store.count(self.timeout.map(Ttl::checked).transpose())?;
        let mut call = self.store.call(name);
        if let Some(timeout) = timeout {
            call = call.within(timeout);
        }
        let Some(mut on_progress) = self.on_progress else {
            return call.ask_for_long(make(Progress::default())).await;
        };
        let (progress, mut reports) = Progress::new();
        let mut told = None;
        let mut answer = pin!(call.ask_for_long(make(progress)));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    let removed = answer?;
                    if told != Some(removed) {
                        on_progress(removed);
                    }
                    return Ok(removed);
                }
                Ok(()) = reports.changed() => {
                    let removed = *reports.borrow_and_update();
                    on_progress(removed);
                    told = Some(removed);
                }
            }
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The options of long work, the same on both builders.
macro_rules! sweep_options {
    ($builder:ident) => {
        impl<'a> $builder<'a> {
            /// Sets how long the call may take, in place of `request_timeout`: over zero, at most 100 years. Outside
            /// these bounds, the call returns [`InvalidTtl`](crate::Error::InvalidTtl).
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }

            /// Calls `on_progress` with the number of entries that were removed so far. The last call gets the total.
            ///
            /// `on_progress` runs in the task that awaits the builder, and a panic of it ends that task only. The
            /// engine does not wait for it: a slow task gets fewer reports.
            pub fn on_progress(mut self, on_progress: impl FnMut(u64) + Send + 'a) -> Self {
                self.options.on_progress = Some(Box::new(on_progress));
                self
            }
        }
    };
}

sweep_options!(Clear);
sweep_options!(Invalidate);

/// A removal of all entries of a namespace: see [`Store::clear`].
#[derive(Debug)]
#[must_use = "a clearing does nothing until it is awaited"]
pub struct Clear<'a> {
    options: Options<'a>,
}

impl<'a> Clear<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        let options = Options::new(store);
        Self { options }
    }
}

impl<'a> IntoFuture for Clear<'a> {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'a>;

    fn into_future(self) -> BoxFuture<'a> {
        let prefix = self.options.store.namespace.prefix().to_owned();
        Box::pin(
            self.options
                .run(CallName::Clear, |progress| request::Clear { prefix, progress }),
        )
    }
}

/// A removal of entries and of all that depends on them: see [`Store::invalidate`].
#[derive(Debug)]
#[must_use = "an invalidation does nothing until it is awaited"]
pub struct Invalidate<'a> {
    options: Options<'a>,
    names: Result<Vec<Key>>,
}

impl<'a> Invalidate<'a> {
    pub(super) fn new(store: &'a Store, names: Result<Vec<Key>>) -> Self {
        let options = Options::new(store);
        Self { options, names }
    }
}

impl<'a> IntoFuture for Invalidate<'a> {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'a>;

    fn into_future(self) -> BoxFuture<'a> {
        Box::pin(async move {
            let names = self.names?;
            let within = self.options.store.namespace.within();
            let make = |progress| request::Invalidate {
                names,
                within,
                progress,
            };
            self.options.run(CallName::Invalidate, make).await
        })
    }
}
