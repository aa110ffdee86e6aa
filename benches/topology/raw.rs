//! What the servers themselves spend: a raw client sends the commands of many changes in pipelines, with what ends leases in
//! front of them.

use std::io::{Read, Write};
use std::net::TcpStream;

use redis::{Cmd, cmd};
use tokio::time::Instant;

use super::server::{RedisServer, server_time};
use super::support::{Samples, Table, VALUE, in_turn, key, nanos_of, sized};

const NAMES: [&str; 3] = ["one server", "a node", "a node, transactions"];
/// What ends each pipeline.
const PING: (&[u8], &[u8]) = (b"PING\r\n", b"+PONG\r\n");

/// Measures both servers in turns, after a round to warm up.
pub(super) fn compare(alone: &RedisServer, node: &RedisServer) {
    let mut table = Table::new(&[
        "raw commands",
        "where",
        "commands/s",
        "beside",
        "server CPU",
        "beside",
    ]);
    for command in ["SET", "INCRBY", "DEL"] {
        for size in [32, 128] {
            let mut costs = [(); NAMES.len()].map(|()| Samples::default());
            let speeds: [Samples; NAMES.len()] = in_turn(sized(9, 3), |who| {
                let (server, tag) = if who == 0 { (alone, "") } else { (node, "{app}:") };
                let (speed, cost) = run(server, command, size, tag, who == 2);
                costs[who].push(cost);
                speed
            });
            for (who, name) in NAMES.into_iter().enumerate() {
                table.row([
                    format!("{command}, {size} at once"),
                    name.to_owned(),
                    format!("{:.0}", speeds[who].median()),
                    format!("{:.2}", speeds[who].ratio(&speeds[0])),
                    format!("{:.2} µs", costs[who].median() / 1e3),
                    format!("{:.2}", costs[who].ratio(&costs[0])),
                ]);
            }
        }
    }
    table.print();
}

/// Changes as many keys. Returns the changes a second, and the server's time for each in nanoseconds.
fn run(server: &RedisServer, command: &str, size: usize, tag: &str, is_transaction: bool) -> (f64, f64) {
    let count = sized(100_000, 10_240) / size * size;
    let keys: Vec<String> = (0..count).map(|number| format!("{tag}{}", key(number))).collect();
    server.command(&["FLUSHALL"]);
    if command != "SET" {
        for keys in keys.chunks(1000) {
            let pairs = keys.iter().flat_map(|key| [key.as_str(), "1"]);
            let words: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
            server.command(&words);
        }
    }
    let pipelines: Vec<Vec<u8>> = keys
        .chunks(size)
        .map(|keys| pipeline(command, keys, tag, is_transaction))
        .collect();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    let served = server_time(server);
    let began = Instant::now();
    // The server works on one of them while the next is sent.
    let mut replies = Vec::new();
    for (sent, pipeline) in pipelines.iter().enumerate() {
        stream.write_all(pipeline).unwrap();
        if sent > 0 {
            read(&mut stream, &mut replies);
        }
    }
    read(&mut stream, &mut replies);
    let elapsed = began.elapsed().as_secs_f64();
    let served = server_time(server) - served;
    (count as f64 / elapsed, nanos_of(served) / count as f64)
}

/// The bytes of a pipeline that changes these keys.
fn pipeline(command: &str, keys: &[String], tag: &str, is_transaction: bool) -> Vec<u8> {
    let change = |key: &String| {
        let mut change = cmd(command);
        change.arg(key);
        match command {
            "SET" => change.arg(&VALUE).arg("PX").arg(3_600_000),
            "INCRBY" => change.arg(1),
            _ => &mut change,
        };
        change
    };
    let told = |command: &str, name: &str| {
        let mut told: Cmd = cmd(command);
        told.arg(format!("{tag}cachestore:{name}")).arg(keys);
        told
    };
    let edge = |name: &str| is_transaction.then(|| cmd(name));
    edge("MULTI")
        .into_iter()
        .chain([told("HDEL", "leases"), told("RPUSHX", "changed")])
        .chain(keys.iter().map(change))
        .chain(edge("EXEC"))
        .flat_map(|command| command.get_packed_command())
        .chain(PING.0.iter().copied())
        .collect()
}

/// Reads to the end of a pipeline. What follows is kept.
fn read(stream: &mut TcpStream, replies: &mut Vec<u8>) {
    let mut chunk = [0; 16 * 1024];
    loop {
        let end = PING.1;
        if let Some(at) = replies.windows(end.len()).position(|bytes| bytes == end) {
            replies.drain(..at + end.len());
            return;
        }
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the server ends the connection");
        replies.extend_from_slice(&chunk[..length]);
    }
}
