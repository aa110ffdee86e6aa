//! Keeps models apart from text.
//!
//! One ASCII character, such as a counter of one digit, is a small integer in MessagePack. A text of more
//! than 32,768 characters can be an array or a map of such integers. At the top of a model these values
//! are therefore written with the next longer header, which is not UTF-8, and refused with the shorter.

/// Whether `bytes`, which are one MessagePack value, are text of this kind.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    matches!(bytes, [0x00..=0x7f | 0xdc | 0xde, ..]) && std::str::from_utf8(bytes).is_ok()
}

/// Gives a model that [is text](is_text) its next longer header.
pub(super) fn keep_apart(model: &mut Vec<u8>) {
    if !is_text(model) {
        return;
    }
    match model.first_mut() {
        Some(marker @ (0xdc | 0xde)) => {
            *marker += 1;
            model.splice(1..1, [0, 0]);
        }
        _ => model.insert(0, 0xcc),
    }
}
