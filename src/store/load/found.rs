//! What a call finds under its keys.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::super::entry::Entry;
use crate::codec::Codec;
use crate::key::Key;
use crate::load::{Handle, Loaded, Origin, Seen, Serving, Verdict};

/// What a key holds, for a call that loads it if need be.
pub(super) struct Found<T> {
    pub(super) seen: Seen,
    /// The value, what it is good for, and its times. `None` if there is none that decodes.
    pub(super) value: Option<(T, Verdict, Times)>,
}

impl<T: DeserializeOwned> Found<T> {
    /// What an entry is good for to a call that is served so. An entry that does not decode counts as absent.
    pub(super) fn judge(entry: &Entry, serving: &Serving, codec: Codec) -> Self {
        let (seen, verdict, times) = Times::judge(entry, serving);
        let model = entry.model().filter(|_| verdict != Verdict::Gone);
        let model = model.and_then(|model| codec.decode(model).ok());
        Self {
            seen,
            value: model.map(|model| (model, verdict, times)),
        }
    }
}

impl<T> Found<T> {
    /// What the call answers at once: a fresh value, or one whose refresh the coordinator has been told of.
    pub(super) fn served(self, loads: &Handle, key: &Key) -> Result<Loaded<T>, Self> {
        match self.value {
            Some((value, Verdict::Fresh, times)) => Ok(times.of(value, Origin::Fresh)),
            Some((value, Verdict::FreshButDue, times)) if loads.is_refreshing(key) => {
                Ok(times.of(value, Origin::Fresh))
            }
            Some((value, Verdict::Stale, times)) if loads.is_refreshing(key) => {
                loads.counters().served_stale();
                Ok(times.of(value, Origin::Stale))
            }
            value => Err(Self { value, ..self }),
        }
    }

    /// Whether the key holds something that does not answer the call.
    pub(super) fn is_useless(&self) -> bool {
        let serves = matches!(
            self.value,
            Some((_, Verdict::Fresh | Verdict::FreshButDue | Verdict::Stale, _))
        );
        self.seen != Seen::Nothing && !serves
    }
}

/// What an entry is good for to a call that is served so.
pub(super) fn verdict(entry: &Entry, serving: &Serving) -> Verdict {
    Times::judge(entry, serving).1
}

/// How old a value is, and how long it stays fresh, as [`Loaded`] has them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    age: Duration,
    fresh_for: Option<Duration>,
}

impl Times {
    /// The times of a value that was loaded just now.
    pub(super) fn new(fresh_for: Option<Duration>) -> Self {
        let age = Duration::ZERO;
        Self { age, fresh_for }
    }

    pub(super) fn of<T>(self, value: T, origin: Origin) -> Loaded<T> {
        Loaded {
            value,
            origin,
            age: self.age,
            fresh_for: self.fresh_for,
        }
    }

    fn judge(entry: &Entry, serving: &Serving) -> (Seen, Verdict, Self) {
        match entry {
            Entry::Absent => (Seen::Nothing, Verdict::Gone, Times::default()),
            Entry::Plain(_) => (Seen::Plain, Verdict::Fresh, Times::default()),
            Entry::Foreign => (Seen::Plain, Verdict::Gone, Times::default()),
            Entry::Loaded { head, life, .. } => {
                let times = life.map_or_else(Times::default, |life| Times {
                    age: life.age,
                    fresh_for: Some(life.fresh_for()),
                });
                let seen = Seen::Loaded(life.map(|life| life.age));
                (seen, serving.judge(head.cost, *life, rand::random), times)
            }
        }
    }
}
