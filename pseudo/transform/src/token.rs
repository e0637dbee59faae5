//! Tokens by keyed pseudorandom function: HMAC-SHA-256 (RFC 2104), cut to 128 bits, with scope and key version in front.
//!
//! Equal values give equal tokens within the scope of the key, without a table and without coordination. A token cannot be
//! turned back: who may learn the identity asks the vault, which keeps it elsewhere.

use custody::{FieldKey, KeyVersion, Scope};

use crate::keyed::Keyed;
use crate::{Clear, Kind, Place, RUN_SEED_BYTES, TransformError};

/// The longest token as text, bytes: `v`, version, scope, `_`, 22 characters; as UUID 36.
pub const TOKEN_TEXT_BYTES_MAX: usize = 36;

/// 128 bits: among ten million values two tokens meet with probability below 2^-81.
const TOKEN_BYTES: usize = 16;
const TOKEN_CHARS: usize = 22;

/// What a token looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenForm {
    /// `v3_` and 22 characters of base64url: 128 bits.
    Text,
    /// A UUID of version 8: scope and key version in the first 16 bits, 106 bits of token.
    Uuid,
}

impl TokenForm {
    /// What policies call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid8",
        }
    }
}

/// Tokens under one field key.
pub struct Token {
    keyed: Keyed,
    version: KeyVersion,
    scope: Scope,
    form: TokenForm,
    prefix: Vec<u8>,
}

impl Token {
    /// Tokens under this key (of purpose [`custody::Purpose::Token`]).
    pub fn new(key: &FieldKey, form: TokenForm) -> Self {
        let keyed = Keyed::new(key.expose_half());
        let (version, scope) = (key.version(), key.scope());
        Self { keyed, version, scope, form, prefix: prefix(version, scope) }
    }

    /// The 128 bits of a value's token.
    pub fn bits(&self, value: &[u8], place: &Place<'_>) -> [u8; TOKEN_BYTES] {
        if self.scope != Scope::Record {
            return self.code(&[], value);
        }
        let mut before = [0; RUN_SEED_BYTES + 8];
        before[..RUN_SEED_BYTES].copy_from_slice(&place.run.0);
        before[RUN_SEED_BYTES..].copy_from_slice(&place.record.to_le_bytes());
        self.code(&before, value)
    }

    fn code(&self, before: &[u8], value: &[u8]) -> [u8; TOKEN_BYTES] {
        *self.keyed.code(before, value).first_chunk().expect("an HMAC-SHA-256 has 32 bytes")
    }

    /// The token of a value as a UUID of version 8 (RFC 9562).
    pub fn uuid(&self, value: &[u8], place: &Place<'_>) -> [u8; 16] {
        self.as_uuid(self.bits(value, place))
    }

    fn as_uuid(&self, mut bytes: [u8; TOKEN_BYTES]) -> [u8; 16] {
        let version = u16::try_from(self.version.get()).expect("a key version has 14 bits");
        let head = (u16::from(self.scope.id()) << 14) | version;
        bytes[..2].copy_from_slice(&head.to_be_bytes());
        bytes[6] = 0x80 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        bytes
    }

    /// Appends the token of a value.
    pub fn apply(
        &self,
        value: &Clear<'_>,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let identifier = value.identifier().ok_or(TransformError::Type { technique: "prf" })?;
        self.append(self.bits(identifier.as_bytes(), place), out);
        Ok(Kind::Text)
    }

    /// Appends the token of a value with something before it, such as the person's own secret.
    pub(crate) fn write_salted(&self, salt: &[u8], value: &str, out: &mut Vec<u8>) {
        self.append(self.code(salt, value.as_bytes()), out);
    }

    fn append(&self, bits: [u8; TOKEN_BYTES], out: &mut Vec<u8>) {
        match self.form {
            TokenForm::Text => {
                out.extend_from_slice(&self.prefix);
                out.extend_from_slice(&base64url(u128::from_be_bytes(bits)));
            }
            TokenForm::Uuid => write_uuid(&self.as_uuid(bits), out),
        }
    }
}

/// 128 bits as base64url (RFC 4648, section 5) without padding. Of one fixed length, which the compiler unrolls.
fn base64url(bits: u128) -> [u8; TOKEN_CHARS] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = [0; TOKEN_CHARS];
    for (place, character) in text.iter_mut().enumerate() {
        // six bits at a time from the top; the last two stand before four zeros
        let six = if place + 1 < TOKEN_CHARS { bits >> (122 - 6 * place) } else { bits << 4 };
        *character = DIGITS[(six & 63) as usize];
    }
    text
}

/// What a token begins with: `v3_` for scope domain, `v3s_` for a data set, `v3r_` for a record.
pub(crate) fn prefix(version: KeyVersion, scope: Scope) -> Vec<u8> {
    let scope = match scope {
        Scope::Domain => "",
        Scope::Dataset => "s",
        Scope::Record => "r",
    };
    format!("v{version}{scope}_").into_bytes()
}

fn write_uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            out.push(b'-');
        }
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}
