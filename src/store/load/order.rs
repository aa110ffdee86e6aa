//! What one call for loads asks for.

use super::asked::CallerNames;
use super::options::CallOptions;

/// What one call asks for: how, and with which loader.
pub(super) struct Order<'a, T, L> {
    pub(super) options: CallOptions<'a, T>,
    pub(super) names: CallerNames,
    pub(super) loader: L,
}
