//! How often listeners are told.

use tokio::runtime::Handle;

use super::*;
use crate::config::{Config, EngineConfig};
use crate::events::{EndOfEvents, Events};
use crate::key::Namespace;

/// What listeners are told: `true` for a connection that is open again.
async fn told(change: impl FnOnce(&mut ConnectionLog)) -> Vec<bool> {
    let EngineConfig::Redis(options) = Config::redis("redis://localhost:1").unwrap().engine else {
        panic!("it is a configuration of Redis");
    };
    let listeners = Arc::new(Listeners::default());
    let mut events = Events::new(&listeners, &Namespace::default(), Handle::current());
    let mut log = ConnectionLog::new("requests", &options.target);
    log.heard_by(listeners.clone());
    change(&mut log);
    drop(EndOfEvents(listeners));
    let mut told = Vec::new();
    while let Some(event) = events.recv().await {
        told.push(matches!(event, Event::Connected { .. }));
    }
    told
}

#[tokio::test]
async fn a_loss_and_the_attempts_that_follow_are_told_once() {
    let now = Instant::now();
    let lost = told(|log| {
        log.lost(&"a test", now);
        log.not_opened(&"a test", now);
        log.not_opened(&"a test", now);
        log.opened(now);
        log.lost(&"a test", now);
    });
    assert_eq!(lost.await, [false, true, false]);
    let never_open = told(|log| {
        log.not_opened(&"a test", now);
        log.not_opened(&"a test", now);
        log.opened(now);
    });
    assert_eq!(never_open.await, [false, true]);
}
