//! The value of an entry, alone or shared with the near cache.

use std::sync::Arc;

use crate::near::NearEntry;
use crate::value::Value;

/// An entry's value in the table. It is as large as a [`Value`].
#[derive(Debug)]
pub(super) enum Held {
    Alone(Value),
    /// Readers find it in the near cache.
    Near(Arc<NearEntry>),
}

const _: () = assert!(size_of::<Held>() == size_of::<Value>());

impl Held {
    pub(super) fn value(&self) -> &Value {
        match self {
            Held::Alone(value) => value,
            Held::Near(entry) => entry.value(),
        }
    }

    /// What the near cache shares, if it does.
    pub(super) fn near(&self) -> Option<&Arc<NearEntry>> {
        match self {
            Held::Alone(_) => None,
            Held::Near(entry) => Some(entry),
        }
    }
}
