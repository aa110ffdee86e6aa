//! A server that greets like Redis and then answers as a test tells it to. It has a thread of its own, so that
//! what it sends is not held up by those who read it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The words of a command, the first in capitals.
pub(crate) type Words = Vec<String>;

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    /// The first once, the second for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// The first at once, then a byte every five milliseconds for ever.
    Slow(Vec<u8>),
    /// These bytes, and then the end of the connection.
    Close(Vec<u8>),
}

impl Answer {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Bytes(text.as_ref().as_bytes().to_vec())
    }
}

type Script = Arc<dyn Fn(&Words) -> Answer + Send + Sync>;

struct Shared {
    script: Mutex<Script>,
    accepted: AtomicU64,
}

pub(crate) struct Hostile {
    address: String,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Hostile {
    /// Answers every command but those of a greeting by `script`.
    pub(crate) fn start(script: impl Fn(&Words) -> Answer + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            accepted: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let own = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, own) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            shared,
            _stop: stop,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Answers so from now on.
    pub(crate) fn turn(&self, script: impl Fn(&Words) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// How many connections it has taken.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            shared.accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, shared.clone()));
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let words = command(&mut stream).await?;
        let answer = greeting(&words).unwrap_or_else(|| {
            let script = shared.script.lock().unwrap().clone();
            script(&words)
        });
        match answer {
            Answer::Bytes(bytes) => stream.get_mut().write_all(&bytes).await?,
            Answer::Close(bytes) => return stream.get_mut().write_all(&bytes).await,
            Answer::Slow(head) => {
                stream.get_mut().write_all(&head).await?;
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    stream.get_mut().write_all(b"x").await?;
                }
            }
            Answer::Endless(head, piece) => {
                stream.get_mut().write_all(&head).await?;
                let pieces = piece.repeat((64 * 1024 / piece.len()).max(1));
                loop {
                    stream.get_mut().write_all(&pieces).await?;
                }
            }
        }
    }
}

async fn command(stream: &mut BufReader<TcpStream>) -> io::Result<Words> {
    let count = length(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut bytes = vec![0; length(stream, '$').await? + 2];
        stream.read_exact(&mut bytes).await?;
        bytes.truncate(bytes.len() - 2);
        words.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    words[0].make_ascii_uppercase();
    Ok(words)
}

async fn length(stream: &mut BufReader<TcpStream>, kind: char) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let length = line
        .trim_end()
        .strip_prefix(kind)
        .and_then(|length| length.parse().ok());
    length.ok_or(io::ErrorKind::InvalidData.into())
}

/// What a server answers to the commands with which a connection begins.
fn greeting(words: &Words) -> Option<Answer> {
    let text = match words[0].as_str() {
        "AUTH" | "SELECT" | "CLIENT" => "+OK\r\n",
        "SCRIPT" => "$40\r\n0000000000000000000000000000000000000000\r\n",
        "PING" => "+PONG\r\n",
        "SET" | "GET" if words[1] == "cachestore:layout" => "$1\r\n1\r\n",
        // It is an old one.
        "SET" | "MSETEX" if words.iter().any(|word| word == "cachestore:absent") => "-ERR syntax error\r\n",
        "INFO" => "-ERR it tells nothing of itself\r\n",
        "HELLO" => "%1\r\n+proto\r\n:3\r\n",
        _ => return None,
    };
    Some(Answer::text(text))
}
