//! The streams of a scan: of keys, and of entries.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::Store;
use crate::calls::CallName;
use crate::error::Result;
use crate::request::{self, Cursor, Page};

/// How many entries are read at first, and at most: so many large values may be in memory at once.
const FIRST: usize = 8;
const MOST: usize = 64;
/// The bytes of values that one read is to have. How many entries that are is learnt from the read before.
const BYTES: usize = 256 * 1024;

type Fetch<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The keys of a [`Store::scan`], a page at a time.
#[must_use = "streams do nothing unless polled"]
pub struct Scan {
    store: Store,
    /// What whole keys begin with: the namespace and the prefix asked for.
    prefix: String,
    page: VecDeque<String>,
    /// Where the next page begins; `None` after the last.
    cursor: Option<Cursor>,
    fetch: Option<Fetch<Page>>,
}

impl Scan {
    pub(super) fn new(store: &Store, prefix: &str) -> Self {
        Self {
            store: store.clone(),
            prefix: format!("{}{prefix}", store.namespace.prefix()),
            page: VecDeque::new(),
            cursor: Some(Cursor::default()),
            fetch: None,
        }
    }

    fn fetch(&self, cursor: Cursor) -> Fetch<Page> {
        let store = self.store.clone();
        let prefix = self.prefix.clone();
        Box::pin(async move {
            store
                .call(CallName::Scan)
                .ask(request::Scan { prefix, cursor })
                .await
        })
    }

    /// The keys of a page that this scan was asked for, as this handle names them.
    fn names(&self, page: &Page) -> VecDeque<String> {
        let (keys, namespace) = (&self.store.inner.keys, &self.store.namespace);
        let asked = page.keys.iter().filter(|key| key.starts_with(&self.prefix));
        let names = asked.filter_map(|key| keys.name_of(namespace, key));
        names.map(str::to_owned).collect()
    }

    /// Waits until there is a key, or until there are no more.
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.page.is_empty()
            && let Some(cursor) = self.cursor
        {
            let mut fetch = self.fetch.take().unwrap_or_else(|| self.fetch(cursor));
            let Poll::Ready(page) = fetch.as_mut().poll(cx) else {
                self.fetch = Some(fetch);
                return Poll::Pending;
            };
            self.cursor = None;
            let page = page?;
            self.page = self.names(&page);
            self.cursor = page.next;
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scan {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        Poll::Ready(match ready!(self.poll_page(cx)) {
            Ok(()) => self.page.pop_front().map(Ok),
            Err(error) => Some(Err(error)),
        })
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The entries of a [`Store::scan_entries`], a few at a time.
#[must_use = "streams do nothing unless polled"]
pub struct ScanEntries {
    scan: Scan,
    read: VecDeque<(String, Bytes)>,
    /// How many entries the next read asks for.
    count: usize,
    fetch: Option<Fetch<VecDeque<(String, Bytes)>>>,
    failed: bool,
}

impl ScanEntries {
    pub(super) fn new(store: &Store, prefix: &str) -> Self {
        Self {
            scan: Scan::new(store, prefix),
            read: VecDeque::new(),
            count: FIRST,
            fetch: None,
            failed: false,
        }
    }

    fn fetch(&mut self) -> Fetch<VecDeque<(String, Bytes)>> {
        let store = self.scan.store.clone();
        let count = self.count.min(self.scan.page.len());
        let names: Vec<String> = self.scan.page.drain(..count).collect();
        Box::pin(async move {
            let keys = store.keys(&names)?;
            let values = store
                .call(CallName::ScanEntries)
                .ask(request::GetMany { keys, peek: true })
                .await?;
            let entries = names.into_iter().zip(values);
            let found = entries.filter_map(|(name, value)| Some((name, Bytes::from(value?))));
            Ok(found.collect())
        })
    }

    /// Waits until there is an entry, or until there are no more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.read.is_empty() {
            let mut fetch = match self.fetch.take() {
                Some(fetch) => fetch,
                None => {
                    ready!(self.scan.poll_page(cx))?;
                    if self.scan.page.is_empty() {
                        break;
                    }
                    self.fetch()
                }
            };
            let Poll::Ready(read) = fetch.as_mut().poll(cx) else {
                self.fetch = Some(fetch);
                return Poll::Pending;
            };
            self.read = read?;
            self.count = next_count(self.count, self.read.iter().map(|(_, value)| value.len()));
        }
        Poll::Ready(Ok(()))
    }
}

/// How many entries the next read asks for, where one of `count` has brought values of these lengths.
fn next_count(count: usize, lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let found = lengths.len();
    match lengths.sum::<usize>() {
        0 => (2 * count).min(MOST),
        bytes => (found * BYTES / bytes).clamp(1, (2 * count).min(MOST)),
    }
}

impl Stream for ScanEntries {
    type Item = Result<(String, Bytes)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.poll_read(cx)) {
            Ok(()) => self.read.pop_front().map(Ok),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        })
    }
}

impl fmt::Debug for ScanEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanEntries")
            .field("prefix", &self.scan.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_asks_for_as_many_entries_as_their_size_allows() {
        assert_eq!(next_count(8, [].into_iter()), 16);
        assert_eq!(next_count(8, [100; 8].into_iter()), 16);
        assert_eq!(next_count(64, [0; 64].into_iter()), MOST);
        assert_eq!(next_count(64, [BYTES / 4; 64].into_iter()), 4);
        assert_eq!(next_count(8, [64 << 20].into_iter()), 1);
        assert_eq!(next_count(1, [1].into_iter()), 2);
    }
}
