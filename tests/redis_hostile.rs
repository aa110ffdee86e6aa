//! A server whose replies are not what was asked for, in many ways: nothing panics, no call outlives its deadline,
//! and memory is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "figures, for those who ask with --nocapture")]

#[path = "support/redis/mod.rs"]
mod harness;
#[allow(dead_code, reason = "what is for tests without a runtime")]
#[path = "support/heap.rs"]
mod heap;
#[path = "support/log.rs"]
mod log;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cachestore::{Error, Result, Store, redis};
use futures_util::{StreamExt, TryStreamExt};
use harness::lateness::late;
use harness::opening::{config, eventually, ms, open, was_not_done};
use harness::{Answer, Hostile};
use log::Log;
use tokio::time::Instant;

const DEADLINE: Duration = ms(300);
const MIB: usize = 1024 * 1024;

type Calling = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A call's name, and how it is made.
type Call = (&'static str, fn(Store) -> Calling);

/// Keeps the tests of this file from allocating beside each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Every call that asks the server something.
fn calls() -> Vec<Call> {
    macro_rules! calls {
        ($($name:literal => |$store:ident| $call:expr),* $(,)?) => {
            vec![$(($name, |$store| Box::pin(async move { $call.await.map(drop) }))),*]
        };
    }
    calls![
        "get" => |store| store.get("k"),
        "get_string" => |store| store.get_string("k"),
        "get_model" => |store| store.get_model::<u32>("k"),
        "get_many" => |store| store.get_many(["a", "b", "c"]),
        "get_models" => |store| store.get_models::<u32>(["a", "b", "c"]),
        "set" => |store| store.set("k", "v"),
        "set with a name" => |store| store.set("k", "v").depends_on(["n"]),
        "set_many" => |store| store.set_many([("a", "v"), ("b", "v")]),
        "add" => |store| store.add("k", "v"),
        "replace" => |store| store.replace("k", "v"),
        "compare_and_set" => |store| store.compare_and_set("k", "v", "w"),
        "update_model" => |store| store.update_model("k", |old: Option<u32>| Some(old.unwrap_or(0) + 1)),
        "take" => |store| store.take("k"),
        "delete" => |store| store.delete("k"),
        "delete_many" => |store| store.delete_many(["a", "b", "c"]),
        "exists" => |store| store.exists("k"),
        "ttl" => |store| store.ttl("k"),
        "expire" => |store| store.expire("k", ms(1000)),
        "persist" => |store| store.persist("k"),
        "incr" => |store| store.incr("k", 1),
        "incr with a TTL" => |store| store.incr("k", 1).ttl(ms(1000)),
        "counter" => |store| store.counter("k"),
        "invalidate" => |store| store.invalidate(["n"]),
        "clear" => |store| store.clear(),
        "lock" => |store| store.lock("k"),
        "lock_info" => |store| store.lock_info("k"),
        "force_release" => |store| store.force_release("k"),
        "write_lock_with_secret" => |store| store.write_lock_with_secret("k", "s", ms(1000)),
        "release_lock" => |store| store.release_lock("k", "s"),
        "extend_lock" => |store| store.extend_lock("k", "s", ms(1000)),
        "scan" => |store| store.scan("").take(1000).try_for_each(async |_| Ok(())),
        "scan_entries" => |store| store.scan_entries("").take(1000).try_for_each(async |_| Ok(())),
        "a command" => |store| store.redis_command::<redis::Value>(redis::cmd("GET").arg("k")),
        "ping" => |store| store.ping(),
    ]
}

/// What a server may answer to a command, whatever it is, by name.
fn answers() -> Vec<(&'static str, Answer)> {
    let text = |name, text: &str| (name, Answer::text(text));
    let endless = |name, head: &str, piece: &str| {
        (
            name,
            Answer::Endless(head.as_bytes().to_vec(), piece.as_bytes().to_vec()),
        )
    };
    let deep = |levels| format!("{}:1\r\n", "*1\r\n".repeat(levels));
    let mut all = vec![
        // Well formed, and of the wrong kind for most commands.
        text("a status", "+OK\r\n"),
        text("another status", "+QUEUED\r\n"),
        text("an empty status", "+\r\n"),
        text("a number", ":7\r\n"),
        text("a negative number", ":-7\r\n"),
        text("the largest number", ":9223372036854775807\r\n"),
        text("a string", "$3\r\nabc\r\n"),
        text("an empty string", "$0\r\n\r\n"),
        text("a string that is no text", "$2\r\n\u{ff}\r\n"),
        text("nothing", "$-1\r\n"),
        text("no array", "*-1\r\n"),
        text("an empty array", "*0\r\n"),
        text("an array with too few", "*1\r\n$1\r\na\r\n"),
        text(
            "an array with too many",
            "*5\r\n$1\r\na\r\n:1\r\n$-1\r\n*0\r\n+OK\r\n",
        ),
        text(
            "an array of arrays",
            "*3\r\n*1\r\n:1\r\n*0\r\n*1\r\n*1\r\n$1\r\nx\r\n",
        ),
        text(
            "an array with an error",
            "*3\r\n-ERR no\r\n$1\r\na\r\n-WRONGTYPE no\r\n",
        ),
        text("a null", "_\r\n"),
        text("a boolean", "#t\r\n"),
        text("a double", ",1.5\r\n"),
        text("a big number", "(123456789012345678901234567890\r\n"),
        text("a map", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n"),
        text("a set", "~2\r\n+a\r\n+b\r\n"),
        text("an attribute", "|1\r\n+a\r\n:1\r\n$1\r\nx\r\n"),
        text("a verbatim string", "=5\r\ntxt:x\r\n"),
        text("a long error", "!9\r\nERR no no\r\n"),
        text(
            "a page that comes no further",
            "*2\r\n$1\r\n7\r\n*1\r\n$1\r\nk\r\n",
        ),
        text(
            "a page of keys without the prefix",
            "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nx\r\n$2\r\n\u{e9}\r\n",
        ),
        text(
            "a page with a cursor that is no number",
            "*2\r\n$1\r\nx\r\n*0\r\n",
        ),
        text("as deep as is taken", &deep(32)),
        // Errors.
        text("an error", "-ERR no\r\n"),
        text("an error without a word", "-\r\n"),
        text("an error of spaces", "-   \r\n"),
        text("WRONGTYPE", "-WRONGTYPE no\r\n"),
        text("NOSCRIPT", "-NOSCRIPT No matching script\r\n"),
        text(
            "READONLY",
            "-READONLY You can't write against a read only replica.\r\n",
        ),
        text("MOVED", "-MOVED 7 127.0.0.1:1\r\n"),
        text("OOM", "-OOM command not allowed\r\n"),
        text("NOAUTH", "-NOAUTH Authentication required.\r\n"),
        text("LOADING", "-LOADING Redis is loading\r\n"),
        text(
            "an error of 6.2",
            "-ERR Error running script (call to f_0): @user_script:\r\n",
        ),
        // More or less than one reply.
        text("no reply", ""),
        text("two replies", "$1\r\na\r\n$1\r\nb\r\n"),
        text("many replies", &":1\r\n".repeat(1000)),
        text("a push", ">2\r\n+message\r\n+x\r\n"),
        text("an empty push", ">0\r\n"),
        text("a push that is none", ">1\r\n:1\r\n"),
        text(
            "a confirmation that nobody waits for",
            ">3\r\n+subscribe\r\n+x\r\n:1\r\n",
        ),
        text("half a string", "$10\r\nabc"),
        text("half a line", "+O"),
        text("half an array", "*2\r\n:1\r\n"),
        ("the end", Answer::Close(Vec::new())),
        ("the end in a string", Answer::Close(b"$10\r\nabc".to_vec())),
        ("the end in an array", Answer::Close(b"*2\r\n:1\r\n".to_vec())),
        // Not of the protocol.
        text("another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n"),
        text("an unknown kind", "@7\r\n"),
        text("zeros", "\0\0\0\0\0\0\0\0"),
        text("a length that is no number", "$abc\r\n"),
        text("a string of a negative length", "$-7\r\n"),
        text("an array of a negative length", "*-7\r\n"),
        text("a map of a negative length", "%-1\r\n"),
        text("an attribute of a negative length", "|-1\r\n"),
        text("a verbatim string of a negative length", "=-1\r\n"),
        text("a number that is none", ":abc\r\n"),
        text("a number that is too large", ":99999999999999999999\r\n"),
        text("a boolean that is none", "#x\r\n"),
        text("a double that is none", ",x\r\n"),
        text("a string without its end", "$3\r\nabcdef\r\n"),
        text("a status that is no text", "+\u{ff}\r\n"),
        // Too much.
        text("too deep", &deep(33)),
        text("much too deep", &deep(100_000)),
        text("a wide array", "*9223372036854775807\r\n"),
        text("a wide map", "%9223372036854775807\r\n"),
        text("a wide attribute", "|9223372036854775807\r\n"),
        text("an array of two million", "*2000000\r\n"),
        endless("an array that never ends", "*1000000\r\n", "*1000000\r\n"),
        endless("arrays in arrays", "*1000000\r\n", "*2\r\n_\r\n_\r\n"),
        endless("a string that never ends", "$9223372036854775807\r\n", "x"),
        endless("a string of a gigabyte", "$1073741824\r\n", "x"),
        endless("an error that never ends", "!9223372036854775807\r\n", "x"),
        endless("a line that never ends", "+", "x"),
        endless("an error line that never ends", "-ERR ", "x"),
        endless("a number that never ends", ":1", "1"),
        endless("a length that never ends", "$1", "1"),
        endless("replies that never end", "", "$1\r\na\r\n"),
        endless("pushes that never end", "", ">2\r\n+message\r\n+x\r\n"),
        endless("errors that never end", "", "-ERR no\r\n"),
    ];
    // Bytes that are no text, which a literal cannot have.
    for (_, answer) in &mut all {
        if let Answer::Bytes(bytes) = answer {
            *bytes = String::from_utf8_lossy(bytes)
                .chars()
                .map(|c| c as u32 as u8)
                .collect();
        }
    }
    all
}

/// Calls everything at once. How long the latest of the calls took, and which it was.
async fn call_all(store: &Store, what: &str) -> (Duration, String) {
    let running: Vec<_> = calls()
        .into_iter()
        .map(|(name, call)| {
            let store = store.clone();
            let task = tokio::spawn(async move {
                let began = Instant::now();
                let answer = call(store).await;
                (began.elapsed(), answer)
            });
            (name, task)
        })
        .collect();
    let mut longest = (Duration::ZERO, String::new());
    for (name, task) in running {
        let (took, answer) = task
            .await
            .unwrap_or_else(|panic| panic!("{name}, {what}: {panic}"));
        // A scan is a call for each page.
        if !name.starts_with("scan") && took > longest.0 {
            longest = (took, format!("{name}, {what}: {answer:?} after {took:?}"));
        }
    }
    longest
}

/// Looks at the heap from a thread of its own, until it is stopped.
struct Watch {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<usize>,
}

impl Watch {
    fn begin() -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            loop {
                let waited = stopped.recv_timeout(ms(1));
                peak = peak.max(heap::held());
                if waited != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    return peak;
                }
            }
        });
        Self { stop, thread }
    }

    /// The most that was held.
    fn end(self) -> usize {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

#[tokio::test]
async fn no_reply_panics_anybody_or_holds_a_call_beyond_its_deadline() {
    let _alone = ALONE.lock().await;
    let log = Log::begin();
    for protocol in ["resp2", "resp3"] {
        let server = Hostile::start(|_| Answer::text("-ERR\r\n"));
        let url = format!("{}?protocol={protocol}", server.url());
        for (what, answer) in answers() {
            let store = open(config(&url).request_timeout(DEADLINE).namespace("t")).await;
            let before = heap::held();
            server.turn(move |_| answer.clone());
            let watch = Watch::begin();
            let (first, second) = (call_all(&store, what).await, call_all(&store, what).await);
            let peak = watch.end();
            let (longest, which) = first.max(second);
            assert!(
                longest <= DEADLINE + late(),
                "{which}, the machine {:?} late",
                late()
            );
            let grown = peak.saturating_sub(before);
            assert!(grown < 200 * MIB, "{what}: {} MiB of heap", grown / MIB);
            if grown > 8 * MIB || longest > DEADLINE {
                println!("hostile, {protocol}: {} MiB of heap, {which}", grown / MIB);
            }
            let closing = Instant::now();
            let _ = store.close().await;
            let took = closing.elapsed();
            assert!(took <= 10 * DEADLINE + late(), "{what}: closing took {took:?}");
        }
    }
    assert!(!log.text().contains("panicked"), "an actor panicked");
}

#[tokio::test]
async fn what_is_refused_is_told_once_and_is_an_error_of_its_own_call() {
    let _alone = ALONE.lock().await;
    let log = Log::begin();
    let server = Hostile::start(|words| {
        if words.iter().any(|word| word == "large") {
            return Answer::text("$1073741824\r\n");
        }
        Answer::text("$1\r\nv\r\n")
    });
    let store = open(config(&server.url()).request_timeout(ms(3000))).await;
    let connections = server.accepted();
    match store.get("large").await {
        Err(Error::ValueTooLarge { len, max }) => assert!(len == 1 << 30 && max < len, "{len} {max}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(server.accepted(), connections + 1);
    let told = log.warnings(&["the connection to Redis is lost", "1073741824 bytes"]);
    assert_eq!(told.len(), 1, "{}", log.text());
}

/// Reads travel together in one command. One of them is refused, and the others are answered.
#[tokio::test]
async fn neighbours_of_what_is_refused_are_answered() {
    let _alone = ALONE.lock().await;
    let server = Hostile::start(|words| {
        let is_large = |word: &&String| *word == "large";
        let value = |word| {
            if is_large(&word) {
                "$1073741824\r\n"
            } else {
                "$1\r\nv\r\n"
            }
        };
        let values: String = words[1..].iter().map(value).collect();
        match words[0].as_str() {
            "GET" => Answer::text(values),
            _ => Answer::text(format!("*{}\r\n{values}", words.len() - 1)),
        }
    });
    let store = open(config(&server.url()).request_timeout(ms(3000))).await;
    let reads = (0..20).map(|n| {
        let store = store.clone();
        let key = if n == 7 {
            "large".to_owned()
        } else {
            format!("k{n}")
        };
        async move { store.get(key).await }
    });
    let answers = futures_util::future::join_all(reads).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Err(Error::ValueTooLarge { .. }) if n == 7 => {}
            Ok(Some(value)) if n != 7 => assert_eq!(value, "v"),
            other => panic!("{n}: {other:?}"),
        }
    }
}

/// Writes travel together in one script. One reply that is none of its answers stands for all of them.
#[tokio::test]
async fn a_large_reply_to_neighbouring_writes_is_held_once() {
    let _alone = ALONE.lock().await;
    let server = Hostile::start(|_| Answer::text("+OK\r\n"));
    let store = open(config(&server.url()).request_timeout(ms(5000))).await;
    let large = format!("${}\r\n{}\r\n", 2 * MIB, "x".repeat(2 * MIB));
    server.turn(move |words| match words[0].as_str() {
        "EVALSHA" => Answer::text(&large),
        _ => Answer::text("+OK\r\n"),
    });
    let writes = (0..128).map(|n| {
        let store = store.clone();
        async move { store.set(format!("k{n}"), "v").depends_on(format!("n{n}")).await }
    });
    let before = heap::held();
    let watch = Watch::begin();
    let answers = futures_util::future::join_all(writes).await;
    let grown = watch.end().saturating_sub(before);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert!(grown < 64 * MIB, "{} MiB of heap", grown / MIB);
}

/// A server that is garbage from the first byte is not opened, and the error says so.
#[tokio::test]
async fn what_does_not_speak_the_protocol_is_not_opened() {
    let _alone = ALONE.lock().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
            tokio::spawn(async move {
                let _ = stream.write_all(&vec![b'x'; MIB]).await;
                std::future::pending::<()>().await;
            });
        }
    });
    let opened = Store::open(config(&format!("redis://{address}"))).await;
    let error = opened.unwrap_err();
    assert!(was_not_done(&error), "{error:?}");
    let told = harness::opening::told(&error);
    assert!(told.contains("not of the Redis protocol"), "{told}");
}

/// An invalidation goes on after its caller has left, until the server answers what makes no sense.
#[tokio::test]
async fn an_invalidation_goes_on_without_its_caller_until_it_fails() {
    let _alone = ALONE.lock().await;
    let log = Log::begin();
    let taken = Arc::new(AtomicU32::new(0));
    let is_sane = Arc::new(AtomicBool::new(true));
    let (counted, sane) = (taken.clone(), is_sane.clone());
    let server = Hostile::start(move |words| {
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        counted.fetch_add(u32::from(word(0) == "EVALSHA"), Ordering::SeqCst);
        match (word(0), word(2), word(5)) {
            ("EVALSHA", "1", _) => Answer::text("*2\r\n:0\r\n*0\r\n"),
            ("EVALSHA", _, "250") => {
                Answer::text("*8\r\n:0\r\n:1\r\n:0\r\n*1\r\n$1\r\nn\r\n*0\r\n*0\r\n*0\r\n:2\r\n")
            }
            // It has seen none of the names whole, and there is always another page.
            ("EVALSHA", _, "1000") => {
                let is_sane = sane.load(Ordering::SeqCst);
                Answer::text(if is_sane {
                    "*2\r\n:0\r\n$1\r\n7\r\n"
                } else {
                    "+OK\r\n"
                })
            }
            _ => Answer::text("$1\r\nv\r\n"),
        }
    });
    let store = open(config(&server.url()).request_timeout(DEADLINE)).await;
    let answer = store.invalidate(["n"]).await;
    assert!(matches!(answer, Err(Error::OutcomeUnknown(_))), "{answer:?}");
    let steps = taken.load(Ordering::SeqCst);
    let goes_on = || taken.load(Ordering::SeqCst) > steps + 100;
    assert!(eventually(ms(60_000), goes_on).await, "{taken:?} steps");
    assert!(!log.text().contains("ends early"));
    is_sane.store(false, Ordering::SeqCst);
    let ended = || log.text().contains("ends early");
    assert!(eventually(ms(60_000), ended).await, "{taken:?} steps");
    let steps = taken.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(store.get_string("k").await.unwrap().as_deref(), Some("v"));
    }
    assert_eq!(taken.load(Ordering::SeqCst), steps, "it has ended");
}
