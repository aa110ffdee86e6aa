//! The bytes below a connection: TCP, TLS or a unix socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use super::fault::Refusal;
use super::scanner::{Bounds, Scanner};
#[cfg(feature = "tls")]
use super::tls;
use super::unfold::{Announcer, Unfolding, unfolding};
use crate::config::{Address, Place, RedisOptions};
use crate::error::{Cause, Error, Result};

/// How much is taken from a socket at once. What reads the replies asks for 8 KiB at a time.
const READ: usize = 64 * 1024;
/// How much is read in one go, each value counted as [`VALUE`] bytes more. What reads the replies takes all that
/// there is, and others on its task, such as those who keep deadlines, have their turn in between.
const TURN: u64 = 512 * 1024;
const VALUE: u64 = 128;
/// How long one address of a host is tried alone, before the next one is tried too; see RFC 8305.
const HEAD_START: Duration = Duration::from_millis(250);

/// What the owner of a connection sees of its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    beats: AtomicU64,
    replies: AtomicU64,
    incoming: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    refusal: OnceLock<Refusal>,
}

impl Pulse {
    /// The signs of life so far. The count grows while bytes flow, in either direction.
    pub(super) fn count(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// The complete replies so far.
    pub(super) fn replies(&self) -> u64 {
        self.0.replies.load(Ordering::Relaxed)
    }

    /// The bytes of the reply that is being received, those included that are announced.
    pub(super) fn incoming(&self) -> u64 {
        self.0.incoming.load(Ordering::Relaxed)
    }

    /// The bytes that were received so far.
    pub(super) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// The bytes that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Why the last reply was not read to its end.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }

    fn wrote(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn scanned(&self, scanner: &Scanner) {
        self.0.replies.store(scanner.replies(), Ordering::Relaxed);
        self.0.incoming.store(scanner.incoming(), Ordering::Relaxed);
    }
}

/// An open stream to a server.
pub(super) struct Stream {
    socket: BufReader<Socket>,
    pulse: Pulse,
    scanner: Scanner,
    unfolding: Unfolding,
    announcer: Announcer,
    /// What may still be read before others have their turn.
    turn: u64,
    /// The operating system had no room for more bytes when the last write was tried.
    is_blocked: bool,
}

enum Socket {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    pub(super) async fn open(address: &Address, options: &RedisOptions, bounds: Bounds) -> Result<Self> {
        let (announcer, unfolding) = unfolding();
        Ok(Self {
            socket: BufReader::with_capacity(READ, Socket::open(address, options).await?),
            pulse: Pulse::default(),
            scanner: Scanner::new(bounds),
            unfolding,
            announcer,
            turn: TURN,
            is_blocked: false,
        })
    }

    /// A view of this stream.
    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Tells this stream which replies are those of transactions.
    pub(super) fn announcer(&self) -> Announcer {
        self.announcer.clone()
    }
}

impl Socket {
    async fn open(address: &Address, options: &RedisOptions) -> Result<Self> {
        match &address.place {
            #[cfg(feature = "tls")]
            Place::Tcp(host, port) if address.access.tls => {
                let connector = tls::connector(&options.tls)?;
                let name = tls::name(host)?;
                let stream = tcp(host, *port, options).await.map_err(unavailable)?;
                let stream = connector.connect(name, stream).await.map_err(unavailable)?;
                Ok(Socket::Tls(Box::new(stream)))
            }
            Place::Tcp(host, port) => tcp(host, *port, options)
                .await
                .map(Socket::Tcp)
                .map_err(unavailable),
            #[cfg(unix)]
            Place::Unix(path) => UnixStream::connect(path)
                .await
                .map(Socket::Unix)
                .map_err(unavailable),
            #[cfg(not(unix))]
            Place::Unix(_) => Err(Error::Unsupported {
                operation: "unix sockets on this platform",
            }),
        }
    }
}

/// What the operating system and the TLS library say names hosts and certificates at most.
fn unavailable(error: io::Error) -> Error {
    // A path that is too long, a name with a zero byte: no other attempt will do better.
    if error.kind() == io::ErrorKind::InvalidInput {
        let reason = "the operating system takes no such host or path".to_owned();
        return Error::InvalidConfig { reason };
    }
    Error::Unavailable(Cause::new(error))
}

/// A connection to the first of the addresses that takes one. The next address is tried when one fails, and beside one that
/// does not answer.
async fn first_of(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter().peekable();
    let (mut attempts, mut failure) = (JoinSet::new(), None);
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let has_more = addresses.peek().is_some();
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = tokio::time::sleep(HEAD_START), if has_more => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = Some(error),
            // Its runtime ends.
            Some(Err(_)) => {}
            None => {
                let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
                return Err(failure.unwrap_or_else(none));
            }
        }
    }
}

async fn tcp(host: &str, port: u16, options: &RedisOptions) -> io::Result<TcpStream> {
    let stream = first_of(lookup_host((host, port)).await?).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let probes = options.keep_alive.max(Duration::from_secs(1));
    let keep_alive = TcpKeepalive::new().with_time(probes);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
    let keep_alive = keep_alive.with_interval((probes / 3).max(Duration::from_secs(1)));
    socket.set_tcp_keepalive(&keep_alive)?;
    // What has been sent and is not acknowledged by then never will be.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(
        options
            .response_timeout
            .saturating_mul(2)
            .max(Duration::from_secs(1)),
    ))?;
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.turn == 0 {
            stream.turn = TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        stream.unfolding.show(buf);
        // Bytes that show nothing are followed by others, unless there is no room.
        while buf.filled().len() == before && buf.remaining() > 0 {
            let bytes = match Pin::new(&mut stream.socket).poll_fill_buf(cx) {
                Poll::Ready(Ok([])) => break,
                Poll::Ready(bytes) => bytes?,
                Poll::Pending => {
                    stream.turn = TURN;
                    return Poll::Pending;
                }
            };
            stream.pulse.beat();
            let values = stream.scanner.seen();
            let taken = stream.unfolding.take(bytes, &mut stream.scanner, buf);
            let read = *taken.as_ref().unwrap_or(&bytes.len());
            Pin::new(&mut stream.socket).consume(read);
            stream.pulse.read(read);
            let cost = read as u64 + VALUE * (stream.scanner.seen() - values);
            stream.turn = stream.turn.saturating_sub(cost);
            stream.pulse.scanned(&stream.scanner);
            if let Err(refusal) = taken {
                // The reader of this error keeps at most its kind.
                let refusal = *stream.pulse.0.refusal.get_or_init(|| refusal);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    /// A write counts as a sign of life only after one that was refused. Others prove nothing: the operating
    /// system takes bytes for a peer that has stopped, as long as its own buffers have room.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let written = Pin::new(&mut stream.socket).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &written {
            stream.pulse.wrote(*bytes);
        }
        let was_blocked = std::mem::replace(&mut stream.is_blocked, written.is_pending());
        if was_blocked && matches!(written, Poll::Ready(Ok(_))) {
            stream.pulse.beat();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(unix)]
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
