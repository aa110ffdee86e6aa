//! Loads whose results actors are sent.

use std::convert::Infallible;
use std::time::Duration;

use cachestore::kameo::prelude::*;
use cachestore::{Config, Error, LoadError, LoadOptions, Loading, Store};
use tokio::sync::mpsc;

use crate::listener::Listener;
use crate::loads::Loaders;

type Told = Loading<u32, String>;

async fn open() -> (Store, ActorRef<Listener<Told>>, mpsc::UnboundedReceiver<Told>) {
    let store = Store::open(Config::memory()).await.unwrap();
    let (sender, told) = mpsc::unbounded_channel();
    (store, Listener::spawn(Listener(sender)), told)
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_sent_the_value_under_its_key() {
    let (store, actor, mut told) = open().await;
    let tenant = store.namespace("tenant-1").unwrap();
    let loaders = Loaders::new();
    let options = LoadOptions::default().ttl(Duration::from_secs(60));
    for value in [1, 2] {
        tenant
            .get_or_load("k", loaders.after(Duration::from_secs(1), value))
            .options(&options)
            .depends_on("user:1")
            .send_to(actor.clone().recipient());
        let Loading { key, result } = told.recv().await.unwrap();
        assert_eq!((key.as_str(), result.unwrap()), ("k", 1));
    }
    assert_eq!(loaders.calls(), 1);
    assert!(tenant.ttl("k").await.unwrap().is_some());
    assert_eq!(
        tenant.invalidate("user:1").await.unwrap(),
        1,
        "options and names hold"
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_sent_each_kind_of_failure() {
    let (store, actor, mut told) = open().await;
    let loaders = Loaders::new();
    store
        .get_or_load("k", loaders.fails())
        .send_to(actor.clone().recipient());
    assert!(matches!(
        told.recv().await.unwrap().result,
        Err(LoadError::Loader(_))
    ));
    store
        .get_or_load("", loaders.at_once(1))
        .send_to(actor.clone().recipient());
    let refused = told.recv().await.unwrap();
    assert_eq!(refused.key, "");
    assert!(matches!(
        refused.result,
        Err(LoadError::Store(Error::KeyRequired))
    ));
    store
        .get_or_load("k", loaders.panics())
        .send_to(actor.clone().recipient());
    assert!(matches!(
        told.recv().await.unwrap().result,
        Err(LoadError::Panicked)
    ));
    store.close().await.unwrap();
    store
        .get_or_load("k", loaders.at_once(1))
        .send_to(actor.recipient());
    let closed = told.recv().await.unwrap();
    assert!(
        matches!(closed.result, Err(LoadError::Store(Error::Closed))),
        "{closed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_never_held_up_by_its_load() {
    let (store, actor, mut told) = open().await;
    let loaders = Loaders::new();
    store
        .get_or_load("slow", loaders.held(1))
        .send_to(actor.clone().recipient());
    store
        .get_or_load("quick", loaders.at_once(2))
        .send_to(actor.clone().recipient());
    assert_eq!(told.recv().await.unwrap().key, "quick");
    loaders.let_go(1);
    assert_eq!(told.recv().await.unwrap().key, "slow");
}

#[tokio::test(start_paused = true)]
async fn a_load_goes_on_though_its_actor_has_ended() {
    let (store, actor, mut told) = open().await;
    let loaders = Loaders::new();
    store
        .get_or_load("k", loaders.held(1))
        .send_to(actor.clone().recipient());
    while loaders.calls() == 0 {
        tokio::task::yield_now().await;
    }
    actor.stop_gracefully().await.unwrap();
    actor.wait_for_shutdown().await;
    loaders.let_go(1);
    while store.get_model::<u32>("k").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(told.recv().await.is_none());
}

/// A model whose bytes do not let themselves be read.
#[derive(Debug, serde::Serialize)]
struct Unreadable;

impl<'de> serde::Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("it does not let itself be read")
    }
}

struct Reader(mpsc::UnboundedSender<Loading<Unreadable, String>>);

impl Actor for Reader {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(reader: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(reader)
    }
}

impl Message<Loading<Unreadable, String>> for Reader {
    type Reply = ();

    async fn handle(&mut self, told: Loading<Unreadable, String>, _: &mut Context<Self, ()>) {
        self.0.send(told).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_told_of_a_value_whose_reading_panics() {
    let store = Store::open(Config::memory()).await.unwrap();
    store.set_model("k", &()).await.unwrap();
    let (sender, mut told) = mpsc::unbounded_channel();
    let actor = Reader::spawn(Reader(sender));
    store
        .get_or_load("k", async || Err("not to be asked".to_owned()))
        .send_to(actor.recipient());
    let Loading { key, result } = told.recv().await.unwrap();
    assert_eq!(key, "k");
    assert!(matches!(result, Err(LoadError::Panicked)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_sent_the_key_as_it_was_given() {
    let store = Store::open(Config::memory().go_compatible()).await.unwrap();
    let (sender, mut told) = mpsc::unbounded_channel();
    let actor = Listener::spawn(Listener(sender));
    let loaders = Loaders::new();
    for given in [" k ", "k", ""] {
        store
            .get_or_load(given, loaders.at_once(1))
            .send_to(actor.clone().recipient());
        assert_eq!(told.recv().await.unwrap().key, given);
    }
}
