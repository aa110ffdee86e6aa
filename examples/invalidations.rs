//! An actor whose page is made from a cached value, and that makes it anew when it hears of a change.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::convert::Infallible;

use cachestore::kameo::prelude::*;
use cachestore::{Config, Event, Store};
use clap::Parser;

/// Lets an actor hear of the values that its page is made from.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: String,
}

/// The store, and the page.
struct Shop(Store, String);

impl Actor for Shop {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(shop: Self, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        shop.0.events().send_to(myself.recipient());
        Ok(shop)
    }
}

impl Message<Event> for Shop {
    type Reply = ();

    /// Any event can mean that the page is old, `Missed` included: then events were lost.
    async fn handle(&mut self, event: Event, ctx: &mut Context<Self, ()>) {
        self.1 = match self.0.get_string("price").await {
            Ok(Some(price)) => format!("tea costs {price}"),
            Ok(None) => "tea is sold out".to_owned(),
            Err(error) => format!("tea is not to be had: {error}"),
        };
        println!("{event:?}: {}", self.1);
        if matches!(event, Event::Invalidated { .. }) {
            ctx.stop();
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_url(&Options::parse().url)?;
    let store = Store::open(config).await?.namespace("shop")?;
    let shop = Shop::spawn(Shop(store.clone(), String::new()));
    shop.wait_for_startup().await;
    store.set("price", "3").depends_on(["supplier:7"]).await?;
    store.invalidate("supplier:7").await?;
    shop.wait_for_shutdown().await;
    Ok(store.close().await?)
}
