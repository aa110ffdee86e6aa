//! Clusters that the tests of a process use one after the other. Starting one takes seconds.

use std::ops::Deref;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::cluster::Cluster;
use super::server::Options;

/// Those that no test uses.
static IDLE: Mutex<Vec<Cluster>> = Mutex::const_new(Vec::new());
/// How many there are at most. More of them would not make the tests of a small machine faster.
static ROOM: Semaphore = Semaphore::const_new(2);

/// An empty cluster that no other test uses: three primaries, each with a replica. Dropping this gives it back.
#[derive(Debug)]
pub(crate) struct Borrowed {
    cluster: Option<Cluster>,
    _room: SemaphorePermit<'static>,
}

impl Borrowed {
    /// Waits for a cluster. All borrowers of a process give the same arguments, which are those of [`Cluster::with`].
    pub(crate) async fn with(options: impl Fn(Options) -> Options, entry: &str) -> Self {
        let room = ROOM.acquire().await.expect("it is never closed");
        let idle = IDLE.lock().await.pop();
        let cluster = match idle {
            Some(cluster) => cluster,
            None => Cluster::with(1, |plain| options(plain).for_the_whole_process(), entry).await,
        };
        cluster.flush();
        Self {
            cluster: Some(cluster),
            _room: room,
        }
    }
}

impl Deref for Borrowed {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster.as_ref().expect("it is there until the drop")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let (Some(cluster), Ok(mut idle)) = (self.cluster.take(), IDLE.try_lock()) {
            idle.push(cluster);
        }
    }
}
