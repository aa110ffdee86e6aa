//! Clearings that are asked for while one is under way wait for it, and then share one walk over the database.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::removals::Removal;
use super::unsent::Unsent;
use super::walk::{Caller, Walk};
use crate::error::{Error, Phase};

/// The most namespaces that one walk clears: each step tells the server all of them.
const SHARED: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Clearings {
    /// Held by the walk under way.
    running: Weak<()>,
    /// What the keys to remove begin with, and who waits for it.
    next: Vec<(String, Caller)>,
}

impl Clearings {
    pub(super) fn push(&mut self, prefix: String, caller: Caller) {
        self.next.push((prefix, caller));
    }

    /// How many wait for a walk of theirs.
    pub(super) fn waiting(&self) -> usize {
        self.next.len()
    }

    /// The next walk, and until when it has callers. `None` while one is under way, and if nobody waits.
    pub(super) fn start(&mut self) -> Option<(Walk, Instant)> {
        if self.next.is_empty() || self.running.strong_count() > 0 {
            return None;
        }
        let (mut prefixes, mut callers) = (Vec::<String>::new(), Vec::new());
        let mut later = Vec::new();
        let mut deadline = None;
        for (prefix, mut caller) in self.next.drain(..) {
            match prefixes.iter().position(|known| *known == prefix) {
                Some(place) => caller.place = place,
                None if prefixes.len() < SHARED => {
                    caller.place = prefixes.len();
                    prefixes.push(prefix);
                }
                None => {
                    later.push((prefix, caller));
                    continue;
                }
            }
            deadline = Some(deadline.map_or(caller.deadline, |first: Instant| first.min(caller.deadline)));
            callers.push(caller);
        }
        self.next = later;
        let alive = Arc::new(());
        self.running = Arc::downgrade(&alive);
        let walk = Walk::clearing(prefixes, callers, alive);
        deadline.map(|deadline| (walk, deadline))
    }

    /// Tells those whose time is over before a walk of theirs has begun. Adds what they were to remove to `unsent`. Returns
    /// when the next one's time is over.
    pub(super) fn expire(&mut self, now: Instant, unsent: &mut Unsent) -> Option<Instant> {
        let late = self.next.extract_if(.., |(_, caller)| caller.deadline <= now);
        let (prefixes, callers): (Vec<_>, Vec<_>) = late.unzip();
        unsent.add((!prefixes.is_empty()).then_some(Removal::Prefixes(prefixes)));
        for caller in callers {
            caller.reply.send(Err(Error::Timeout { phase: Phase::Queue }));
        }
        self.next.iter().map(|(_, caller)| caller.deadline).min()
    }

    /// Tells all who wait that the store has been closed.
    pub(super) fn abandon(&mut self) {
        for (_, caller) in self.next.drain(..) {
            caller.reply.send(Err(Error::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Progress, Reply};

    #[test]
    fn a_clearing_that_its_callers_left_in_an_outage_holds_up_no_other() {
        let (mut clearings, now) = (Clearings::default(), Instant::now());
        let push = |clearings: &mut Clearings| {
            let caller = Caller::new(Reply::new().0, Progress::default(), now);
            clearings.push("t:".to_owned(), caller);
        };
        push(&mut clearings);
        let (mut first, _) = clearings.start().unwrap();
        push(&mut clearings);
        assert!(clearings.start().is_none(), "the next one waits for it");
        first.leave(&Error::OutcomeUnknown(crate::engines::redis::reply::no_answer()));
        let (second, _) = clearings.start().unwrap();
        push(&mut clearings);
        drop(first);
        assert!(clearings.start().is_none(), "the next one waits for the second");
        drop(second);
        assert!(clearings.start().is_some());
    }
}
