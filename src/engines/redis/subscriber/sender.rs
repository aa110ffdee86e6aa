//! Where the notifications of one actor go, as fast as it takes them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::request::Notification;

/// Room for one notification, once there is some.
type Room = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<Notification>>> + Send>>;

/// Sends notifications to one actor. On overflow it drops the notification, and sends [`Notification::Missed`] once there
/// is room.
pub(super) struct NotificationSender {
    notifications: mpsc::Sender<Notification>,
    /// Waits for room, once a notification was dropped.
    room: Option<Room>,
    /// Whether nothing is heard now, as far as the actor was to be told.
    lost: bool,
    /// Whether a switch of the primary has to be told.
    switched: bool,
}

impl NotificationSender {
    pub(super) fn new(notifications: mpsc::Sender<Notification>) -> Self {
        Self {
            notifications,
            room: None,
            lost: false,
            switched: false,
        }
    }

    pub(super) fn tell(&mut self, notification: Notification) {
        match notification {
            Notification::Lost => self.lost = true,
            Notification::Subscribed { .. } => self.lost = false,
            Notification::Released { .. } | Notification::Missed { .. } | Notification::Switched => {}
        }
        let is_switch = notification == Notification::Switched;
        if self.room.is_some() {
            self.switched |= is_switch;
            return;
        }
        // An actor that has gone needs none.
        if let Err(TrySendError::Full(_)) = self.notifications.try_send(notification) {
            self.switched = is_switch;
            let notifications = self.notifications.clone();
            self.room = Some(Box::pin(async move { notifications.reserve_owned().await.ok() }));
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
            room.send(Notification::Missed {
                lost: self.lost,
                switched: std::mem::take(&mut self.switched),
            });
        }
        true
    }
}

impl fmt::Debug for NotificationSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotificationSender")
            .field("missed", &self.room.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn released(key: &str) -> Notification {
        Notification::Released {
            key: key.into(),
            token: None,
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_told_to_be_missed_once_there_is() {
        let (sender, mut notifications) = mpsc::channel(2);
        let mut sender = NotificationSender::new(sender);
        for key in ["a", "b", "c", "d"] {
            sender.tell(released(key));
        }
        poll_fn(|cx| {
            assert!(!sender.poll(cx), "there is no room yet");
            Poll::Ready(())
        })
        .await;
        assert_eq!(notifications.try_recv(), Ok(released("a")));
        // What comes before the sender knows that it missed something is part of it.
        sender.tell(released("e"));
        sender.tell(Notification::Lost);
        poll_fn(|cx| {
            assert!(sender.poll(cx));
            Poll::Ready(())
        })
        .await;
        assert_eq!(notifications.try_recv(), Ok(released("b")));
        assert_eq!(
            notifications.try_recv(),
            Ok(Notification::Missed {
                lost: true,
                switched: false
            })
        );
        sender.tell(released("f"));
        assert_eq!(notifications.try_recv(), Ok(released("f")));
        assert!(notifications.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_listener_who_has_gone_is_no_trouble() {
        let (sender, notifications) = mpsc::channel(1);
        let mut sender = NotificationSender::new(sender);
        sender.tell(released("a"));
        sender.tell(released("b"));
        drop(notifications);
        poll_fn(|cx| Poll::Ready(sender.poll(cx))).await;
        sender.tell(released("c"));
        poll_fn(|cx| {
            assert!(!sender.poll(cx));
            Poll::Ready(())
        })
        .await;
    }
}
