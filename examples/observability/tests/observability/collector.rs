//! Spans that are sent to a collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::service::program;

/// The first line and the body of a request, which gets an empty answer.
fn receive(stream: TcpStream, bodies: &Sender<(String, Vec<u8>)>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        // The test may have seen enough.
        let _ = bodies.send((first.trim().to_owned(), body));
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn spans_reach_a_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}/", listener.local_addr().unwrap());
    let (bodies, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let bodies = bodies.clone();
            thread::spawn(move || receive(stream.unwrap(), &bodies));
        }
    });
    let arguments = ["--listen", "127.0.0.1:0", "--seconds", "4", "--otlp", &collector];
    let ended = program(&arguments).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let received: Vec<_> = received.try_iter().collect();
    assert!(!received.is_empty());
    for (first, body) in &received {
        assert_eq!(first, "POST /v1/traces HTTP/1.1");
        assert!(has(body, "service.name") && has(body, "shop"));
    }
    for name in ["product", "sign_in"] {
        assert!(received.iter().any(|(_, body)| has(body, name)), "no span {name}");
    }
}
