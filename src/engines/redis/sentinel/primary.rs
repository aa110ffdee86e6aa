//! What is known of a service's primary, from Sentinels that may be late. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Place;

/// How long a Sentinel is not believed that knows less than another has told. After that, Sentinels that were set up
/// anew may count from the beginning.
const MEMORY: Duration = Duration::from_secs(60);

/// The primary that was named last.
#[derive(Debug, Default)]
pub(super) struct Primary(Option<Known>);

#[derive(Debug)]
struct Known {
    place: Place,
    /// How many failovers there have been, as Sentinels count them together. `None` if none has told.
    epoch: Option<u64>,
    /// It was announced that another has replaced it.
    left: bool,
    /// It could not be reached, or did not call itself the primary.
    doubted: bool,
    heard: Instant,
}

/// What an answer means for those who are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first answer, or the same primary.
    Stays,
    /// There is another primary, or there was one meanwhile. `cut` says that the connections to the old one still have
    /// to be cut.
    Moves { cut: bool },
    /// The Sentinel knows less than another has told, or contradicts it. It is not believed.
    Outdated,
}

impl Primary {
    /// A Sentinel names a primary, and the number of the failover that made it one.
    pub(super) fn answered(&mut self, place: &Place, epoch: Option<u64>, now: Instant) -> Verdict {
        let Some(known) = &mut self.0 else {
            self.0 = Some(Known {
                place: place.clone(),
                epoch,
                left: false,
                doubted: false,
                heard: now,
            });
            return Verdict::Stays;
        };
        let same = *place == known.place;
        let (newer, older) = match (epoch, known.epoch) {
            (Some(epoch), Some(before)) => (epoch > before, epoch < before),
            _ => (false, false),
        };
        let remembered = now.saturating_duration_since(known.heard) < MEMORY;
        // Where two name different servers for the same failover, the first one counts as long as it is one.
        let disagrees = !newer && !same && !known.left && !known.doubted;
        let gone = !newer && same && known.left;
        if remembered && (older || gone || disagrees) {
            return Verdict::Outdated;
        }
        // The same server with a newer number: another was the primary between two answers, and it is one again.
        let (moves, cut) = (!same || newer || known.left, !known.left);
        *known = Known {
            place: place.clone(),
            epoch: epoch.or(known.epoch),
            left: false,
            doubted: known.doubted && !moves,
            heard: now,
        };
        if moves {
            Verdict::Moves { cut }
        } else {
            Verdict::Stays
        }
    }

    /// A server could not be reached, or does not call itself the primary; or it does, and is not doubted any more. It
    /// counts for the one that was named last.
    pub(super) fn doubt(&mut self, place: &Place, doubted: bool) {
        if let Some(known) = &mut self.0
            && known.place == *place
        {
            known.doubted = doubted;
        }
    }

    /// A Sentinel announces that one server has replaced another. Returns `true` if it has replaced the one that is
    /// known, so that connections to it have to be cut.
    pub(super) fn left(&mut self, from: &Place, to: &Place, now: Instant) -> bool {
        match &mut self.0 {
            Some(known) if known.place == *from && from != to && !known.left => {
                known.left = true;
                known.heard = now;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Place {
        Place::Tcp("h".to_owned(), port)
    }

    const MOVED: Verdict = Verdict::Moves { cut: true };

    #[test]
    fn a_later_primary_replaces_an_earlier_one() {
        let (mut primary, now) = (Primary::default(), Instant::now());
        assert_eq!(primary.answered(&place(1), Some(0), now), Verdict::Stays);
        assert_eq!(primary.answered(&place(1), Some(0), now), Verdict::Stays);
        assert_eq!(primary.answered(&place(2), Some(1), now), MOVED);
        assert_eq!(primary.answered(&place(1), Some(0), now), Verdict::Outdated);
        assert_eq!(primary.answered(&place(1), Some(2), now), MOVED);
    }

    #[test]
    fn an_announced_switch_cuts_once_and_the_old_primary_is_not_believed() {
        let (mut primary, now) = (Primary::default(), Instant::now());
        primary.answered(&place(1), Some(3), now);
        assert!(!primary.left(&place(7), &place(1), now), "an older switch");
        assert!(primary.left(&place(1), &place(2), now));
        assert!(
            !primary.left(&place(1), &place(2), now),
            "another Sentinel announces it too"
        );
        assert_eq!(primary.answered(&place(1), Some(3), now), Verdict::Outdated);
        assert_eq!(primary.answered(&place(1), None, now), Verdict::Outdated);
        assert_eq!(
            primary.answered(&place(2), Some(4), now),
            Verdict::Moves { cut: false }
        );
        assert_eq!(primary.answered(&place(2), Some(4), now), Verdict::Stays);
        assert_eq!(primary.answered(&place(1), Some(3), now), Verdict::Outdated);
    }

    #[test]
    fn a_primary_that_is_one_again_is_believed() {
        let (mut primary, now) = (Primary::default(), Instant::now());
        primary.answered(&place(1), Some(3), now);
        assert!(primary.left(&place(1), &place(2), now));
        assert_eq!(
            primary.answered(&place(1), Some(5), now),
            Verdict::Moves { cut: false }
        );
    }

    /// p1, p2, p1 between two answers: locks and leases may have been lost, as after any switch.
    #[test]
    fn a_newer_number_is_a_switch_also_if_the_server_is_the_same() {
        let (mut primary, now) = (Primary::default(), Instant::now());
        assert_eq!(primary.answered(&place(1), Some(3), now), Verdict::Stays);
        assert_eq!(primary.answered(&place(1), Some(5), now), MOVED);
        assert_eq!(primary.answered(&place(1), Some(5), now), Verdict::Stays);
        assert_eq!(primary.answered(&place(1), None, now), Verdict::Stays);
        assert_eq!(primary.answered(&place(1), Some(4), now), Verdict::Outdated);
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_after_a_while() {
        let (mut primary, now) = (Primary::default(), Instant::now());
        primary.answered(&place(1), Some(9), now);
        assert_eq!(
            primary.answered(&place(2), Some(0), now + MEMORY / 2),
            Verdict::Outdated
        );
        assert_eq!(primary.answered(&place(2), Some(0), now + MEMORY), MOVED);
    }

    #[test]
    fn of_two_that_disagree_the_first_counts_until_it_is_doubted() {
        for epoch in [None, Some(4)] {
            let (mut primary, now) = (Primary::default(), Instant::now());
            primary.answered(&place(1), epoch, now);
            assert_eq!(primary.answered(&place(2), epoch, now), Verdict::Outdated);
            primary.doubt(&place(1), true);
            assert_eq!(primary.answered(&place(1), epoch, now), Verdict::Stays);
            assert_eq!(primary.answered(&place(2), epoch, now), MOVED);
            assert_eq!(primary.answered(&place(1), epoch, now), Verdict::Outdated);
            primary.doubt(&place(2), true);
            primary.doubt(&place(2), false);
            assert_eq!(primary.answered(&place(1), epoch, now), Verdict::Outdated);
            // What is late, and about another server, changes nothing.
            primary.doubt(&place(1), true);
            assert_eq!(primary.answered(&place(1), epoch, now), Verdict::Outdated);
        }
    }
}
