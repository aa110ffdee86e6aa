use std::sync::Arc;

use super::*;
use crate::config::{Config, EngineConfig};
use crate::engines::redis::generation::Generation;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::layout::Layout;
use crate::engines::redis::resolver::Resolver;
use crate::engines::redis::scanner::Bounds;
use crate::key::{KeyMaker, Namespace, Within};
use crate::request::{Delete, Operation, Reply, Request};

/// Another attempt may be let in. Who only waits for an answer is told at once what is wrong.
#[tokio::test]
async fn what_is_replayed_is_kept_if_a_connection_is_refused() {
    let EngineConfig::Redis(options) = Config::redis("redis://localhost:1").unwrap().engine else {
        panic!("it is a configuration of Redis");
    };
    let (now, root) = (Instant::now(), Namespace::default());
    let layout = Layout::of(&root, false);
    let resolver = Resolver::fixed(Generation::first());
    let mut link = Link::new(
        Arc::new(*options),
        layout,
        Bounds::for_values(1024),
        resolver,
        None,
        now,
    );
    let key = KeyMaker::new(100, false).key(&root, "k").unwrap();
    let mut wait = |is_replay| {
        let (reply, answer) = Reply::new();
        let within = Within::default();
        let Request::Entry(request) = (Delete {
            key: key.clone(),
            within,
        })
        .into_request(reply) else {
            panic!("it is sent");
        };
        let job = Job::new(Task::Request(request), now + Duration::from_secs(5));
        link.waiting.push_back(Job { is_replay, ..job });
        answer
    };
    let (mut replayed, mut called) = (wait(true), wait(false));
    link.not_opened(Error::Unauthorized, now);
    let replayed = replayed.try_recv().unwrap();
    assert!(matches!(replayed, Err(Error::Unavailable(_))), "{replayed:?}");
    let called = called.try_recv().unwrap();
    assert!(matches!(called, Err(Error::Unauthorized)), "{called:?}");
}
