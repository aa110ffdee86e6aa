//! A `redis-server` process of the test's own: on a free port of the loopback and on a unix socket
//! in a folder of its own, ended with the test, also when it panics.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::resp::{Client, Reply};

/// How long a server may take to answer its first PING.
const STARTUP: Duration = Duration::from_secs(20);

/// How often another port is tried when a chosen one was taken in the meantime.
const ATTEMPTS: usize = 5;

/// Holds the version of the layout, from the time when the first store is opened over a database.
const LAYOUT: &str = "cachestore:layout";

/// The user by which the harness enters a server with users of its own.
const HARNESS: &str = "harness";

/// Paths of what a TLS server shows, and of the authority that its clients must come from.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authority: PathBuf,
    /// Whether a client has to show a certificate.
    pub(crate) wants_client: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    password: Option<String>,
    users: Vec<String>,
    append_only: bool,
    tls: Option<ServerTls>,
    no_tcp: bool,
    /// A node of a cluster.
    node: bool,
    /// The server ends with this process, whoever drops it or does not.
    outlives_nobody: bool,
    arguments: Vec<String>,
}

impl Options {
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A line of the ACL file, such as `user app on >secret ~* &* +@all`.
    pub(crate) fn user(mut self, line: &str) -> Self {
        self.users.push(line.to_owned());
        self
    }

    /// Keeps every write in a file that is synced each time, so that a kill loses nothing.
    pub(crate) fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// The TCP port speaks TLS only.
    pub(crate) fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// No TCP port at all: the unix socket only.
    pub(crate) fn unix_only(mut self) -> Self {
        self.no_tcp = true;
        self
    }

    /// A node of a cluster, without slots at first.
    pub(crate) fn node(mut self) -> Self {
        self.node = true;
        self
    }

    /// For a server that is kept in a static variable, which is never dropped: it ends when this process does.
    pub(crate) fn for_the_whole_process(mut self) -> Self {
        self.outlives_nobody = true;
        self
    }

    pub(crate) fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.push(value.to_owned());
        self
    }

    /// Starts the server and waits until it answers.
    pub(crate) async fn start(self) -> RedisServer {
        RedisServer::start_with(self).await
    }
}

/// Whether the installed `redis-server` knows a setting. A server refuses to start with a setting that it
/// does not know.
fn knows(setting: &'static str) -> bool {
    static ANSWERS: Mutex<BTreeMap<&str, bool>> = Mutex::new(BTreeMap::new());
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    *answers.entry(setting).or_insert_with(|| {
        // No server knows the second setting, so each one ends at once and names what it does not know.
        let asked = Command::new("redis-server")
            .args([
                "--port",
                "0",
                &format!("--{setting}"),
                "no",
                "--no-such-setting",
                "no",
            ])
            .output();
        asked.is_ok_and(|output| {
            let told = [output.stdout, output.stderr].concat();
            !String::from_utf8_lossy(&told).contains(&format!(">>> '{setting}"))
        })
    })
}

#[derive(Debug)]
pub(crate) struct RedisServer {
    options: Options,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    pub(crate) fn options() -> Options {
        Options::default()
    }

    /// A plain server without persistence.
    pub(crate) async fn start() -> Self {
        Self::options().start().await
    }

    async fn start_with(options: Options) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: a unix socket's path has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("cs-redis-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the server");
        let mut server = Self {
            options,
            folder,
            port: 0,
            child: None,
        };
        for attempt in 1.. {
            server.port = if server.options.node {
                free_port_for_a_node()
            } else {
                free_port()
            };
            match server.launch().await {
                Ok(()) => break,
                Err(reason) if attempt == ATTEMPTS => panic!("redis-server did not start: {reason}"),
                Err(_) => {}
            }
        }
        server
    }

    /// Starts the process on the port chosen before, and waits until it answers.
    async fn launch(&mut self) -> Result<(), String> {
        let log = self.folder.join("server.log");
        let mut command = if self.options.outlives_nobody {
            // The shell reads until this process ends.
            let script = r#"redis-server "$@" & server=$!; cat >/dev/null; kill -9 $server; rm -rf "$0""#;
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&self.folder);
            command
        } else {
            Command::new("redis-server")
        };
        let port = self.port.to_string();
        let tls = self.options.tls.as_ref();
        let plain = if self.options.no_tcp || tls.is_some() {
            "0"
        } else {
            &port
        };
        command.args(["--port", plain, "--bind", "127.0.0.1", "--save", ""]);
        command
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(&self.folder);
        command.arg("--logfile").arg(&log);
        command.args(["--protected-mode", "no", "--daemonize", "no"]);
        if knows("enable-debug-command") {
            command.args(["--enable-debug-command", "yes"]);
        }
        if self.options.append_only {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        if !self.options.users.is_empty() {
            let file = self.folder.join("users.acl");
            let users = self.options.users.join("\n");
            let all = format!("{users}\nuser {HARNESS} on >{HARNESS} ~* &* +@all\n");
            fs::write(&file, all).map_err(|e| e.to_string())?;
            command.arg("--aclfile").arg(file);
            // The other servers have the same users, and a replica enters its primary as one of them.
            command.args(["--masteruser", HARNESS, "--masterauth", HARNESS]);
        }
        if let Some(tls) = tls {
            command.args(["--tls-port", &port]);
            command.arg("--tls-cert-file").arg(&tls.certificate);
            command.arg("--tls-key-file").arg(&tls.key);
            command.arg("--tls-ca-cert-file").arg(&tls.authority);
            command.args(["--tls-auth-clients", if tls.wants_client { "yes" } else { "no" }]);
        }
        if self.options.node {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]);
        }
        command.args(&self.options.arguments);
        let input = if self.options.outlives_nobody {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = fs::remove_file(self.socket());
        let child = command.spawn().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => panic!(
                "redis-server is not installed, and these tests need it: `bash tests/run.sh` installs it, \
                 or `apt-get install redis-server`, or `brew install redis`"
            ),
            _ => panic!("redis-server cannot be started: {error}"),
        });
        self.child = Some(child);
        let end = Instant::now() + STARTUP;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > end {
                self.kill9();
                return Err(fs::read_to_string(&log).unwrap_or_else(|e| e.to_string()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn is_ready(&self) -> bool {
        let Ok(mut client) = Client::connect(&self.socket()) else {
            return false;
        };
        if self.enter(&mut client).is_err() {
            return false;
        }
        matches!(client.try_command(&["PING"]), Ok(Reply::Simple(pong)) if pong == "PONG")
    }

    fn enter(&self, client: &mut Client) -> io::Result<()> {
        if !self.options.users.is_empty() {
            client.try_command(&["AUTH", HARNESS, HARNESS])?;
        } else if let Some(password) = &self.options.password {
            client.try_command(&["AUTH", password])?;
        }
        client.try_command(&["CLIENT", "SETNAME", HARNESS])?;
        Ok(())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// `127.0.0.1:port`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub(crate) fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A new connection of the harness's own, past every fault of a proxy.
    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket()).expect("the server's unix socket");
        self.enter(&mut client).expect("the harness enters");
        client
    }

    /// The reply to one command, on a connection of its own.
    pub(crate) fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        self.client().try_command(arguments).expect("a reply")
    }

    /// The same where the server may close the connection meanwhile.
    pub(crate) fn try_command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> io::Result<Reply> {
        let mut client = Client::connect(&self.socket())?;
        self.enter(&mut client)?;
        client.try_command(arguments)
    }

    /// Everything the server executes from now on.
    pub(crate) fn monitor(&self) -> Monitor {
        let marker = self.client();
        let mut stream = self.client();
        assert_eq!(
            stream.try_command(&["MONITOR"]).expect("a reply"),
            Reply::Simple("OK".to_owned())
        );
        Monitor { stream, marker }
    }

    /// The keys that match a pattern, sorted, without the one that each database has from its first store on.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = self.command(&["KEYS", pattern]).sorted();
        keys.retain(|key| key != LAYOUT);
        keys
    }

    /// How many keys the first database has, counted as [`keys`](Self::keys) does.
    pub(crate) fn size(&self) -> i64 {
        self.command(&["DBSIZE"]).int() - self.command(&["EXISTS", LAYOUT]).int()
    }

    /// Empties every database.
    pub(crate) fn flush(&self) {
        self.command(&["FLUSHALL"]);
    }

    /// Connections that are not the harness's.
    pub(crate) fn connections(&self) -> Vec<String> {
        let list = self.command(&["CLIENT", "LIST"]).text();
        let ours = format!(" name={HARNESS} ");
        list.lines()
            .filter(|line| !line.contains(&ours))
            .map(str::to_owned)
            .collect()
    }

    /// One line of INFO.
    pub(crate) fn info(&self, name: &str) -> String {
        let info = self.command(&["INFO", "everything"]).text();
        let begin = format!("{name}:");
        let line = info.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("INFO has no {name}")).to_owned()
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Ends the process at once, as `kill -9` does.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Replaces the users by those of these lines of the ACL file, from the next start on.
    pub(crate) fn admit(&mut self, lines: &[&str]) {
        self.options.users = lines.iter().map(ToString::to_string).collect();
    }

    /// Starts it again, on the same port and socket and over the same files.
    pub(crate) async fn restart(&mut self) {
        self.kill9();
        if let Err(reason) = self.launch().await {
            panic!("redis-server did not start again: {reason}");
        }
    }

    /// Freezes the process: its sockets stay open and nothing answers.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub(crate) fn cont(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.process());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// One whose port for other nodes is free too: it is the same and 10,000.
fn free_port_for_a_node() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let process = std::process::id() as u16;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        // Below the ports that systems give to connections, so that none of these takes it meanwhile.
        let next = NEXT.fetch_add(1, Ordering::Relaxed) as u16;
        let port = 11_000 + process.wrapping_mul(61).wrapping_add(next) % 9_000;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// One command as the server executed it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) database: u32,
    /// Whether a script called it.
    pub(crate) in_script: bool,
    pub(crate) arguments: Vec<Vec<u8>>,
}

impl Seen {
    /// The command's name in upper case.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.arguments[0]).to_uppercase()
    }

    /// The arguments as text in one line, the name in upper case.
    pub(crate) fn line(&self) -> String {
        let rest = self.arguments[1..]
            .iter()
            .map(|a| String::from_utf8_lossy(a).into_owned());
        std::iter::once(self.name())
            .chain(rest)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What MONITOR shows, the harness's own commands left out.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: Client,
    marker: Client,
}

impl Monitor {
    /// What has been executed since the last call, up to now.
    pub(crate) fn take(&mut self) -> Vec<Seen> {
        // The server shows commands in the order it executes them: once it shows this one, it has
        // shown all before. Tests that share a server see each other's marks, so that each mark is another.
        static MARKS: AtomicU64 = AtomicU64::new(0);
        let end = format!("end-of-the-monitor-{}", MARKS.fetch_add(1, Ordering::Relaxed));
        self.marker.try_command(&["ECHO", &end]).expect("a reply");
        let mut seen = Vec::new();
        loop {
            let line = self.stream.line().expect("a line of MONITOR");
            let Some(command) = parse(&line) else { continue };
            if command
                .arguments
                .last()
                .is_some_and(|last| last == end.as_bytes())
            {
                return seen;
            }
            seen.push(command);
        }
    }

    /// As [`take`](Self::take), without what keeps a connection: greetings and signs of life.
    pub(crate) fn commands(&mut self) -> Vec<Seen> {
        let house = [
            "HELLO", "CLIENT", "PING", "AUTH", "SELECT", "ECHO", "COMMAND", "INFO",
        ];
        let mut seen = self.take();
        seen.retain(|command| {
            let names_layout = command
                .arguments
                .get(1)
                .is_some_and(|key| key == LAYOUT.as_bytes());
            !house.contains(&command.name().as_str()) && !names_layout
        });
        seen
    }

    /// The commands that clients sent, as lines.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        self.commands()
            .iter()
            .filter(|seen| !seen.in_script)
            .map(Seen::line)
            .collect()
    }
}

/// `1700000000.123456 [0 127.0.0.1:1234] "SET" "k" "a\r\n\x00"`
fn parse(line: &[u8]) -> Option<Seen> {
    let open = line.iter().position(|&b| b == b'[')?;
    let close = open + line[open..].windows(3).position(|w| w == b"] \"")?;
    let place = String::from_utf8_lossy(&line[open + 1..close]).into_owned();
    let (database, from) = place.split_once(' ')?;
    let mut arguments = Vec::new();
    let mut rest = line[close + 2..].iter().copied();
    while let Some(b) = rest.next() {
        if b != b'"' {
            continue;
        }
        let mut argument = Vec::new();
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => argument.push(match rest.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = [rest.next()?, rest.next()?];
                        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                    }
                    other => other,
                }),
                other => argument.push(other),
            }
        }
        arguments.push(argument);
    }
    if arguments.is_empty() {
        return None;
    }
    Some(Seen {
        database: database.parse().ok()?,
        in_script: from == "lua",
        arguments,
    })
}
