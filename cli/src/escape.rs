//! Text from others, made safe for a terminal: keys and values come from strangers.

use std::io;

use serde_json::ser::Formatter;

/// The text of a key. What a terminal would obey or not show is escaped as Rust writes it, and so is the backslash:
/// two keys never look alike.
pub(crate) fn key(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => shown.push_str(r"\\"),
            c => push(&mut shown, c),
        }
    }
    shown
}

/// A text of several lines. Line feeds, tabs and backslashes stay.
pub(crate) fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c => push(&mut shown, c),
        }
    }
    shown
}

fn push(shown: &mut String, c: char) {
    if is_shown(c) {
        shown.push(c);
    } else {
        shown.extend(c.escape_debug());
    }
}

/// Whether a terminal shows this character, and nothing else happens: control characters and those that change the
/// direction of text are not shown.
fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    // Behind a letter, so that a combining mark counts as text.
    let mut text = *b"a    ";
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// Writes compact JSON in which all that a terminal would obey is escaped. JSON itself allows some of it in strings.
#[derive(Debug)]
pub(crate) struct PrintableJson;

impl Formatter for PrintableJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        let mut plain = fragment;
        while let Some((at, c)) = plain.char_indices().find(|(_, c)| !is_shown(*c)) {
            writer.write_all(&plain.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = &plain[at + c.len_utf8()..];
        }
        writer.write_all(plain.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (given, shown) in [
            ("user:1", "user:1"),
            ("\u{1b}[2J\u{7}", r"\u{1b}[2J\u{7}"),
            ("a\r\nb\tc\0", r"a\r\nb\tc\0"),
            ("\u{9b}31m\u{7f}", r"\u{9b}31m\u{7f}"),
            ("\u{202e}drowssap", r"\u{202e}drowssap"),
            ("zero\u{200b}width", r"zero\u{200b}width"),
            ("\u{2028}\u{feff}", r"\u{2028}\u{feff}"),
            (r#"it's "x""#, r#"it's "x""#),
            ("Ünïcode ключ 鍵 e\u{301} 🦀", "Ünïcode ключ 鍵 e\u{301} 🦀"),
        ] {
            assert_eq!(key(given), shown);
        }
    }

    #[test]
    fn two_keys_never_look_alike() {
        assert_ne!(key("a\n"), key(r"a\n"));
        assert_eq!(key(r"a\n"), r"a\\n");
    }

    #[test]
    fn the_lines_of_a_text_stay() {
        assert_eq!(lines("a\n\tb\\n\u{1b}c\r\n"), "a\n\tb\\n\\u{1b}c\\r\n");
    }

    #[test]
    fn json_reads_back_as_what_was_written() {
        let text = "a\"b\\c\n\u{1b}\u{9b}\u{202e}\u{e0001}é🦀";
        let mut written = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut written, PrintableJson);
        serde::Serialize::serialize(text, &mut serializer).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert_eq!(written, r#""a\"b\\c\n\u001b\u009b\u202e\udb40\udc01é🦀""#);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
