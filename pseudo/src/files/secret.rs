//! Files that are secret: keys, shares, passphrases, PINs, credentials. One that others may read, or that is another user's, is refused, whoever
//! made it: what protects a secret would else be less than its reader believes.

use super::{read_from, text};
use crate::PseudoError;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// What a file's mode allows others than its owner.
const GROUP_AND_OTHERS: u32 = 0o077;
const OTHERS: u32 = 0o007;
/// Where systemd puts a unit's credentials. It owns them itself and lets the unit's user read them by an access list, which their mode shows as
/// a group's right; nobody else gets into that folder.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// As [`super::read`], of a secret.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    let file = File::open(path).map_err(PseudoError::file("reading", path))?;
    check(&file, path)?;
    read_from(file, path, bytes_max)
}

/// As [`super::read_text`], of a secret.
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, PseudoError> {
    text(&read(path, bytes_max)?, path)
}

/// Refuses an open file that is not this user's alone.
pub(super) fn check(file: &File, path: &Path) -> Result<(), PseudoError> {
    let found = file.metadata().map_err(PseudoError::file("looking at", path))?;
    if is_handed_over(path, &found) {
        return Ok(());
    }
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    let own = rustix::process::geteuid().as_raw();
    let (problem, command) = if owner != own {
        (
            format!("it is a secret, and user {owner}'s"),
            format!("chown {own} {0} && chmod 600 {0}", shell(path)),
        )
    } else if mode & GROUP_AND_OTHERS != 0 {
        let problem =
            format!("it is a secret, and others than its owner may read or write it (mode {mode:03o})");
        (problem, format!("chmod 600 {}", shell(path)))
    } else {
        return Ok(());
    };
    let advice = format!("{command}; who could read it until now may have: make another one if that matters");
    Err(PseudoError::Exposed { path: path.to_owned(), problem, advice })
}

/// Whether systemd handed a file over to this program.
fn is_handed_over(path: &Path, found: &Metadata) -> bool {
    let Some(folder) = std::env::var_os(CREDENTIALS) else { return false };
    let (Ok(folder), Ok(path)) = (fs::canonicalize(folder), fs::canonicalize(path)) else { return false };
    found.mode() & OTHERS == 0 && path.starts_with(folder)
}

/// A path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_command_that_is_shown_can_be_pasted() {
        assert_eq!(shell(Path::new("/keys/share-1.txt")), "/keys/share-1.txt");
        assert_eq!(shell(Path::new("it's a key; rm")), "'it'\\''s a key; rm'");
    }

    #[test]
    fn every_bit_for_others_is_refused_and_none_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "text").unwrap();
        for mode in [0o600, 0o400, 0o640, 0o620, 0o604, 0o602, 0o644, 0o660, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_text(&path, 10);
            match mode {
                0o600 | 0o400 => assert_eq!(read.unwrap().as_str(), "text"),
                _ => assert!(read.unwrap_err().advice().starts_with("chmod 600 "), "{mode:o}"),
            }
        }
    }
}
