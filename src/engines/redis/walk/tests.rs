//! The commands of each kind of walk, step by step.

mod clearing;
mod invalidation;

use super::*;

/// The words of the next command, without the script's digest and the invalidation's id.
fn words(walk: &Walk) -> String {
    let command = walk.command(&Layout::new(true), By::Digest);
    let words = command.args_iter().filter_map(|argument| match argument {
        redis::Arg::Simple(word) => Some(String::from_utf8(word.to_vec()).unwrap()),
        _ => None,
    });
    words
        .filter(|word| ![16, 40].contains(&word.len()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn bulk(words: &[&str]) -> Wire {
    let word = |word: &&str| Wire::BulkString(word.as_bytes().to_vec());
    Wire::Array(words.iter().map(word).collect())
}
