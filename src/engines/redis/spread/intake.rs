//! Requests to jobs: what comes out of the queue is split by keys, and goes to the node that owns the slot.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::calls::{Call, Taken};
use super::clear::Next;
use super::engine::SpreadEngine;
use super::join::split;
use super::machines::Entry;
use super::protocol::Epoch;
use super::scan::{Pager, Wanted, wanted};
use super::slots::NodeId;
use crate::actor::queue::Queued;
use crate::engines::redis::cluster::slot_of;
use crate::engines::redis::job::{Job, Task};
use crate::engines::redis::own::{Command, Own};
use crate::engines::redis::process::Process;
use crate::engines::redis::reply;
use crate::engines::redis::stripe::Stripe;
use crate::engines::redis::walk::Caller;
use crate::error::Error;
use crate::key::Key;
use crate::request::{Asked, CorrelatedReply, EngineRequest, EntryRequest, Page, Reply, Request, Scan};
use crate::stats::Stats;

/// The most requests that are taken from the queue at once.
const BATCH: usize = 512;
/// The most requests that wait for nodes outside the queue.
const WAITING: usize = 65_536;
/// The most of them that wait for one connection that is down.
const WAITING_IN_VAIN: usize = 4096;
/// How long the engine waits for a reply to a command of its own.
const OWN: Duration = Duration::from_secs(60);

impl SpreadEngine {
    /// Takes requests from the queue, as long as there is room for them.
    pub(super) fn poll_queue(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.queue_ended || self.waiting() >= WAITING {
            return false;
        }
        match self.queue.poll_batch(cx, BATCH) {
            Poll::Pending => false,
            Poll::Ready(0) => {
                self.queue_ended = true;
                true
            }
            Poll::Ready(_) => {
                while let Some(queued) = self.queue.next() {
                    self.accept(queued, now);
                }
                true
            }
        }
    }

    /// Jobs not yet sent, and calls in several steps.
    fn waiting(&self) -> usize {
        self.held.len()
            + self.clears.len()
            + self.scans.len()
            + self.machines.len()
            + self.nodes.stripes().map(Stripe::waiting).sum::<usize>()
    }

    fn accept(&mut self, queued: Queued, now: Instant) {
        // This engine's queue stamps every request with its deadline.
        let deadline = queued.deadline().unwrap_or(now);
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        let Queued { request, room, .. } = queued;
        match request {
            Request::Entry(EntryRequest::Scan(asked)) => self.scan(asked, deadline, false, now),
            Request::Entry(request) => {
                self.near.accepted(&request);
                // The room is given back with the first part.
                let mut room = room;
                split(request, |request| {
                    let room = room.take();
                    self.take(
                        Entry {
                            request,
                            deadline,
                            room,
                        },
                        now,
                    );
                });
            }
            Request::Engine(EngineRequest::Invalidate(Asked { operation, reply })) => {
                if operation.names.is_empty() {
                    return reply.send(Ok(0));
                }
                let caller = Caller::new(reply, operation.progress, deadline);
                self.invalidate(&operation.names, caller, now);
            }
            Request::Engine(EngineRequest::Clear(Asked { operation, reply })) => {
                let caller = Caller::new(reply, operation.progress, deadline);
                let question = self.refresh.want(now);
                let near = self.near.clearing();
                self.clears.begin(operation.prefix, caller, near, question);
            }
            Request::Engine(EngineRequest::Stats(Asked { reply, .. })) => {
                let mut stats = Stats {
                    queue_depth: (self.queue.depth() + self.waiting()) as u64,
                    ..self.tally.stats
                };
                self.near.report(&mut stats);
                reply.send(Ok(stats));
            }
            #[cfg(test)]
            Request::Engine(EngineRequest::Panic(_)) => {}
        }
    }

    /// Carries out a request for one key: in steps, or by one job. It waits for earlier requests in steps for its key.
    pub(super) fn take(&mut self, entry: Entry, now: Instant) {
        let key = entry.request.keys().first().map(Key::hash);
        if let Some(key) = key.filter(|key| self.machines.holds(*key)) {
            return self.machines.follow(key, entry);
        }
        let Entry {
            request,
            deadline,
            room,
        } = entry;
        let (map, nodes, seens) = (&self.map, &self.nodes, &self.seens);
        // A look says nothing about another link.
        let known = |key: &Key| {
            let slot = slot_of(key.as_str().as_bytes());
            let link = nodes.number(map.owner(slot)?, slot)?;
            seens.of(key.as_str(), Epoch::of(link, map.since(slot)), now)
        };
        match Call::of(request, &mut self.leases, known) {
            Taken::Answered => {}
            Taken::InSteps(call) => self.begin(call, deadline, room, now),
            Taken::Alone(request) => {
                let mut job = Job::new(Task::Request(request), deadline);
                job.room = room;
                self.send(job, now);
            }
        }
    }

    /// Sends a job to the node that owns its slot. What is for no slot goes to the node that has the layout's version.
    pub(super) fn send(&mut self, mut job: Job, now: Instant) {
        let slot = job.task.slot().unwrap_or(self.layout.slot());
        match self.map.owner(slot) {
            _ if self.held.holds(slot) => self.held.push(slot, job),
            Some(node) => {
                let ownership = self.map.since(slot);
                if let Task::Own(own) = &mut job.task
                    && !own.send_to(ownership)
                {
                    return job.void();
                }
                self.send_to(node, Some(slot), job, now);
            }
            None => {
                if self.proven {
                    job.waits_until = Some(now + self.options.wait_for_connection);
                }
                let due = job
                    .waits_until
                    .map_or(job.deadline, |until| until.min(job.deadline));
                self.due = self.due.into_iter().chain([due]).min();
                self.held.push(slot, job);
                self.refresh.want(now);
            }
        }
    }

    /// Sends a job to a node.
    pub(super) fn send_to(&mut self, node: NodeId, slot: Option<u16>, job: Job, now: Instant) {
        if let Some(place) = self.map.place(node) {
            self.nodes.open(node, place, now);
        }
        match self.nodes.stripe(node, slot) {
            Some(stripe) if stripe.is_up() || stripe.waiting() < WAITING_IN_VAIN => stripe.push(job, now),
            _ => reply::fail(job.task, &Error::Unavailable(reply::no_answer())),
        }
    }

    /// Sends a page of a scan to the node that it belongs to. `is_fresh` says that the nodes have just told who owns which slots.
    pub(super) fn scan(&mut self, asked: Asked<Scan>, deadline: Instant, is_fresh: bool, now: Instant) {
        let Asked { mut operation, reply } = asked;
        match wanted(operation.cursor, &self.map, is_fresh) {
            Wanted::Nothing => reply.send(Ok(Page {
                keys: Vec::new(),
                next: None,
            })),
            Wanted::News => {
                let question = self.refresh.want(now);
                self.scans.push(Asked { operation, reply }, deadline, question);
            }
            Wanted::Page(node, cursor) => {
                operation.cursor = cursor;
                let of = std::sync::Arc::new(Pager::new(cursor, reply));
                let reply = Reply::Part { of, place: 0 };
                let request = EntryRequest::Scan(Asked { operation, reply });
                self.send_to(node, None, Job::new(Task::Request(request), deadline), now);
            }
        }
    }

    /// Does what a clearing does next.
    pub(super) fn carry_out(&mut self, number: u64, next: Next, now: Instant) {
        let replies = self.replies_to.clone();
        let own = |command, slot| {
            let own = Own {
                command: Command::Plain(command),
                slot,
                key: None,
                bound: None,
                sent: Epoch::default(),
                process: Process::default(),
                was_sent: false,
                // What is removed twice is removed.
                is_repeatable: true,
                reply: Reply::Actor(CorrelatedReply::new(replies.clone(), number)),
            };
            Job::new(Task::Own(Box::new(own)), now + OWN)
        };
        self.due = self.due.into_iter().chain([now + OWN]).min();
        match next {
            Next::Mark(marking) => {
                self.begin(Call::marking(number, marking), now + OWN, None, now);
            }
            Next::Page(node, command) => self.send_to(node, None, own(command, None), now),
            Next::Remove(commands) => {
                for (slot, command) in commands {
                    self.send(own(command, Some(slot)), now);
                }
            }
            Next::Ask => {
                let question = self.refresh.want(now);
                self.clears.ask(number, question);
            }
            Next::Wait | Next::Done => {}
        }
    }
}
