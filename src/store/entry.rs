//! What keys hold, as models: whether it was loaded, and how old it is.

use super::{Store, chunks};
use crate::envelope::{Head, Life, Stored, is_nothing, open};
use crate::error::Result;
use crate::key::Key;
use crate::lane::Call;
use crate::request::{Aged, Request};
use crate::value::Value;

/// What a key holds.
#[derive(Debug)]
pub(super) enum Entry {
    Absent,
    /// A value that was not loaded.
    Plain(Value),
    /// A loaded value. Its life is `None` if it does not matter, for it is fresh as long as it is there.
    Loaded {
        value: Value,
        head: Head,
        life: Option<Life>,
    },
    /// A loaded value in a form that this version cannot read.
    Foreign,
}

impl Entry {
    /// What was read without the time that is left: `None` if that matters.
    pub(super) fn from_value(value: Option<Value>) -> Option<Self> {
        let Some(value) = value else {
            return Some(Entry::Absent);
        };
        match open(value.as_bytes()) {
            Stored::Loaded(head, _) if head.turns_stale() => None,
            _ => Some(Self::from_aged(Some(Aged {
                value,
                remaining: None,
            }))),
        }
    }

    pub(super) fn from_aged(aged: Option<Aged>) -> Self {
        let Some(Aged { value, remaining }) = aged else {
            return Entry::Absent;
        };
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
            Entry::Loaded { life: Some(life), .. } if life.fresh_for.is_zero() => None,
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
            Entry::Plain(value) | Entry::Loaded { value, .. } => model_of(value),
            Entry::Absent | Entry::Foreign => None,
        }
    }
}

/// The encoded model of a stored value.
pub(super) fn model_of(value: &Value) -> Option<&[u8]> {
    match open(value.as_bytes()) {
        Stored::Plain(model) | Stored::Loaded(_, model) => Some(model),
        Stored::Foreign => None,
    }
}

impl Store {
    /// What a key holds: one read. `aged` says that its age matters.
    pub(super) async fn entry_of(&self, call: &mut Call<'_>, key: &Key, aged: bool) -> Result<Entry> {
        if !aged {
            let key = key.clone();
            let value = call.ask(|reply| Request::Get { key, reply }).await?;
            if let Some(entry) = Entry::from_value(value) {
                return Ok(entry);
            }
            self.inner.reads.look_again(1);
        }
        self.aged_entry(call, key.clone()).await
    }

    pub(super) async fn aged_entry(&self, call: &mut Call<'_>, key: Key) -> Result<Entry> {
        let aged = call.ask(|reply| Request::GetAged { key, reply }).await?;
        Ok(Entry::from_aged(aged))
    }

    /// As [`aged_entry`](Self::aged_entry), for a read that has been counted.
    pub(super) async fn uncounted_entry(&self, call: &mut Call<'_>, key: Key) -> Result<Entry> {
        let entry = self.aged_entry(call, key).await?;
        self.inner.reads.uncount(!entry.is_absent());
        Ok(entry)
    }

    /// As [`entry_of`](Self::entry_of) for many keys, in their order.
    pub(super) async fn entries(&self, call: &mut Call<'_>, keys: &[Key], aged: bool) -> Result<Vec<Entry>> {
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
        let aged = chunks::read(call, keys, |keys, reply| Request::GetManyAged { keys, reply }).await?;
        Ok(aged.into_iter().map(Entry::from_aged).collect())
    }
}
