//! Servers of an example's own, on the loopback. They end with the example.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// A port that nothing listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A `redis-server` process, which ends with this.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) process: Child,
}

impl Server {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Command::new("redis-server")
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("redis-server cannot be started: is it installed?")?;
        Ok(Self { port, process })
    }

    /// One that writes nothing to disk, and that replicas can follow at once.
    pub(crate) fn plain(folder: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let usual = ["--save", "", "--repl-diskless-sync-delay", "0"];
        Self::start(folder, &[&usual, more].concat())
    }

    /// The server's answer to a command, a line for each of its parts.
    pub(crate) async fn command(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .await
            .context("redis-cli cannot be started: is it installed?")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until the server's answer to a command contains `words`.
    pub(crate) async fn says(&self, command: &[&str], words: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.command(command).await?.contains(words) {
            ensure!(began.elapsed() < LONGEST, "no server says {words}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// The folder of the servers. It is removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("cachestore-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
