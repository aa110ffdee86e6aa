//! How loaded values are stored.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Namer;
use super::super::entry::Entry;
use super::super::options::each_once;
use super::context::{Fetched, Said};
use super::options::TtlFor;
use crate::actor::contained;
use crate::codec::Codec;
use crate::envelope::{Body, LONGEST_VALIDATOR, body_of_loaded};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::load::{Failure, Form, Made, head, jittered};
use crate::request::{Aged, Names, Renewal};
use crate::ttl::Ttl;
use crate::value::Value;
use crate::weigher::Limits;

/// A loaded value that a key holds, and that is loaded anew.
pub(super) struct Old<T> {
    pub(super) model: T,
    /// As it is stored.
    pub(super) value: Value,
}

impl<T> Old<T> {
    /// What is stored as its validator.
    pub(super) fn validator(&self) -> Option<String> {
        let body = body_of_loaded(self.value.as_bytes());
        body.validator.map(str::to_owned)
    }
}

/// Makes stored values of loaded ones. It goes with the loader.
pub(super) struct Seal<T> {
    pub(super) codec: Codec,
    /// Without an envelope.
    pub(super) plain: bool,
    pub(super) ttl: Option<Duration>,
    pub(super) ttl_for: Option<TtlFor<T>>,
    /// How long a value is kept after its fresh time.
    pub(super) window: Duration,
    pub(super) jitter: f64,
    pub(super) limits: Limits,
    pub(super) names: Names,
    /// What makes keys of the names that a loader finds out.
    pub(super) namer: Namer,
}

impl<T: Serialize + DeserializeOwned> Seal<T> {
    /// A model that took `cost` to load, as it is to be stored. Returns beside it the model for the loader's own
    /// call: as other calls will read it, if they can.
    pub(super) fn seal(
        &self,
        key: &Key,
        fetched: Fetched<T>,
        cost: Duration,
    ) -> std::result::Result<(Made, T), Failure> {
        let Fetched { value, said } = fetched;
        let Some(model) = value else {
            return Err(Failure::Store(NOTHING_TO_KEEP));
        };
        let fresh = self.fresh(&said, &model).map_err(Failure::Store)?;
        let late_names = self.late_names(&said.names).map_err(Failure::Store)?;
        let encoded = self.codec.encode(&model).map_err(Error::Encode);
        let encoded = encoded.map_err(Failure::Store)?;
        let (encoded, form, model) = match decode(self.codec, &encoded) {
            Some(model) => (encoded, Form::Stored, model),
            None => match hand_over(&model) {
                Some(encoded) => (encoded, Form::HandedOver, model),
                None => (Vec::new(), Form::Unreadable, model),
            },
        };
        let (value, ttl) = if self.plain {
            (Value::from(encoded), fresh)
        } else {
            let head = head(fresh, self.window, cost);
            let body = Body {
                validator: said.short_validator(),
                model: &encoded,
            };
            (head.seal(body), head.ttl())
        };
        let names = late_names.as_ref().unwrap_or(&self.names);
        let made = Made {
            stored: said.can_be_stored()
                && form == Form::Stored
                && fresh != Some(Duration::ZERO)
                && self.limits.check(key, value.len(), names).is_ok(),
            names: late_names,
            kept: false,
            value,
            form,
            fresh,
            ttl,
        };
        Ok((made, model))
    }

    /// An old value that its loader has confirmed, and how it is to be kept.
    pub(super) fn confirm(
        &self,
        key: &Key,
        old: &Old<T>,
        said: Said,
        cost: Duration,
    ) -> std::result::Result<(Made, Renewal), Failure> {
        let fresh = self.fresh(&said, &old.model).map_err(Failure::Store)?;
        let late_names = self.late_names(&said.names).map_err(Failure::Store)?;
        let head = head(fresh, self.window, cost);
        let mut body = body_of_loaded(old.value.as_bytes());
        body.validator = said.short_validator().or(body.validator);
        let value = head.seal(body);
        // Of its names, those are known that it is kept with. A new validator may make it too large.
        let names = late_names.as_ref().unwrap_or(&self.names);
        let is_stored = said.can_be_stored()
            && fresh != Some(Duration::ZERO)
            && self.limits.check(key, value.len(), names).is_ok();
        let made = Made {
            value,
            form: Form::Stored,
            fresh,
            ttl: head.ttl(),
            stored: is_stored,
            kept: is_stored,
            // What the old value depends on is not known here, and the engine does not compare it.
            names: late_names
                .clone()
                .or_else(|| (!is_stored).then(|| self.names.clone())),
        };
        let renewal = Renewal {
            head,
            validator: said.validator.map(String::into_boxed_str),
            names: late_names.unwrap_or_else(|| self.names.clone()),
        };
        Ok((made, renewal))
    }

    /// The loaded value that a key holds. `None` if it holds another one, or one that does not decode.
    pub(super) fn open(&self, held: &Aged) -> Option<Old<T>> {
        let entry = Entry::opened(held.value.clone(), held.remaining);
        if !matches!(entry, Entry::Loaded { .. }) {
            return None;
        }
        Some(Old {
            model: decode(self.codec, entry.model()?)?,
            value: held.value.clone(),
        })
    }

    /// All that a value depends on whose loader has found these names out. `None` if the call has named them all.
    fn late_names(&self, found: &[String]) -> Result<Option<Names>> {
        let mut all = Vec::new();
        for name in found {
            let name = self.namer.name(name)?;
            if !self.names.contains(&name) {
                all.push(name);
            }
        }
        if all.is_empty() {
            return Ok(None);
        }
        all.extend(self.names.iter().cloned());
        Ok(Some(each_once(all)))
    }

    /// How long a value is fresh, in whole milliseconds. Zero if it is not to be stored.
    fn fresh(&self, said: &Said, model: &T) -> Result<Option<Duration>> {
        let own = said.ttl.or_else(|| self.ttl_for.as_ref().map(|ttl| ttl(model)));
        let fresh = match own {
            Some(Duration::ZERO) => return Ok(Some(Duration::ZERO)),
            Some(ttl) => Some(Ttl::checked(ttl)?),
            None => self.ttl,
        };
        Ok(fresh.map(|fresh| jittered(fresh, self.jitter, rand::random())))
    }
}

impl Said {
    /// The validator, if it is not too long.
    fn short_validator(&self) -> Option<&str> {
        let validator = self.validator.as_deref();
        validator.filter(|validator| validator.len() <= LONGEST_VALIDATOR)
    }

    fn can_be_stored(&self) -> bool {
        self.is_stored && self.validator.as_deref() == self.short_validator()
    }
}

/// A loader has confirmed an old value, and there is none.
pub(super) const NOTHING_TO_KEEP: Error = Error::Unsupported {
    operation: "old value of the key, which not_modified keeps",
};

/// A model that the store's codec cannot read again, in a form for the callers who joined its load.
fn hand_over<T: Serialize + DeserializeOwned>(model: &T) -> Option<Vec<u8>> {
    let encoded = Codec::MessagePack.encode(model).ok()?;
    decode::<T>(Codec::MessagePack, &encoded).map(|_| encoded)
}

/// The model, unless its bytes do not decode, or its `Deserialize` panics.
fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Option<T> {
    contained(|| codec.decode(bytes).ok()).flatten()
}
