//! Where the addresses that others name are reached from here.

use std::fmt;
use std::sync::Arc;

type Map = dyn Fn(&str, u16) -> (String, u16) + Send + Sync;

/// A map of addresses that the application has given, or none.
#[derive(Clone, Default)]
pub(crate) struct AddressMap(Option<Arc<Map>>);

impl AddressMap {
    pub(super) fn new(map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(map)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Where an address is reached. Runs the application's code, which may panic.
    pub(crate) fn apply(&self, host: &str, port: u16) -> (String, u16) {
        match &self.0 {
            Some(map) => map(host, port),
            None => (host.to_owned(), port),
        }
    }
}

impl PartialEq for AddressMap {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressMap")
            .field("is_set", &self.is_set())
            .finish()
    }
}
