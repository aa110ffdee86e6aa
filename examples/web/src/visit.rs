//! A visit by HTTP, as a browser would make it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::service::TTL;

/// The status and the body of an answer.
async fn ask(address: SocketAddr, request: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}

pub(crate) async fn visit(address: SocketAddr) -> Result<()> {
    let show = async |request: &str| {
        let began = Instant::now();
        let (status, body) = ask(address, request).await?;
        println!(
            "{request:<20} {:>8.1?}  {status}  {}",
            began.elapsed(),
            body.trim_end()
        );
        anyhow::Ok(())
    };
    for request in [
        "GET /books/1",
        "GET /books/1",
        "POST /books/1/vote",
        "GET /books/1",
        "GET /books/9",
    ] {
        show(request).await?;
    }
    println!("50 readers at once");
    let readers: Vec<_> = (0..50)
        .map(|_| tokio::spawn(ask(address, "GET /books/2")))
        .collect();
    for reader in readers {
        reader.await??;
    }
    println!("{:?} later", TTL.mul_f64(1.2));
    sleep(TTL.mul_f64(1.2)).await;
    show("GET /books/1").await?;
    sleep(TTL / 4).await;
    show("GET /books/1").await?;
    show("GET /stats").await?;
    Ok(())
}
