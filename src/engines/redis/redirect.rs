//! What a node of a cluster answers where it does not carry out a command, because the slot or its key is elsewhere. Such a
//! command may be sent again, whatever it changes.

use redis::{ServerError, Value as Wire};

use super::cluster::{Node, slot_of_redirection};
use super::fault;

/// Where a command is to be sent that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// To this node, for this time: the slot is moving there, and the key is there already or does not exist.
    Ask(Node),
    /// To the same node, a little later.
    Later,
    /// To the same node, or to another if it goes on: this one has lost the others, or nobody owns the slot.
    Down,
    /// To another node: this one takes no writes.
    Elsewhere,
    /// To this node from now on: it owns the slot.
    Moved(Node),
}

impl Redirect {
    /// What an error means, if it is no answer to the command.
    pub(super) fn read(error: &ServerError) -> Option<Self> {
        let (code, text) = fault::parts(error);
        match code {
            // A redirection that names no node is followed by asking the nodes.
            "MOVED" => Some(Node::of_redirection(text).map_or(Self::Elsewhere, Self::Moved)),
            "ASK" => Some(Node::of_redirection(text).map_or(Self::Later, Self::Ask)),
            "TRYAGAIN" | "LOADING" => Some(Self::Later),
            "CLUSTERDOWN" => Some(Self::Down),
            "MASTERDOWN" | "READONLY" => Some(Self::Elsewhere),
            _ => None,
        }
    }

    /// Whether a reply sends to the owner of another slot than `slot`. Only a raw command can name a key there. It is refused,
    /// because the store talks to the owner of its own slot only.
    pub(super) fn is_of_another_slot(reply: &Wire, slot: u16) -> bool {
        let Wire::ServerError(error) = reply else {
            return false;
        };
        let (code, text) = fault::parts(error);
        matches!(code, "MOVED" | "ASK") && slot_of_redirection(text).is_some_and(|told| told != slot)
    }

    pub(super) fn of(reply: &Wire) -> Option<Self> {
        match reply {
            Wire::ServerError(error) => Self::read(error),
            _ => None,
        }
    }

    /// Of several redirections of one request, the one that is followed.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Ask(_) => 0,
            Self::Later => 1,
            Self::Down => 2,
            Self::Elsewhere => 3,
            Self::Moved(_) => 4,
        }
    }

    /// The redirection among the replies to one request. A question is asked again if any of them is one; a change, if none
    /// of its commands was carried out.
    pub(super) fn among(replies: &[Wire], is_question: bool) -> Option<Self> {
        let found = replies.iter().map(Self::of);
        if !is_question && (replies.is_empty() || found.clone().any(|found| found.is_none())) {
            return None;
        }
        found.flatten().max_by_key(Self::weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Wire {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    fn node(host: &str, port: u16) -> Node {
        let host = Some(host.to_owned());
        Node { host, port }
    }

    #[test]
    fn codes_tell_where_to_send_a_command() {
        let of = |line: &str| Redirect::of(&reply(line));
        assert_eq!(of("MOVED 7 h:1"), Some(Redirect::Moved(node("h", 1))));
        assert_eq!(of("ASK 7 ::1:1"), Some(Redirect::Ask(node("::1", 1))));
        assert_eq!(of("MOVED"), Some(Redirect::Elsewhere));
        assert_eq!(
            of("TRYAGAIN Multiple keys request during rehashing of slot"),
            Some(Redirect::Later)
        );
        assert_eq!(of("CLUSTERDOWN The cluster is down"), Some(Redirect::Down));
        assert_eq!(of("READONLY You can't write"), Some(Redirect::Elsewhere));
        for line in [
            "ERR unknown command",
            "OOM command not allowed",
            "NOSCRIPT No matching script",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_with_a_key_of_another_slot_is_refused_for_good() {
        let is_elsewhere = |line: &str| Redirect::is_of_another_slot(&reply(line), 7);
        assert!(is_elsewhere("MOVED 8 h:1") && is_elsewhere("ASK 8 h:1"));
        for line in ["MOVED 7 h:1", "ASK 7 h:1", "MOVED", "TRYAGAIN 8", "ERR 8"] {
            assert!(!is_elsewhere(line), "{line}");
        }
        assert!(!Redirect::is_of_another_slot(&Wire::Okay, 7));
    }

    #[test]
    fn a_change_that_was_carried_out_in_part_is_not_sent_again() {
        let (done, later, moved) = (Wire::Okay, reply("TRYAGAIN"), reply("MOVED 7 h:1"));
        let some = [done.clone(), later.clone()];
        assert_eq!(Redirect::among(&some, false), None);
        assert_eq!(Redirect::among(&some, true), Some(Redirect::Later));
        let all = [later, moved];
        assert_eq!(Redirect::among(&all, false), Some(Redirect::Moved(node("h", 1))));
        assert_eq!(Redirect::among(&[], false), None);
        assert_eq!(Redirect::among(&[done], true), None);
    }
}
