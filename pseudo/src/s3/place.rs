//! Where objects are: `s3://bucket/prefix`.

use std::fmt;

/// A bucket, and what the names of objects begin with. Empty, or parts without a slash at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Whether it was written with a slash at its end: everything below, not one object.
    pub(crate) is_folder: bool,
}

impl Place {
    /// Reads `s3://bucket/prefix`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or("a place is written s3://bucket/prefix")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(bucket, prefix)
    }

    pub(crate) fn new(bucket: &str, prefix: &str) -> Result<Self, String> {
        let is_sane = bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if bucket.is_empty() || bucket.len() > 255 || !is_sane {
            return Err("a bucket's name has letters, digits, dots and hyphens".to_owned());
        }
        let is_folder = prefix.is_empty() || prefix.ends_with('/');
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("a prefix has no empty parts and none that are . or ..".to_owned());
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), is_folder })
    }

    /// What is called so below this place.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// The folder of this name below this place.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self { bucket: self.bucket.clone(), prefix: self.key(name), is_folder: true }
    }

    /// Whether all that is here is also there.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let rest = self.prefix.strip_prefix(&other.prefix);
        let whole_parts = |rest: &str| other.prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
        self.bucket == other.bucket && rest.is_some_and(whole_parts)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_what_lies_within_another_is_known() {
        let place = |text| Place::parse(text).unwrap();
        assert_eq!(place("s3://b/a/c/").key("x"), "a/c/x");
        assert_eq!((place("s3://b").key("x"), place("s3://b").is_folder), ("x".into(), true));
        assert!(!place("s3://b/a/c").is_folder);
        for (inner, outer, is_within) in [
            ("s3://b/a/c", "s3://b/a", true),
            ("s3://b/a", "s3://b/a/", true),
            ("s3://b/ab", "s3://b/a", false),
            ("s3://b/a", "s3://b", true),
            ("s3://c/a", "s3://b", false),
            ("s3://b", "s3://b/a", false),
        ] {
            assert_eq!(place(inner).is_within(&place(outer)), is_within, "{inner} {outer}");
        }
        for wrong in ["b/a", "s3://", "s3://b//a", "s3://b/../a", "s3://b?/a", "s3:///a"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
