//! What a store over a whole cluster does not support yet. It is refused before anything is changed.

use crate::error::{Error, Result};
use crate::request::{Asked, EntryRequest, LeaseAction, Names};

/// Why a request is refused.
pub(super) fn unsupported() -> Error {
    Error::Unsupported {
        operation: "dependencies yet in a cluster without a hash tag",
    }
}

/// Refuses a request that names dependencies. The end of a load may name them: nothing depends on what it is told then.
pub(super) fn check(request: &mut EntryRequest) -> Result<()> {
    let names = match request {
        EntryRequest::Set(Asked { operation, .. }) => &operation.write.depends_on,
        // All of them have the same.
        EntryRequest::SetMany(Asked { operation, .. }) => match operation.writes.first() {
            Some(write) => &write.depends_on,
            None => return Ok(()),
        },
        EntryRequest::SetIf(Asked { operation, .. }) => &operation.write.depends_on,
        EntryRequest::Swap(Asked { operation, .. }) => &operation.write.depends_on,
        EntryRequest::GetOrLease(Asked { operation, .. }) => &operation.terms.names,
        EntryRequest::Lease(Asked { operation, .. }) => match operation.step.as_mut() {
            LeaseAction::Take { terms, .. } => &terms.names,
            LeaseAction::Fulfil { write, .. } => &write.depends_on,
            LeaseAction::Renew { renewal, .. } => &renewal.names,
            LeaseAction::End { names, .. } => {
                *names = Names::default();
                return Ok(());
            }
        },
        _ => return Ok(()),
    };
    if names.is_empty() {
        Ok(())
    } else {
        Err(unsupported())
    }
}
