//! `pseudo lint`: what is wrong with a policy.

use super::output::Output;
use crate::PseudoError;
use clap::Args;
use policy::{Profile, Severity};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};

pub(super) use crate::policies::read;

/// Records of a sample: enough to see what fields hold.
pub(super) const SAMPLE_RECORDS: u64 = 20_000;

#[derive(Debug, Args)]
pub(super) struct LintArguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// A file that the policy is meant for
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// How many records of it to look at
    #[arg(long, value_name = "NUMBER", default_value_t = SAMPLE_RECORDS)]
    records: u64,
}

pub(super) fn run(arguments: &LintArguments, output: &Output) -> Result<(), PseudoError> {
    let policy = read(&arguments.policy)?;
    let sample =
        |path: &PathBuf| profile(path, policy.source.format, policy.source.delimiter, arguments.records);
    let profile = arguments.sample.as_ref().map(sample).transpose()?;
    let findings = policy.lint(profile.as_ref());
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
            json!({ "severity": severity, "rule": finding.rule, "place": finding.place, "problem": finding.problem })
        })
        .collect();
    let hash = policy.hash_text();
    output.either(
        json!({ "policy": policy.name, "hash": hash, "errors": errors, "findings": rows }),
        || {
            let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
            format!(
                "{lines}{}: {errors} errors, {} warnings, sha256 {hash}\n",
                policy.name,
                findings.len() - errors
            )
        },
    )?;
    if errors == 0 { Ok(()) } else { Err(PseudoError::Unsound { path: arguments.policy.clone(), errors }) }
}

/// What a sample says about its fields.
pub(super) fn profile(
    path: &Path,
    format: policy::Format,
    delimiter: u8,
    records: u64,
) -> Result<Profile, PseudoError> {
    let file = File::open(path).map_err(PseudoError::file("reading", path))?;
    pipeline::profile(file, format, delimiter, records).map_err(|source| PseudoError::Run { source })
}
