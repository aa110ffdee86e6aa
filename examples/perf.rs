use cachestore::*;
use std::time::Instant;
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    run(1).await;
    run(64).await;
}
#[allow(clippy::disallowed_methods)]
async fn run(tasks: usize) {
    let s = Store::open(Config::memory()).await.unwrap();
    let keys: Vec<String> = (0..100_000).map(|i| format!("user:{i:08}:profile")).collect();
    let keys = std::sync::Arc::new(keys);
    for k in keys.iter() {
        s.set(k, [7u8; 64]).await.unwrap();
    }
    let n = 1_000_000 / tasks;
    for op in ["get", "set", "get_many"] {
        let t = Instant::now();
        let hs: Vec<_> = (0..tasks)
            .map(|t| {
                let s = s.clone();
                let keys = keys.clone();
                tokio::spawn(async move {
                    let mut x = t as u64 * 7919 + 1;
                    let n = if op == "get_many" { n / 100 } else { n };
                    for _ in 0..n {
                        x ^= x << 13;
                        x ^= x >> 7;
                        x ^= x << 17;
                        let k = &keys[(x % 100_000) as usize];
                        match op {
                            "get" => {
                                s.get(k).await.unwrap().unwrap();
                            }
                            "set" => {
                                s.set(k, [7u8; 64]).await.unwrap();
                            }
                            _ => {
                                let b = (x % 99_000) as usize;
                                s.get_many(&keys[b..b + 100]).await.unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        for h in hs {
            h.await.unwrap();
        }
        s.ping().await.unwrap();
        println!(
            "{tasks} {op}: {:.0} ns",
            t.elapsed().as_nanos() as f64 / (n * tasks) as f64
        );
    }
}
