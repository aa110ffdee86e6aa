//! What a node of a cluster does not carry out: it is parked until it is sent again.

use redis::Value as Wire;
use tokio::time::Instant;

use super::{Origin, Outcome, lose, no_answer};
use crate::engines::redis::parking::Parking;
use crate::engines::redis::part::Part;
use crate::engines::redis::redirect::Redirect;
use crate::engines::redis::transaction::Verdict;
use crate::engines::redis::wire::refused;
use crate::error::Error;

/// Where a node of a cluster sends what it does not carry out, which waits there until it is sent again.
#[derive(Debug)]
pub(in crate::engines::redis) struct Refusals<'a> {
    pub(in crate::engines::redis) parking: &'a mut Parking,
    /// The slot of the store, if it has only one.
    pub(in crate::engines::redis) slot: Option<u16>,
    /// How many pipelines were sent so far.
    pub(in crate::engines::redis) sent: u64,
    pub(in crate::engines::redis) now: Instant,
    /// Whether a part has shown that the node owns the slot of its key, and has not lost the other nodes.
    pub(in crate::engines::redis) is_proven: bool,
}

impl Refusals<'_> {
    /// Parks what a part stands for if its next replies refuse it, or all of its transaction was refused. Gives it back if it was
    /// carried out. Nobody sends what it was to remove for a caller who has left: adds that to `unsent`.
    pub(super) fn take(
        &mut self,
        mut part: Part,
        verdict: &Verdict,
        replies: &mut std::vec::IntoIter<Wire>,
        near: Option<&Origin<'_>>,
        outcome: &mut Outcome,
    ) -> Option<Part> {
        let own = replies.as_slice();
        let own = &own[part.lead().min(own.len())..part.replies().min(own.len())];
        let refused = match verdict {
            _ if matches!(part, Part::Transaction(_)) => return Some(part),
            Verdict::Refused(redirect, error) => Some((redirect.clone(), error.clone())),
            Verdict::Answered => self.refused(own, part.is_question()),
            Verdict::Unknown => {
                self.parking.executed(&part);
                replies.by_ref().take(part.replies()).for_each(drop);
                lose(vec![part], &no_answer(), &mut outcome.again, &mut outcome.unsent);
                return None;
            }
        };
        let Some((redirect, error)) = refused else {
            self.accepted(&part, own, near);
            return Some(part);
        };
        if let Some(near) = near {
            near.refused(&part, &redirect);
        }
        replies.by_ref().take(part.replies()).for_each(drop);
        if let Part::Other { left, .. } = &mut part {
            outcome.unsent.add(left.take());
        }
        self.parking.refuse(part, &redirect, &error, self.sent, self.now);
        None
    }

    /// A part was answered so, and was not refused. A node answers some errors before it looks for the owner of a key.
    fn accepted(&mut self, part: &Part, own: &[Wire], near: Option<&Origin<'_>>) {
        let is_error = |reply: &Wire| matches!(reply, Wire::ServerError(_));
        if !self.is_proven && part.names_key() && !own.iter().any(is_error) {
            self.is_proven = true;
            self.parking.proven();
            if let Some(near) = near {
                near.connection.proven(near.sent);
            }
        }
        self.parking.executed(part);
    }

    /// Where these replies to one request send it, and why.
    fn refused(&self, own: &[Wire], is_question: bool) -> Option<(Redirect, Error)> {
        let redirect = Redirect::among(own, is_question)?;
        let is_elsewhere = |slot| own.iter().any(|reply| Redirect::is_of_another_slot(reply, slot));
        if self.slot.is_some_and(is_elsewhere) {
            return None;
        }
        let reply = own.iter().find(|reply| Redirect::of(reply).is_some());
        Some((redirect, refused(reply.cloned())))
    }
}
