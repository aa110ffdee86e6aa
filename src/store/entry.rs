//! What keys hold, as models: whether it was loaded, and how old it is.

use std::time::Duration;

use super::{Store, chunks};
use crate::actor::queue::Call;
use crate::envelope::{Head, Life, Stored, is_nothing, model_of_loaded, open};
use crate::error::Result;
use crate::key::Key;
use crate::request::{self, Aged};
use crate::value::Value;

/// What a key holds. The stored bytes are opened once, when this is made.
#[derive(Debug)]
pub(super) enum Entry {
    Absent,
    /// A value that was not loaded.
    Plain(Value),
    /// A loaded value. Its life is `None` if it is fresh as long as it is there.
    Loaded {
        value: Value,
        head: Head,
        life: Option<Life>,
    },
    /// A loaded value in a form that this version cannot read.
    Foreign,
}

impl Entry {
    /// An entry that was read without the time that it has left. `None` if that time decides whether it is fresh.
    pub(super) fn from_value(value: Option<Value>) -> Option<Self> {
        match value.map(|value| Self::opened(value, None)) {
            None => Some(Entry::Absent),
            Some(Entry::Loaded { head, .. }) if head.turns_stale() => None,
            Some(entry) => Some(entry),
        }
    }

    pub(super) fn from_aged(aged: Option<Aged>) -> Self {
        aged.map_or(Entry::Absent, |Aged { value, remaining }| {
            Self::opened(value, remaining)
        })
    }

    pub(super) fn opened(value: Value, remaining: Option<Duration>) -> Self {
        match open(value.as_bytes()) {
            Stored::Plain(_) => Entry::Plain(value),
            Stored::Foreign => Entry::Foreign,
            Stored::Loaded(head, _) => {
                let life = head.life(remaining);
                Entry::Loaded { value, head, life }
            }
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Entry::Absent)
    }

    /// The encoded model, if there is one and it is fresh.
    pub(super) fn fresh_model(&self) -> Option<&[u8]> {
        match self {
            Entry::Loaded { life: Some(life), .. } if life.is_stale() => None,
            _ => self.model(),
        }
    }

    /// Whether a load of an `Option` has stored that there is nothing.
    pub(super) fn is_cached_none(&self) -> bool {
        matches!(self, Entry::Loaded { .. }) && self.model().is_some_and(is_nothing)
    }

    /// The encoded model, if there is one.
    pub(super) fn model(&self) -> Option<&[u8]> {
        match self {
            Entry::Plain(value) => Some(value.as_bytes()),
            Entry::Loaded { value, .. } => Some(model_of_loaded(value.as_bytes())),
            Entry::Absent | Entry::Foreign => None,
        }
    }
}

impl Store {
    /// Reads what a key holds. `aged` says that the caller needs its age.
    pub(super) async fn entry_of(&self, call: &mut Call<'_>, key: &Key, aged: bool) -> Result<Entry> {
        if let Some((value, left)) = self.read_near(key, cloned).await {
            return Ok(Entry::opened(value, left));
        }
        if !aged {
            let key = key.clone();
            let value = call.ask(request::Get { key }).await?;
            if let Some(entry) = Entry::from_value(value) {
                return Ok(entry);
            }
            self.inner.reads.look_again(1);
        }
        let key = key.clone();
        let aged = call.ask(request::GetAged { key }).await?;
        Ok(Entry::from_aged(aged))
    }

    /// Reads keys once more for a call whose read has been counted.
    pub(super) async fn entries_again(&self, call: &mut Call<'_>, keys: Vec<Key>) -> Result<Vec<Entry>> {
        let entries = self.aged_entries(call, keys).await?;
        for entry in &entries {
            self.inner.reads.uncount(!entry.is_absent());
        }
        Ok(entries)
    }

    /// Reads what many keys hold, in their order. `aged` says that the caller needs their ages.
    pub(super) async fn entries(&self, call: &mut Call<'_>, keys: &[Key], aged: bool) -> Result<Vec<Entry>> {
        if keys.is_empty() {
            return call.check_open().map(|()| Vec::new());
        }
        if let Some(values) = self.read_all_near(keys, cloned).await {
            let opened = values.into_iter().map(|(value, left)| Entry::opened(value, left));
            return Ok(opened.collect());
        }
        if aged {
            return self.aged_entries(call, keys.to_vec()).await;
        }
        let values = self.get_values(call, keys.to_vec()).await?;
        let mut entries: Vec<Option<Entry>> = values.into_iter().map(Entry::from_value).collect();
        let unsure = entries.iter().zip(keys).filter(|(entry, _)| entry.is_none());
        let unsure: Vec<Key> = unsure.map(|(_, key)| key.clone()).collect();
        self.inner.reads.look_again(unsure.len());
        let mut sure = self.aged_entries(call, unsure).await?.into_iter();
        let places = entries.iter_mut().filter(|entry| entry.is_none());
        places.for_each(|entry| *entry = sure.next());
        Ok(entries.into_iter().flatten().collect())
    }

    async fn aged_entries(&self, call: &mut Call<'_>, keys: Vec<Key>) -> Result<Vec<Entry>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let aged = chunks::read(call, keys, |keys| request::GetManyAged { keys }).await?;
        Ok(aged.into_iter().map(Entry::from_aged).collect())
    }
}

/// What is taken out of the near cache, under its lock.
fn cloned(value: &Value, left: Option<Duration>) -> (Value, Option<Duration>) {
    (value.clone(), left)
}
