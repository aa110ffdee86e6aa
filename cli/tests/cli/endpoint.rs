//! The figures of a process, read from an endpoint.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use cachestore::{MemoryConfig, NearCache, Store};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::{Value, json};

use crate::{ended, program};

const TEXT: &str = r#"# TYPE cachestore_hits_total counter
cachestore_hits_total{engine="memory",tier="near"} 60
cachestore_hits_total{engine="memory",tier="engine"} 15
cachestore_misses_total{engine="memory"} 25
cachestore_locks_waiting{engine="memory"} 3
cachestore_memory_bytes{engine="memory"} 2097152
cachestore_calls_total{engine="memory",call="get",outcome="ok"} 90
cachestore_calls_total{engine="memory",call="get",outcome="timeout"} 10
cachestore_call_duration_seconds_bucket{engine="memory",call="get",le="0.001"} 50
cachestore_call_duration_seconds_bucket{engine="memory",call="get",le="0.002"} 100
cachestore_call_duration_seconds_bucket{engine="memory",call="get",le="+Inf"} 100
"#;

/// Answers every request with this, until the test ends. Its URL.
fn endpoint(head: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics?token=hidden", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked = lines.next().unwrap().unwrap();
            assert_eq!(asked, "GET /metrics?token=hidden HTTP/1.1");
            while !lines.next().unwrap().unwrap().is_empty() {}
            // A client that has had enough may be gone.
            let _ = write!(stream, "HTTP/1.1 {head}\r\n\r\n{body}");
        }
    });
    url
}

/// The text in two chunks.
fn chunked(text: &str) -> String {
    let (first, second) = text.split_at(100);
    format!(
        "{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    )
}

#[test]
fn stats_show_what_a_process_tells() {
    let url = endpoint("200 OK\r\ntransfer-encoding: chunked", chunked(TEXT));
    let text = ended(&mut program(&["stats", "--metrics", &url])).text();
    let shown = url.strip_suffix("?token=hidden").unwrap();
    assert_eq!(
        text,
        format!(
            "process        {shown}\n\
             reads that hit  75.0 % of 100, 60.0 % in the near cache\n\
             memory          2.00 MiB\n\
             lock waiters    3\n\
             \n\
             call  calls  failed      p50      p99\n\
             get     100      10  1.00 ms  1.98 ms\n"
        )
        .replace("process        ", "process         ")
    );
    // The environment of the process itself may name its store.
    let mut of_process = program(&["stats", "--json"]);
    of_process
        .env("CACHESTORE_METRICS", &url)
        .env("CACHESTORE_URL", "memory://");
    let told = ended(&mut of_process).text();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["process"]["figures"]["misses_total"], json!(25.0));
    assert_eq!(told["process"]["calls"]["get"]["calls"], json!(100.0));
    assert_eq!(told["process"]["calls"]["get"]["p50_seconds"], json!(0.001));
}

#[test]
fn an_endpoint_that_cannot_be_read_is_named() {
    for (head, body, said) in [
        ("500 Internal Server Error\r\ncontent-length: 0", "", "500"),
        (
            "200 OK\r\nconnection: close",
            "other_metric 1\n",
            "no metrics of cachestore",
        ),
        ("200 OK\r\nconnection: close", "cachestore_x{ 1\n", "line 1"),
        (
            "200 OK\r\ncontent-length: 99999999",
            "cachestore_x 1",
            "cannot read the metrics",
        ),
    ] {
        let url = endpoint(head, body.to_owned());
        let ended = ended(&mut program(&["stats", "--metrics", &url]));
        assert_eq!((ended.code, ended.out.len()), (1, 0), "{ended:?}");
        assert!(
            ended.errors.contains(said) && !ended.errors.contains("hidden"),
            "{}",
            ended.errors
        );
    }
}

#[test]
fn a_process_is_shown_although_the_server_is_down() {
    let url = endpoint("200 OK\r\nconnection: close", TEXT.to_owned());
    let ended = ended(&mut program(&[
        "stats",
        "--url",
        "redis://127.0.0.1:1",
        "--metrics",
        &url,
    ]));
    assert_eq!(ended.code, 1);
    assert!(
        String::from_utf8_lossy(&ended.out).contains("lock waiters    3"),
        "{ended:?}"
    );
    assert!(
        ended
            .errors
            .contains("cannot open the store at redis://127.0.0.1:1"),
        "{}",
        ended.errors
    );
}

#[tokio::test]
async fn a_process_is_read_as_it_tells_its_metrics() {
    let buckets = [0.001, 0.01, 0.1, 1.0, 10.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets)
        .unwrap()
        .install_recorder()
        .unwrap();
    let store = Store::open(
        MemoryConfig::default()
            .near_cache(NearCache::off())
            .capacity_bytes(1 << 20),
    );
    let store = store.await.unwrap();
    store.set("k", "v").await.unwrap();
    for key in ["k", "k", "k", "absent"] {
        store.get(key).await.unwrap();
    }
    let guard = store.lock("job").await.unwrap();
    assert!(store.lock("job").await.is_err());
    // It publishes the newest figures.
    store.stats().await.unwrap();

    let url = endpoint("200 OK\r\nconnection: close", recorder.render());
    let told = ended(&mut program(&["stats", "--json", "--metrics", &url])).text();
    let told: Value = serde_json::from_str(&told).unwrap();
    let (figures, calls) = (&told["process"]["figures"], &told["process"]["calls"]);
    for (name, value) in [
        ("hits_total", 3),
        ("misses_total", 1),
        ("locks_held", 1),
        ("capacity_bytes", 1 << 20),
    ] {
        assert_eq!(
            figures[name].as_f64(),
            Some(f64::from(value)),
            "{name} in {figures}"
        );
    }
    // The store itself asks for its figures once a second, and may do so at this moment.
    assert!(figures["queue_depth"].as_f64().unwrap() <= 1.0, "{figures}");
    assert!(figures["memory_bytes"].as_f64().unwrap() > 0.0, "{figures}");
    assert_eq!(
        (&calls["get"]["calls"], &calls["get"]["failed"]),
        (&json!(4.0), &json!(0.0))
    );
    // The lock that is held is an answer.
    assert_eq!(
        (&calls["lock"]["calls"], &calls["lock"]["failed"]),
        (&json!(2.0), &json!(0.0))
    );
    for quantile in ["p50_seconds", "p99_seconds"] {
        let seconds = calls["get"][quantile].as_f64().unwrap();
        assert!(seconds > 0.0 && seconds <= 10.0, "{calls}");
    }
    guard.release().await.unwrap();
}
