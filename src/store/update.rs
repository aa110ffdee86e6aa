//! Models that are written only where nothing else was written meanwhile.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::entry::Entry;
use super::options::{Lifetime, Options};
use super::write::{BoxFuture, write_options};
use super::{IntoNames, SetIf, Store};
use crate::actor::queue::Call;
use crate::calls::CallName;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::request::{self, Condition, Names, Write};
use crate::value::Value;

/// How often a call tries to write before it is a [`Error::Conflict`].
const TRIES: u32 = 64;
/// Up to so many tries follow each other at once.
const AT_ONCE: u32 = 2;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

impl Store {
    /// Writes a model if the key is absent. Returns `true` if it was written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// assert!(store.add_model("k", &1).await?);
    /// assert!(!store.add_model("k", &2).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`add`](Self::add), and [`Encode`](Error::Encode) if the model cannot be encoded.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped.
    ///
    /// # Panics
    ///
    /// If the model's own `Serialize` panics. Other callers are not affected.
    pub fn add_model<T: Serialize + ?Sized>(&self, key: impl AsRef<str>, model: &T) -> SetIf<'_> {
        SetIf::new(self, self.encoded(key.as_ref(), model), Condition::Absent)
    }

    /// Writes a model if the key holds `expected`. Returns `true` if it was written.
    ///
    /// The stored model is decoded and compared with `==`, so its encoding does not matter. The write replaces only the
    /// bytes that were compared, in one step. If another write comes between, the call compares again. A stale loaded
    /// value counts as absent, and an absent key is never equal to `expected`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// store.set_model("votes", &vec![1, 2]).await?;
    /// assert!(store.compare_and_set_model("votes", &vec![1, 2], &vec![1, 2, 3]).await?);
    /// assert!(!store.compare_and_set_model("votes", &vec![1, 2], &vec![]).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * The errors of [`compare_and_set`](Self::compare_and_set), and [`Encode`](Error::Encode) if the model cannot be
    ///   encoded.
    /// * [`Decode`](Error::Decode) if the value is not a model of this type. The value stays as it is.
    /// * [`Conflict`](Error::Conflict) if another write came between at every try. Nothing was written.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the write may be made even if the future is dropped.
    ///
    /// # Panics
    ///
    /// If the model's own `Serialize`, `Deserialize` or `PartialEq` panics. Other callers are not affected.
    pub fn compare_and_set_model<'a, T>(
        &'a self,
        key: impl AsRef<str>,
        expected: &'a T,
        model: &T,
    ) -> CompareAndSetModel<'a, T>
    where
        T: Serialize + DeserializeOwned + PartialEq + Sync,
    {
        CompareAndSetModel {
            options: Options::new(self),
            entry: self.encoded(key.as_ref(), model),
            expected,
        }
    }

    /// Changes a model by `update`, and returns the new model, or `None` if `update` returned `None`.
    ///
    /// `update` gets the current model, or `None` if the key is absent. If `update` returns `None`, the key is deleted.
    /// A stale loaded value counts as absent.
    ///
    /// No update is lost: the new model is written only over the bytes that were read, in one step. If another
    /// write comes between, the call reads again and calls `update` again, up to 64 times, with short random
    /// pauses. So `update` should have no effects of its own. It runs in the caller's task.
    ///
    /// Like every write, the update replaces the TTL and the dependencies: name them again to keep them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cachestore::Result<()> {
    /// # let store = cachestore::Store::open(cachestore::Config::memory()).await?;
    /// let add = |votes: Option<Vec<u32>>| {
    ///     let mut votes = votes.unwrap_or_default();
    ///     votes.push(7);
    ///     Some(votes)
    /// };
    /// assert_eq!(store.update_model("votes", add).await?, Some(vec![7]));
    /// assert_eq!(store.update_model("votes", add).await?, Some(vec![7, 7]));
    /// assert_eq!(store.update_model("votes", |_: Option<Vec<u32>>| None).await?, None);
    /// assert!(!store.exists("votes").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// * [`KeyRequired`](Error::KeyRequired), [`KeyTooLong`](Error::KeyTooLong) or
    ///   [`KeyReserved`](Error::KeyReserved) for the key or a dependency, [`InvalidTtl`](Error::InvalidTtl) for
    ///   the TTL, [`ValueTooLarge`](Error::ValueTooLarge) and [`Encode`](Error::Encode) for the new model.
    /// * [`Decode`](Error::Decode) if the value is not a model of this type. The value stays as it is.
    /// * [`Conflict`](Error::Conflict) if another write came between at every try, or until `request_timeout`.
    /// * [`Timeout`](Error::Timeout), [`Unavailable`](Error::Unavailable) or [`Closed`](Error::Closed) from
    ///   the engine, and [`OutcomeUnknown`](Error::OutcomeUnknown) if the engine failed during the write or
    ///   its answer did not come. All tries together end by `request_timeout`.
    /// * On Redis, [`WrongType`](Error::WrongType) if another program keeps another type there, and
    ///   [`Unauthorized`](Error::Unauthorized) if the user may not read and write it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the change may be made even if the future is dropped.
    ///
    /// # Panics
    ///
    /// If `update`, or the model's own `Serialize` or `Deserialize`, panics. Other callers are not affected.
    pub fn update_model<T, F>(&self, key: impl AsRef<str>, update: F) -> UpdateModel<'_, T, F>
    where
        F: FnMut(Option<T>) -> Option<T> + Send,
        T: Serialize + DeserializeOwned + Send,
    {
        UpdateModel {
            options: Options::new(self),
            key: self.key(key.as_ref()),
            update,
            model: PhantomData,
        }
    }
}

/// A write of a model over an expected one: see [`Store::compare_and_set_model`].
#[must_use = "a write does nothing until it is awaited"]
pub struct CompareAndSetModel<'a, T> {
    options: Options<'a>,
    entry: Result<(Key, Value)>,
    expected: &'a T,
}

write_options!(CompareAndSetModel<T>);

impl<T> fmt::Debug for CompareAndSetModel<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompareAndSetModel")
            .field("options", &self.options)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl<'a, T> IntoFuture for CompareAndSetModel<'a, T>
where
    T: Serialize + DeserializeOwned + PartialEq + Sync,
{
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'a, bool>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (key, value) = self.entry?;
            let change = Change::new(self.options, key)?;
            change.check_size(&value)?;
            let mut call = change.call(CallName::CompareAndSet);
            for attempt in 1..=TRIES {
                let (entry, held) = change.read(&mut call).await?;
                // The decoded model is gone before anything is awaited: it need not cross threads.
                let found: Option<T> = change.store.fresh_model(&entry)?;
                let is_expected = found.map(|found| found == *self.expected);
                change.count(attempt, is_expected.is_some());
                if is_expected != Some(true) {
                    return Ok(false);
                }
                if change.write(&mut call, value.clone(), held).await? {
                    return Ok(true);
                }
                pause(&mut call, attempt).await?;
            }
            call.end(Err(Error::Conflict))
        })
    }
}

/// A change of a model: see [`Store::update_model`].
#[must_use = "a change does nothing until it is awaited"]
pub struct UpdateModel<'a, T, F> {
    options: Options<'a>,
    key: Result<Key>,
    update: F,
    model: PhantomData<fn(T) -> T>,
}

write_options!(UpdateModel<T, F>);

impl<T, F> fmt::Debug for UpdateModel<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateModel")
            .field("options", &self.options)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<'a, T, F> IntoFuture for UpdateModel<'a, T, F>
where
    F: FnMut(Option<T>) -> Option<T> + Send + 'a,
    T: Serialize + DeserializeOwned + Send + 'a,
{
    type Output = Result<Option<T>>;
    type IntoFuture = BoxFuture<'a, Option<T>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let change = Change::new(self.options, self.key?)?;
            let store = change.store;
            let mut call = change.call(CallName::UpdateModel);
            for attempt in 1..=TRIES {
                let (entry, held) = change.read(&mut call).await?;
                let old = store.fresh_model(&entry)?;
                let was_there = old.is_some();
                change.count(attempt, was_there);
                let new = (self.update)(old);
                let value = new.as_ref().map(|model| store.encode(model)).transpose()?;
                let changed = match (value, held) {
                    (Some(value), held) => {
                        change.check_size(&value)?;
                        change.write(&mut call, value, held).await?
                    }
                    (None, Some(held)) if was_there => change.delete(&mut call, held).await?,
                    (None, _) => true,
                };
                if changed {
                    return Ok(new);
                }
                pause(&mut call, attempt).await?;
            }
            call.end(Err(Error::Conflict))
        })
    }
}

/// One key that is to be changed only as it was read.
struct Change<'a> {
    store: &'a Store,
    key: Key,
    ttl: Option<Duration>,
    depends_on: Names,
}

impl<'a> Change<'a> {
    fn new(options: Options<'a>, key: Key) -> Result<Self> {
        let (store, ttl, depends_on) = options.checked()?;
        Ok(Self {
            store,
            key,
            ttl,
            depends_on,
        })
    }

    /// Begins the call, whose deadline counts from now for all tries together.
    fn call(&self, name: CallName) -> Call<'a> {
        let mut call = self.store.call(name);
        call.deadline();
        call
    }

    fn check_size(&self, value: &Value) -> Result<()> {
        self.store.check_size(&self.key, value.len(), &self.depends_on)
    }

    /// What the key holds, and its bytes, which a change must find.
    async fn read(&self, call: &mut Call<'_>) -> Result<(Entry, Option<Value>)> {
        let key = self.key.clone();
        let aged = call.ask(request::GetAged { key }).await?;
        let held = aged.as_ref().map(|aged| aged.value.clone());
        Ok((Entry::from_aged(aged), held))
    }

    /// Of all tries, only the first counts as a read.
    fn count(&self, attempt: u32, found: bool) {
        if attempt > 1 {
            self.store.inner.reads.uncount(found);
        }
    }

    /// Writes the value if the key still holds these bytes, or nothing. Returns whether it did.
    async fn write(&self, call: &mut Call<'_>, value: Value, held: Option<Value>) -> Result<bool> {
        let write = Box::new(Write {
            key: self.key.clone(),
            value,
            ttl: self.ttl,
            depends_on: self.depends_on.clone(),
        });
        let condition = held.map_or(Condition::Absent, Condition::Holds);
        call.ask(request::SetIf { write, condition }).await
    }

    /// Deletes the key if it still holds these bytes. Returns whether it did.
    async fn delete(&self, call: &mut Call<'_>, expected: Value) -> Result<bool> {
        let key = self.key.clone();
        call.ask(request::DeleteIf { key, expected }).await
    }
}

/// Lets others pass after so many failed tries, so that of many writers each gets its turn. A call without
/// time for another try is a conflict.
async fn pause(call: &mut Call<'_>, failed: u32) -> Result<()> {
    // Without a runtime there is no timer.
    if failed < AT_ONCE || Handle::try_current().is_err() {
        return Ok(());
    }
    let longest = Duration::from_millis(failed.into()).min(LONGEST_PAUSE);
    let pause = longest.mul_f64(rand::random());
    if Instant::now() + pause >= call.deadline() {
        return call.end(Err(Error::Conflict));
    }
    call.go_on();
    sleep(pause).await;
    Ok(())
}
