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

/// One change may overtake many loads at once.
#[test]
fn only_a_key_that_a_load_depends_on_is_looked_for() {
    let direct = DirectLoads::new(Bounds {
        loads: 100,
        callers: 100,
    });
    let maker = KeyMaker::new(10, false);
    let key = |key: &str| maker.key(&Namespace::default(), key).unwrap();
    let source = key("source");
    let begin = |of: &Key, depends_on: &Key| {
        let load = direct.number();
        let terms = LeaseTerms {
            token: direct.token(load),
            names: Names::from(vec![depends_on.clone()]),
            ttl: Duration::ZERO,
            late_names: false,
        };
        assert!(direct.ask(load, of, &terms, Duration::ZERO));
        direct.begin(load, of).unwrap();
        load
    };
    let loads: Vec<(LoadId, Key)> = (0..50)
        .map(|n| {
            let of = key(&format!("k{n}"));
            (begin(&of, &source), of)
        })
        .collect();
    let (first, derived) = (&loads[0], key("derived"));
    let made_from = begin(&derived, &first.1);
    for (load, of) in &loads {
        direct.outdate(of);
        let (marks, _) = direct.remove(*load, of);
        assert!(!marks.outdated);
    }
    let looked = direct.looked.load(Ordering::Relaxed);
    assert!(
        (51..=500).contains(&looked),
        "{looked}: the loads once, for the key that one depends on"
    );
    let (marks, _) = direct.remove(made_from, &derived);
    assert!(marks.outdated);
    assert!(!direct.sources.have(&source) && !direct.sources.have(&first.1));
}
