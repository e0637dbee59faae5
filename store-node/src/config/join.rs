//! First start: unpacks the join token into the identity folder; every start: reads the identity back.
//!
//! The folder appears whole or not at all (written beside its place, flushed, renamed), readable by its owner only.
//! It is never overwritten: a process whose folder names another member stops, since two members must not share a
//! disk. Whether the region still admits the token is the region's decision, when the member first connects.

use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use wire::descriptor::{JoinToken, RegionDescriptor, TOKEN_TEXT_BYTES_MAX, TokenError, TokenRole};
use wire::{Incarnation, NodeId, RequestId};
use zeroize::Zeroizing;

use super::Config;

/// The region's descriptor.
pub const DESCRIPTOR: &str = "region.toml";
/// Certificate of the region's authority.
pub const AUTHORITY_CERTIFICATE: &str = "ca.pem";
/// The member's certificate.
pub const CERTIFICATE: &str = "member.pem";
/// The member's private key.
pub const PRIVATE_KEY: &str = "member.key";
/// Who the member is and which token admitted it.
pub const MEMBER: &str = "member.toml";
/// Certificate chain of the S3 endpoint (gateways).
pub const S3_CERTIFICATE: &str = "s3.pem";
/// Private key of the S3 endpoint (gateways).
pub const S3_PRIVATE_KEY: &str = "s3.key";
/// The sealed root key (gateways).
pub const ROOT_KEY: &str = "root.key";

/// A file of the identity folder, bytes: as the fields of a token.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who this process is in its region.
#[derive(Debug)]
pub struct MemberIdentity {
    /// Its folder.
    pub folder: PathBuf,
    /// Node or gateway, with its number.
    pub role: TokenRole,
    /// The token that admitted it.
    pub token: RequestId,
    /// The region as it was when the token was made.
    pub descriptor: RegionDescriptor,
}

impl MemberIdentity {
    /// Certificate of the region's authority, PEM.
    pub fn authority_certificate(&self) -> PathBuf {
        self.folder.join(AUTHORITY_CERTIFICATE)
    }

    /// The member's certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// The member's private key, PEM.
    pub fn private_key(&self) -> PathBuf {
        self.folder.join(PRIVATE_KEY)
    }
}

/// Why a process has no identity.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Neither an identity nor a token.
    #[error("{}: no identity there and no join_token_file; make a token with `twinkeep init` or `twinkeep node add`", folder.display())]
    NoToken {
        /// The identity folder.
        folder: PathBuf,
    },
    /// The token does not decode.
    #[error("the join token was refused")]
    Token(#[source] TokenError),
    /// The descriptor inside is not one.
    #[error("{what}: the region's descriptor was refused: {problem}")]
    Descriptor {
        /// Where it was read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The token is for a gateway, the configuration for a storage node, or the other way round.
    #[error("the token admits {role}, but the configuration has other roles; {advice}")]
    Role {
        /// Whom the token admits.
        role: TokenRole,
        /// What to do.
        advice: &'static str,
    },
    /// The folder belongs to someone else.
    #[error("{}: belongs to {found}, the token admits {wanted}; give this process its own data folder", folder.display())]
    OtherMember {
        /// The identity folder.
        folder: PathBuf,
        /// Whose it is.
        found: TokenRole,
        /// Whom the token admits.
        wanted: TokenRole,
    },
    /// A file could not be read or written.
    #[error("{}: {operation} failed", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The identity of the process that `config` describes; joins by token at first start.
pub fn identity(config: &Config) -> Result<MemberIdentity, JoinError> {
    let folder = &config.identity;
    if !folder.join(MEMBER).exists() {
        let Some(path) = &config.join_token_file else {
            return Err(JoinError::NoToken { folder: folder.clone() });
        };
        let text = read(path, TOKEN_TEXT_BYTES_MAX as u64)?;
        let token = JoinToken::parse(&text).map_err(JoinError::Token)?;
        check_roles(config, token.role, token.gateway.is_some())?;
        unpack_join_token(folder, token, config.roles.gateway)?;
    }
    let member = load(folder)?;
    check_roles(config, member.role, config.roles.gateway)?;
    Ok(member)
}

/// Writes the token's content as the identity folder; with the same token, a second time changes nothing.
/// Keys of a gateway are left out unless `with_gateway_files`, so that a storage node never has them on disk.
pub fn unpack_join_token(folder: &Path, token: JoinToken, with_gateway_files: bool) -> Result<(), JoinError> {
    parse_descriptor("the join token", &token.descriptor)?;
    if folder.join(MEMBER).exists() {
        let found = load(folder)?;
        if found.token == token.id {
            return Ok(());
        }
        return Err(JoinError::OtherMember {
            folder: folder.to_owned(),
            found: found.role,
            wanted: token.role,
        });
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    make_folder(parent)?;
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        // left by a start that was cut short before its rename
        fs::remove_dir_all(&fresh).map_err(|source| failed("removing", &fresh, source))?;
    }
    make_folder(&fresh)?;
    write(&fresh.join(DESCRIPTOR), token.descriptor.as_bytes())?;
    write(&fresh.join(AUTHORITY_CERTIFICATE), token.authority_certificate.as_bytes())?;
    write(&fresh.join(CERTIFICATE), token.certificate.as_bytes())?;
    write(&fresh.join(PRIVATE_KEY), token.private_key.as_bytes())?;
    if let Some(files) = token.gateway.as_ref().filter(|_| with_gateway_files) {
        write(&fresh.join(S3_CERTIFICATE), files.s3_certificate.as_bytes())?;
        write(&fresh.join(S3_PRIVATE_KEY), files.s3_private_key.as_bytes())?;
        if !files.sealed_root_key.is_empty() {
            write(&fresh.join(ROOT_KEY), &files.sealed_root_key)?;
        }
    }
    let member = toml::to_string(&MemberFile::new(&token))
        .map_err(|error| JoinError::Descriptor { what: MEMBER.to_owned(), problem: error.to_string() })?;
    write(&fresh.join(MEMBER), member.as_bytes())?;
    sync_folder(&fresh)?;
    fs::rename(&fresh, folder).map_err(|source| failed("renaming", folder, source))?;
    sync_folder(parent)
}

/// Reads an identity folder.
pub fn load(folder: &Path) -> Result<MemberIdentity, JoinError> {
    let path = folder.join(MEMBER);
    let member: MemberFile = toml::from_str(&read(&path, FILE_BYTES_MAX)?).map_err(|error| {
        JoinError::Descriptor { what: path.display().to_string(), problem: error.message().to_owned() }
    })?;
    let path = folder.join(DESCRIPTOR);
    let descriptor = parse_descriptor(&path.display().to_string(), &read(&path, FILE_BYTES_MAX)?)?;
    Ok(MemberIdentity { folder: folder.to_owned(), role: member.role(), token: member.token, descriptor })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberFile {
    token: RequestId,
    role: RoleFile,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum RoleFile {
    Node { id: NodeId, incarnation: Incarnation },
    Gateway { id: u16 },
}

impl MemberFile {
    fn new(token: &JoinToken) -> Self {
        let role = match token.role {
            TokenRole::Node { id, incarnation } => RoleFile::Node { id, incarnation },
            TokenRole::Gateway { id } => RoleFile::Gateway { id },
        };
        Self { token: token.id, role }
    }

    fn role(&self) -> TokenRole {
        match self.role {
            RoleFile::Node { id, incarnation } => TokenRole::Node { id, incarnation },
            RoleFile::Gateway { id } => TokenRole::Gateway { id },
        }
    }
}

fn check_roles(config: &Config, role: TokenRole, gateway_files: bool) -> Result<(), JoinError> {
    let advice = match role {
        TokenRole::Gateway { .. } if config.roles.storage => "set roles = [\"gateway\"]",
        TokenRole::Node { .. } if !config.roles.storage => {
            "use a gateway's token, or add \"storage\" to roles"
        }
        TokenRole::Node { .. } if config.roles.gateway && !gateway_files => {
            "this token brings no keys: set roles = [\"storage\"]"
        }
        _ => return Ok(()),
    };
    Err(JoinError::Role { role, advice })
}

pub(crate) fn parse_descriptor(what: &str, text: &str) -> Result<RegionDescriptor, JoinError> {
    let refused = |problem: String| JoinError::Descriptor { what: what.to_owned(), problem };
    let descriptor: RegionDescriptor =
        toml::from_str(text).map_err(|error| refused(error.message().to_owned()))?;
    descriptor.validate().map_err(|error| refused(error.to_string()))?;
    Ok(descriptor)
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> JoinError {
    JoinError::File { operation, path: path.to_owned(), source }
}

fn read(path: &Path, limit: u64) -> Result<Zeroizing<String>, JoinError> {
    let mut text = Zeroizing::new(String::new());
    let count = File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_string(&mut text))
        .map_err(|source| failed("reading", path, source))?;
    if count as u64 > limit {
        return Err(failed("reading", path, io::Error::other(format!("longer than {limit} bytes"))));
    }
    Ok(text)
}

fn make_folder(path: &Path) -> Result<(), JoinError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| failed("making the folder", path, source))
}

fn write(path: &Path, content: &[u8]) -> Result<(), JoinError> {
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    written.map_err(|source| failed("writing", path, source))
}

fn sync_folder(path: &Path) -> Result<(), JoinError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| failed("flushing", path, source))
}
