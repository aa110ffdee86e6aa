//! What the scheduler does with news of other holders, and what it remembers to judge them by.

use super::*;

/// What was last seen of a lock.
#[derive(Default)]
pub(super) struct Seen {
    token: u64,
    /// When the engine was asked that told so.
    asked: Option<Instant>,
}

impl Scheduler {
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Watching { key, since } => {
                if let Some(name) = self.known.get(&key).cloned() {
                    // Whoever was refused after that misses nothing.
                    let asked = self.seen.get(&name).and_then(|seen| seen.asked);
                    if asked.is_none_or(|asked| asked < since) {
                        self.wake(&name);
                    }
                }
            }
            News::Missed => self.with_queues(Queues::wake_all),
            News::Released { key, token } => {
                if let Some(name) = self.known.get(&key).cloned() {
                    self.released(&name, token);
                }
            }
        }
    }

    /// A lock was released, which had this token if it is known. Our own releases are heard of twice, from
    /// the engine and from the watcher, and those of earlier holders may be heard late.
    pub(super) fn released(&mut self, name: &Name, token: Option<u64>) {
        if let Some(token) = token {
            if self.seen.get(name).is_some_and(|seen| token < seen.token) {
                return;
            }
            self.saw(name, token.saturating_add(1), None);
        }
        self.wake(name);
    }

    /// Whoever holds the lock has this token or a later one, as was found when the engine was `asked`.
    pub(super) fn saw(&mut self, name: &Name, token: u64, asked: Option<Instant>) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.token = token.max(seen.token);
            seen.asked = asked.or(seen.asked);
        }
    }

    /// A line has begun, so that news of its lock matter.
    pub(super) fn know(&mut self, name: &Name) {
        if !self.is_alone() && !self.seen.contains_key(name) {
            self.seen.insert(name.clone(), Seen::default());
            self.known.insert(name.key().as_str().into(), name.clone());
        }
    }

    /// A line has ended.
    pub(super) fn forget_line(&mut self, name: &Name) {
        if self.seen.remove(name).is_some() {
            self.known.remove(name.key().as_str());
        }
    }

    pub(super) fn watch(&self, name: &Name, watch: impl FnOnce(Topic) -> Watch) {
        if let Some(watcher) = &self.watcher {
            let topic = Topic::Lock(name.key().as_str().into());
            // Without it, waiters sleep until the holder's TTL ends.
            let _ = watcher.watch.send(watch(topic));
        }
    }
}
