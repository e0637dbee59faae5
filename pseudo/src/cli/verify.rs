//! `pseudo verify`: whether what is signed is what was signed, offline; and the files too, where they can be reached.

use super::output::Output;
use crate::manifest::{Erasure, File, SIGNED_BYTES_MAX, Verdict};
use crate::revoked::{RevokedList, Trust};
use crate::s3::{Connection, Place, S3};
use crate::verify::{self, Checked, Folder, SAID_MAX};
use crate::{PseudoError, files};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A manifest, the release.json of a released export, or a certificate of erasure
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    #[command(flatten)]
    known: Known,
    /// A folder with the export's files, to check them as well
    #[arg(long, value_name = "DIR", conflicts_with = "at")]
    folder: Option<PathBuf>,
    /// The export's folder in a bucket, to check its files there
    #[arg(long, value_name = "S3://BUCKET/PREFIX/EXPORT", value_parser = Place::parse)]
    at: Option<Place>,
    #[command(flatten)]
    connection: Connection,
}

/// Whose word counts.
#[derive(Debug, Args)]
pub(super) struct Known {
    /// The service's public key, or a file of it
    #[arg(long, value_name = "KEY", env = "PSEUDO_PUBLIC_KEY")]
    key: String,
    /// The list of revoked operators, as the service gave it with its key
    #[arg(long, value_name = "FILE", env = "PSEUDO_REVOKED")]
    revoked: Option<PathBuf>,
}

impl Known {
    /// Reads it.
    pub(super) fn trust(&self) -> Result<Trust, PseudoError> {
        trust(&self.key, self.revoked.as_deref())
    }

    /// Whether somebody who was revoked would be known.
    pub(super) fn has_list(&self) -> bool {
        self.revoked.is_some()
    }
}

/// Whose word counts under a key, and a list of who was revoked.
pub(super) fn trust(key: &str, revoked: Option<&Path>) -> Result<Trust, PseudoError> {
    let key = verify::public_key(key)?;
    match revoked {
        None => Ok(Trust::of(key)),
        Some(path) => Ok(Trust::with(key, RevokedList::read(path, key)?.0)),
    }
}

pub(super) fn run(arguments: &VerifyArguments, output: &Output) -> Result<(), PseudoError> {
    let trust = arguments.known.trust()?;
    let place = arguments.manifest.display().to_string();
    let most = usize::try_from(SIGNED_BYTES_MAX).unwrap_or(usize::MAX);
    let bytes = files::read_signed(&arguments.manifest, most)?;
    let checked = verify::check(&bytes, &trust).map_err(PseudoError::signed(&*place))?;
    let (kind, export, named, who): (_, _, Vec<&File>, _) = match &checked {
        Checked::Erasure(erasure) => return erased(erasure, output),
        Checked::Report(subjects) => {
            let value = json!({ "kind": "report", "signature": "right", "subjects": subjects });
            return output
                .either(value, || format!("the report on {subjects} people is signed as it should be\n"));
        }
        Checked::Deletion(deletion) => {
            let value = json!({ "kind": "deletion", "signature": "right", "record": deletion });
            return output.either(value, || {
                format!(
                    "the record of deletion of export {} is signed as it should be: begun at {}, due on {}\n",
                    deletion.export, deletion.begun, deletion.terms.delete_on
                )
            });
        }
        Checked::Manifest(manifest) => ("manifest", &manifest.export, manifest.files().collect(), None),
        Checked::Decision(decision, approver) => {
            let named =
                if decision.verdict == Verdict::Approved { decision.files().collect() } else { Vec::new() };
            ("decision", &decision.export, named, Some((decision.verdict, approver)))
        }
    };
    let connect = || S3::new(arguments.connection.clone(), arguments.connection.who()?);
    let s3 = arguments.at.as_ref().map(|_| connect()).transpose()?;
    let folder = match (&arguments.folder, &arguments.at, &s3) {
        (Some(folder), ..) => Some(Folder::Here(folder.clone())),
        (None, Some(at), Some(s3)) => Some(Folder::There(s3, at.clone())),
        _ => None,
    };
    let wrong = folder.as_ref().map(|folder| verify::files(folder, named.iter().copied())).transpose()?;
    if let Some(wrong) = wrong.as_ref().filter(|wrong| !wrong.is_empty()) {
        let said = wrong.iter().take(SAID_MAX).cloned().collect::<Vec<_>>().join("; ");
        let problem = format!("the signature is right, the files are not: {said}");
        return Err(PseudoError::Signed { place, problem });
    }
    let is_checked = wrong.is_some();
    let verdict = who.map(|(verdict, _)| verdict);
    let value = json!({
        "kind": kind,
        "export": export,
        "verdict": verdict,
        "approved_by": who.map(|(_, by)| by),
        "signature": "right",
        "files": named.len(),
        "files_checked": is_checked,
    });
    output.either(value, || {
        let checked = if is_checked { "and they are as signed" } else { "which were not looked at" };
        format!(
            "the {kind} of export {export} is signed as it should be; it names {} files, {checked}\n",
            named.len()
        )
    })
}

fn erased(erasure: &Erasure, output: &Output) -> Result<(), PseudoError> {
    let value = json!({ "kind": "erasure", "signature": "right", "certificate": erasure });
    output.either(value, || {
        format!(
            "the certificate of erasure is signed as it should be: {} of {} people erased at {}, asked by {}, agreed to by {}\n{}",
            erasure.erased,
            erasure.asked,
            erasure.completed,
            erasure.requester,
            erasure.approvers.join(", "),
            erasure.not_destroyed()
        )
    })
}
