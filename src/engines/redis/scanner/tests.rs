use super::*;
use crate::engines::redis::fault::Refusal;

const MAX: usize = 100 * 1024 * 1024;

/// What becomes of these bytes, which are the same however they are cut.
fn scan(bytes: &[u8]) -> Result<(u64, u64), Refusal> {
    let all_at_once = scan_in(bytes, bytes.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(scan_in(bytes, size), all_at_once, "in pieces of {size}");
    }
    all_at_once
}

fn scan_in(bytes: &[u8], size: usize) -> Result<(u64, u64), Refusal> {
    let mut scanner = Scanner::new(Bounds::for_values(MAX));
    for piece in bytes.chunks(size) {
        scanner.scan(piece)?;
    }
    Ok((scanner.replies(), scanner.incoming()))
}

#[test]
fn replies_of_all_kinds_are_counted() {
    let all: &[&[u8]] = &[
        b"+OK\r\n",
        b"+\r\n",
        b"+a\nb\rc\r\n",
        b"-ERR no\r\n",
        b":-9223372036854775808\r\n",
        b":9223372036854775807\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(12345678901234567890\r\n",
        b"!5\r\nERR x\r\n",
        b"=5\r\ntxt:x\r\n",
        b"%1\r\n+k\r\n*1\r\n+v\r\n",
        b"~2\r\n+a\r\n+b\r\n",
        b"|1\r\n+k\r\n+v\r\n$1\r\nx\r\n",
    ];
    for reply in all {
        assert_eq!(scan(reply), Ok((1, 0)), "{}", String::from_utf8_lossy(reply));
    }
    assert_eq!(scan(&all.concat()), Ok((all.len() as u64, 0)));
    assert_eq!(
        scan(b">2\r\n+message\r\n*1\r\n+x\r\n"),
        Ok((0, 0)),
        "a push is no reply"
    );
}

#[test]
fn what_is_announced_counts_as_incoming() {
    assert_eq!(scan(b"$1000000\r\nabc"), Ok((0, 10 + 1_000_000 + 2)));
    assert_eq!(scan(b"*2\r\n:1\r\n"), Ok((0, 8)));
    assert_eq!(scan(b"+OK"), Ok((0, 3)));
}

#[test]
fn strings_are_bounded_when_they_are_announced() {
    let max = Bounds::for_values(MAX).string;
    let over = format!("${}\r\n", max + 1);
    assert_eq!(
        scan(over.as_bytes()),
        Err(Refusal::String { length: max + 1, max })
    );
    assert_eq!(scan(format!("${max}\r\n").as_bytes()), Ok((0, max + 2 + 12)));
    assert!(matches!(
        scan(b"$9223372036854775807\r\n"),
        Err(Refusal::String { .. })
    ));
    assert!(matches!(
        scan(b"=9223372036854775807\r\n"),
        Err(Refusal::String { .. })
    ));
    assert!(matches!(
        scan(b"!9223372036854775807\r\n"),
        Err(Refusal::String { .. })
    ));
    let small = Bounds::for_values(1).string;
    assert_eq!(small, 64 * 1024 * 1024 + 64 * 1024, "commands of a caller's own");
}

#[test]
fn a_reply_is_bounded_as_a_whole() {
    let mut scanner = Scanner::new(Bounds::for_values(MAX));
    scanner.scan(b"*1000\r\n").unwrap();
    let zeros = vec![0; MAX + 2];
    let mut refused = None;
    for read in 0..1000 {
        let announced = scanner.scan(format!("${MAX}\r\n").as_bytes());
        if let Err(refusal) = announced {
            refused = Some((read, refusal));
            break;
        }
        scanner.scan(&zeros).unwrap();
    }
    assert_eq!(refused, Some((10, Refusal::Reply { max: REPLY })));
}

#[test]
fn lines_are_bounded() {
    for kind in *b"+-_,#(" {
        let mut line = vec![kind];
        line.resize(LINE + 2, b'x');
        assert_eq!(scan_in(&line, 1024), Err(Refusal::Line { max: LINE }), "{kind}");
        line.truncate(LINE);
        line.extend(b"\r\n");
        assert_eq!(scan_in(&line, 1024), Ok((1, 0)), "{kind}");
    }
    for kind in *b":$*%~>|!=" {
        let mut line = vec![kind];
        line.resize(LINE, b'0');
        assert_eq!(scan_in(&line, 1024), Err(Refusal::Form), "{kind}");
    }
}

#[test]
fn arrays_are_bounded_in_width_and_depth() {
    for announced in [
        "*1048576\r\n",
        "*9223372036854775807\r\n",
        "%600000\r\n",
        "|9223372036854775807\r\n",
    ] {
        let refused = scan(announced.as_bytes());
        assert_eq!(refused, Err(Refusal::Values { max: VALUES }), "{announced}");
    }
    assert!(scan(b"*1048575\r\n").is_ok());
    // Many small arrays are one large one.
    let mut nested = b"*1000\r\n".to_vec();
    for _ in 0..1000 {
        nested.extend(b"*2000\r\n");
        (0..2000).for_each(|_| nested.extend(b"_\r\n"));
    }
    assert_eq!(scan_in(&nested, 4096), Err(Refusal::Values { max: VALUES }));
    let deep = |levels: usize| [b"*1\r\n".repeat(levels), b":1\r\n".to_vec()].concat();
    assert_eq!(scan(&deep(DEPTH)), Ok((1, 0)));
    assert_eq!(scan(&deep(DEPTH + 1)), Err(Refusal::Depth { max: DEPTH }));
}

#[test]
fn what_is_no_reply_is_refused() {
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "\n",
        "$\r\n",
        "$-\r\n",
        "$-2\r\n",
        "$?\r\n",
        "$1a\r\n",
        "$ 1\r\n",
        "$1\n",
        "*-2\r\n",
        "%-1\r\n",
        ">-1\r\n",
        "=-1\r\n",
        ":\r\n",
        ":x\r\n",
        ":9223372036854775808\r\n",
        ":1\r2\n",
    ] {
        assert_eq!(scan(garbage.as_bytes()), Err(Refusal::Form), "{garbage:?}");
    }
}
