//! The policies that files are measured under: the fields of a print job, five of them to tokens, or all as they are.

use std::fmt::Write;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// The domain whose key the tokens are made under.
pub const DOMAIN: &str = "bench";

/// What becomes of a field.
enum Rule {
    /// A token of this class.
    Token(&'static str),
    Drop,
    /// The value as it is, in a column of this type.
    Keep(&'static str),
}

/// The fields of a print job, in the order of its record.
const FIELDS: [(&str, Rule); 15] = [
    ("job.id", Rule::Token("job")),
    ("job.title", Rule::Drop),
    ("job.pages", Rule::Keep("integer")),
    ("job.colour", Rule::Keep("boolean")),
    ("job.media", Rule::Keep("text")),
    ("user.email", Rule::Token("person.email")),
    ("user.login", Rule::Token("person.login")),
    ("user.department", Rule::Keep("text")),
    ("client.host", Rule::Token("host")),
    ("client.agent", Rule::Keep("text")),
    ("device.serial", Rule::Token("device")),
    ("device.model", Rule::Keep("text")),
    ("device.firmware", Rule::Keep("text")),
    ("state", Rule::Keep("text")),
    ("note", Rule::Keep("text")),
];

/// Names of the columns in flat formats.
pub fn columns() -> Vec<&'static str> {
    FIELDS.iter().map(|(path, _)| *path).collect()
}

/// Names of the columns that become tokens.
pub fn token_columns() -> Vec<&'static str> {
    FIELDS.iter().filter(|(_, rule)| matches!(rule, Rule::Token(_))).map(|(path, _)| *path).collect()
}

/// Five tokens; the rest is kept or dropped. The output has the input's format.
pub fn five_tokens(format: Format, shuffles: bool) -> String {
    let mut text = head(format, format, shuffles);
    for (path, rule) in &FIELDS {
        let treated = match rule {
            Rule::Token(class) => format!("technique = \"prf\"\nclass = \"{class}\""),
            Rule::Drop => "technique = \"drop\"".to_owned(),
            Rule::Keep(kind) => format!("technique = \"keep\"\ntype = \"{kind}\"\n{REASON}"),
        };
        field(path, &treated, &mut text);
    }
    text
}

/// Every field as it is, from one format to another.
pub fn keep_all(from: Format, to: Format) -> String {
    let mut text = head(from, to, false);
    for (path, rule) in &FIELDS {
        let kind = if let Rule::Keep(kind) = rule { kind } else { "text" };
        field(path, &format!("technique = \"keep\"\ntype = \"{kind}\"\n{REASON}"), &mut text);
    }
    text
}

/// These people do not exist.
const REASON: &str = "because = \"made up\"";

fn field(path: &str, treated: &str, text: &mut String) {
    // writing into memory does not fail
    let _ = writeln!(text, "\n[[field]]\npath = \"$.{path}\"\n{treated}");
}

fn head(from: Format, to: Format, shuffles: bool) -> String {
    // tables are kept packed, lines are packed by whoever sends them
    let packed = if to == Format::Parquet { "compression = \"zstd\"\n" } else { "" };
    let (from, to) = (from.name(), to.name());
    format!(
        "policy = \"bench\"\nversion = 1\ndomain = \"{DOMAIN}\"\npurpose = \"measuring\"\nlegal_basis = \"none\"\nowner = \"nobody\"\n\
         unknown_field = \"stop\"\n\n[source]\nformat = \"{from}\"\n\n[target]\nformat = \"{to}\"\n{packed}shuffle = {shuffles}\n\n\
         [retention]\nanonymise_after = \"P1M\"\ndelete_after = \"P2M\"\n\n\
         [gate]\nquasi_identifiers = [\"$.user.department\"]\nk = 2\n"
    )
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_every_field_once_and_makes_five_tokens() {
        let text = five_tokens(Format::Ndjson, false);
        for column in columns() {
            assert_eq!(text.matches(&format!("path = \"$.{column}\"\n")).count(), 1, "{column}");
        }
        assert_eq!((text.matches("\"prf\"").count(), token_columns().len()), (5, 5));
        assert!(!keep_all(Format::Ndjson, Format::Parquet).contains("prf"));
    }
}
