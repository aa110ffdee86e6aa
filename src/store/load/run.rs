//! The one algorithm of loads, for one key and for many: serve what is there, load what is missing, and look again
//! at what another call has loaded.

use super::super::entry::Entry;
use super::answers::{OwnValues, Values};
use super::bypass::load_past_engine;
use super::findings::{Findings, Missing};
use super::found::Found;
use super::loader::{Loader, Model, Own, erased};
use super::order::Order;
use super::plan::{Checked, Plan};
use crate::actor::queue::Call;
use crate::key::Key;
use crate::load::{AnyLoader, LoadError, Loaded, Wish};
use crate::spans::Cause;

impl<T: Model, L> Order<'_, T, L> {
    /// Reads the keys as a part of `call`, and loads those that are missing. `aged` says that the caller is told
    /// how old its values are.
    pub(super) async fn read<M, E>(
        self,
        checked: Checked,
        mut call: Call<'_>,
        keys: Vec<Key>,
        aged: bool,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let values = self.read_and_load(checked, &mut call, keys, aged).await;
        call.end(values)
    }

    async fn read_and_load<M, E>(
        self,
        checked: Checked,
        call: &mut Call<'_>,
        keys: Vec<Key>,
        aged: bool,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan(checked);
        let aged = aged || plan.serving.needs_age();
        let entries = match plan.store.entries(call, &keys, aged).await {
            Ok(entries) => entries,
            Err(error) => {
                call.go_on();
                let cause = plan.store.cause(call);
                let (loader, own) = erased(self.loader, self.names, &plan, cause);
                let mut own = OwnValues::new(own);
                return Box::pin(load_past_engine(&plan, keys, loader, &mut own, error)).await;
            }
        };
        let mut findings = Findings::with_capacity(keys.len());
        for (key, entry) in keys.into_iter().zip(entries) {
            findings.add_first(&plan, key, plan.judge(&entry));
        }
        if findings.are_complete() {
            return Ok(findings.values);
        }
        call.go_on();
        let (loader, own) = erased(self.loader, self.names, &plan, plan.store.cause(call));
        Box::pin(load(plan, findings, loader, own)).await
    }

    /// Answers a call for one key with what the key holds, or returns what was found.
    pub(super) fn serve(&self, key: &Key, entry: &Entry) -> Result<Loaded<T>, Found<T>> {
        let store = self.options.store();
        let found = Found::judge(entry, &self.options.serving(), store.codec());
        found.served(&store.inner.loads, key)
    }

    /// Goes on with what one key holds.
    pub(super) async fn go_on<M, E>(
        self,
        checked: Checked,
        cause: Cause,
        key: Key,
        found: Found<T>,
    ) -> Result<Values<T>, LoadError<E>>
    where
        L: Loader<M, Value = T, Error = E>,
        E: Send + Sync + 'static,
    {
        let plan = self.options.plan(checked);
        let mut findings = Findings::with_capacity(1);
        findings.add_first(&plan, key, found);
        let (loader, own) = erased(self.loader, self.names, &plan, cause);
        load(plan, findings, loader, own).await
    }
}

/// Loads what is missing, and refreshes what is due.
async fn load<T: Model, E: Send + Sync + 'static>(
    plan: Plan<'_, T>,
    mut findings: Findings<T>,
    loader: AnyLoader,
    own: Own<T>,
) -> Result<Values<T>, LoadError<E>> {
    let mut own = OwnValues::new(own);
    let mut loader = Some(loader);
    let limits = plan.limits();
    let loads = &plan.store.inner.loads;
    while !findings.missing.is_empty() {
        let missing = std::mem::take(&mut findings.missing);
        let Some(unused) = loader.take() else {
            findings.go_without(&plan, missing)?;
            break;
        };
        let wishes: Vec<Wish> = missing.iter().map(Missing::wish).collect();
        let due = std::mem::take(&mut findings.due);
        let (work, mut back) = plan.work(unused);
        let again = match loads.load(wishes, due, work).await {
            Ok(waiting) => {
                let answers = missing.into_iter().zip(waiting);
                findings.wait(&plan, limits, answers, &mut own).await?
            }
            Err(error) => {
                for missing in missing {
                    findings.instead(&plan, missing, error.clone().into())?;
                }
                break;
            }
        };
        if again.is_empty() && findings.refused.is_none() {
            break;
        }
        // The loader comes back if none of its keys was loaded by it. Else it has been called, or may be called later
        // for a key that was let go.
        loader = if std::mem::take(&mut findings.let_go) {
            back.try_recv().ok()
        } else {
            back.await.ok()
        };
        findings.look_again(&plan, again).await?;
        if let Some((keys, error)) = findings.refused.take() {
            let Some(unused) = loader.take() else {
                return Err(error.into());
            };
            let values = load_past_engine(&plan, keys, unused, &mut own, error).await?;
            findings.values.extend(values);
        }
    }
    if let Some(loader) = loader.filter(|_| !findings.due.is_empty()) {
        loads.refresh(findings.due, plan.work(loader).0);
    }
    Ok(findings.values)
}
