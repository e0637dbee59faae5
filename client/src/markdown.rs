//! Pages of evidence for people: tables, and words of others that do nothing.

use std::fmt::Write;

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
