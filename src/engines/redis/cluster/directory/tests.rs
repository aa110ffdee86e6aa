//! How long nodes are waited for, with nodes that say nothing or not enough.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::config::{Config, EngineConfig, RedisConfig, Target};
use crate::engines::redis::cluster::map::no_owner;

/// A node that tells of itself, as the owner of slot 0, or that says nothing.
async fn node(answers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reply = format!(
        "*1\r\n*3\r\n:0\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n",
        address.port()
    );
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let reply = reply.clone();
            tokio::spawn(async move {
                while socket.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                    if answers && socket.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

fn directory(nodes: [String; 2]) -> Directory {
    let config = RedisConfig::cluster(nodes).unwrap();
    let EngineConfig::Redis(options) = Config::from(config.connect_timeout(4 * PATIENCE)).engine else {
        panic!("a configuration of Redis");
    };
    let Target::Cluster(cluster) = options.target.clone() else {
        panic!("a cluster");
    };
    Directory::new(cluster, *options)
}

/// How long a round takes in which nobody tells who owns slot 1.
async fn round(directory: &Directory) -> Duration {
    let began = Instant::now();
    let owner = directory.ask("the owner", |map, _| {
        map.owner(1).cloned().ok_or_else(|| no_owner(1))
    });
    assert!(matches!(owner.await, Err(Error::Unavailable(_))));
    began.elapsed()
}

/// The time that a busy machine takes longer only makes a round longer.
#[tokio::test]
async fn nodes_are_given_more_time_while_none_of_them_answers() {
    let directory = directory([node(false).await, node(false).await]);
    for patience in [PATIENCE, 2 * PATIENCE, 4 * PATIENCE, 4 * PATIENCE] {
        let took = round(&directory).await;
        assert!(took >= 2 * patience, "{took:?} for two nodes");
    }
}

/// A node that does not answer costs each round the same, if another one answers.
#[tokio::test]
async fn a_silent_node_is_given_no_more_time_while_another_one_answers() {
    let directory = directory([node(false).await, node(true).await]);
    let mut shortest = Duration::MAX;
    for rounds in 1..=4 {
        let took = round(&directory).await;
        assert!(took >= PATIENCE, "{took:?}: the silent node is asked");
        // By now it would be given four times as much.
        if rounds > 2 {
            shortest = shortest.min(took);
        }
    }
    assert!(shortest < 4 * PATIENCE, "{shortest:?}");
}
