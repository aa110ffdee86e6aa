//! What Sentinels say of a service: which server is its primary now.

mod primary;
mod question;
#[cfg(test)]
mod tests;
mod watcher;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, timeout};

use self::primary::{Primary, Verdict};
use self::question::{Answer, ask};
pub(super) use self::watcher::{Watcher, WatcherStart};
use super::connection_log::why;
use super::fault::Lost;
use super::generation::Generation;
use crate::actor::contained;
use crate::config::{Place, RedisOptions, Sentinels, Target};
use crate::error::{Cause, Error, Result};
use crate::events::{Event, Listeners};

/// Finds the primary of a service, and remembers what was said of it.
pub(super) struct Discovery {
    sentinels: Sentinels,
    /// How Sentinels are connected to.
    options: RedisOptions,
    /// The Sentinel that is asked first.
    first: AtomicUsize,
    primary: Mutex<Primary>,
    generation: Generation,
    /// The leases on the server were ended for this generation.
    leases_ended: AtomicU64,
    listeners: Arc<Listeners>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Discovery of {}", self.sentinels)
    }
}

/// What comes of asking one Sentinel.
enum Asked {
    Named(Place),
    /// It knows no such service.
    Unknown,
    /// It knows less than another has told, or contradicts it.
    Outdated,
    Failed(Error),
}

impl Discovery {
    /// `None` if the store does not ask Sentinels.
    pub(super) fn new(
        options: &RedisOptions,
        generation: Generation,
        listeners: Arc<Listeners>,
    ) -> Option<Self> {
        let Target::Sentinel(sentinels) = &options.target else {
            return None;
        };
        Some(Self {
            sentinels: sentinels.clone(),
            options: options.for_sentinels(),
            first: AtomicUsize::new(0),
            primary: Mutex::default(),
            generation,
            leases_ended: AtomicU64::new(0),
            listeners,
        })
    }

    /// How many Sentinels there are.
    pub(super) fn count(&self) -> usize {
        self.sentinels.seeds.len()
    }

    /// Asks the Sentinels in turn, from the one on that answered last.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` if all of them answer that they do not know the service, `Unauthorized` if all refuse the user,
    /// otherwise `Unavailable`. All but `Unauthorized` name each Sentinel and what came of it.
    pub(super) async fn primary(&self) -> Result<Place> {
        let count = self.count();
        let first = self.first.load(Ordering::Relaxed);
        let mut refused = Vec::new();
        for index in (0..count).map(|n| (first + n) % count) {
            match self.ask(index).await {
                Asked::Named(place) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(place);
                }
                other => refused.push((index, other)),
            }
        }
        Err(self.refusal(&refused))
    }

    /// A server that was named calls itself the primary.
    pub(super) fn trust(&self, place: &Place) {
        self.known().doubt(place, false);
    }

    /// A server that was named cannot be reached, or is no primary: another Sentinel may know better.
    pub(super) fn doubt(&self, place: &Place) {
        self.known().doubt(place, true);
        let next = (self.first.load(Ordering::Relaxed) + 1) % self.count();
        self.first.store(next, Ordering::Relaxed);
    }

    /// Whether the leases on the server have to end, because they may be those of another primary.
    pub(super) fn owes_leases(&self) -> bool {
        self.leases_ended.load(Ordering::Acquire) < self.generation.first_uncut()
    }

    /// A connection of this generation has ended all leases on its server.
    pub(super) fn ended_leases(&self, generation: u64) {
        self.leases_ended.fetch_max(generation, Ordering::AcqRel);
    }

    /// Asks one Sentinel, and takes in what it says.
    async fn ask(&self, index: usize) -> Asked {
        let seed = &self.sentinels.seeds[index];
        let asked = ask(seed, &self.options, &self.sentinels.service);
        let answer = match timeout(self.options.sentinel_timeout, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Asked::Failed(error),
            Err(_) => return Asked::Failed(silent()),
        };
        let Some(Answer { host, port, epoch }) = answer else {
            return Asked::Unknown;
        };
        let Some(place) = self.mapped(&host, port) else {
            let panicked = "map_address panicked".to_owned();
            return Asked::Failed(Error::Unavailable(Cause::new(Lost(panicked))));
        };
        let verdict = self.known().answered(&place, epoch, Instant::now());
        match verdict {
            Verdict::Stays => {}
            Verdict::Moves { cut } => self.moved(&place, cut),
            Verdict::Outdated => return Asked::Outdated,
        }
        Asked::Named(place)
    }

    /// A Sentinel announces that another server has become the primary. Connections to the one before are cut at once.
    fn announced(&self, from: &Place, to: &Place) {
        if self.known().left(from, to, Instant::now()) {
            self.generation.cut();
            tracing::warn!(service = %self.sentinels.service, %from, %to, "Sentinel announces another primary");
        }
    }

    /// Another server is the primary. Connections that lead to the old one are cut, unless they are already.
    fn moved(&self, to: &Place, cut: bool) {
        if cut {
            self.generation.cut();
        }
        let node = to.to_string();
        tracing::warn!(service = %self.sentinels.service, %node, "Redis has another primary");
        if self.listeners.any() {
            self.listeners.tell_all(&Event::SwitchedPrimary { node });
        }
    }

    /// Where a server is reached that a Sentinel names. `None` if the application's code panics.
    fn mapped(&self, host: &str, port: u16) -> Option<Place> {
        let (host, port) = contained(|| self.options.address_map.apply(host, port))?;
        Some(Place::Tcp(host, port))
    }

    fn known(&self) -> MutexGuard<'_, Primary> {
        // What it holds is whole at any time.
        self.primary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, refused: &[(usize, Asked)]) -> Error {
        let all = |is: fn(&Asked) -> bool| refused.iter().all(|(_, asked)| is(asked));
        let service = &self.sentinels.service;
        let told: Vec<String> = refused
            .iter()
            .map(|(index, asked)| {
                let place = &self.sentinels.seeds[*index].place;
                match asked {
                    Asked::Unknown => format!("{place} does not know it"),
                    Asked::Outdated => format!("{place} contradicts what another has told"),
                    Asked::Failed(error) => format!("{place}: {}", why(error)),
                    Asked::Named(_) => format!("{place} names one"),
                }
            })
            .collect();
        let reason = format!(
            "no Sentinel names a primary of the service `{service}`: {}",
            told.join(", ")
        );
        if all(|asked| matches!(asked, Asked::Unknown)) {
            return Error::InvalidConfig { reason };
        }
        if all(|asked| matches!(asked, Asked::Failed(Error::Unauthorized))) {
            tracing::debug!(reason, "all Sentinels refuse the user");
            return Error::Unauthorized;
        }
        Error::Unavailable(Cause::new(Lost(reason)))
    }
}

fn silent() -> Error {
    Error::Unavailable(Cause::new(Lost("it did not answer in time".to_owned())))
}
