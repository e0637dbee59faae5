//! The join token: everything a new node or gateway needs, as one line of text.
//!
//! Layout (then base64, then the prefix; byte table in `FORMAT.md` beside this file): magic, version, fields, crc32c.
//! The checksum finds a token that was cut or mistyped; trust comes from the certificates inside, which the region's
//! own authority signed. A token holds a private key: it is as secret as the node it makes, and is used once.

use super::NAME_BYTES_MAX;
use crate::{DecodeError, Decoder, Encoder, Incarnation, NodeId, RequestId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// What every token begins with, so that it is known when pasted in the wrong place.
pub const TOKEN_PREFIX: &str = "twinkeep-join-1.";

/// A token's text, bytes: a descriptor of 100 nodes and a handful of certificates stay far below.
pub const TOKEN_TEXT_BYTES_MAX: usize = 256 << 10;

const MAGIC: &[u8; 4] = b"TKJT";
const VERSION: u16 = 1;
const FIELD_BYTES_MAX: usize = 64 << 10;
const CHECKSUM_BYTES: usize = 4;

/// An unpacked join token.
pub struct JoinToken {
    /// Drawn when the token was made; the region admits it once.
    pub id: RequestId,
    /// `node/<id>` or `gateway/<id>`, as in the certificate.
    pub role: TokenRole,
    /// `region.toml`, as text.
    pub descriptor: String,
    /// Certificate of the region's authority, PEM.
    pub authority_certificate: String,
    /// The member's certificate, PEM.
    pub certificate: String,
    /// The member's private key, PEM.
    pub private_key: Zeroizing<String>,
    /// What only a gateway needs; absent for a keyless storage node.
    pub gateway: Option<GatewayFiles>,
}

/// Whom a token admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRole {
    /// A storage node under this incarnation.
    Node {
        /// Its number.
        id: NodeId,
        /// The incarnation of its disk.
        incarnation: Incarnation,
    },
    /// A gateway that stores nothing.
    Gateway {
        /// Its number.
        id: u16,
    },
}

/// Files that a process with the gateway role needs on top.
pub struct GatewayFiles {
    /// The S3 endpoint's certificate chain, PEM.
    pub s3_certificate: String,
    /// The S3 endpoint's private key, PEM.
    pub s3_private_key: Zeroizing<String>,
    /// The root key, sealed under its passphrase; empty when the root key lives in a PKCS#11 token.
    pub sealed_root_key: Bytes,
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not a token at all.
    #[error("this is not a join token (it begins with {TOKEN_PREFIX:?})")]
    NotAToken,
    /// Longer than any token.
    #[error("the join token is longer than {TOKEN_TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// Characters that base64 does not have, or a cut.
    #[error("the join token is damaged: copy the whole line again")]
    Damaged,
    /// Made by a newer release.
    #[error("the join token has version {found}, this release reads {VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// The right checksum around wrong fields.
    #[error("the join token does not decode")]
    Fields(#[source] DecodeError),
}

impl JoinToken {
    /// The token as one line of text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut encoder = Encoder::new();
        encoder.fixed(MAGIC);
        encoder.u16(VERSION);
        encoder.fixed(&self.id.0);
        match self.role {
            TokenRole::Node { id, incarnation } => {
                encoder.u8(1);
                encoder.u16(id.0);
                encoder.u16(incarnation.0);
            }
            TokenRole::Gateway { id } => {
                encoder.u8(2);
                encoder.u16(id);
                encoder.u16(0);
            }
        }
        encoder.text(&self.descriptor);
        encoder.text(&self.authority_certificate);
        encoder.text(&self.certificate);
        encoder.text(&self.private_key);
        encoder.option(self.gateway.as_ref(), |encoder, files| {
            encoder.text(&files.s3_certificate);
            encoder.text(&files.s3_private_key);
            encoder.bytes(&files.sealed_root_key);
        });
        let mut bytes = Zeroizing::new(encoder.finish().to_vec());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_PREFIX.len() + bytes.len() * 4 / 3 + 4));
        text.push_str(TOKEN_PREFIX);
        STANDARD_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        text
    }

    /// Reads a token; white space around it and line breaks inside it (mail programs add them) are ignored.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let packed: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|letter| !letter.is_whitespace()).collect());
        let body = packed.strip_prefix(TOKEN_PREFIX).ok_or(TokenError::NotAToken)?;
        let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(body).map_err(|_| TokenError::Damaged)?);
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(TokenError::Damaged)?;
        let (fields, checksum) = bytes.split_at(split);
        if crc32c::crc32c(fields).to_le_bytes() != *checksum || !fields.starts_with(MAGIC) {
            return Err(TokenError::Damaged);
        }
        let mut decoder = Decoder::new("join token", Bytes::copy_from_slice(&fields[MAGIC.len()..]));
        let version = decoder.u16().map_err(TokenError::Fields)?;
        if version != VERSION {
            return Err(TokenError::Version { found: version });
        }
        let token = Self::read_fields(&mut decoder).map_err(TokenError::Fields)?;
        decoder.finish().map_err(TokenError::Fields)?;
        Ok(token)
    }

    fn read_fields(decoder: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            id: RequestId(decoder.array()?),
            role: read_role(decoder)?,
            descriptor: decoder.text(FIELD_BYTES_MAX)?,
            authority_certificate: decoder.text(FIELD_BYTES_MAX)?,
            certificate: decoder.text(FIELD_BYTES_MAX)?,
            private_key: Zeroizing::new(decoder.text(FIELD_BYTES_MAX)?),
            gateway: decoder.option(|decoder| {
                Ok(GatewayFiles {
                    s3_certificate: decoder.text(FIELD_BYTES_MAX)?,
                    s3_private_key: Zeroizing::new(decoder.text(FIELD_BYTES_MAX)?),
                    sealed_root_key: decoder.bytes(FIELD_BYTES_MAX)?,
                })
            })?,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { id, .. } => write!(f, "node-{id}"),
            Self::Gateway { id } => write!(f, "gateway-{id}"),
        }
    }
}

fn read_role(decoder: &mut Decoder) -> Result<TokenRole, DecodeError> {
    let (kind, id, incarnation) = (decoder.u8()?, decoder.u16()?, decoder.u16()?);
    match (kind, id, incarnation) {
        (1 | 2, 0, _) => Err(decoder.unknown(0)),
        (1, id, incarnation) => Ok(TokenRole::Node { id: NodeId(id), incarnation: Incarnation(incarnation) }),
        (2, id, 0) => Ok(TokenRole::Gateway { id }),
        _ => Err(decoder.unknown(u64::from(kind))),
    }
}

// a descriptor of the largest region must fit its field
const _: () = assert!(super::NODES_MAX * (4 * NAME_BYTES_MAX + 300) <= FIELD_BYTES_MAX);
