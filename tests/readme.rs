//! The README's example is that of the crate's documentation, which the doc tests run.

/// The first code block in `text` that begins with `fence`.
fn first_block<'a>(text: &'a str, fence: &str) -> Option<&'a str> {
    let (_, block) = text.split_once(fence)?;
    Some(block.split_once("\n```")?.0)
}

#[test]
fn the_readme_shows_the_example_that_is_tested() {
    let docs: Vec<&str> = include_str!("../src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let docs = docs.join("\n");
    let shown = first_block(include_str!("../README.md"), "```rust\n");
    assert!(shown.is_some(), "the README has an example");
    assert_eq!(shown, first_block(&docs, "```\n"));
}
