//! Pages of evidence for people: how each begins and ends, tables, and words of others that do nothing.

use crate::clock::utc;
use std::fmt::Write;
use wire::UnixMillis;

/// The beginning of a page: which run it is of, how that ended, and why.
pub(crate) fn page(kind: &str, run: &str, verdict: &str, reasons: &[String]) -> String {
    let mut text = format!("# {kind} {run}: {verdict}\n\n");
    for reason in reasons {
        let _ = writeln!(text, "- {}", plain(reason));
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    text
}

/// The table of what a run was.
pub(crate) fn facts(text: &mut String, facts: impl IntoIterator<Item = (&'static str, String)>) {
    rows(text, &["", ""], facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
}

/// The end of that table: who carried the run out, under which release, when it began and ended, and how.
pub(crate) fn conduct(
    (operator, release): (&str, &str),
    (began_at, ended_at): (UnixMillis, UnixMillis),
    exit_code: u8,
) -> [(&'static str, String); 5] {
    [
        ("carried out by", operator.to_owned()),
        ("release", release.to_owned()),
        ("began", utc(began_at)),
        ("ended", utc(ended_at)),
        ("exit code", exit_code.to_string()),
    ]
}

/// The end of a page: how it is checked, and what else is in the report.
pub(crate) fn checking(text: &mut String, more: &str) {
    text.push_str("\n## Checking this\n\n`twinkeep drill verify FOLDER` says whether `report.json` and this page are as they were signed, by whom, and when.");
    text.push_str(more);
    text.push('\n');
}

/// A table.
pub(crate) fn rows(text: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |", heads.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(heads.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// Words of others (names of objects, answers of servers) on one line, without what Markdown or a terminal would act on.
pub(crate) fn plain(words: &str) -> String {
    words.chars().fold(String::new(), |mut text, letter| {
        match letter {
            '|' | '<' | '[' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            letter if letter.is_control() => text.extend(letter.escape_default()),
            letter => text.push(letter),
        }
        text
    })
}
