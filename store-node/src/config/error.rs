//! What is wrong with a configuration file: where, which key, what to do.

use super::keys;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: the configuration cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is far too long to be a configuration.
    #[error("{}: longer than {limit} bytes, not a configuration", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most it may have.
        limit: u64,
    },
    /// A key or value that is not accepted.
    #[error("{}:{line}: {key}: {problem}; {advice}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The line, from 1; the first line when the key is missing.
        line: usize,
        /// The key, dotted.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// Not TOML.
    #[error("{}:{line}: {problem}; correct the TOML syntax there", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    /// A key whose value (or absence) is not accepted.
    pub(super) fn key(path: &Path, text: &str, key: &str, problem: &str, advice: &str) -> Self {
        Self::Key {
            path: path.to_owned(),
            line: line_of_key(text, key),
            key: key.to_owned(),
            problem: problem.to_owned(),
            advice: advice.to_owned(),
        }
    }

    /// What the TOML reader complains about, in our words.
    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
        let message = error.message();
        let found = key_on_line(text, line);
        let quoted = |prefix: &str| {
            message.strip_prefix(prefix).and_then(|rest| rest.split('`').next()).map(str::to_owned)
        };
        if let Some(unknown) = quoted("unknown field `") {
            let key = join(&section_at(text, line, &unknown), &unknown);
            let advice = match keys::nearest(&key) {
                Some(near) => format!("did you mean {near}? `store-node config list` shows all keys"),
                None => "`store-node config list` shows all keys".to_owned(),
            };
            return Self::Key { path: path.to_owned(), line, key, problem: "unknown key".into(), advice };
        }
        if let Some(missing) = quoted("missing field `") {
            let key = join(&section_at(text, line, &missing), &missing);
            let advice =
                keys::find(&key).map_or_else(String::new, |doc| format!("add {}", doc.example_line()));
            return Self::Key { path: path.to_owned(), line, key, problem: "missing".into(), advice };
        }
        match found.and_then(|key| keys::find(&key)) {
            Some(doc) => Self::Key {
                path: path.to_owned(),
                line,
                key: doc.key.to_owned(),
                problem: message.to_owned(),
                advice: format!("it takes {}, for example {}", doc.kind, doc.example_line()),
            },
            None => Self::Syntax { path: path.to_owned(), line, problem: message.replace('\n', " ") },
        }
    }
}

/// The line that sets `key`, or 1 when none does.
fn line_of_key(text: &str, key: &str) -> usize {
    (1..=text.lines().count()).find(|&line| key_on_line(text, line).as_deref() == Some(key)).unwrap_or(1)
}

/// The dotted key that a line sets, if it sets one.
fn key_on_line(text: &str, line: usize) -> Option<String> {
    let (name, _) = text.lines().nth(line.checked_sub(1)?)?.split_once('=')?;
    let name = name.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (!name.is_empty() && name.bytes().all(plain)).then(|| join(&header_at(text, line), name))
}

/// The table that line belongs to by the last `[header]` above it.
fn header_at(text: &str, line: usize) -> String {
    let headers = text.lines().take(line).filter_map(|line| {
        line.trim()
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
            .map(|name| name.trim().to_owned())
    });
    headers.last().unwrap_or_default()
}

/// As [`header_at`], but an unknown or missing name on a header line belongs to the table around it.
fn section_at(text: &str, line: usize, name: &str) -> String {
    let header = header_at(text, line);
    match header.strip_suffix(name) {
        Some(outer) if outer.is_empty() || outer.ends_with('.') => outer.trim_end_matches('.').to_owned(),
        _ => match key_on_line(text, line)
            .and_then(|key| key.rsplit_once('.').map(|(table, _)| table.to_owned()))
        {
            Some(table) => table,
            None => header,
        },
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
