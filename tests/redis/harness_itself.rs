//! The harness itself: a server that a test starts, faults that a proxy makes, certificates.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::harness::tls::{Certificates, Shown};
use crate::harness::{Client, Direction, Proxy, RedisServer, Reply, Seeded, Toxic};

const MS: Duration = Duration::from_millis(1);

/// Sends back what it gets. It ends with the runtime of the test.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Duration> {
    let began = Instant::now();
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await?;
    assert_eq!(back, bytes, "what passes is not changed");
    Ok(began.elapsed())
}

#[tokio::test]
async fn a_server_of_its_own_answers_and_is_gone_with_its_handle() {
    let server = RedisServer::start().await;
    server.command(&["SET", "k", "v\r\n\0"]);
    assert_eq!(
        server.command(&["GET", "k"]),
        Reply::Bulk(Some(b"v\r\n\0".to_vec()))
    );
    assert_eq!(server.connections(), Vec::<String>::new());
    server.flush();
    assert_eq!(server.size(), 0);
    let (address, folder, process) = (server.address(), server.folder().to_owned(), server.process());
    assert!(TcpStream::connect(&address).await.is_ok());
    drop(server);
    assert!(
        TcpStream::connect(&address).await.is_err(),
        "nothing listens any more"
    );
    assert!(!folder.exists());
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
}

#[tokio::test]
async fn a_server_is_gone_when_its_test_panics() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let server = RedisServer::start().await;
        server.stop();
        sender
            .send((server.address(), server.folder().to_owned()))
            .unwrap();
        panic!("as planned");
    });
    let (address, folder) = receiver.await.unwrap();
    assert!(test.await.is_err());
    assert!(TcpStream::connect(&address).await.is_err());
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_server_restarts_on_its_port_and_keeps_what_it_has_written_down() {
    let mut kept = RedisServer::options().append_only().start().await;
    let mut lost = RedisServer::start().await;
    for server in [&mut kept, &mut lost] {
        let port = server.port();
        server.command(&["SET", "k", "v"]);
        server.kill9();
        assert!(TcpStream::connect(server.address()).await.is_err());
        server.restart().await;
        assert_eq!(server.port(), port);
        assert!(TcpStream::connect(server.address()).await.is_ok());
    }
    assert_eq!(kept.command(&["GET", "k"]).bytes(), Some(&b"v"[..]));
    assert_eq!(lost.command(&["GET", "k"]).bytes(), None);
}

#[tokio::test]
async fn a_stopped_server_says_nothing_until_it_goes_on() {
    let server = RedisServer::start().await;
    let mut client = server.client();
    client.patience(50 * MS).unwrap();
    server.stop();
    assert!(client.try_command(&["PING"]).is_err());
    server.cont();
    assert_eq!(server.command(&["PING"]), Reply::Simple("PONG".to_owned()));
}

#[tokio::test]
async fn passwords_users_and_settings() {
    let locked = RedisServer::options()
        .password("open sesame")
        .argument("databases", "3")
        .start()
        .await;
    let mut stranger = Client::connect(&locked.socket()).unwrap();
    assert!(matches!(stranger.try_command(&["GET", "k"]), Ok(Reply::Error(e)) if e.starts_with("NOAUTH")));
    assert_eq!(
        locked.command(&["CONFIG", "GET", "databases"]).array()[1].text(),
        "3"
    );

    let line = "user default off\nuser app on >secret ~* &* +@all -@dangerous";
    let users = RedisServer::options().user(line).start().await;
    let mut app = Client::connect(&users.socket()).unwrap();
    assert!(matches!(
        app.try_command(&["AUTH", "app", "wrong"]),
        Ok(Reply::Error(_))
    ));
    assert_eq!(
        app.try_command(&["AUTH", "app", "secret"]).unwrap(),
        Reply::Simple("OK".to_owned())
    );
    assert!(matches!(app.try_command(&["FLUSHALL"]), Ok(Reply::Error(e)) if e.starts_with("NOPERM")));
}

#[tokio::test]
async fn the_monitor_sees_each_command_in_order_with_its_bytes() {
    let server = RedisServer::start().await;
    let mut monitor = server.monitor();
    let mut client = server.client();
    let odd = b"\"a\\b\" \x00\xff\r\n\t]";
    client.try_command(&[b"SET".as_slice(), b"k", odd]).unwrap();
    client.try_command(&["SELECT", "2"]).unwrap();
    client
        .try_command(&["EVAL", "return redis.call('get', KEYS[1])", "1", "k"])
        .unwrap();
    let seen = monitor.commands();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0].arguments[2], odd);
    assert_eq!((seen[0].database, seen[1].database), (0, 2));
    assert!(!seen[1].in_script && seen[2].in_script);
    assert_eq!(seen[2].line(), "GET k");
    client.try_command(&["get", "k"]).unwrap();
    assert_eq!(monitor.sent(), ["GET k"]);
}

#[tokio::test]
async fn tls_servers_start_with_every_certificate() {
    let certificates = Certificates::new();
    for shown in [
        Shown::Good,
        Shown::WrongName,
        Shown::WrongAuthority,
        Shown::Expired,
        Shown::SelfSigned,
    ] {
        let server = RedisServer::options()
            .tls(certificates.server(shown, false))
            .start()
            .await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"PING\r\n").await.unwrap();
        let mut reply = Vec::new();
        // A plain client gets an alert or an end, never a PONG.
        let _ = timeout(5000 * MS, stream.read_to_end(&mut reply)).await.unwrap();
        assert!(!reply.starts_with(b"+PONG"));
    }
}

#[tokio::test]
async fn the_proxy_passes_everything_unharmed_both_ways() {
    let proxy = Proxy::start(echo().await, 1).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    round_trip(&mut stream, &bytes).await.unwrap();
    assert_eq!((proxy.accepted(), proxy.living()), (1, 1));
    assert_eq!(proxy.passed(Direction::Up), 200_000);
    assert_eq!(proxy.passed(Direction::Down), 200_000);
    drop(stream);
    while proxy.living() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn latency_delays_and_does_not_reorder_and_can_be_taken_away() {
    let proxy = Proxy::start(echo().await, 2).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(
        Direction::Up,
        Toxic::Latency {
            delay: 60 * MS,
            jitter: 20 * MS,
        },
    );
    proxy.add(
        Direction::Down,
        Toxic::Latency {
            delay: 30 * MS,
            jitter: Duration::ZERO,
        },
    );
    let took = round_trip(&mut stream, b"hello").await.unwrap();
    assert!(took >= 70 * MS && took < 600 * MS, "{took:?}");
    // Many pieces share the delay: it is a wait, not a rate.
    let began = Instant::now();
    for n in 0..20_u8 {
        stream.write_all(&[n]).await.unwrap();
        tokio::time::sleep(MS).await;
    }
    let mut back = [0; 20];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back.to_vec(), (0..20).collect::<Vec<u8>>());
    assert!(began.elapsed() < 800 * MS, "{:?}", began.elapsed());
    proxy.heal();
    assert!(round_trip(&mut stream, b"hello").await.unwrap() < 60 * MS);
}

#[tokio::test]
async fn down_refuses_and_ends_and_up_is_the_same_port() {
    let proxy = Proxy::start(echo().await, 3).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"hello").await.unwrap();
    proxy.down().await;
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    assert!(round_trip(&mut stream, b"hello").await.is_err());
    proxy.up().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"hello").await.unwrap();
}

#[tokio::test]
async fn bandwidth_is_a_rate() {
    let proxy = Proxy::start(echo().await, 4).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(
        Direction::Down,
        Toxic::Bandwidth {
            bytes_per_second: 100_000,
        },
    );
    let took = round_trip(&mut stream, &[7; 30_000]).await.unwrap();
    assert!(took >= 250 * MS && took < 1500 * MS, "{took:?}");
}

#[tokio::test]
async fn slow_close_delays_the_end_only() {
    let proxy = Proxy::start(echo().await, 5).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(Direction::Up, Toxic::SlowClose { delay: 150 * MS });
    assert!(round_trip(&mut stream, b"hello").await.unwrap() < 100 * MS);
    let began = Instant::now();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(began.elapsed() >= 140 * MS);
}

#[tokio::test]
async fn timeout_holds_back_and_then_closes_or_goes_on() {
    let proxy = Proxy::start(echo().await, 6).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(Direction::Down, Toxic::Timeout { close: None });
    assert!(timeout(80 * MS, round_trip(&mut stream, b"hello")).await.is_err());
    proxy.heal();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello", "nothing was lost");
    proxy.add(Direction::Up, Toxic::Timeout { close: Some(50 * MS) });
    let began = Instant::now();
    assert!(round_trip(&mut stream, b"hello").await.is_err());
    assert!(began.elapsed() >= 40 * MS);
}

#[tokio::test]
async fn a_blackhole_swallows_the_old_connections_and_new_ones_work() {
    let proxy = Proxy::start(echo().await, 7).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut old, b"hello").await.unwrap();
    proxy.blackhole();
    assert!(timeout(80 * MS, round_trip(&mut old, b"hello")).await.is_err());
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut new, b"hello").await.unwrap();
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let proxy = Proxy::start(echo().await, 8).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"hello").await.unwrap();
    let began = Instant::now();
    proxy.add(Direction::Up, Toxic::ResetPeer { after: 50 * MS });
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= 40 * MS);
    proxy.heal();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"hello").await.unwrap();
    proxy.cut();
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_slicer_cuts_into_pieces() {
    let proxy = Proxy::start(echo().await, 9).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(
        Direction::Down,
        Toxic::Slicer {
            size: 10,
            variation: 5,
            delay: 5 * MS,
        },
    );
    stream.write_all(&[7; 100]).await.unwrap();
    let (mut sizes, mut sum) = (Vec::new(), 0);
    while sum < 100 {
        let length = stream.read(&mut [0; 100]).await.unwrap();
        sizes.push(length);
        sum += length;
    }
    assert!(sizes.len() >= 4, "{sizes:?}");
}

#[tokio::test]
async fn limited_data_ends_at_the_byte() {
    let proxy = Proxy::start(echo().await, 10).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.add(Direction::Down, Toxic::LimitData { bytes: 64 });
    stream.write_all(&[7; 100]).await.unwrap();
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back).await;
    assert_eq!(back.len(), 64);
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let draw = |seed| {
        let mut random = Seeded::new(seed);
        (0..5).map(|_| random.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
