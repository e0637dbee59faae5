//! Policies in files, read and found fit to run.

use crate::{PseudoError, files};
use policy::{POLICY_BYTES_MAX, Policy, Severity};
use std::path::Path;

/// Reads a policy.
pub(crate) fn read(path: &Path) -> Result<Policy, PseudoError> {
    let text = files::read_text(path, POLICY_BYTES_MAX)?;
    Policy::parse(&text).map_err(|source| PseudoError::Policy { path: path.to_owned(), source })
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
