//! The HTTP cache, before an origin that has one page.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "its command line is not tested")]
#[path = "../http_cache.rs"]
mod http_cache;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachestore::{Config, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the origin has answered.
type Answered = Arc<Mutex<Vec<&'static str>>>;

/// An origin whose page is fresh for so many seconds. Returns its address.
async fn origin(answered: Answered, control: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = client.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let is_known = request.contains("If-None-Match: \"V1\"\r\n");
            let (status, body) = if is_known {
                ("304", "")
            } else {
                ("200", "<h1>Ada</h1>")
            };
            answered.lock().unwrap().push(status);
            let head = format!("HTTP/1.0 {status} -\r\nETag: \"V1\"\r\ncache-control: {control}\r\n\r\n");
            client.write_all((head + body).as_bytes()).await.unwrap();
        }
    });
    address
}

/// Starts the proxy. Returns its address.
async fn proxy(origin: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let store = Store::open(Config::memory()).await.unwrap();
    tokio::spawn(http_cache::serve(store, origin, listener));
    address
}

async fn get(proxy: &str) -> String {
    let mut connection = TcpStream::connect(proxy).await.unwrap();
    connection.write_all(b"GET /page HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_page_is_fetched_kept_and_confirmed() {
    for (control, answers) in [
        ("max-age=0", ["200", "304", "304"].as_slice()),
        ("public, max-age=3600", &["200"]),
        ("no-store", &["200", "200", "200"]),
    ] {
        let answered = Answered::default();
        let proxy = proxy(origin(answered.clone(), control).await).await;
        for _ in 0..3 {
            let page = get(&proxy).await;
            assert!(
                page.starts_with("HTTP/1.0 200 -") && page.ends_with("<h1>Ada</h1>"),
                "{page}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*answered.lock().unwrap(), answers, "{control}");
    }
}
