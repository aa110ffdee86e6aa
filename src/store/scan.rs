//! The stream of a scan's keys.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Store;
use crate::error::Result;
use crate::request::{Page, Request};

type Fetch = Pin<Box<dyn Future<Output = Result<Page>> + Send>>;

/// The keys of a [`Store::scan`], a page at a time.
#[must_use = "streams do nothing unless polled"]
pub struct Scan {
    store: Store,
    /// What whole keys begin with: the namespace and the prefix asked for.
    prefix: String,
    page: VecDeque<String>,
    /// Where the next page begins; `None` after the last.
    cursor: Option<u64>,
    fetch: Option<Fetch>,
}

impl Scan {
    pub(super) fn new(store: &Store, prefix: &str) -> Self {
        Self {
            store: store.clone(),
            prefix: format!("{}{prefix}", store.namespace.prefix()),
            page: VecDeque::new(),
            cursor: Some(0),
            fetch: None,
        }
    }

    fn fetch(&self, cursor: u64) -> Fetch {
        let store = self.store.clone();
        let prefix = self.prefix.clone();
        Box::pin(async move {
            store
                .lane()
                .ask(|reply| Request::Scan {
                    prefix,
                    cursor,
                    reply,
                })
                .await
        })
    }
}

impl Stream for Scan {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        loop {
            if let Some(key) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(key)));
            }
            let Some(cursor) = self.cursor else {
                return Poll::Ready(None);
            };
            let mut fetch = match self.fetch.take() {
                Some(fetch) => fetch,
                None => self.fetch(cursor),
            };
            let Poll::Ready(page) = fetch.as_mut().poll(cx) else {
                self.fetch = Some(fetch);
                return Poll::Pending;
            };
            match page {
                Ok(page) => {
                    let namespace = self.store.namespace.prefix().len();
                    self.page = page.keys.iter().map(|key| key[namespace..].to_owned()).collect();
                    self.cursor = page.next;
                }
                Err(error) => {
                    self.cursor = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
