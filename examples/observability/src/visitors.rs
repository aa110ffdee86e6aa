//! The load: visitors who look at products, order some, and leave. Most look at the same few products.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::shop::Shop;
use crate::source::PRODUCTS;

/// The mean pause between two actions of a visitor.
const PAUSE: Duration = Duration::from_millis(20);
/// Visitors come in waves, so that there is something to see.
const WAVE: Duration = Duration::from_secs(60);
/// So few carts that orders wait for each other.
const CARTS: u32 = 3;

/// Acts as visitor after visitor, for ever. An action that fails is told by the metrics.
pub(crate) async fn visit(shop: Shop) {
    let began = Instant::now();
    loop {
        sleep(pause(began.elapsed(), rand::random())).await;
        let id = product(rand::random());
        match rand::random_range(0..1000) {
            0..10 => drop(shop.set_price(id, rand::random_range(100..10_000)).await),
            10..50 => drop(shop.order(rand::random_range(0..CARTS), id).await),
            50..100 => drop(shop.sign_in(rand::random_range(0..10_000)).await),
            _ => drop(shop.product(id).await),
        }
    }
}

/// How long a visitor thinks, by a random number from 0 to 1. Between half of the mean and twice as long, by the wave.
fn pause(time: Duration, random: f64) -> Duration {
    let phase = time.div_duration_f64(WAVE) * std::f64::consts::TAU;
    PAUSE.mul_f64(2.0 * random * 2.0_f64.powf(phase.sin()))
}

/// A product by a random number from 0 to 1: half of all visits see 1/32 of the products.
fn product(random: f64) -> u32 {
    (f64::from(PRODUCTS) * random.powi(5)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_wave() {
        let seconds = [0, 15, 45, 60].map(Duration::from_secs);
        let pauses = seconds.map(|time| pause(time, 0.5).as_millis());
        assert_eq!(pauses, [20, 40, 10, 20]);
        assert_eq!(pause(WAVE, 0.0), Duration::ZERO);
    }

    #[test]
    fn half_of_all_visits_see_few_products() {
        assert_eq!(product(0.0), 0);
        assert_eq!(product(0.5), PRODUCTS / 32);
        assert_eq!(product(1.0_f64.next_down()), PRODUCTS - 1);
    }
}
