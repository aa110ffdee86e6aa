//! Links in the Markdown files, and in the rendered documentation, lead somewhere. Links to other hosts are not followed.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by a panic too")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with no documents of this project.
const SKIPPED: [&str; 2] = ["target", ".git"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` whose names end with `extension`.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !SKIPPED.contains(&name) {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// The text without code: neither its blocks nor its spans have links.
fn prose(markdown: &str) -> String {
    let mut in_block = false;
    let mut prose = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of inline links, of link definitions, and of pictures.
fn targets(prose: &str) -> Vec<&str> {
    let definitions = prose
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| Some(line.split_once("]: ")?.1.trim()));
    between(prose, "](", ")")
        .chain(between(prose, "src=\"", "\""))
        .chain(between(prose, "srcset=\"", "\""))
        .chain(definitions)
        .collect()
}

/// The names that `[text][name]` uses, and those that the text defines.
fn references(prose: &str) -> (HashSet<&str>, HashSet<&str>) {
    let used = between(prose, "][", "]").collect();
    let defined = prose
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    (used, defined.map(|(name, _)| name).collect())
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(markdown: &str) -> Vec<String> {
    let headings = markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let anchor = |heading: String| {
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

fn leads_elsewhere(target: &str) -> bool {
    ["https://", "http://", "mailto:", "data:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
}

#[test]
fn links_in_markdown_lead_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for file in files(root(), "md") {
        let markdown = fs::read_to_string(&file).unwrap();
        let text = prose(&markdown);
        let mut report = |what: &str| broken.push(format!("{}: {what}", file.display()));
        let (used, defined) = references(&text);
        used.difference(&defined).for_each(|name| report(name));
        // What is included into the rustdoc of an item links to items.
        if file.starts_with(root().join("src")) {
            continue;
        }
        for target in targets(&text)
            .into_iter()
            .filter(|target| !leads_elsewhere(target))
        {
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            let is_found = match fs::read_to_string(&to) {
                Ok(page) if !anchor.is_empty() => anchors(&page).contains(&anchor.to_owned()),
                _ => to.exists(),
            };
            if !is_found {
                report(target);
            }
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// Follows links to pages of this crate, and to anchors on them. Run `cargo doc --no-deps --all-features` first.
#[test]
#[ignore = "needs the rendered documentation"]
fn links_in_the_rendered_documentation_lead_somewhere() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let pages = target.join("doc/cachestore").canonicalize().unwrap();
    let mut broken = HashSet::new();
    let mut count = 0;
    for file in files(&pages, "html") {
        let html = fs::read_to_string(&file).unwrap();
        for link in between(&html, "href=\"", "\"").filter(|link| !leads_elsewhere(link)) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            // The documentation of other crates' traits is shown on our types, and has links that rustdoc does not resolve.
            if !path.is_empty()
                && ![".html", ".md", ".rs", ".svg", "/"]
                    .iter()
                    .any(|end| path.ends_with(end))
            {
                continue;
            }
            count += 1;
            let to = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            let to = to.canonicalize().unwrap_or(to);
            let is_found = match fs::read_to_string(&to) {
                // Scripts of rustdoc make the anchors of the source pages.
                Ok(page) if to.starts_with(&pages) => {
                    let anchor = anchor.replace("&#39;", "'").replace("&amp;", "&");
                    anchor.is_empty() || page.contains(&format!("id=\"{anchor}\""))
                }
                Ok(_) => true,
                Err(_) => to.is_file(),
            };
            if !is_found {
                broken.insert(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(count > 1000, "only {count} links were found");
    let mut broken: Vec<String> = broken.into_iter().collect();
    broken.sort();
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}
