//! Order: what one caller asks, one call after the other without waiting, is carried out in that order
//! for each key, whatever is merged on the way.

use std::collections::HashMap;
use std::pin::Pin;

use cachestore::{Error, RedisConfig, Store};
use futures_util::future::join_all;

use crate::harness::opening::{config, open, plain};
use crate::harness::{RedisServer, Seeded};

#[tokio::test]
async fn a_read_does_not_see_what_is_written_after_it() {
    let (_server, store) = plain().await;
    for round in 0..50 {
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        let (of_x, of_y, set) = tokio::join!(biased; store.get(&x), store.get(&y), store.set(&x, "v"));
        set.unwrap();
        assert_eq!(
            of_x.unwrap(),
            None,
            "round {round}: it was asked before the write"
        );
        assert_eq!(of_y.unwrap(), None);
    }
}

/// What a call answers, as text.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<String, Error>> + 'a>>;

/// One random call, and what it must answer after the ones before it.
fn call<'a>(
    store: &'a Store,
    random: &mut Seeded,
    model: &mut HashMap<String, String>,
    number: usize,
) -> (String, Answer<'a>) {
    let key = format!("k{}", random.below(4));
    let value = number.to_string();
    match random.below(9) {
        0..=3 => {
            let wanted = format!("{:?}", model.get(&key));
            (
                format!("get {key} {wanted}"),
                Box::pin(async move { Ok(format!("get {key} {:?}", store.get_string(&key).await?)) }),
            )
        }
        4 | 5 => {
            model.insert(key.clone(), value.clone());
            (
                format!("set {key}"),
                Box::pin(async move { store.set(&key, value).await.map(|()| format!("set {key}")) }),
            )
        }
        6 => {
            let wanted = model.remove(&key).is_some();
            (
                format!("delete {key} {wanted}"),
                Box::pin(async move { Ok(format!("delete {key} {}", store.delete(&key).await?)) }),
            )
        }
        7 => {
            let wanted = !model.contains_key(&key);
            model.entry(key.clone()).or_insert(value.clone());
            (
                format!("add {key} {wanted}"),
                Box::pin(async move { Ok(format!("add {key} {}", store.add(&key, value).await?)) }),
            )
        }
        _ => {
            model.insert(key.clone(), value.clone());
            let dependent = async move {
                store
                    .set(&key, value)
                    .depends_on([format!("d{}", number % 3)])
                    .await
                    .map(|()| format!("depend {key}"))
            };
            (String::new(), Box::pin(dependent))
        }
    }
}

async fn in_order(connections: usize) {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).connections(connections)).await;
    let mut random = Seeded::new(connections as u64);
    let mut model = HashMap::new();
    for round in 0..60 {
        if round % 10 == 5 {
            server.command(&["SCRIPT", "FLUSH"]);
        }
        let calls: Vec<(String, Answer<'_>)> = (0..30)
            .map(|n| call(&store, &mut random, &mut model, round * 100 + n))
            .collect();
        let (wanted, calls): (Vec<String>, Vec<Answer<'_>>) = calls.into_iter().unzip();
        for (n, (wanted, got)) in wanted.iter().zip(join_all(calls).await).enumerate() {
            let got = got.unwrap();
            assert!(
                wanted.is_empty() || *wanted == got,
                "round {round}, call {n}: {got}, not {wanted}"
            );
        }
    }
}

#[tokio::test]
async fn on_one_connection() {
    in_order(1).await;
}

#[tokio::test]
async fn on_three_connections() {
    in_order(3).await;
}

/// Each call is a pipeline of its own, and all are sent in one turn of the engine, which is longer than
/// what a runtime gives a task at once.
#[tokio::test]
async fn in_more_pipelines_than_a_turn_has() {
    let server = RedisServer::start().await;
    let store = open(config(&server.url()).batch_commands(1).max_in_flight(10_000)).await;
    for round in 0..5 {
        let counts = join_all((0..1000).map(|_| store.incr("k", 1).into_future())).await;
        let counts: Vec<i64> = counts.into_iter().map(Result::unwrap).collect();
        let in_order: Vec<i64> = (1..=1000).map(|n| round * 1000 + n).collect();
        assert_eq!(counts, in_order, "round {round}");
    }
}

/// A connection that was handed in has little room, and others who take it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_connection_that_others_fill() {
    let server = RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let narrow = redis::AsyncConnectionConfig::new().set_pipeline_buffer_size(2);
    let connection = client
        .get_multiplexed_async_connection_with_config(&narrow)
        .await
        .unwrap();
    let others = tokio::spawn({
        let connection = connection.clone();
        async move {
            loop {
                let pings = (0..8).map(|_| {
                    let mut connection = connection.clone();
                    async move { redis::cmd("PING").query_async::<()>(&mut connection).await }
                });
                for ping in join_all(pings).await {
                    ping.unwrap();
                }
            }
        }
    });
    let settings = RedisConfig::from_connection(connection)
        .batch_commands(1)
        .max_in_flight(8);
    let store = open(settings).await;
    for round in 0..40 {
        let counts = join_all((0..200).map(|_| store.incr("k", 1).into_future())).await;
        let counts: Vec<i64> = counts.into_iter().map(Result::unwrap).collect();
        let in_order: Vec<i64> = (1..=200).map(|n| round * 200 + n).collect();
        assert_eq!(counts, in_order, "round {round}");
    }
    others.abort();
}
