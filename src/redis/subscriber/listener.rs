//! One who is told news, as fast as it takes them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::request::News;

/// Room for one piece of news, once there is some.
type Room = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<News>>> + Send>>;

/// Where one actor's news go. What finds no room is not kept, but that there was such is: as soon as there
/// is room again, the actor is told that it may have missed something.
pub(super) struct Listener {
    news: mpsc::Sender<News>,
    /// Room for that, once something was missed.
    room: Option<Room>,
    /// Whether nothing is heard now, as far as the actor was to be told.
    lost: bool,
}

impl Listener {
    pub(super) fn new(news: mpsc::Sender<News>) -> Self {
        Self {
            news,
            room: None,
            lost: false,
        }
    }

    pub(super) fn tell(&mut self, news: News) {
        match news {
            News::Lost => self.lost = true,
            News::Watching { .. } => self.lost = false,
            News::Released { .. } | News::Missed { .. } => {}
        }
        if self.room.is_some() {
            return;
        }
        // A listener who has gone needs no news.
        if let Err(TrySendError::Full(_)) = self.news.try_send(news) {
            let news = self.news.clone();
            self.room = Some(Box::pin(async move { news.reserve_owned().await.ok() }));
        }
    }

    /// Tells of what was missed, if there is room now. Returns `true` if there was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(room) = &mut self.room else { return false };
        let Poll::Ready(room) = room.as_mut().poll(cx) else {
            return false;
        };
        self.room = None;
        if let Some(room) = room {
            room.send(News::Missed { lost: self.lost });
        }
        true
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("missed", &self.room.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn released(key: &str) -> News {
        News::Released {
            key: key.into(),
            token: None,
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_told_to_be_missed_once_there_is() {
        let (sender, mut news) = mpsc::channel(2);
        let mut listener = Listener::new(sender);
        for key in ["a", "b", "c", "d"] {
            listener.tell(released(key));
        }
        poll_fn(|cx| {
            assert!(!listener.poll(cx), "there is no room yet");
            Poll::Ready(())
        })
        .await;
        assert_eq!(news.try_recv(), Ok(released("a")));
        // What comes before the listener knows that it missed something is part of it.
        listener.tell(released("e"));
        listener.tell(News::Lost);
        poll_fn(|cx| {
            assert!(listener.poll(cx));
            Poll::Ready(())
        })
        .await;
        assert_eq!(news.try_recv(), Ok(released("b")));
        assert_eq!(news.try_recv(), Ok(News::Missed { lost: true }));
        listener.tell(released("f"));
        assert_eq!(news.try_recv(), Ok(released("f")));
        assert!(news.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_listener_who_has_gone_is_no_trouble() {
        let (sender, news) = mpsc::channel(1);
        let mut listener = Listener::new(sender);
        listener.tell(released("a"));
        listener.tell(released("b"));
        drop(news);
        poll_fn(|cx| Poll::Ready(listener.poll(cx))).await;
        listener.tell(released("c"));
        poll_fn(|cx| {
            assert!(!listener.poll(cx));
            Poll::Ready(())
        })
        .await;
    }
}
