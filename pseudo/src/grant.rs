//! Grants: what somebody may learn or erase, once other people have signed that they agree.
//!
//! A request names the tokens or people it is about, so that those who agree know what they agree to and a grant opens nothing else. So it lies
//! where no backup reaches, in the places of the epoch table, and is destroyed once the grant is over: nothing that is left says whom it was
//! about. The rules are in [`rules`]; they are given the time and the log, and have no other source.

pub(crate) mod rules;

use crate::files::Folder;
use crate::journal::{Entry, Event};
use crate::keys::hex;
use crate::manifest::VERSION;
use crate::operators;
use crate::signed::{self, Kind, Refused};
use crate::{PseudoError, files};
use custody::PublicKey;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Anything signed about a grant, bytes: a thousand people in five forms each, with room.
pub(crate) const GRANT_BYTES_MAX: usize = 512 << 10;
/// Grants that wait in a place: a hundred people who ask as often as they may, for the eight days that a request lasts at most.
const GRANTS_MAX: usize = 200_000;
/// Files of a grant: its request and approvals, and what a kill left of them.
const FILES_MAX: usize = 10_000;
const REQUEST: &str = "request.json";

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// To learn who is behind tokens.
    Reidentify,
    /// To erase people.
    Erase,
    /// To learn what is held about a person.
    Report,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reidentify => "reidentify",
            Self::Erase => "erase",
            Self::Report => "report",
        }
    }
}

/// What somebody asks for. Signed by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) grant: String,
    pub(crate) vault: String,
    pub(crate) action: Action,
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) requester: String,
    pub(crate) policy: String,
    pub(crate) policy_sha256: String,
    pub(crate) purpose: String,
    pub(crate) reason: String,
    pub(crate) ticket: String,
    /// Tokens, as they stand in exports.
    pub(crate) tokens: Vec<String>,
    /// People, by the handles of the vault: one for each form that the policy gives their identifier.
    pub(crate) people: Vec<Vec<String>>,
    /// Random, so that the hash of a request that is gone cannot be found again by guessing whom it was about.
    pub(crate) nonce: String,
}

impl Request {
    /// Tokens and people.
    pub(crate) fn rows(&self) -> u64 {
        (self.tokens.len() + self.people.len()) as u64
    }
}

/// That somebody else agrees. Signed by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    pub(crate) version: u32,
    pub(crate) grant: String,
    /// Of the whole signed request.
    pub(crate) request_sha256: String,
    pub(crate) at: i64,
    pub(crate) approver: String,
}

/// A person, as a certificate has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) key: PublicKey,
}

/// A request and everybody who agreed, all signatures checked.
pub(crate) struct Grant {
    pub(crate) request: Request,
    pub(crate) sha256: String,
    pub(crate) requester: Who,
    /// Whose approval lies there; which of them count and since when is in the log.
    pub(crate) approvals: Vec<Who>,
}

/// Writes a request, in every place that answers.
pub(crate) fn write_request(places: &[PathBuf], grant: &str, sealed: &[u8]) -> Result<(), PseudoError> {
    write(places, grant, REQUEST, sealed)
}

/// Writes an approval: one per person.
pub(crate) fn write_approval(
    places: &[PathBuf],
    grant: &str,
    by: &str,
    sealed: &[u8],
) -> Result<(), PseudoError> {
    write(places, grant, &approval(by), sealed)
}

/// Reads a grant, if it is there. Whose approvals to look for is in the log: nothing else that lies there is looked at.
pub(crate) fn read(
    places: &[PathBuf],
    grant: &str,
    log: &[Entry],
    service: PublicKey,
) -> Result<Option<Grant>, PseudoError> {
    if !is_name(grant) {
        let advice = "16 digits of hexadecimal, as `request` gave it";
        return Err(PseudoError::usage("this is not the name of a grant", advice));
    }
    let request = first(places, grant, REQUEST, |bytes| {
        let (request, requester) = open_request(bytes, service)?;
        // in another grant's folder it would be used for what that one was agreed to
        let is_ours = request.grant == grant;
        if is_ours {
            Ok((request, requester, hex(&Sha256::digest(bytes))))
        } else {
            Err(Refused::Unknown("request"))
        }
    })?;
    let Some((request, requester, sha256)) = request else { return Ok(None) };
    let mut approvals: Vec<Who> = Vec::new();
    let agreed = |entry: &&Entry| {
        entry.event == Event::Approved
            && entry.said.grant.as_deref() == Some(grant)
            && entry.said.sha256.as_deref() == Some(&*sha256)
    };
    for entry in log.iter().filter(agreed) {
        if approvals.iter().any(|who| who.name == entry.who) {
            continue;
        }
        let found = first(places, grant, &approval(&entry.who), |bytes| {
            let (approval, who) = open_approval(bytes, service)?;
            let is_ours =
                approval.request_sha256 == sha256 && approval.grant == grant && who.name == entry.who;
            if is_ours { Ok(who) } else { Err(Refused::Unknown("approval")) }
        })?;
        approvals.extend(found);
    }
    Ok(Some(Grant { request, sha256, requester, approvals }))
}

/// Destroys a grant that is over.
pub(crate) fn remove(places: &[PathBuf], grant: &str) -> Result<(), PseudoError> {
    for place in places {
        if let Some(grants) = Folder::open(place)? {
            remove_folder(&grants, OsStr::new(grant), true)?;
        }
    }
    Ok(())
}

/// Destroys all grants of a place.
pub(crate) fn remove_all(place: &Path) -> Result<(), PseudoError> {
    let (Some(grants), Some(above), Some(name)) = (Folder::open(place)?, place.parent(), place.file_name())
    else {
        return Ok(());
    };
    for name in grants.names(GRANTS_MAX)? {
        remove_folder(&grants, &name, true)?;
    }
    Folder::open(above)?.map_or(Ok(()), |above| above.remove(name))
}

/// Destroys grants that are over, in places that did not answer then too. What lies among them and is nothing of a grant stops nobody.
pub(crate) fn sweep(places: &[PathBuf], log: &[Entry], now: i64) -> Result<(), PseudoError> {
    for place in places {
        let Some(grants) = Folder::open(place)? else { continue };
        for name in grants.names(GRANTS_MAX)? {
            if name.to_str().is_some_and(|name| is_name(name) && rules::is_over(log, name, now)) {
                remove_folder(&grants, &name, false)?;
            }
        }
    }
    Ok(())
}

fn is_name(grant: &str) -> bool {
    grant.len() == 16 && grant.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn approval(by: &str) -> String {
    format!("approval-{by}.json")
}

fn write(places: &[PathBuf], grant: &str, name: &str, sealed: &[u8]) -> Result<(), PseudoError> {
    for place in places {
        let folder = place.join(grant);
        files::make_folder(&folder)?;
        files::replace(&folder.join(name), sealed)?;
    }
    Ok(())
}

/// A file of a grant, from the first place where it is as it should be; nothing when it is in none.
fn first<T>(
    places: &[PathBuf],
    grant: &str,
    name: &str,
    open: impl Fn(&[u8]) -> Result<T, Refused>,
) -> Result<Option<T>, PseudoError> {
    let mut failed = None;
    for place in places {
        let path = place.join(grant).join(name);
        if !files::own::is_there(&path) {
            continue;
        }
        // a disk that fails under one place is what the others are for
        let read = files::own::read_signed(&path, GRANT_BYTES_MAX)
            .and_then(|bytes| open(&bytes).map_err(PseudoError::signed(path.display().to_string())));
        match read {
            Ok(found) => return Ok(Some(found)),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Destroys the folder of a grant with what belongs to one. Whoever can write a place can put anything there: a link in the stead of the folder or
/// of a file loses its name alone, and what is no file of a grant stays, which is an error if it must not.
fn remove_folder(grants: &Folder, grant: &OsStr, must_go: bool) -> Result<(), PseudoError> {
    match Folder::below(grants, grant) {
        Ok(None) => return Ok(()),
        Ok(Some(folder)) => {
            let mut foreign = None;
            for name in folder.names(FILES_MAX)? {
                match folder.kind(&name)? {
                    FileType::RegularFile if is_file_name(&name) => folder.wipe(&name)?,
                    FileType::RegularFile | FileType::Directory => foreign = Some(name),
                    _ => folder.unname(&name)?,
                }
            }
            if let Some(name) = foreign {
                let problem =
                    "this is no file of a grant: destroy it, or move it away if it is something else";
                let error = PseudoError::table(&folder.path().join(name), problem);
                return if must_go { Err(error) } else { Ok(()) };
            }
        }
        Err(error) if grants.kind(grant)? == FileType::Directory => return Err(error),
        Err(_) => return grants.unname(grant),
    }
    grants.remove(grant)
}

/// Whether a file of a grant is called so, or what a kill left of one.
fn is_file_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let is_approval =
        name.strip_prefix(b"approval-").is_some_and(|by| by.windows(5).any(|part| part == b".json"));
    is_approval || name.starts_with(REQUEST.as_bytes())
}

fn open_request(bytes: &[u8], service: PublicKey) -> Result<(Request, Who), Refused> {
    let (request, key): (Request, PublicKey) = signed::open(Kind::Request, bytes)?;
    let who = signer(&request.requester, key, service, "request")?;
    if request.version == VERSION { Ok((request, who)) } else { Err(Refused::Unknown("request")) }
}

fn open_approval(bytes: &[u8], service: PublicKey) -> Result<(Approval, Who), Refused> {
    let (approval, key): (Approval, PublicKey) = signed::open(Kind::Approval, bytes)?;
    let who = signer(&approval.approver, key, service, "approval")?;
    if approval.version == VERSION { Ok((approval, who)) } else { Err(Refused::Unknown("approval")) }
}

fn signer(certificate: &str, key: PublicKey, service: PublicKey, what: &'static str) -> Result<Who, Refused> {
    let (name, public) = operators::vouched(certificate, service)?;
    if public == key { Ok(Who { name, key }) } else { Err(Refused::OtherKey(what)) }
}
