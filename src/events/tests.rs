//! What an engine holds of a listener.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// A waker whose drop is its user's code.
struct Noticed(Arc<AtomicBool>);

impl Wake for Noticed {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Noticed {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_listener_takes_its_waker_along_when_it_goes() {
    let listeners = Arc::new(Listeners::default());
    let mut events = Events::new(&listeners, &Namespace::default(), Handle::current());
    // As an engine does while it tells listeners.
    let held = events.backlog.clone();
    let dropped = Arc::new(AtomicBool::new(false));
    let waker = Waker::from(Arc::new(Noticed(dropped.clone())));
    assert!(
        Pin::new(&mut events)
            .poll_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(events);
    assert!(dropped.load(Ordering::Relaxed), "the engine would drop it");
    drop(held);
}
