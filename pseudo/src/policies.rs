//! Policies in files, read and found fit to run.

use crate::keys::hex;
use crate::{PseudoError, files};
use policy::{POLICY_BYTES_MAX, Policy, Severity};
use std::path::Path;

/// Reads a policy.
pub(crate) fn read(path: &Path) -> Result<Policy, PseudoError> {
    let text = files::read_text(path, POLICY_BYTES_MAX)?;
    Policy::parse(&text).map_err(|source| PseudoError::Policy { path: path.to_owned(), source })
}

/// The hash of a policy as manifests have it, also of one that this release does not take any more.
pub(crate) fn sha256(path: &Path) -> Result<String, PseudoError> {
    let text = files::read_text(path, POLICY_BYTES_MAX)?;
    Ok(hex(&Policy::hash_of(&text)))
}

/// Reads a policy that something is to run under: the linter finds no error in it.
pub(crate) fn sound(path: &Path) -> Result<Policy, PseudoError> {
    let policy = read(path)?;
    let errors = policy.lint(None).into_iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors == 0 {
        return Ok(policy);
    }
    let problem = format!("{}: the policy has {errors} errors", path.display());
    Err(PseudoError::usage(problem, "`pseudo lint` says which; nothing runs before they are mended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_that_of_its_policy() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/tests/fixtures/printjobs.toml");
        assert_eq!(sha256(&path).unwrap(), read(&path).unwrap().hash_text());
    }
}
