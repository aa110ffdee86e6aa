//! Loads although the engine cannot be read: see `loads_while_unavailable`.

use super::answers::{OwnValues, Values, origin_of, times_of, told};
use super::loader::{Loader, Model, erased};
use super::order::Order;
use super::plan::{Checked, Plan};
use crate::error::Error;
use crate::key::Key;
use crate::load::{AnyLoader, Fate, LoadError};
use crate::spans::Cause;

impl<T: Model, L> Order<'_, T, L> {
    /// Loads keys although the engine could not read them. Fails with the engine's `error` if that is not allowed now.
    pub(super) async fn load_past_engine<M, E>(
        self,
        checked: Checked,
        cause: Cause,
        keys: Vec<Key>,
        error: Error,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan(checked);
        let (loader, own) = erased(self.loader, self.names, &plan, cause);
        load_past_engine(&plan, keys, loader, &mut OwnValues::new(own), error).await
    }
}

/// The same with a loader that has been made ready.
pub(super) async fn load_past_engine<T: Model, E: Send + Sync + 'static>(
    plan: &Plan<'_, T>,
    keys: Vec<Key>,
    loader: AnyLoader,
    own: &mut OwnValues<T>,
    error: Error,
) -> Result<Values<T>, LoadError<E>> {
    if !matches!(error, Error::Unavailable(_) | Error::Timeout { .. }) {
        return Err(error.into());
    }
    let Some(bypass) = plan.store.inner.loads.bypass() else {
        return Err(error.into());
    };
    let made = bypass.run(loader, keys, plan.timeout()).await.map_err(told)?;
    let mut values = Values::with_capacity(made.len());
    for (key, made) in made {
        let fate = Fate::NotStored;
        let times = times_of(&made, fate);
        let value = own.take(&key).map_or_else(|| plan.open(made), Ok)?;
        values.push((key, times.of(value, origin_of(fate, true))));
    }
    Ok(values)
}
