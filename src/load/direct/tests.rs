use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::key::{KeyMaker, Namespace};
use crate::request::Names;

fn running() -> (DirectLoads, LoadId, Key) {
    let direct = DirectLoads::new(Bounds { loads: 1, callers: 1 });
    let key = KeyMaker::new(10, false).key(&Namespace::default(), "k").unwrap();
    let load = direct.number();
    let terms = LeaseTerms {
        token: direct.token(load),
        names: Names::default(),
        ttl: Duration::ZERO,
        late_names: false,
    };
    assert!(direct.ask(load, &key, &terms, Duration::ZERO));
    direct.begin(load, &key).unwrap();
    (direct, load, key)
}

fn task() -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (answer, told) = oneshot::channel();
    (answer, tokio::spawn(async move { told.await.unwrap() }))
}

/// The load of another thread may end before its task is noted.
#[tokio::test]
async fn a_task_that_waits_for_the_coordinator_is_not_stopped() {
    let (direct, load, key) = running();
    let (answer, task) = task();
    direct.remove(load, &key);
    direct.attach(load, &key, task.abort_handle());
    tokio::task::yield_now().await;
    answer.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_task_is_stopped_with_the_store() {
    for is_noted in [true, false] {
        let (direct, load, key) = running();
        let (_answer, task) = task();
        if is_noted {
            direct.attach(load, &key, task.abort_handle());
            assert_eq!(direct.close().len(), 1);
        } else {
            direct.close();
            direct.attach(load, &key, task.abort_handle());
        }
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
