//! How a caller learns how far long work has come.

use tokio::sync::watch;

/// The engine's end: how many entries have been removed so far. A report replaces the one before it that its
/// caller has not seen, so that no caller ever holds up an engine.
#[derive(Debug, Default)]
pub(crate) struct Progress(Option<watch::Sender<u64>>);

impl Progress {
    pub(crate) fn new() -> (Self, watch::Receiver<u64>) {
        let (sender, receiver) = watch::channel(0);
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn report(&self, removed: u64) {
        if let Some(sender) = &self.0 {
            sender.send_if_modified(|seen| std::mem::replace(seen, removed) != removed);
        }
    }
}
