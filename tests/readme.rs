//! The README's examples are those of the crate's documentation, which doctests run.

/// The first code block in `text` that begins with `fence`.
fn first_block<'a>(text: &'a str, fence: &str) -> Option<&'a str> {
    let (_, block) = text.split_once(fence)?;
    Some(block.split_once("\n```")?.0)
}

#[test]
fn the_readme_shows_the_examples_that_are_tested() {
    let docs: Vec<&str> = include_str!("../src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let docs = docs.join("\n");
    let readme = include_str!("../README.md");
    for (shown, tested) in [("## Use it", ""), ("\n## Loads", "\n# Loads")] {
        let section = readme
            .split_once(shown)
            .and_then(|(_, text)| first_block(text, "```rust\n"));
        assert!(section.is_some(), "the README has an example under {shown:?}");
        let (_, docs) = docs.split_once(tested).unwrap_or_default();
        assert_eq!(section, first_block(docs, "```\n"), "{shown:?}");
    }
}
