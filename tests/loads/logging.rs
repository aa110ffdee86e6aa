//! What the log says of loads that fail and recover.

use std::io;
use std::sync::{Arc, Mutex};

use crate::loads::{Loaders, settled};
use crate::support::memory;

/// All that this thread logs, on which the store's actors run too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many warnings contain all of these.
    fn warnings(&self, parts: &[&str]) -> usize {
        let is_one = |line: &&str| line.contains(" WARN ") && parts.iter().all(|part| line.contains(part));
        self.text().lines().filter(is_one).count()
    }
}

#[derive(Debug)]
struct Code;

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("code 7")
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_load_names_its_key_and_the_loaders_error_once_until_it_recovers() {
    let (log, _guard) = Log::begin();
    let (store, loaders) = (memory().await, Loaders::new());
    for _ in 0..3 {
        assert!(store.get_or_load("user:1", loaders.fails()).await.is_err());
    }
    settled().await;
    let text = log.text();
    assert_eq!(
        log.warnings(&["a load failed", "user:1", "the source is down"]),
        1,
        "{text}"
    );
    store.get_or_load("user:1", loaders.at_once(1)).await.unwrap();
    settled().await;
    assert_eq!(
        log.warnings(&["loads succeed again", "user:1"]),
        1,
        "{}",
        log.text()
    );
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_a_loader_are_shown_or_hidden() {
    let (log, _guard) = Log::begin();
    let (store, loaders) = (memory().await, Loaders::new());
    let hidden = store.get_or_load("hidden", loaders.fails()).hide_errors();
    assert!(hidden.await.is_err());
    let code = || async { Err::<u32, _>(Code) };
    assert!(store.get_or_load("plain", code).await.is_err());
    assert!(store.get_or_load("shown", code).log_errors().await.is_err());
    settled().await;
    let text = log.text();
    assert!(!text.contains("the source is down"), "{text}");
    assert_eq!(log.warnings(&["a load failed", "hidden"]), 1, "{text}");
    assert_eq!(
        (
            log.warnings(&["plain", "code 7"]),
            log.warnings(&["shown", "code 7"])
        ),
        (0, 1),
        "{text}"
    );
}
