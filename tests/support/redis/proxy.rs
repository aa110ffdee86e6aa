//! A TCP proxy that does harm on request, with toxiproxy's faults: latency, down, bandwidth, slow
//! close, timeout, reset, slicer, limit.
//!
//! Faults are set for a direction and hold at once, for connections that exist too. What is random
//! in them comes from the seed, the connection's number and its direction alone. Bytes may be late,
//! cut short or stand still, but never change, and none is lost from the middle: TCP does not do that.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::Seeded;

/// The most that is read at once, and the pieces that a delayed link keeps.
const CHUNK: usize = 16 * 1024;
const QUEUED: usize = 256;
/// By how much a link of limited bandwidth may be late and catch up.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Where bytes go that a fault holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Toxic {
    /// Every byte arrives later by `delay`, more or less by up to `jitter`, in order.
    Latency {
        delay: Duration,
        jitter: Duration,
    },
    Bandwidth {
        bytes_per_second: u64,
    },
    /// The end of the stream arrives later.
    SlowClose {
        delay: Duration,
    },
    /// Nothing arrives while this holds; after `close`, if it is given, the connection ends.
    Timeout {
        close: Option<Duration>,
    },
    /// The connection is reset (RST) this long after it began, or after this was set.
    ResetPeer {
        after: Duration,
    },
    /// Bytes arrive in pieces of `size`, more or less by up to `variation`, with `delay` between them.
    Slicer {
        size: usize,
        variation: usize,
        delay: Duration,
    },
    /// The connection ends after so many bytes.
    LimitData {
        bytes: u64,
    },
}

/// What holds now.
#[derive(Debug, Clone, Default)]
struct Plan {
    up: Vec<Toxic>,
    down: Vec<Toxic>,
    /// Nobody can connect.
    closed: bool,
    /// Connections numbered below are reset, or stand still.
    cut_below: u64,
    held_below: u64,
}

impl Plan {
    fn toxics(&self, direction: Direction) -> &[Toxic] {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

#[derive(Debug)]
struct Shared {
    target: Mutex<String>,
    seed: u64,
    plan: watch::Sender<Plan>,
    accepted: AtomicU64,
    living: AtomicUsize,
    passed: [AtomicU64; 2],
}

/// The proxy: it and all its connections end when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of `target`, an address such as `127.0.0.1:6379`.
    pub(crate) async fn start(target: impl Into<String>, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target.into()),
            seed,
            plan: watch::Sender::new(Plan::default()),
            accepted: AtomicU64::new(0),
            living: AtomicUsize::new(0),
            passed: Default::default(),
        });
        let task = tokio::spawn(run(shared.clone(), listener, address));
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// New connections go there from now on.
    pub(crate) fn retarget(&self, target: impl Into<String>) {
        *self.shared.target.lock().expect("no panic") = target.into();
    }

    /// Adds a fault.
    pub(crate) fn add(&self, direction: Direction, toxic: Toxic) {
        self.shared.plan.send_modify(|plan| match direction {
            Direction::Up => plan.up.push(toxic),
            Direction::Down => plan.down.push(toxic),
        });
    }

    /// Takes all faults away, and lets what stood still go on.
    pub(crate) fn heal(&self) {
        self.shared.plan.send_modify(|plan| {
            *plan = Plan {
                cut_below: plan.cut_below,
                ..Plan::default()
            };
        });
    }

    /// Ends every connection and refuses new ones, as if nothing listened.
    pub(crate) async fn down(&self) {
        let next = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.plan.send_modify(|plan| {
            plan.closed = true;
            plan.cut_below = next;
        });
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Takes connections again.
    pub(crate) async fn up(&self) {
        self.shared.plan.send_modify(|plan| plan.closed = false);
        // It is the listener that proves it; the proxy forgets a connection that says nothing.
        while TcpStream::connect(self.address).await.is_err() {
            assert!(!self.task.is_finished(), "the proxy has ended");
            tokio::task::yield_now().await;
        }
    }

    /// Resets the connections that exist.
    pub(crate) fn cut(&self) {
        let next = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.plan.send_modify(|plan| plan.cut_below = next);
    }

    /// The connections that exist stand still for ever, both ways; new ones work.
    pub(crate) fn blackhole(&self) {
        let next = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.plan.send_modify(|plan| plan.held_below = next);
    }

    /// How many connections it has taken so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections it has now.
    pub(crate) fn living(&self) -> usize {
        self.shared.living.load(Ordering::SeqCst)
    }

    /// How many bytes have arrived.
    pub(crate) fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The proxy's port. Closed, it refuses connections, and nobody else can have it.
enum Door {
    Open(TcpListener),
    Closed(TcpSocket),
}

impl Door {
    async fn moved(self, closed: bool, address: SocketAddr) -> Self {
        match (self, closed) {
            (Door::Open(listener), true) => {
                drop(listener);
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_reuseaddr(true).expect("a socket takes it");
                // A server that another test starts at this moment has the listener too, until it is executed.
                let mut tries = 0;
                while let Err(error) = socket.bind(address) {
                    assert!(tries < 1000, "the port was the proxy's until now: {error}");
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Door::Closed(socket)
            }
            (Door::Closed(socket), false) => Door::Open(socket.listen(1024).expect("a bound socket listens")),
            (door, _) => door,
        }
    }
}

/// Takes connections while it may. They belong to its set, and end with it.
async fn run(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut door = Door::Open(listener);
    let mut connections = JoinSet::new();
    let mut plan = shared.plan.subscribe();
    loop {
        let closed = plan.borrow_and_update().closed;
        door = door.moved(closed, address).await;
        let accept = async {
            match &door {
                Door::Open(listener) => listener.accept().await,
                Door::Closed(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accept => {
                let Ok((client, _)) = accepted else { continue };
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(shared.clone(), number, client));
            }
            _ = plan.changed() => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts a connection while it lives.
struct Living(Arc<Shared>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.living.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(shared: Arc<Shared>, number: u64, client: TcpStream) {
    shared.living.fetch_add(1, Ordering::SeqCst);
    let _living = Living(shared.clone());
    let target = shared.target.lock().expect("no panic").clone();
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut up = Link::new(&shared, number, Direction::Up);
    let mut down = Link::new(&shared, number, Direction::Down);
    let both = async {
        let up = up.run(&mut from_client, &mut to_server);
        let down = down.run(&mut from_server, &mut to_client);
        tokio::try_join!(up, down)
    };
    let reset = tokio::select! {
        _ = both => false,
        () = reset(shared.plan.subscribe(), number) => true,
    };
    if reset {
        let _ = (
            to_client.as_ref().set_zero_linger(),
            to_server.as_ref().set_zero_linger(),
        );
        // Dropped as it is, a half says goodbye first.
        to_client.forget();
        to_server.forget();
    }
}

/// Ends when this connection has to be reset.
async fn reset(mut plan: watch::Receiver<Plan>, number: u64) {
    let mut at = None;
    loop {
        {
            let now = plan.borrow_and_update();
            if number < now.cut_below {
                return;
            }
            let after = now.up.iter().chain(&now.down).find_map(|toxic| match toxic {
                Toxic::ResetPeer { after } => Some(*after),
                _ => None,
            });
            at = after.map(|after| at.unwrap_or_else(|| Instant::now() + after));
        }
        let due = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => return,
            changed = plan.changed() => if changed.is_err() { return },
        }
    }
}

/// One direction of one connection.
struct Link {
    shared: Arc<Shared>,
    number: u64,
    direction: Direction,
    plan: watch::Receiver<Plan>,
    passed: u64,
    /// When a link of limited bandwidth has room for the next bytes.
    free_at: Option<Instant>,
}

impl Link {
    fn new(shared: &Arc<Shared>, number: u64, direction: Direction) -> Self {
        let plan = shared.plan.subscribe();
        Self {
            shared: shared.clone(),
            number,
            direction,
            plan,
            passed: 0,
            free_at: None,
        }
    }

    fn random(&self, purpose: u64) -> Seeded {
        let stream = self.number * 4 + self.direction as u64 * 2 + purpose;
        Seeded::new(self.shared.seed ^ Seeded::new(stream).next())
    }

    async fn run(&mut self, reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUED);
        let (plan, direction, mut random) = (self.plan.clone(), self.direction, self.random(0));
        let read = async move {
            let mut last = Instant::now();
            loop {
                let mut chunk = vec![0; CHUNK];
                let length = reader.read(&mut chunk).await?;
                if length == 0 {
                    return Ok(());
                }
                chunk.truncate(length);
                last = last.max(Instant::now() + latency(plan.borrow().toxics(direction), &mut random));
                if queue.send((last, chunk)).await.is_err() {
                    return Ok(());
                }
            }
        };
        let write = async {
            let mut random = self.random(1);
            while let Some((due, chunk)) = queued.recv().await {
                sleep_until(due).await;
                self.pass(&chunk, writer, &mut random).await?;
            }
            self.moves().await?;
            let slow = self.find(|toxic| match toxic {
                Toxic::SlowClose { delay } => Some(*delay),
                _ => None,
            });
            sleep(slow.unwrap_or_default()).await;
            writer.shutdown().await
        };
        tokio::try_join!(read, write).map(drop)
    }

    fn find<T>(&self, what: impl Fn(&Toxic) -> Option<T>) -> Option<T> {
        self.plan.borrow().toxics(self.direction).iter().find_map(what)
    }

    /// Waits while the link has to stand still.
    async fn moves(&mut self) -> io::Result<()> {
        let mut since = None;
        loop {
            let held = self.number < self.plan.borrow_and_update().held_below;
            let timeout = self.find(|toxic| match toxic {
                Toxic::Timeout { close } => Some(*close),
                _ => None,
            });
            let close = match (held, timeout) {
                (false, None) => return Ok(()),
                (true, _) | (_, Some(None)) => None,
                (false, Some(Some(close))) => Some(*since.get_or_insert_with(|| Instant::now() + close)),
            };
            let due = async {
                match close {
                    Some(close) => sleep_until(close).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return Err(io::ErrorKind::TimedOut.into()),
                changed = self.plan.changed() => if changed.is_err() { return Err(io::ErrorKind::BrokenPipe.into()) },
            }
        }
    }

    async fn pass(
        &mut self,
        chunk: &[u8],
        writer: &mut OwnedWriteHalf,
        random: &mut Seeded,
    ) -> io::Result<()> {
        let mut rest = chunk;
        while !rest.is_empty() {
            self.moves().await?;
            let slicer = self.find(|toxic| match toxic {
                Toxic::Slicer {
                    size,
                    variation,
                    delay,
                } => Some((*size, *variation, *delay)),
                _ => None,
            });
            let rate = self.find(|toxic| match toxic {
                Toxic::Bandwidth { bytes_per_second } => Some(*bytes_per_second),
                _ => None,
            });
            let limit = self.find(|toxic| match toxic {
                Toxic::LimitData { bytes } => Some(*bytes),
                _ => None,
            });
            let mut length = rest.len();
            if let Some((size, variation, _)) = slicer {
                let extra = random.below(2 * variation as u64 + 1) as usize;
                length = length.min((size + extra).saturating_sub(variation).max(1));
            }
            if let Some(rate) = rate {
                // A tenth of a second at once.
                length = length.min((rate / 10).max(1) as usize);
                // From when it was due before: timers are late, and their lateness must not add up.
                let recently = Instant::now().checked_sub(CATCH_UP).unwrap_or_else(Instant::now);
                let begun = self.free_at.map_or(Instant::now(), |at| at.max(recently));
                let due = begun + Duration::from_secs_f64(length as f64 / rate as f64);
                self.free_at = Some(due);
                sleep_until(due).await;
            }
            if let Some(limit) = limit {
                let room = limit.saturating_sub(self.passed);
                if room == 0 {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                length = length.min(usize::try_from(room).unwrap_or(usize::MAX));
            }
            let (piece, later) = rest.split_at(length);
            writer.write_all(piece).await?;
            rest = later;
            self.passed += length as u64;
            self.shared.passed[self.direction as usize].fetch_add(length as u64, Ordering::SeqCst);
            if limit.is_some_and(|limit| self.passed >= limit) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if let Some((_, _, delay)) = slicer.filter(|_| !rest.is_empty()) {
                sleep(delay).await;
            }
        }
        Ok(())
    }
}

fn latency(toxics: &[Toxic], random: &mut Seeded) -> Duration {
    let mut sum = Duration::ZERO;
    for toxic in toxics {
        if let Toxic::Latency { delay, jitter } = toxic {
            let spread = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX / 4);
            let extra = Duration::from_micros(random.below(2 * spread + 1));
            sum += (*delay + extra).saturating_sub(*jitter);
        }
    }
    sum
}
