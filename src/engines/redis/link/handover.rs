//! A link to one of the nodes that a store is spread over: what a node refuses goes back to the engine, and so does what waits
//! for a slot that another node has now.

use tokio::time::Instant;

use super::Link;
use super::asking::Asking;
use crate::engines::redis::job::Job;

impl Link {
    /// Gives back to the engine what is to be sent again, because another node may have the slot.
    pub(in crate::engines::redis) fn handing_over(self) -> Self {
        Self {
            hands_over: true,
            ..self
        }
    }

    /// What is to be sent again, here or to another node, in its order. Until it is back, nothing else is sent for its keys.
    pub(in crate::engines::redis) fn take_strays(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.strays)
    }

    /// Puts a job before all that waits.
    pub(in crate::engines::redis) fn push_first(&mut self, mut job: Job, now: Instant) {
        if !self.is_worth_waiting(&mut job, now) {
            let error = self.why_down();
            return self.give_up(job, &error);
        }
        self.waiting.push_front(job);
    }

    /// Takes out what waits and is chosen, in its order.
    pub(in crate::engines::redis) fn take_waiting(
        &mut self,
        mut chosen: impl FnMut(&Job) -> bool,
    ) -> Vec<Job> {
        let mut taken = Vec::new();
        for mut job in std::mem::take(&mut self.waiting) {
            if chosen(&job) {
                // Another link has other jobs beside it.
                job.crossing = false;
                taken.push(job);
            } else {
                self.waiting.push_back(job);
            }
        }
        taken
    }

    /// Drops what was read over the connection for the near cache: another node has the slots.
    pub(in crate::engines::redis) fn drop_near(&self) {
        if let Some(tracked) = self.state.tracked() {
            tracked.disowned();
        }
    }

    /// The number of its connection, 0 before the first one.
    pub(in crate::engines::redis) fn number(&self) -> u32 {
        self.process.connection()
    }

    /// How many pipelines were sent so far.
    pub(in crate::engines::redis) fn sent(&self) -> u64 {
        self.flights.sent()
    }

    /// How many of these are not under way any more.
    pub(in crate::engines::redis) fn answered(&self) -> u64 {
        self.flights.answered()
    }

    /// Whether another node is asked something, or something of this slot waits to be sent again.
    pub(in crate::engines::redis) fn has_refused(&self, slot: u16) -> bool {
        self.asking.as_ref().is_some_and(Asking::is_busy) || self.parking.has(slot)
    }
}
