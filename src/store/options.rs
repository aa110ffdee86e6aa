//! What entries are given beside their values: how long they live, and what they depend on.

use std::time::Duration;

use super::{IntoNames, Store};
use crate::error::Result;
use crate::key::Key;
use crate::request::Names;
use crate::ttl::Ttl;

/// What every write can be given beside its value.
#[derive(Debug)]
pub(super) struct Options<'a> {
    store: &'a Store,
    pub(super) ttl: Lifetime,
    names: Result<Vec<Key>>,
}

/// The same without the store, for a task that owns both.
#[derive(Debug)]
pub(super) struct UnboundOptions {
    ttl: Lifetime,
    names: Result<Vec<Key>>,
}

impl UnboundOptions {
    pub(super) fn of(self, store: &Store) -> Options<'_> {
        let Self { ttl, names } = self;
        Options { store, ttl, names }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    /// The store's `default_ttl`.
    Default,
    Persistent,
    For(Duration),
}

impl<'a> Options<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            ttl: Lifetime::Default,
            names: Ok(Vec::new()),
        }
    }

    pub(super) fn depends_on<M>(&mut self, names: impl IntoNames<M>) {
        let Ok(known) = &mut self.names else { return };
        match names.each(|name| self.store.name(name)) {
            Ok(names) => known.extend(names),
            Err(error) => self.names = Err(error),
        }
    }

    pub(super) fn unbound(self) -> UnboundOptions {
        let Self { ttl, names, .. } = self;
        UnboundOptions { ttl, names }
    }

    pub(super) fn store(&self) -> &'a Store {
        self.store
    }

    /// The TTL in whole milliseconds, or why these are refused.
    pub(super) fn check(&self) -> Result<Option<Duration>> {
        let ttl = match self.ttl {
            Lifetime::Default => self.store.config().settings().default_ttl,
            Lifetime::Persistent => None,
            Lifetime::For(ttl) => Some(ttl),
        };
        let ttl = self.store.count(ttl.map(Ttl::checked).transpose())?;
        match &self.names {
            Ok(_) => Ok(ttl),
            Err(error) => Err(error.clone()),
        }
    }

    /// The names, each once. None if one of them was refused, which [`check`](Self::check) tells.
    pub(super) fn names(self) -> Names {
        each_once(self.names.unwrap_or_default())
    }

    /// As [`names`](Self::names), from a reference.
    pub(super) fn to_names(&self) -> Names {
        match &self.names {
            Ok(names) if !names.is_empty() => each_once(names.clone()),
            _ => Names::default(),
        }
    }

    /// The TTL in whole milliseconds, and the names, each once.
    pub(super) fn checked(self) -> Result<(&'a Store, Option<Duration>, Names)> {
        let ttl = self.check()?;
        Ok((self.store, ttl, self.names()))
    }
}

/// The names, each once.
pub(super) fn each_once(mut names: Vec<Key>) -> Names {
    if names.len() > 1 {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
    }
    Names::from(names)
}
