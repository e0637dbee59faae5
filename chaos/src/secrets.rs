//! Searches files and captured traffic for planted plaintext and keys, in the forms in which they could leak.
//!
//! A needle is looked for as raw bytes, in hexadecimal of either case and in base64 at each of its three alignments, because logs and JSON
//! seldom hold raw bytes. A leak in another encoding would go unseen; the planted needles are long enough that a hit is no accident.

use std::path::{Path, PathBuf};

use crate::fault::files_below;
use crate::sign::hexadecimal;
use crate::trouble::{Outcome, Trouble};

/// The shortest needle: shorter ones would be found by accident in gigabytes of ciphertext.
pub const NEEDLE_BYTES_MIN: usize = 12;

/// A secret that must be nowhere.
#[derive(Debug, Clone)]
pub struct Needle {
    /// What it is, for the report.
    pub name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

/// A place where a needle was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// What leaked.
    pub needle: String,
    /// In which form.
    pub form: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: usize,
}

impl Needle {
    /// A needle with all the forms it is looked for in.
    pub fn new(name: &str, secret: &[u8]) -> Self {
        assert!(secret.len() >= NEEDLE_BYTES_MIN, "a needle this short is found by accident");
        let hex = hexadecimal(secret);
        let mut forms = vec![
            ("raw", secret.to_vec()),
            ("hexadecimal", hex.clone().into_bytes()),
            ("hexadecimal", hex.to_uppercase().into_bytes()),
            ("list of bytes", list_of_bytes(secret)),
        ];
        forms.extend((0..3).map(|skip| ("base64", base64_inner(&secret[skip..]))));
        Needle { name: name.to_owned(), forms }
    }
}

/// Searches every file below a folder.
pub fn search_folder(folder: &Path, needles: &[Needle]) -> Outcome<Vec<Leak>> {
    let mut leaks = Vec::new();
    for path in files_below(folder)? {
        leaks.extend(search_file(&path, needles)?);
    }
    Ok(leaks)
}

/// Searches one file.
pub fn search_file(path: &Path, needles: &[Needle]) -> Outcome<Vec<Leak>> {
    let bytes = std::fs::read(path).map_err(|error| Trouble::file("read", path, &error))?;
    let mut leaks = Vec::new();
    for needle in needles {
        for (form, wanted) in &needle.forms {
            if let Some(offset) = find(&bytes, wanted) {
                leaks.push(Leak { needle: needle.name.clone(), form, path: path.to_owned(), offset });
            }
        }
    }
    Ok(leaks)
}

/// The first place of a needle: candidates by their first byte, which is quick enough for the test's few hundred megabytes.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, second) = (*wanted.first()?, *wanted.get(1)?);
    let last_start = bytes.len().checked_sub(wanted.len())?;
    let mut start = 0;
    while start <= last_start {
        let step = bytes[start..=last_start].iter().position(|byte| *byte == first)?;
        start += step;
        if bytes[start + 1] == second && bytes[start..].starts_with(wanted) {
            return Some(start);
        }
        start += 1;
    }
    None
}

/// Bytes as a debug print of an array shows them.
fn list_of_bytes(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes()
}

/// Base64 of the whole groups of three bytes: what stays the same whatever follows.
fn base64_inner(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_secret_is_found_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"the quick brown planted secret";
        let needle = Needle::new("secret", secret);
        let base64 = "eHRoZSBxdWljayBicm93biBwbGFudGVkIHNlY3JldA==";
        let planted = [
            ("raw", [b"padding".as_slice(), secret].concat()),
            ("hex", hexadecimal(secret).into_bytes()),
            ("debug", format!("{secret:?}").into_bytes()),
            ("base64", format!("{{\"value\":\"{base64}\"}}").into_bytes()),
        ];
        for (name, bytes) in planted {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("file"), bytes).unwrap();
            let leaks = search_folder(&folder.path().join(name), std::slice::from_ref(&needle)).unwrap();
            assert_eq!(leaks.len(), 1, "{name}: {leaks:?}");
        }
    }

    #[test]
    fn clean_files_have_no_leak() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"the quick brown fox").unwrap();
        let needle = Needle::new("secret", b"the quick brown planted secret");
        assert!(search_folder(folder.path(), &[needle]).unwrap().is_empty());
    }
}
