//! Runs the service as a process and talks HTTP to it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The service, until it is dropped.
struct Service {
    process: Child,
    address: String,
    folder: PathBuf,
}

impl Service {
    fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("web-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_web"))
            .args(["--listen", "127.0.0.1:0"])
            .env("TMPDIR", &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/');
        Self {
            address: address.to_owned(),
            process,
            folder,
        }
    }

    /// The status and the body of the answer.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// How many votes a book has, and where the service has that from.
    fn votes(&self, book: u32) -> (u64, String) {
        let (status, body) = self.ask(&format!("GET /books/{book}"));
        assert_eq!(status, 200, "{body}");
        let (votes, origin) = body.split_once(": ").unwrap().1.split_once(" votes ").unwrap();
        (votes.parse().unwrap(), origin.trim_matches(['(', ')']).to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_row_is_served_from_the_cache_until_it_changes() {
    let service = Service::start("cache");
    let (votes, origin) = service.votes(1);
    assert_eq!(origin, "Loaded");
    // On a slow machine its fresh time may be over.
    let (again, origin) = service.votes(1);
    assert!(["Fresh", "Stale"].contains(&&*origin), "{origin}");
    assert_eq!(again, votes);

    let (status, _) = service.ask("POST /books/1/vote");
    assert_eq!(status, 303);
    let (after, origin) = service.votes(1);
    assert_eq!((after, &*origin), (votes + 1, "Loaded"));

    let (status, page) = service.ask("GET /");
    assert_eq!(status, 200);
    assert!(page.contains(&format!("{after} votes")), "{page}");
    assert!(page.contains("book:1 loaded in "), "{page}");
    assert!(page.contains("<time>just now</time>"), "{page}");
    let (_, counts) = service.ask("GET /stats");
    assert!(counts.starts_with("1 hits, 3 misses, "), "{counts}");
    assert!(counts.ends_with(", 1 invalidated\n"), "{counts}");
    assert!(page.contains("book:1 served in "), "{page}");
    assert_eq!(service.ask("GET /books/9").0, 404);
}

#[test]
fn readers_at_once_share_a_load() {
    let service = Service::start("readers");
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| service.votes(2));
        }
    });
    // A reader who came too late to join has hit.
    let (_, counts) = service.ask("GET /stats");
    let count = |name: &str| -> u64 {
        let (before, _) = counts.split_once(name).unwrap();
        before.rsplit(", ").next().unwrap().parse().unwrap()
    };
    assert_eq!(count(" hits") + count(" joined a load") + 1, 50, "{counts}");
    if count(" stale answers") == 0 {
        assert_eq!(count(" loads"), 1, "{counts}");
    }
}

#[cfg(unix)]
#[test]
fn it_leaves_nothing_behind_when_it_is_interrupted() {
    let mut service = Service::start("end");
    let files = || std::fs::read_dir(service.folder.clone()).unwrap().count();
    assert_eq!(files(), 1, "the database");
    let mut interrupt = Command::new("kill");
    interrupt.args(["-INT", &service.process.id().to_string()]);
    assert!(interrupt.status().unwrap().success());
    assert!(service.process.wait().unwrap().success());
    assert_eq!(files(), 0);
}
