//! Checking what is signed about an export, and its files where they can be reached.

use crate::keys::{hex, unhex};
use crate::manifest::{
    DECISION, DELETION, Decision, Deletion, Erasure, File, MANIFEST, Manifest, ORDER, RELEASE, VERSION,
    version_of,
};
use crate::operators;
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::signed::{self, Kind, Refused};
use crate::{PseudoError, files};
use custody::PublicKey;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A public key in a file, with as much space as anyone leaves, bytes.
const KEY_TEXT_BYTES_MAX: usize = 4096;
/// Hashed at once, bytes.
const READ_BYTES: usize = 64 << 10;
/// Files looked at in a folder, at most.
const FILES_MAX: usize = 1_000_000;
/// Files that are said one by one; of more the number is said.
pub(crate) const SAID_MAX: usize = 20;

/// What a signed file turned out to be.
pub(crate) enum Checked {
    /// A manifest, signed by the service.
    Manifest(Box<Manifest>),
    /// A decision, signed by an operator whom the service vouches for and who is not the maker.
    Decision(Box<Decision>, String),
    /// A certificate of erasure, signed by the service.
    Erasure(Box<Erasure>),
    /// A report on people, signed by the service: how many they are.
    Report(usize),
    /// That an export is deleted, signed by the service.
    Deletion(Box<Deletion>),
}

/// Where the files of an export may be.
pub(crate) enum Folder<'a> {
    Here(PathBuf),
    There(&'a S3, Place),
}

/// A public key: its digits, or a file of them.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, PseudoError> {
    let given = |text: &str| unhex(text.trim()).map(PublicKey);
    if let Some(key) = given(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let content = files::read_text(path, KEY_TEXT_BYTES_MAX)?;
    given(&content).ok_or_else(|| PseudoError::table(path, "not 64 digits of hexadecimal: no public key"))
}

/// Checks a manifest or a decision by itself: nothing but the service's public key is needed.
pub(crate) fn check(bytes: &[u8], trust: &Trust) -> Result<Checked, Refused> {
    let service = trust.key;
    match manifest(bytes, service) {
        // a signature of one kind is none of another, so it may still be a decision
        Err(Refused::Signature(_) | Refused::Unknown(_)) => {}
        done => return done.map(|manifest| Checked::Manifest(Box::new(manifest))),
    }
    match decision(bytes, service) {
        Ok((decision, approver)) => {
            let (_, key) = operators::vouched(&decision.approver, service)?;
            return match trust.revoked(key).filter(|_| !trust.stands(key, bytes)) {
                Some(revoked) => Err(Refused::Revoked("decision", revoked.revoked.clone())),
                None => Ok(Checked::Decision(Box::new(decision), approver)),
            };
        }
        Err(Refused::Signature(_)) => {}
        Err(refused) => return Err(refused),
    }
    match signed::open_by::<Erasure>(Kind::Erasure, bytes, service) {
        Ok(erasure) if erasure.version == VERSION => return Ok(Checked::Erasure(Box::new(erasure))),
        Ok(_) => return Err(Refused::Unknown("certificate of erasure")),
        Err(Refused::Signature(_)) => {}
        Err(refused) => return Err(refused),
    }
    match signed::open_by::<Deletion>(Kind::Deletion, bytes, service) {
        Ok(deletion) if deletion.version == version_of(&deletion.replaced_by, &deletion.planted, &None) => {
            return Ok(Checked::Deletion(Box::new(deletion)));
        }
        Ok(_) => return Err(Refused::Unknown("record of deletion")),
        Err(Refused::Signature(_)) => {}
        Err(refused) => return Err(refused),
    }
    match signed::open_by::<serde_json::Value>(Kind::Report, bytes, service) {
        Ok(report) => Ok(Checked::Report(report["subjects"].as_array().map_or(0, Vec::len))),
        Err(Refused::Signature(_)) => {
            Err(Refused::Signature("manifest, decision, certificate, report or record"))
        }
        Err(refused) => Err(refused),
    }
}

/// A manifest that the service signed, made by somebody it vouches for.
pub(crate) fn manifest(bytes: &[u8], service: PublicKey) -> Result<Manifest, Refused> {
    let manifest: Manifest = signed::open_by(Kind::Manifest, bytes, service)?;
    if manifest.version != version_of(&manifest.replaces, &manifest.planted, &manifest.fitted) {
        return Err(Refused::Unknown("manifest"));
    }
    operators::vouched(&manifest.maker, service)?;
    Ok(manifest)
}

/// A decision, and who took it: an operator whom the service vouches for, and another than who made the export.
pub(crate) fn decision(bytes: &[u8], service: PublicKey) -> Result<(Decision, String), Refused> {
    let (decision, key): (Decision, PublicKey) = signed::open(Kind::Decision, bytes)?;
    if decision.version != version_of(&decision.replaces, &decision.planted, &decision.fitted) {
        return Err(Refused::Unknown("decision"));
    }
    let (approver, approver_key) = operators::vouched(&decision.approver, service)?;
    let (maker, maker_key) = operators::vouched(&decision.maker, service)?;
    if key != approver_key || approver == maker || approver_key == maker_key {
        return Err(Refused::OtherKey("decision"));
    }
    Ok((decision, approver))
}

/// What is wrong with the files: missing ones, changed ones, and ones that nobody named. One sentence each.
pub(crate) fn files<'a>(
    folder: &Folder<'_>,
    named: impl Iterator<Item = &'a File>,
) -> Result<Vec<String>, PseudoError> {
    let mut wrong = Vec::new();
    let mut known: HashSet<String> =
        [ORDER, MANIFEST, DECISION, RELEASE, DELETION].into_iter().map(str::to_owned).collect();
    for file in named {
        known.insert(file.name.clone());
        if !is_sane(&file.name) {
            wrong.push("a file is named that would lie outside the folder".to_owned());
            continue;
        }
        match folder.hash(&file.name)? {
            None => wrong.push(format!("{} is missing", file.name)),
            Some((bytes, _)) if bytes != file.bytes => {
                wrong.push(format!("{} has {bytes} bytes, signed were {}", file.name, file.bytes));
            }
            Some((_, sha256)) if sha256 != file.sha256 => {
                wrong.push(format!("{} has other content than was signed", file.name));
            }
            Some(_) => {}
        }
    }
    let others = folder.names()?.iter().filter(|name| !known.contains(*name)).count();
    if others > 0 {
        wrong.push(format!("{others} files are in the folder that nobody signed"));
    }
    Ok(wrong)
}

/// Whether a name stays within the folder.
fn is_sane(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains('\\')
}

impl Folder<'_> {
    /// Bytes and SHA-256 of a file; `None` when it is not there.
    fn hash(&self, name: &str) -> Result<Option<(u64, String)>, PseudoError> {
        match self {
            Self::Here(folder) => {
                let path = folder.join(name);
                match fs::File::open(&path) {
                    Ok(file) => hash(file).map(Some).map_err(PseudoError::file("reading", &path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(PseudoError::file("reading", &path)(error)),
                }
            }
            Self::There(s3, place) => {
                let key = place.key(name);
                let Some(pin) = s3.pin(&place.bucket, &key)? else { return Ok(None) };
                let hashed = hash(s3.read(&place.bucket, &key, &pin)?);
                hashed.map(Some).map_err(|error| PseudoError::Store {
                    place: name.to_owned(),
                    problem: error.to_string(),
                })
            }
        }
    }

    /// Names of everything in the folder.
    fn names(&self) -> Result<Vec<String>, PseudoError> {
        match self {
            Self::Here(folder) => {
                let mut names = Vec::new();
                below(folder, folder, &mut names)?;
                Ok(names)
            }
            Self::There(s3, place) => {
                let prefix = place.key("");
                let keys = s3.list(place, FILES_MAX)?;
                Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect())
            }
        }
    }
}

fn below(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<(), PseudoError> {
    for entry in fs::read_dir(folder).map_err(PseudoError::file("listing", folder))? {
        let entry = entry.map_err(PseudoError::file("listing", folder))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(PseudoError::file("listing", folder))?);
        if kind.is_dir() {
            below(root, &path, names)?;
        } else if names.len() < FILES_MAX {
            let name = path.strip_prefix(root).unwrap_or(&path);
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Bytes and SHA-256 of all that can be read.
pub(crate) fn hash(mut reader: impl Read) -> io::Result<(u64, String)> {
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&hasher.finalize()))),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
