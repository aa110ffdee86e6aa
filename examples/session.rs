//! A session store: sessions end a while after their last use, and a user can end all of theirs at once.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use cachestore::{Config, Result, Store};
use clap::Parser;
use tokio::time::sleep;

/// Keeps sessions that end a while after their last use.
#[derive(Parser)]
struct Options {
    /// The store: memory://, redis://localhost:6379, ..
    #[arg(long, env = "CACHESTORE_URL", hide_env_values = true)]
    #[arg(default_value = "memory://")]
    url: Config,
}

/// How long a session lives without being used.
const IDLE: Duration = Duration::from_secs(1);

struct Sessions(Store);

impl Sessions {
    /// Begins a session of a user, and returns its id: 128 bits that nobody can guess.
    async fn begin(&self, user: &str) -> Result<String> {
        let id = format!("{:032x}", rand::random::<u128>());
        let write = self.0.set(&id, user).ttl(IDLE);
        write.depends_on([format!("user:{user}")]).await?;
        Ok(id)
    }

    /// The user of a session, which lives on from now. One call reads the value and renews its TTL.
    async fn user(&self, id: &str) -> Result<Option<String>> {
        let user = self.0.get_and_touch(id, IDLE).await?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    /// Ends all sessions of a user, on all devices.
    async fn end_all(&self, user: &str) -> Result<u64> {
        self.0.invalidate([format!("user:{user}")]).await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(Options::parse().url).await?;
    let sessions = Sessions(store.namespace("sessions")?);
    let (phone, laptop) = (sessions.begin("ada").await?, sessions.begin("ada").await?);
    for _ in 0..3 {
        sleep(IDLE * 7 / 10).await;
        println!("the phone's session, in use: {:?}", sessions.user(&phone).await?);
    }
    println!("the laptop's, left alone: {:?}", sessions.user(&laptop).await?);
    println!("sessions ended: {}", sessions.end_all("ada").await?);
    println!("the phone's session: {:?}", sessions.user(&phone).await?);
    Ok(sessions.0.close().await?)
}
