use super::*;
use crate::engines::redis::scanner::Bounds;

/// What is shown of these bytes, which is the same however they are cut and however little room there is. The replies from
/// the first number of `queued` to before the second one are those to the commands of a transaction.
fn shown(bytes: &str, queued: &[(u64, u64)]) -> String {
    let all_at_once = shown_in(bytes, queued, bytes.len(), 1024);
    for (size, room) in [(1, 1), (2, 1024), (3, 5), (bytes.len(), 1), (bytes.len(), 7)] {
        let cut = shown_in(bytes, queued, size, room);
        assert_eq!(cut, all_at_once, "in pieces of {size} with room for {room}");
    }
    all_at_once
}

fn shown_in(bytes: &str, queued: &[(u64, u64)], size: usize, room: usize) -> String {
    let (announcer, mut unfolding) = unfolding();
    queued
        .iter()
        .for_each(|(first, end)| announcer.announce(*first..*end));
    let mut scanner = Scanner::new(Bounds::for_values(1024));
    let mut shown = Vec::new();
    let mut show = |unfolding: &mut Unfolding, bytes: &[u8]| {
        let mut buffer = vec![0; room];
        let mut to = ReadBuf::new(&mut buffer);
        unfolding.show(&mut to);
        let taken = unfolding.take(bytes, &mut scanner, &mut to).unwrap();
        shown.extend_from_slice(to.filled());
        (taken, to.filled().is_empty())
    };
    for piece in bytes.as_bytes().chunks(size) {
        let mut left = piece;
        while !left.is_empty() {
            let (taken, _) = show(&mut unfolding, left);
            left = &left[taken..];
        }
    }
    while let (_, false) = show(&mut unfolding, &[]) {}
    String::from_utf8(shown).unwrap()
}

#[test]
fn the_replies_of_a_transaction_take_the_places_of_queued() {
    let get = "$3\r\n*2\r\r\n";
    let begin = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let done = "*2\r\n:7\r\n*2\r\n+a\r\n$0\r\n\r\n";
    let unfolded = "+OK\r\n:7\r\n*2\r\n+a\r\n$0\r\n\r\n+OK\r\n";
    let twice = format!("{get}{begin}{done}{get}{begin}{done}{get}");
    assert_eq!(
        shown(&twice, &[(2, 4), (7, 9)]),
        format!("{get}{unfolded}{get}{unfolded}{get}")
    );
}

/// What is not announced is not looked at: a script of the caller's own may return `QUEUED`.
#[test]
fn other_replies_are_shown_as_they_are() {
    let replies = "+QUEUED\r\n*1\r\n:1\r\n+QUEUED\r\n";
    assert_eq!(shown(replies, &[]), replies);
    assert_eq!(shown(replies, &[(9, 10)]), replies);
}

#[test]
fn pushes_between_the_replies_are_shown() {
    let push = ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n";
    let replies = format!("+OK\r\n{push}+QUEUED\r\n{push}*1\r\n:7\r\n{push}:8\r\n");
    assert_eq!(
        shown(&replies, &[(1, 2)]),
        format!("+OK\r\n{push}{push}:7\r\n+OK\r\n{push}:8\r\n")
    );
}

#[test]
fn the_replies_of_a_refused_transaction_are_shown_as_they_are() {
    for refused in [
        "+QUEUED\r\n-MOVED 1 h:7000\r\n-EXECABORT previous errors.\r\n",
        "-OOM full\r\n+QUEUED\r\n-EXECABORT previous errors.\r\n",
        "+QUEUED\r\n+QUEUED\r\n-TRYAGAIN Multiple keys request\r\n",
        "+QUEUED\r\n+QUEUED\r\n*-1\r\n",
        "+QUEUED\r\n+QUEUED\r\n*1\r\n:1\r\n",
        "+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n",
        ":1\r\n$9\r\n+QUEUED\r\n\r\n-ERR EXEC without MULTI\r\n",
    ] {
        let replies = format!("+OK\r\n{refused}+OK\r\n+QUEUED\r\n*1\r\n:7\r\n");
        let then = "+OK\r\n:7\r\n+OK\r\n";
        assert_eq!(
            shown(&replies, &[(1, 3), (5, 6)]),
            format!("+OK\r\n{refused}{then}"),
            "{refused}"
        );
    }
}

#[test]
fn replies_out_of_bounds_are_refused_in_a_transaction_too() {
    let (announcer, mut unfolding) = unfolding();
    announcer.announce(0..1);
    let mut scanner = Scanner::new(Bounds::for_values(1024));
    let mut buffer = [0; 64];
    let mut to = ReadBuf::new(&mut buffer);
    let replies = b"+QUEUED\r\n*99999999\r\n";
    let refusal = unfolding.take(replies, &mut scanner, &mut to).unwrap_err();
    assert!(matches!(refusal, Refusal::Values { .. }), "{refusal:?}");
}
