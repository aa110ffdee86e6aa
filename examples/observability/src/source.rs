//! The database of the shop. It only pretends to be one: it is slow, now and then very slow, and fails sometimes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

pub(crate) const PRODUCTS: u32 = 20_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) cents: u32,
    description: String,
}

#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The prices that were changed. The others follow from the number of the product.
    prices: Mutex<HashMap<u32, u32>>,
}

impl Source {
    /// `None` if there is no product with this number.
    pub(crate) async fn product(&self, id: u32) -> Result<Option<Product>> {
        let slow = rand::random_bool(0.01);
        sleep(Duration::from_millis(rand::random_range(if slow {
            150..400
        } else {
            1..12
        })))
        .await;
        if rand::random_bool(0.01) {
            bail!("the database does not answer");
        }
        let cents = self.prices().get(&id).copied().unwrap_or(100 + id % 9_900);
        Ok((id < PRODUCTS).then(|| Product {
            name: format!("Product {id}"),
            cents,
            description: "Useful. ".repeat(20 + id as usize % 60),
        }))
    }

    /// Returns `false` if there is no product with this number.
    pub(crate) async fn set_price(&self, id: u32, cents: u32) -> bool {
        sleep(Duration::from_millis(rand::random_range(1..12))).await;
        if id < PRODUCTS {
            self.prices().insert(id, cents);
        }
        id < PRODUCTS
    }

    fn prices(&self) -> MutexGuard<'_, HashMap<u32, u32>> {
        // A map of numbers is whole, whoever panicked.
        self.prices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
