//! What loads answer, as a caller is told it.

use std::time::Duration;

use super::found::Times;
use super::loader::Own;
use crate::error::{Cause, Error};
use crate::key::Key;
use crate::load::{Failure, Fate, LoadError, Loaded, Made, Origin};
use crate::prehashed::Map;

/// The values of a call. A key is left out if the loader had nothing for it.
pub(super) type Values<T> = Vec<(Key, Loaded<T>)>;

/// The values that this call's own loader has made. They need not be decoded.
pub(super) struct OwnValues<T> {
    on_their_way: Own<T>,
    here: Map<Key, T>,
}

impl<T> OwnValues<T> {
    pub(super) fn new(on_their_way: Own<T>) -> Self {
        let here = Map::default();
        Self { on_their_way, here }
    }

    pub(super) fn take(&mut self, key: &Key) -> Option<T> {
        if let Ok(values) = self.on_their_way.try_recv() {
            self.here = values;
        }
        self.here.remove(key)
    }
}

/// A value that is not stored is fresh for no other call.
pub(super) fn times_of(made: &Made, fate: Fate) -> Times {
    Times::new(match fate {
        Fate::Stored => made.fresh,
        Fate::Superseded | Fate::NotStored => Some(Duration::ZERO),
    })
}

pub(super) fn origin_of(fate: Fate, own: bool) -> Origin {
    match fate {
        Fate::Superseded => Origin::Superseded,
        Fate::Stored | Fate::NotStored if own => Origin::Loaded,
        Fate::Stored | Fate::NotStored => Origin::Joined,
    }
}

/// A failure as its caller is told it.
pub(super) fn told<E: Send + Sync + 'static>(failure: Failure) -> LoadError<E> {
    match failure {
        Failure::Loader(error) => match error.downcast() {
            Some(error) => LoadError::Loader(error),
            None => LoadError::Store(Error::Unavailable(Cause::new(OtherError))),
        },
        Failure::Panicked => LoadError::Panicked,
        Failure::Timeout => LoadError::Timeout,
        Failure::Store(error) | Failure::Engine(error) => LoadError::Store(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("another caller's loader of this key failed, with another type of error")]
struct OtherError;
