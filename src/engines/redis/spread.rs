//! A cluster whose values are spread over all nodes.

#[cfg(test)] // Nothing uses it yet but its explorer.
mod protocol;
