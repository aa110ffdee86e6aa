//! What callers see over slow links, with the defaults. Prints the table of `benches/BENCHMARKS.md`:
//! `cargo test --release --test redis bandwidth -- --ignored --nocapture`.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachestore::{Error, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::opening::{config, ms, open};
use crate::harness::{Direction, Proxy, RedisServer, Toxic};

const KB: usize = 1000;
const MB: usize = 1000 * KB;

/// How a call ended, and after how long.
async fn timed<T>(call: impl IntoFuture<Output = Result<T, Error>>) -> String {
    let began = Instant::now();
    let answer = call.await;
    let took = began.elapsed();
    match answer {
        Ok(_) => short(took),
        Err(error) => format!("{} after {}", kind(&error), short(took)),
    }
}

fn short(took: Duration) -> String {
    match took.as_millis() {
        0..=9 => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
        10..=999 => format!("{} ms", took.as_millis()),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

fn kind(error: &Error) -> impl Display + use<> {
    let text = format!("{error:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// A small write every 20 ms until they are stopped: how many, how many failed, the slowest.
async fn small_writes(store: Store, stop: Arc<AtomicBool>) -> String {
    let mut writes = JoinSet::new();
    let mut ticks = tokio::time::interval(ms(20));
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let (store, key) = (store.clone(), format!("small-{}", writes.len()));
        writes.spawn(async move {
            let began = Instant::now();
            let written = store.set(key, "v").await;
            (written.is_err(), began.elapsed())
        });
    }
    let all = writes.join_all().await;
    let failed = all.iter().filter(|(failed, _)| *failed).count();
    let slowest = all.iter().map(|(_, took)| *took).max().unwrap_or_default();
    format!("{} of {} failed, slowest {}", failed, all.len(), short(slowest))
}

#[tokio::test]
#[ignore = "prints a table, and takes minutes: tests/soak.sh runs it"]
async fn soak_what_callers_see() {
    println!("| link | value | get | small sets beside it | set | small sets beside it |");
    println!("|---|---|---|---|---|---|");
    for rate in [MB, 8 * MB, 100 * MB] {
        let server = RedisServer::start().await;
        let proxy = Proxy::start(server.address(), 1).await;
        let beside = open(config(&server.url())).await;
        for direction in [Direction::Up, Direction::Down] {
            let bytes_per_second = rate as u64;
            proxy.add(direction, Toxic::Bandwidth { bytes_per_second });
        }
        for size in [KB, 64 * KB, MB, 8 * MB, 64 * MB] {
            beside.set("k", vec![7; size]).await.unwrap();
            // A store of its own: what one size leaves behind is none of the next one's business.
            let store = open(config(&proxy.url())).await;
            for again in [false, true] {
                let again = if again { "again" } else { "first" };
                let mut row = format!("| {} MB/s | {} KB, {again} |", rate / MB, size / KB);
                for write in [false, true] {
                    let stop = Arc::new(AtomicBool::new(false));
                    let writes = tokio::spawn(small_writes(store.clone(), stop.clone()));
                    let call = if write {
                        timed(store.set("w", vec![7; size])).await
                    } else {
                        timed(store.get("k")).await
                    };
                    stop.store(true, Ordering::SeqCst);
                    row += &format!(" {call} | {} |", writes.await.unwrap());
                }
                println!("{row}");
            }
        }
    }
}
