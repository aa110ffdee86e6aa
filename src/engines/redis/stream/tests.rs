//! Which of the addresses of a host a connection is opened to.

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A port that drops what asks for a connection, because its queue is full.
async fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    let tries_one = || timeout(Duration::from_millis(200), TcpStream::connect(address));
    while let Ok(stream) = tries_one().await {
        queue.push(stream.unwrap());
        assert!(queue.len() < 100, "the queue has no end");
    }
    (socket, queue, address)
}

async fn open() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn an_address_that_does_not_answer_holds_up_no_other() {
    let (_socket, _queue, silent) = silent().await;
    let (_listener, address) = open().await;
    for addresses in [
        vec![silent, address],
        vec![silent, silent, address],
        vec![address, silent],
    ] {
        let stream = timeout(PATIENCE, first_of(addresses))
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next_and_told_if_there_is_none() {
    let (listener, refusing) = open().await;
    drop(listener);
    let (_listener, address) = open().await;
    let stream = first_of([refusing, address]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    let error = first_of([refusing, refusing]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(first_of([]).await.is_err());
}
