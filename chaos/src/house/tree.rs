//! Rules of files: how they begin, how long they get, what they never hold, and that their links lead somewhere.

use std::path::{Path, PathBuf};

use crate::house::Finding;
use crate::trouble::{Outcome, Trouble};

/// No file is longer.
const LINES_MAX: usize = 800;
/// A file longer than this says in its first comment why, with the words of [`REASON`].
const LINES_WITHOUT_REASON_MAX: usize = 600;
/// How a long file gives its reason.
const REASON: &str = "Long because";
/// The folders of the top level, fixed by the product's owner, and the hidden ones that tools need.
const TOP_FOLDERS: &[&str] = &[
    ".cargo",
    ".ci",
    ".git",
    "bench",
    "chaos",
    "client",
    "deploy",
    "docs",
    "pseudo",
    "replication",
    "store-node",
    "target",
];
/// Words that mark unfinished work. Put together here, so that this file does not break its own rule.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
];
/// Paths and hosts that only one machine or workplace has.
const LOCAL_PLACES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("crates", ".io/"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
    concat!("deb.debian", ".org"),
];
/// Files that tools write and no person edits.
const GENERATED: &[&str] = &["Cargo.lock"];
/// Names of folders that are never part of the source.
const NOT_SOURCE: &[&str] = &[".git", "target", "node_modules", "__pycache__"];

/// All findings of all rules of this module.
pub fn check(root: &Path) -> Outcome<Vec<Finding>> {
    let files = source_files(root)?;
    let mut findings = top_folders(root)?;
    for path in &files {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let place = relative(root, path);
        if GENERATED.iter().any(|name| place.ends_with(name)) {
            continue;
        }
        if place.ends_with(".rs") {
            findings.extend(rust_file(&place, &text));
        }
        if place.ends_with(".md") {
            findings.extend(links(root, path, &text));
        }
        findings.extend(forbidden(&place, &text));
    }
    findings.extend(unreferenced_code_pages(root, &files)?);
    Ok(findings)
}

/// Every file of the source tree.
pub fn source_files(root: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| Trouble::file("list", &folder, &error))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && !NOT_SOURCE.contains(&name.as_str()) && !name.starts_with("target-") {
                folders.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_file()) && name != ".git" {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn top_folders(root: &Path) -> Outcome<Vec<Finding>> {
    let entries = std::fs::read_dir(root).map_err(|error| Trouble::file("list", root, &error))?;
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let strangers =
        names.filter(|name| !TOP_FOLDERS.contains(&name.as_str()) && !name.starts_with("target-"));
    let rule = "top-level folders are fixed by the product's owner";
    Ok(strangers.map(|place| Finding { rule, place }).collect())
}

fn rust_file(place: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |rule| findings.push(Finding { rule, place: place.to_owned() });
    if !text.starts_with("//! ") {
        find("a file begins with `//!`: what it is");
    }
    let lines = text.lines().count();
    let header_gives_reason =
        text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains(REASON));
    if lines > LINES_MAX {
        find("no file is longer than 800 lines");
    } else if lines > LINES_WITHOUT_REASON_MAX && !header_gives_reason {
        find("a file longer than 600 lines says in its header `Long because ...`");
    }
    // Beside integration tests `support.rs` would be a test of its own: there a folder with `mod.rs` is the way.
    if place.ends_with("/mod.rs") && !place.contains("/tests/") {
        find("modules are `foo.rs` beside `foo/`, never `mod.rs`");
    }
    findings
}

fn forbidden(place: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut find = |rule| findings.push(Finding { rule, place: format!("{place}:{}", number + 1) });
        if UNFINISHED.iter().any(|word| line.contains(word)) {
            find("nothing unfinished lands");
        }
        if LOCAL_PLACES.iter().any(|word| names_place(line, word)) {
            find("no path or host that only one machine has");
        }
    }
    findings
}

/// Whether a line names a place, and not just the middle of another path or name.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !place.starts_with('/')
            || !before.is_some_and(|letter| letter.is_alphanumeric() || "-_.}$".contains(letter))
    })
}

/// Relative links of a Markdown page that lead nowhere.
fn links(root: &Path, page: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split(['#', ' ']).next().unwrap_or_default();
            let is_elsewhere = path.contains("://") || path.starts_with("mailto:") || path.is_empty();
            if !is_elsewhere && !page.parent().unwrap_or(root).join(path).exists() {
                let place = format!("{} -> {link}", relative(root, page));
                findings.push(Finding { rule: "every link leads somewhere", place });
            }
        }
    }
    findings
}

/// Pages of `docs/codes` whose code no source file names.
fn unreferenced_code_pages(root: &Path, files: &[PathBuf]) -> Outcome<Vec<Finding>> {
    let folder = root.join("docs/codes");
    let pages = files.iter().filter(|path| path.parent() == Some(&folder));
    let mut codes: Vec<String> = pages
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        if codes.is_empty() {
            break;
        }
        let text = std::fs::read_to_string(path).map_err(|error| Trouble::file("read", path, &error))?;
        codes.retain(|code| !text.contains(code.as_str()));
    }
    let rule = "every page of docs/codes is named by the source";
    Ok(codes.into_iter().map(|code| Finding { rule, place: format!("docs/codes/{code}.md") }).collect())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings in a tree that holds only this file.
    fn findings_of(path: &str, text: &str) -> Vec<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        check(folder.path()).unwrap()
    }

    fn catches(path: &str, text: &str, rule: &str) {
        let findings = findings_of(path, text);
        assert!(findings.iter().any(|finding| finding.rule.contains(rule)), "{path}: {findings:?}");
    }

    #[test]
    fn a_tidy_file_has_no_finding() {
        assert_eq!(findings_of("client/src/lib.rs", "//! A file.\n"), []);
        assert_eq!(findings_of("client/src/lib.rs", "//! A file.\n// region-1/home/s3\n"), []);
        assert_eq!(findings_of("docs/page.md", "[elsewhere](https://example.org) [self](page.md#top)\n"), []);
    }

    #[test]
    fn each_planted_violation_is_caught() {
        catches("client/src/lib.rs", "fn main() {}\n", "begins with");
        catches("client/src/lib.rs", &format!("//! A file.\n{}", "\n".repeat(650)), "longer than 600");
        catches(
            "client/src/lib.rs",
            &format!("//! Long because so.\n{}", "\n".repeat(850)),
            "longer than 800",
        );
        catches("client/src/a/mod.rs", "//! A file.\n", "never `mod.rs`");
        for word in UNFINISHED {
            catches("client/src/lib.rs", &format!("//! A file.\n// {word}\n"), "unfinished");
        }
        for word in LOCAL_PLACES {
            catches("docs/page.md", &format!("see {word}\n"), "only one machine");
        }
        catches("docs/page.md", "[gone](gone.md)\n", "leads somewhere");
        catches("docs/codes/TK9999.md", "a page\n", "docs/codes");
        catches("lib/src/lib.rs", "//! A file.\n", "top-level folders");
    }
}
