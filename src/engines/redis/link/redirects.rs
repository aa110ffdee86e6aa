//! What a node of a cluster has refused because the slot is elsewhere: it is sent again, here or to another node.

use std::task::Context;

use tokio::time::Instant;

use super::asking::{Asking, Finished, Refused};
use super::{Link, State};
use crate::config::Place;
use crate::engines::redis::parking::Unparked;
use crate::engines::redis::redirect::Redirect;
use crate::engines::redis::tally::Tally;
use crate::error::Cause;

impl Link {
    /// Whether something waits to be sent again, or another node is asked.
    pub(super) fn is_redirected(&self) -> bool {
        !self.parking.is_empty() || self.asking.as_ref().is_some_and(Asking::is_busy)
    }

    /// Follows redirections, and takes in what other nodes have answered. Returns `true` if anything was done.
    pub(super) fn follow_redirects(&mut self, cx: &mut Context<'_>, now: Instant, tally: &mut Tally) -> bool {
        if !self.is_redirected() {
            return false;
        }
        self.hear_news(now);
        let mut progress = self.poll_asking(cx, now, tally);
        progress |= self.ask_another_node(now);
        let due = self.parking.take_due(self.flights.answered(), now);
        progress |= !(due.again.is_empty() && due.ended.is_empty());
        self.send_first(due);
        progress
    }

    /// Takes in what the node has told of the slot.
    fn hear_news(&mut self, now: Instant) {
        match self.parking.news() {
            // The engine learns of it by the job.
            Some(Redirect::Moved(_)) if self.hands_over => {}
            Some(Redirect::Moved(node)) => {
                if let Some(place) = self.place().cloned() {
                    self.resolver.redirected(&node, &place);
                }
                if self.replace_at.is_none() && !self.retiring {
                    self.replace_at = Some(now + self.pause(now));
                }
            }
            Some(Redirect::Elsewhere) => self.demoted(),
            Some(Redirect::Ask(_) | Redirect::Later | Redirect::Down) | None => {}
        }
        // A node that has lost the others for a while may be the only one that is lost.
        let patience = self.options.response_timeout;
        if self
            .parking
            .down_since()
            .is_some_and(|since| since + patience <= now)
        {
            self.demoted();
        }
    }

    /// Where the connection leads to.
    fn place(&self) -> Option<&Place> {
        match &self.state {
            State::Up(connected) => connected.route.as_ref().map(|route| &route.address.place),
            State::Down { .. } | State::Connecting(_) => None,
        }
    }

    /// Asks the node that the slot is moving to what it has already.
    fn ask_another_node(&mut self, now: Instant) -> bool {
        let Some(place) = self.place() else { return false };
        if self.asking.as_ref().is_some_and(Asking::is_busy) {
            return false;
        }
        let at = place.clone();
        let Some((node, jobs)) = self.parking.take_asked(&self.layout, self.flights.answered()) else {
            return false;
        };
        if self.asking.as_ref().is_none_or(|asking| !asking.is_of(&node)) {
            self.asking = Some(Asking::new(
                node,
                at,
                self.options.clone(),
                self.bounds,
                self.layout.clone(),
                self.resolver.clone(),
                self.tracker.clone(),
            ));
        }
        if let Some(asking) = &mut self.asking {
            asking.ask(jobs, now);
        }
        true
    }

    fn poll_asking(&mut self, cx: &mut Context<'_>, now: Instant, tally: &mut Tally) -> bool {
        let Some(asking) = &mut self.asking else {
            return false;
        };
        let finished = asking.poll(cx, now, tally);
        let done = !finished.is_empty();
        self.take_in(finished, now);
        done
    }

    fn take_in(&mut self, finished: Vec<Finished>, now: Instant) {
        for finished in finished {
            match finished {
                Finished::Answered(keys) => self.parking.release(&keys),
                Finished::Refused(refused) => {
                    let Refused {
                        asked,
                        redirect,
                        error,
                    } = *refused;
                    self.parking.refuse_again(asked, redirect, &error, now);
                }
            }
        }
    }

    /// Puts jobs before what waits. Callers of jobs that are not sent again are told.
    fn send_first(&mut self, mut unparked: Unparked) {
        if self.hands_over {
            self.strays.append(&mut unparked.again);
        }
        for job in unparked.again.into_iter().rev() {
            self.waiting.push_front(job);
        }
        for job in unparked.ended {
            let error = job.refused.clone().unwrap_or_else(|| self.why_late(true));
            self.give_up(job, &error);
        }
    }

    /// Sends all that is parked as soon as there is a connection: it leads to another node, or is another one.
    pub(super) fn unpark(&mut self) {
        let all = self.parking.take_all();
        self.send_first(all);
    }

    /// Answers callers of parked jobs and of what another node is asked whose time is over. Returns the earliest deadline of
    /// the others.
    pub(super) fn expire_redirected(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_redirected() {
            return None;
        }
        let error = self.why_late(self.is_up());
        let (late, parked) = self.parking.take_late(now);
        let mut next = parked;
        for asked in late {
            // Long work goes on without its callers, or has others, who wait longer.
            if let Some(job) = self.end(asked.job, now, &error) {
                next = next
                    .into_iter()
                    .chain([job.deadline])
                    .filter(|due| *due > now)
                    .min();
                self.parking.follow(job, now);
            }
        }
        let asking = self.asking.as_mut().and_then(|asking| {
            let (finished, next) = asking.expire(now);
            self.parking.release(&finished);
            next
        });
        next.into_iter().chain(asking).min()
    }

    /// When there is something to do for what was refused. Closes the connection to the other node if it is silent, or not
    /// needed any more.
    pub(super) fn look_after_redirects(&mut self, now: Instant) -> Option<Instant> {
        let asking = match &mut self.asking {
            Some(asking) => {
                let (finished, due) = asking.look(now);
                if due.is_none() {
                    self.asking = None;
                }
                self.take_in(finished, now);
                due
            }
            None => None,
        };
        let retry = self
            .parking
            .due()
            .filter(|at| *at > now || self.flights.is_empty());
        retry.into_iter().chain(asking).min()
    }

    /// Gives up on what another node is asked. Questions are parked again.
    pub(super) fn stop_asking(&mut self, cause: &Cause, now: Instant) {
        if let Some(asking) = self.asking.take() {
            self.take_in(asking.end(cause), now);
        }
    }
}
