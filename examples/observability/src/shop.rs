//! What the shop does, by cache and source. Each function is a span, and the calls of the cache are spans within it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cachestore::{LoadError, Store};
use tokio::time::sleep;
use tracing::{Instrument, info_span};

use crate::source::{Product, Source};

const TTL: Duration = Duration::from_secs(20);
const SESSION: Duration = Duration::from_secs(15);
/// How long a cart may be locked. An order that takes longer loses its lock.
const LOCKED: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Shop {
    store: Store,
    source: Arc<Source>,
}

impl Shop {
    pub(crate) fn new(store: Store) -> Self {
        let source = Arc::default();
        Self { store, source }
    }

    /// A product from the cache, or else from the source. `None` if there is no product with this number.
    pub(crate) async fn product(&self, id: u32) -> Result<Option<Product>, LoadError<anyhow::Error>> {
        let source = self.source.clone();
        let load = self
            .store
            .get_or_load(format!("product:{id}"), move || async move {
                source.product(id).await
            })
            .ttl(TTL)
            .jitter(0.2)
            .stale_while_revalidate(TTL)
            .stale_if_error(TTL * 10);
        load.into_future().instrument(info_span!("product", id)).await
    }

    /// Changes the source first, then removes what was made from it. Returns `false` if there is no such product.
    pub(crate) async fn set_price(&self, id: u32, cents: u32) -> Result<bool> {
        let change = async {
            let known = self.source.set_price(id, cents).await;
            self.store.invalidate(format!("product:{id}")).await?;
            Ok(known)
        };
        change.instrument(info_span!("set_price", id)).await
    }

    /// Puts a product into a cart. Returns how many pieces the cart has then.
    pub(crate) async fn order(&self, cart: u32, id: u32) -> Result<i64> {
        let order = async {
            let cart = format!("cart:{cart}");
            // One order of a cart at a time.
            let guard = self.store.lock(&cart).ttl(LOCKED).wait(PATIENCE).await?;
            self.product(id).await?;
            let payment = if rand::random_bool(0.002) {
                2 * LOCKED
            } else {
                LOCKED / 20
            };
            sleep(payment).await;
            let pieces = self.store.incr(&cart, 1).ttl(SESSION).await?;
            guard.release().await?;
            Ok(pieces)
        };
        order.instrument(info_span!("order", cart, id)).await
    }

    /// A visitor's session lives on from now.
    pub(crate) async fn sign_in(&self, visitor: u64) -> Result<()> {
        let session = self
            .store
            .set(format!("session:{visitor}"), "signed in")
            .ttl(SESSION);
        Ok(session.into_future().instrument(info_span!("sign_in")).await?)
    }
}
