//! A cluster whose slots move back and forth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::borrowed::Borrowed;
use super::cluster::Cluster;
use super::opening::ms;

/// Slots that have keys move, one at a time: each to the next primary, and back. All are at home when this is dropped.
#[derive(Debug)]
pub(crate) struct Moving {
    ends: Arc<AtomicBool>,
    mover: Option<JoinHandle<()>>,
    cluster: Arc<Borrowed>,
}

impl Moving {
    pub(crate) fn begin(cluster: Borrowed) -> Self {
        let (cluster, ends) = (Arc::new(cluster), Arc::new(AtomicBool::new(false)));
        let mover = thread::spawn({
            let (cluster, ends) = (cluster.clone(), ends.clone());
            move || {
                let runtime = Builder::new_current_thread().enable_time().build();
                runtime.expect("a runtime").block_on(async {
                    while !ends.load(Ordering::Relaxed) {
                        for node in 0..3 {
                            move_one(&cluster, node).await;
                        }
                        sleep(ms(5)).await;
                    }
                });
            }
        });
        Self {
            ends,
            mover: Some(mover),
            cluster,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(mover) = self.mover.take() {
            // One that failed has left a slot between two nodes, and so the test fails too.
            let _ = mover.join();
        }
    }
}

/// Moves the slot of one of the node's keys there and back.
async fn move_one(cluster: &Cluster, node: usize) {
    let any = cluster.nodes[node].command(&["RANDOMKEY"]);
    if any.bytes().is_some() {
        let (slot, next) = (cluster.slot(&any.text()), (node + 1) % 3);
        cluster.move_slot(&slot, node, next, ms(1)).await;
        cluster.move_slot(&slot, next, node, ms(1)).await;
    }
}
