//! A primary, its replicas, and the Sentinels that watch them, all on the loopback.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::opening::{eventually, ms};
use super::resp::{Client, Reply};
use super::server::{Options, RedisServer, ServerTls, free_port};

/// The name of the service.
pub(crate) const SERVICE: &str = "main";

/// One `redis-server --sentinel` process.
#[derive(Debug)]
pub(crate) struct Sentinel {
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
    password: Option<String>,
}

impl Sentinel {
    /// A Sentinel that watches nothing yet. Its clients need the `password`, if there is one.
    pub(crate) async fn start(password: Option<&str>) -> Self {
        Self::with(password, None).await
    }

    /// The same, which speaks TLS only if it has certificates.
    pub(crate) async fn with(password: Option<&str>, tls: Option<&ServerTls>) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let folder = std::env::temp_dir().join(format!("cs-sentinel-{}-{port}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder for the Sentinel");
            let plain = if tls.is_some() { 0 } else { port };
            let mut lines = format!(
                "port {plain}\nbind 127.0.0.1\nprotected-mode no\ndaemonize no\ndir {0}\nlogfile {0}/sentinel.log\nunixsocket {0}/s\n",
                folder.display()
            );
            if let Some(password) = password {
                lines.push_str(&format!(
                    "requirepass {password}\nsentinel sentinel-pass {password}\n"
                ));
            }
            if let Some(tls) = tls {
                lines.push_str(&format!(
                    "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients {}\n",
                    tls.certificate.display(),
                    tls.key.display(),
                    tls.authority.display(),
                    if tls.wants_client { "yes" } else { "no" }
                ));
            }
            let file = folder.join("sentinel.conf");
            fs::write(&file, lines).expect("a configuration");
            let mut sentinel = Self {
                port,
                folder,
                child: None,
                password: password.map(str::to_owned),
            };
            if sentinel.launch().await {
                return sentinel;
            }
        }
        panic!("no Sentinel starts");
    }

    /// Starts the process over its file. Returns `false` if it does not answer.
    async fn launch(&mut self) -> bool {
        self.kill9();
        let child = Command::new("redis-server")
            .arg(self.folder.join("sentinel.conf"))
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server");
        self.child = Some(child);
        let answers = || matches!(self.try_command(&["PING"]), Some(Reply::Simple(_)));
        eventually(ms(10_000), answers).await
    }

    /// Starts it again, with what it knew when it ended.
    pub(crate) async fn restart(&mut self) {
        assert!(self.launch().await, "the Sentinel does not start again");
    }

    /// Watches a primary from now on. `quorum` Sentinels have to agree that it is down.
    pub(crate) fn watch(&self, primary: &RedisServer, quorum: usize, password: Option<&str>) {
        let port = primary.port().to_string();
        self.command(&[
            "SENTINEL",
            "MONITOR",
            SERVICE,
            "127.0.0.1",
            &port,
            &quorum.to_string(),
        ]);
        let mut set = vec![("down-after-milliseconds", "500"), ("failover-timeout", "4000")];
        set.extend(password.map(|password| ("auth-pass", password)));
        for (name, value) in set {
            self.command(&["SENTINEL", "SET", SERVICE, name, value]);
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn try_command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Option<Reply> {
        let mut client = Client::connect(&self.folder.join("s")).ok()?;
        if let Some(password) = &self.password {
            client.try_command(&["AUTH", password.as_str()]).ok()?;
        }
        client.try_command(arguments).ok()
    }

    pub(crate) fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        self.try_command(arguments).expect("the Sentinel answers")
    }

    /// The port of the primary that it names.
    pub(crate) fn primary(&self) -> Option<u16> {
        let reply = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        match reply {
            Reply::Array(parts) => parts.get(1)?.text().parse().ok(),
            _ => None,
        }
    }

    /// How many of what a line of `SENTINEL MASTER` counts.
    fn count(&self, field: &str) -> usize {
        let Reply::Array(parts) = self.command(&["SENTINEL", "MASTER", SERVICE]) else {
            return 0;
        };
        let texts: Vec<String> = parts.iter().map(Reply::text).collect();
        let place = texts.iter().step_by(2).position(|name| name == field);
        place.map_or(0, |place| texts[2 * place + 1].parse().unwrap_or(0))
    }

    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.as_ref().expect("a running Sentinel").id();
        let line = format!("kill -{name} {process}");
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh");
        assert!(status.success(), "{line}");
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill9();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A service: two servers, of which the first is the primary at first, and its Sentinels.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<Sentinel>,
}

impl Service {
    /// Starts it with so many Sentinels, and waits until they know all there is.
    pub(crate) async fn start(sentinels: usize) -> Self {
        Self::with(sentinels, |options| options, [None, None]).await
    }

    /// The same with options of the servers, and the passwords of servers and Sentinels.
    pub(crate) async fn with(
        sentinels: usize,
        options: impl Fn(Options) -> Options,
        [servers_password, sentinels_password]: [Option<&str>; 2],
    ) -> Self {
        let start = async || {
            let plain = RedisServer::options().argument("repl-diskless-sync-delay", "0");
            let plain = match servers_password {
                Some(password) => plain.password(password).argument("masterauth", password),
                None => plain,
            };
            options(plain).start().await
        };
        let servers = [start().await, start().await];
        let port = servers[0].port().to_string();
        servers[1].command(&["REPLICAOF", "127.0.0.1", &port]);
        assert!(eventually(ms(10_000), || servers[1].info("master_link_status") == "up").await);
        let mut all = Vec::new();
        for _ in 0..sentinels {
            let sentinel = Sentinel::start(sentinels_password).await;
            sentinel.watch(&servers[0], sentinels / 2 + 1, servers_password);
            all.push(sentinel);
        }
        let service = Self {
            servers,
            sentinels: all,
        };
        let complete = || {
            service.sentinels.iter().all(|sentinel| {
                sentinel.count("num-slaves") == 1 && sentinel.count("num-other-sentinels") == sentinels - 1
            })
        };
        assert!(
            eventually(ms(30_000), complete).await,
            "the Sentinels know each other"
        );
        service
    }

    pub(crate) fn url(&self) -> String {
        let [first, rest @ ..] = &self.sentinels[..] else {
            panic!("no Sentinel");
        };
        let nodes: String = rest
            .iter()
            .map(|sentinel| format!("&node={}", sentinel.address()))
            .collect();
        format!(
            "redis-sentinel://{}/0?sentinelServiceName={SERVICE}{nodes}",
            first.address()
        )
    }

    /// Waits until the replica has all that the primary has.
    pub(crate) async fn replicated(&self) {
        let offset = |server: &RedisServer| server.info("master_repl_offset");
        let same = || offset(&self.servers[0]) == offset(&self.servers[1]);
        assert!(eventually(ms(10_000), same).await, "the replica follows");
    }

    /// Lets the replica differ from its primary, as one that has missed what came last.
    pub(crate) async fn diverge(&self, commands: &[&[&str]]) {
        self.replicated().await;
        self.servers[1].command(&["CONFIG", "SET", "replica-read-only", "no"]);
        for command in commands {
            self.servers[1].command(command);
        }
    }

    /// Kills the primary, and waits until the replica is promoted.
    pub(crate) async fn fail_over(&mut self) {
        self.servers[0].kill9();
        self.promotion().await;
    }

    /// Waits until the second server is a primary. Returns when it was seen to be.
    pub(crate) async fn promotion(&self) -> Instant {
        let end = Instant::now() + Duration::from_secs(60);
        // A server closes its connections when it is promoted.
        let is_primary = || match self.servers[1].try_command(&["ROLE"]) {
            Ok(Reply::Array(parts)) => parts.first().is_some_and(|role| role.text() == "master"),
            _ => false,
        };
        while !is_primary() {
            assert!(Instant::now() < end, "no replica is promoted");
            sleep(ms(10)).await;
        }
        Instant::now()
    }

    /// Waits until all Sentinels name the second server.
    pub(crate) async fn switch(&self) {
        let port = Some(self.servers[1].port());
        let all = || self.sentinels.iter().all(|sentinel| sentinel.primary() == port);
        assert!(eventually(ms(60_000), all).await, "no switch");
    }
}
