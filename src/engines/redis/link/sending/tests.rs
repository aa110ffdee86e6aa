use std::future::poll_fn;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Arg, AsyncConnectionConfig};
use tokio::io::ReadBuf;

use super::*;
use crate::config::{Access, Config, EngineConfig};
use crate::engines::redis::connect::introduction;
use crate::engines::redis::generation::Generation;
use crate::engines::redis::layout::Layout;
use crate::engines::redis::resolver::Resolver;
use crate::engines::redis::scanner::{Bounds, Scanner};
use crate::engines::redis::stream::Pulse;
use crate::engines::redis::unfold::unfolding;
use crate::key::{KeyMaker, Namespace};
use crate::request::{Get, Incr, Operation, Reply, Request};

const GREETED: &str = "+OK\r\n+PONG\r\n";

/// The replies to a pipeline, as a server sends them.
fn replies(batch: &Batch) -> String {
    let mut replies = String::new();
    let mut queued = None;
    for command in batch.pipeline.cmd_iter() {
        match (command.args_iter().next(), &mut queued) {
            (Some(Arg::Simple(b"MULTI")), _) => {
                queued = Some(0);
                replies += "+OK\r\n";
            }
            (Some(Arg::Simple(b"EXEC")), Some(count)) => {
                replies += &format!("*{count}\r\n{}", ":7\r\n".repeat(*count));
                queued = None;
            }
            (_, Some(count)) => {
                *count += 1;
                replies += "+QUEUED\r\n";
            }
            (_, None) => replies += "$-1\r\n",
        }
    }
    replies
}

/// The greeting and earlier pipelines count, whether they are answered or not.
#[tokio::test]
async fn the_reader_of_a_connection_is_told_where_transactions_are() {
    let EngineConfig::Redis(options) = Config::redis("redis://localhost:1").unwrap().engine else {
        panic!("it is a configuration of Redis");
    };
    let (now, bounds) = (Instant::now(), Bounds::for_values(1024));
    let (ours, _theirs) = tokio::io::duplex(64 * 1024);
    let introduction = introduction(&Access::default(), false);
    let config = AsyncConnectionConfig::new();
    let opened = MultiplexedConnection::new_with_config(&introduction, ours, config).await;
    let (connection, driver) = opened.unwrap();
    let (announcer, mut unfolding) = unfolding();
    let root = Namespace::tagged("t");
    let layout = Layout::of(&root, false);
    let resolver = Resolver::fixed(Generation::first());
    let mut link = Link::new(Arc::new(*options), layout.clone(), bounds, resolver, None, now);
    let connected = Connected::own(connection, Box::pin(driver), Pulse::default());
    link.state = State::Up(connected.unfolding(announcer));
    link.replied = 2;

    let key = KeyMaker::new(100, false).key(&root, "k").unwrap();
    let get = || Get { key: key.clone() }.into_request(Reply::Nobody);
    let incr = || {
        let (key, by, ttl) = (key.clone(), 1, None);
        Incr { key, by, ttl }.into_request(Reply::Nobody)
    };
    let mut told = GREETED.to_owned();
    for requests in [
        vec![get(), incr(), get(), incr(), incr()],
        vec![incr()],
        vec![get(), incr()],
    ] {
        let mut batch = Batch::new(layout.clone()).to(Abilities {
            transacts: true,
            ..Abilities::default()
        });
        for request in requests {
            let Request::Entry(request) = request else {
                panic!("it is sent");
            };
            batch.push(Job::new(Task::Request(request), now + APART), None, now);
        }
        batch.finish(0);
        told += &replies(&batch);
        let mut batch = Some(batch);
        poll_fn(|cx| {
            batch
                .take()
                .into_iter()
                .for_each(|batch| link.launch(batch, cx, now));
            Poll::Ready(())
        })
        .await;
    }
    let mut room = vec![0; told.len()];
    let mut shown = ReadBuf::new(&mut room);
    let taken = unfolding.take(told.as_bytes(), &mut Scanner::new(bounds), &mut shown);
    assert_eq!(taken.unwrap(), told.len());
    let shown = String::from_utf8_lossy(shown.filled());
    assert!(!shown.contains("QUEUED") && !shown.contains('*'), "{shown}");
    assert_eq!(shown.matches(":7").count(), told.matches(":7").count());
}
