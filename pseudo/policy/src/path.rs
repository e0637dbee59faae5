//! The place of a field: `$.user.email`, or `$['first name']` where a name has other characters than letters, digits, `_`, `-`.
//!
//! The form is that of RFC 9535, names alone: a policy is a closed list, so there is nothing to search for.

use std::fmt;

/// Names in one path: deeper records are a sign of something that is not understood.
pub const PATH_SEGMENTS_MAX: usize = 16;
/// One name, bytes.
const NAME_BYTES_MAX: usize = 256;

/// Where a field is in a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut rest = text.strip_prefix('$').ok_or("a path begins with $")?;
        let mut names = Vec::new();
        while !rest.is_empty() {
            let (name, after) = match rest.strip_prefix("['") {
                Some(quoted) => quoted.split_once("']").ok_or("a name in brackets ends with ']")?,
                None => {
                    let named =
                        rest.strip_prefix('.').ok_or("names follow a dot or stand in ['brackets']")?;
                    named.split_at(named.find(|letter| !is_plain(letter)).unwrap_or(named.len()))
                }
            };
            names.push(name.to_owned());
            rest = after;
        }
        Self::new(names)
    }

    /// A path of these names.
    pub fn new(names: Vec<String>) -> Result<Self, &'static str> {
        if names.is_empty() || names.len() > PATH_SEGMENTS_MAX {
            return Err("a path has 1 to 16 names");
        }
        let sane = |name: &String| {
            let characters =
                name.chars().all(|letter| !letter.is_control() && !matches!(letter, '\'' | '"' | '\\'));
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && characters
        };
        if !names.iter().all(sane) {
            return Err("a name has 1 to 256 bytes, without quotes, backslashes and control characters");
        }
        Ok(Self(names))
    }

    /// The names, outermost first.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The names joined by dots: what a column of a flat format is called.
    pub fn column(&self) -> String {
        self.0.join(".")
    }

    /// Whether this is within the other, or the other itself.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for name in &self.0 {
            if name.chars().all(is_plain) { write!(f, ".{name}")? } else { write!(f, "['{name}']")? }
        }
        Ok(())
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["$.user.email", "$['first name']", "$.a['b.c'].d", "$.größe"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("$['plain']").unwrap().to_string(), "$.plain");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let deep = format!("${}", ".a".repeat(17));
        for text in ["", "$", "user", "$.", "$..a", "$.a b", "$['a", "$['']", "$.a[0]", "$['a\"b']", &deep] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
