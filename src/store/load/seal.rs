//! How loaded values are stored.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::options::TtlFor;
use crate::actor::contained;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::load::{Failure, Form, Made, head, jittered};
use crate::request::Names;
use crate::ttl::Ttl;
use crate::value::Value;
use crate::weigher::Limits;

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
}

impl<T: Serialize + DeserializeOwned> Seal<T> {
    /// A model that took `cost` to load, as it is to be stored. Returns beside it the model for the loader's own
    /// call: as other calls will read it, if they can.
    pub(super) fn seal(
        &self,
        key: &Key,
        model: T,
        cost: Duration,
    ) -> std::result::Result<(Made, T), Failure> {
        let fresh = self.fresh(&model).map_err(Failure::Store)?;
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
            (head.seal(&encoded), head.ttl())
        };
        let made = Made {
            stored: form == Form::Stored
                && fresh != Some(Duration::ZERO)
                && self.limits.check(key, value.len(), &self.names).is_ok(),
            value,
            form,
            fresh,
            ttl,
        };
        Ok((made, model))
    }

    /// How long a model is fresh, in whole milliseconds. Zero if it is not to be stored.
    fn fresh(&self, model: &T) -> Result<Option<Duration>> {
        let fresh = match &self.ttl_for {
            Some(ttl) => match ttl(model) {
                Duration::ZERO => return Ok(Some(Duration::ZERO)),
                ttl => Some(Ttl::checked(ttl)?),
            },
            None => self.ttl,
        };
        Ok(fresh.map(|fresh| jittered(fresh, self.jitter, rand::random())))
    }
}

/// A model that the store's codec cannot read again, in a form for the callers who joined its load.
fn hand_over<T: Serialize + DeserializeOwned>(model: &T) -> Option<Vec<u8>> {
    let encoded = Codec::MessagePack.encode(model).ok()?;
    decode::<T>(Codec::MessagePack, &encoded).map(|_| encoded)
}

/// The model, unless its bytes do not decode, or its `Deserialize` panics.
fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Option<T> {
    contained(|| codec.decode(bytes).ok()).flatten()
}
