//! What the log says of loads that fail and recover.

use crate::loads::{Loaders, settled};
use crate::log::Log;
use crate::support::memory;

#[derive(Debug)]
struct Code;

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("code 7")
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_names_its_key_and_the_loaders_error_once_until_it_recovers() {
    let log = Log::begin();
    let (store, loaders) = (memory().await, Loaders::new());
    for _ in 0..3 {
        assert!(store.get_or_load("user:1", loaders.fails()).await.is_err());
    }
    settled().await;
    let text = log.text();
    assert_eq!(
        log.warnings(&["a load failed", "user:1", "the source is down"])
            .len(),
        1,
        "{text}"
    );
    store.get_or_load("user:1", loaders.at_once(1)).await.unwrap();
    settled().await;
    assert_eq!(
        log.warnings(&["loads succeed again", "user:1"]).len(),
        1,
        "{}",
        log.text()
    );
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_a_loader_are_shown_or_hidden() {
    let log = Log::begin();
    let (store, loaders) = (memory().await, Loaders::new());
    let hidden = store.get_or_load("hidden", loaders.fails()).hide_errors();
    assert!(hidden.await.is_err());
    let code = || async { Err::<u32, _>(Code) };
    assert!(store.get_or_load("plain", code).await.is_err());
    assert!(store.get_or_load("shown", code).log_errors().await.is_err());
    settled().await;
    let text = log.text();
    assert!(!text.contains("the source is down"), "{text}");
    assert_eq!(log.warnings(&["a load failed", "hidden"]).len(), 1, "{text}");
    assert_eq!(
        (
            log.warnings(&["plain", "code 7"]).len(),
            log.warnings(&["shown", "code 7"]).len()
        ),
        (0, 1),
        "{text}"
    );
}
