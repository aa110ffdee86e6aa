//! What takes the place of metrics without the feature `metrics`: the same functions, which do nothing.

use std::marker::PhantomData;
use std::time::Duration;

use super::CallName;

/// The answer of a call: any.
pub(crate) trait Answered {}

impl<A> Answered for A {}

#[derive(Debug, Clone, Default)]
pub(crate) struct Meters(());

impl Meters {
    pub(crate) fn open(_engine: &'static str) -> Self {
        Self(())
    }

    pub(crate) fn watch(&self, _call: CallName) -> Watch<'_> {
        Watch::default()
    }

    pub(crate) fn load_begins(&self) -> RunningLoad {
        RunningLoad(())
    }

    pub(crate) fn end(&self) {}

    pub(crate) fn locks(&self, _waiting: usize, _held: usize) {}

    pub(crate) fn lock_granted(&self, _waited: Duration) {}

    pub(crate) fn lock_ended(&self, _held: Duration, _lost: bool) {}

    #[cfg(feature = "redis")]
    pub(crate) fn connected(&self, _node: &str, _again: bool) -> OpenConnection {
        OpenConnection(())
    }
}

#[derive(Debug)]
pub(crate) struct RunningLoad(());

impl RunningLoad {
    pub(crate) fn end(self) {}
}

#[derive(Debug, Default)]
pub(crate) struct Watch<'a>(PhantomData<&'a Meters>);

impl Watch<'_> {
    pub(crate) fn begin(&mut self) {}

    pub(crate) fn end<A: Answered>(&mut self, _answer: &A) {}

    pub(crate) async fn over<A: Answered>(self, call: impl Future<Output = A>) -> A {
        call.await
    }
}

#[cfg(feature = "redis")]
#[derive(Debug, Default)]
pub(crate) struct OpenConnection(());

#[cfg(feature = "redis")]
impl OpenConnection {
    pub(crate) fn launched(&self) {}

    pub(crate) fn carried(&self, _sent: u64, _received: u64) {}
}
