//! A plain change of a key that loads may have read.

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered, Changed};
use super::step::{Act, Next, Step, Watcher};

/// A plain change. No load that has read what was there before stores anything after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Change {
    key: CompactString,
    act: Act,
    reply: Option<Changed>,
    /// Loads that are being cancelled.
    cancelled: usize,
}

impl Change {
    pub(in crate::engines::redis) fn new(key: CompactString, act: Act) -> Self {
        Self {
            key,
            act,
            reply: None,
            cancelled: 0,
        }
    }

    fn settle(&mut self) -> Next<Changed> {
        match self.reply.take_if(|_| self.cancelled == 0) {
            Some(reply) => Next::done(reply),
            None => Next::Steps(Vec::new()),
        }
    }
}

/// The step that cancels a load.
pub(super) fn cancel(Watcher { key, lease }: Watcher) -> Step {
    Step::Cancel { key, lease }
}

impl Machine for Change {
    type Output = Changed;

    fn start(&mut self, _: Instant) -> Next<Changed> {
        Next::Steps(vec![Step::Change {
            key: self.key.clone(),
            change: self.act.clone(),
        }])
    }

    fn advance(&mut self, _: Instant, _: &Step, answered: Answered) -> Next<Changed> {
        if let Answer::Changed { reply, watchers } = answered.answer {
            self.reply = Some(reply);
            self.cancelled = watchers.len();
            if !watchers.is_empty() {
                return Next::Steps(watchers.into_iter().map(cancel).collect());
            }
        } else {
            self.cancelled -= 1;
        }
        self.settle()
    }
}
