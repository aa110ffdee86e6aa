//! Slots that get another owner, and what their old owners do not carry out any more.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Context;

use tokio::time::Instant;

use super::engine::SpreadEngine;
use super::slots::{Left, NodeId};
use crate::engines::redis::job::Job;
use crate::engines::redis::redirect::Redirect;
use crate::engines::redis::reply;
use crate::engines::redis::stripe::Stripe;
use crate::error::Error;

impl SpreadEngine {
    /// Takes in what the nodes tell of the owners of slots.
    pub(super) fn poll_refresh(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some((answered, told)) = self.refresh.poll(cx, now) else {
            return false;
        };
        match told {
            Ok(owners) => {
                (self.proven, self.trouble) = (true, None);
                let left = self.map.learn(&owners);
                self.leave(left, now);
                self.open_owners(now);
                for (number, next) in self.clears.go_on(answered, &self.map, &mut self.tally) {
                    self.carry_out(number, next, now);
                }
                for (asked, deadline) in self.scans.take(answered) {
                    self.scan(asked, deadline, true, now);
                }
            }
            Err(error) => {
                if self.trouble.replace(error.clone()).is_none() {
                    tracing::warn!(%error, "no node of the cluster tells who owns which slots");
                }
                for (number, next) in self.clears.not_told(answered, &error, &self.map) {
                    self.carry_out(number, next, now);
                }
                self.scans.fail(answered, &error);
                if !self.proven {
                    // Nobody waits for a cluster that may not exist.
                    for job in self.held.take_all() {
                        reply::fail(job.task, &error);
                    }
                }
            }
        }
        self.forget_nodes();
        true
    }

    /// Opens connections to all nodes that own slots.
    fn open_owners(&mut self, now: Instant) {
        let mut next = self.map.next_with_news(None, 0);
        while let Some(id) = next {
            if let Some(place) = self.map.place(id) {
                self.nodes.open(id, place, now);
            }
            next = self.map.next_with_news(Some(id), 0);
        }
    }

    /// Goes on with all connections, and sends again what nodes have not carried out.
    pub(super) fn poll_nodes(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut strays = Vec::new();
        let done = self.nodes.poll(cx, now, &mut self.tally, &mut strays);
        if !self.nodes.stripes().all(Stripe::is_up) {
            self.refresh.look_again(now);
        }
        // First what they tell: a job must not go back to a node whose slot another one has.
        let mut left = Vec::new();
        for (node, _, jobs) in &mut strays {
            for job in jobs.iter_mut() {
                left.extend(self.learn_from(*node, job, now));
            }
        }
        self.leave(left, now);
        for (node, place, jobs) in strays {
            let mut again = Vec::new();
            for job in jobs {
                match job.task.slot() {
                    Some(slot) if self.held.holds(slot) => self.held.push_sent(slot, job),
                    Some(slot) if self.map.owner(slot) != Some(node) => self.send(job, now),
                    _ => again.push(job),
                }
            }
            self.nodes.push_again(node, place, again, now);
        }
        done
    }

    /// Learns from what a node has answered to a job. Returns the slot that another node has now, if there is one.
    fn learn_from(&mut self, node: NodeId, job: &mut Job, now: Instant) -> Option<Left> {
        match job.redirect.take()? {
            Redirect::Moved(to) => {
                self.refresh.want(now);
                let slot = job
                    .task
                    .slot()
                    .filter(|slot| self.map.owner(*slot) == Some(node))?;
                let place = self.directory.mapped(&to, self.map.place(node)?)?;
                self.map.moved(slot, &place)
            }
            Redirect::Elsewhere | Redirect::Down => {
                self.refresh.want(now);
                None
            }
            Redirect::Ask(_) | Redirect::Later => None,
        }
    }

    /// Holds the jobs of slots that have got another owner, until the old one has answered what it was sent.
    fn leave(&mut self, left: Vec<Left>, now: Instant) {
        let mut slots_of: BTreeMap<NodeId, BTreeSet<u16>> = BTreeMap::new();
        for Left { slot, from } in left {
            slots_of.entry(from).or_default().insert(slot);
        }
        for (from, slots) in slots_of {
            self.nodes.drop_near(from);
            if let Some(sent) = self.nodes.sent(from) {
                for slot in &slots {
                    self.held.begin(*slot, from, &sent);
                }
                let chosen = |slot: Option<u16>| slot.is_some_and(|slot| slots.contains(&slot));
                for job in self.nodes.take_waiting(from, chosen) {
                    if let Some(slot) = job.task.slot() {
                        self.held.push_waited(slot, job);
                    }
                }
            }
            if !self.map.is_primary(from) {
                self.leave_node(from, now);
            }
        }
    }

    /// Takes what waits for a node that owns no slots any more. Pages of its keys are of no use.
    fn leave_node(&mut self, node: NodeId, now: Instant) {
        for job in self.nodes.take_waiting(node, |slot| slot.is_none()) {
            if job.task.is_page() {
                reply::fail(job.task, &Error::Unavailable(reply::no_answer()));
            } else {
                self.send(job, now);
            }
        }
        // Replicas are promoted for all slots of a primary at once. What the old one acknowledged last may be lost.
        tracing::warn!(?node, "a node of the cluster owns no slots any more");
        self.generation.cut();
    }

    /// Sends the jobs of slots whose old owners have answered all that they were sent.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let (map, nodes) = (&self.map, &self.nodes);
        let is_ready = |(slot, after): (u16, Option<&(NodeId, _)>)| {
            let has_answered = |(from, sent): &(NodeId, _)| nodes.has_answered(*from, slot, sent);
            let is_ready = map.owner(slot).is_some() && after.is_none_or(has_answered);
            is_ready.then(|| (slot, after.map(|(from, _)| *from)))
        };
        let ready: Vec<(u16, Option<NodeId>)> = self.held.slots().filter_map(is_ready).collect();
        let mut slots_of: BTreeMap<NodeId, BTreeSet<u16>> = BTreeMap::new();
        for (slot, from) in &ready {
            if let Some(from) = from {
                slots_of.entry(*from).or_default().insert(*slot);
            }
        }
        for (from, slots) in slots_of {
            // Questions whose answers were lost with the connection.
            let chosen = |slot: Option<u16>| slot.is_some_and(|slot| slots.contains(&slot));
            for job in self.nodes.take_waiting(from, chosen) {
                if let Some(slot) = job.task.slot() {
                    self.held.push_sent(slot, job);
                }
            }
        }
        for (slot, _) in &ready {
            for job in self.held.take(*slot) {
                self.send(job, now);
            }
        }
        if !ready.is_empty() {
            self.forget_nodes();
        }
        !ready.is_empty()
    }

    /// Closes the connections to nodes that own no slots and have answered all that they were sent.
    fn forget_nodes(&mut self) {
        let ids: Vec<NodeId> = self.nodes.ids().collect();
        for id in ids {
            if !self.map.is_primary(id) && self.nodes.is_idle(id) && !self.held.wait_for(id) {
                self.nodes.close(id);
                self.map.forget(id);
            }
        }
    }
}
