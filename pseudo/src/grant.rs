//! Grants: what somebody may learn or erase, once other people have signed that they agree.
//!
//! A request names the tokens or people it is about, so that those who agree know what they agree to and a grant opens nothing else. The rules
//! are in [`rules`]; they are given the time and the log, and have no other source.

pub(crate) mod rules;

use crate::keys::hex;
use crate::manifest::VERSION;
use crate::operators;
use crate::signed::{self, Kind, Refused};
use crate::{PseudoError, files};
use custody::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Anything signed about a grant, bytes: a thousand tokens with room.
const GRANT_BYTES_MAX: usize = 256 << 10;
const REQUEST: &str = "request.json";
const FOLDER: &str = "grants";

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
    /// People, by the handles of the vault.
    pub(crate) people: Vec<String>,
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
    pub(crate) approvals: Vec<(Who, i64)>,
}

/// The folder of a grant.
pub(crate) fn folder(vault: &Path, grant: &str) -> Result<PathBuf, PseudoError> {
    let is_name = grant.len() == 16 && grant.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name {
        return Ok(vault.join(FOLDER).join(grant));
    }
    Err(PseudoError::usage(
        "this is not the name of a grant",
        "16 digits of hexadecimal, as `request` gave it",
    ))
}

/// Writes a request.
pub(crate) fn write_request(vault: &Path, grant: &str, sealed: &[u8]) -> Result<(), PseudoError> {
    let folder = folder(vault, grant)?;
    files::make_folder(&folder)?;
    files::write(&folder.join(REQUEST), sealed)
}

/// Writes an approval: one per person.
pub(crate) fn write_approval(vault: &Path, grant: &str, by: &str, sealed: &[u8]) -> Result<(), PseudoError> {
    files::write(&folder(vault, grant)?.join(format!("approval-{by}.json")), sealed)
}

/// Reads a grant.
pub(crate) fn read(vault: &Path, grant: &str, service: PublicKey) -> Result<Grant, PseudoError> {
    let folder = folder(vault, grant)?;
    if !folder.join(REQUEST).exists() {
        return Err(PseudoError::usage("there is no such grant", ""));
    }
    let bytes = files::read_signed(&folder.join(REQUEST), GRANT_BYTES_MAX)?;
    let place = format!("request of grant {grant}");
    let (request, requester) = open_request(&bytes, service).map_err(PseudoError::signed(&*place))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let wrong = |problem: &str| PseudoError::Signed { place: place.clone(), problem: problem.to_owned() };
    if request.grant != grant {
        return Err(wrong("it is the request of another grant"));
    }
    let mut approvals = Vec::new();
    for entry in
        fs::read_dir(&folder).map_err(PseudoError::file("listing", &folder))?.take(rules::APPROVALS_MAX)
    {
        let path = entry.map_err(PseudoError::file("listing", &folder))?.path();
        let is_approval = path.file_name().and_then(|name| name.to_str());
        if !is_approval.is_some_and(|name| name.starts_with("approval-") && name.ends_with(".json")) {
            continue;
        }
        let bytes = files::read_signed(&path, GRANT_BYTES_MAX)?;
        let place = path.display().to_string();
        let (approval, who) = open_approval(&bytes, service).map_err(PseudoError::signed(&*place))?;
        if approval.request_sha256 != sha256 || approval.grant != grant {
            let problem = "it is about another request".to_owned();
            return Err(PseudoError::Signed { place, problem });
        }
        approvals.push((who, approval.at));
    }
    Ok(Grant { request, sha256, requester, approvals })
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
