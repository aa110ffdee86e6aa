//! What one thread logs. A test has one thread, and the actors of its stores run on it.
//!
//! The subscriber is the process's one and only: events can be lost to subscribers of single threads that come
//! and go beside each other, because what is enabled is remembered for all of them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};
use std::{fmt, io};

thread_local! {
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// All that the thread which began it has logged since.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn begin() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_ansi(false)
                .with_writer(|| LOG.with_borrow(|log| Writer(log.clone())))
                .init();
        });
        let log = Self::default();
        LOG.set(Some(log.clone()));
        log
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The warnings that contain all of these.
    pub(crate) fn warnings(&self, parts: &[&str]) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(" WARN ") && parts.iter().all(|part| line.contains(part)))
            .map(str::to_owned)
            .collect()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Writes to the log of a thread, if it has one.
struct Writer(Option<Log>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(log) = &self.0 {
            log.0.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
