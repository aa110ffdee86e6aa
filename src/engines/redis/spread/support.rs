//! What a store over a whole cluster does not support yet: loads that name dependencies. They are refused before anything
//! is changed.

use crate::error::{Error, Result};
use crate::request::{Asked, EntryRequest, LeaseAction, Names};

/// Why a request is refused.
fn unsupported() -> Error {
    Error::Unsupported {
        operation: "loads with dependencies yet in a cluster without a hash tag",
    }
}

/// Refuses a request that names dependencies. The end of a load may name them: nothing depends on what it is told then.
pub(super) fn check(request: &mut EntryRequest) -> Result<()> {
    let names = match request {
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
