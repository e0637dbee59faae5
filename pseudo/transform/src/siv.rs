//! Reversible tokens: AES-256-SIV (RFC 5297), deterministic and authenticated. For values that the domain's owner must be
//! able to read again and that no person's erasure has to reach: one key opens all of them.
//!
//! Values are padded to steps of 16 bytes before they are sealed, so that a token tells little of a value's length.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custody::{FieldKey, Scope};
use zeroize::{Zeroize, Zeroizing};

use crate::token::prefix;
use crate::{Clear, Kind, TransformError};

/// Longest value, bytes: what it holds is an identifier; longer text is no identifier.
pub const SIV_PLAIN_BYTES_MAX: usize = 1024;

const LABEL: &[u8] = b"twinkeep pseudo siv 1";
/// Values are padded to a multiple of this, bytes: a first byte 0x80, then zeros.
const PAD_STEP: usize = 16;
const PAD_FIRST: u8 = 0x80;

/// Reversible tokens under one field key.
pub struct SivToken {
    key: Box<Zeroizing<[u8; custody::FIELD_KEY_BYTES]>>,
    prefix: Vec<u8>,
}

impl SivToken {
    /// Tokens under this key (of purpose [`custody::Purpose::Siv`]). Scope record is refused: a token that nothing can be
    /// joined with has no use as a reversible one.
    pub fn new(key: &FieldKey) -> Result<Self, TransformError> {
        if key.scope() == Scope::Record {
            let problem = "scope record is not for reversible tokens";
            return Err(TransformError::Parameter { technique: "aes-siv", problem });
        }
        let mut own = Box::new(Zeroizing::new([0; custody::FIELD_KEY_BYTES]));
        own.copy_from_slice(key.expose());
        Ok(Self { key: own, prefix: prefix(key.version(), key.scope()) })
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new((&**self.key).into())
    }

    /// Appends the token of a value.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let technique = "aes-siv";
        let plain = value.identifier().ok_or(TransformError::Type { technique })?;
        if plain.len() > SIV_PLAIN_BYTES_MAX {
            return Err(TransformError::TooLong { technique, most: SIV_PLAIN_BYTES_MAX });
        }
        let padded = (plain.len() + 1).next_multiple_of(PAD_STEP);
        let mut buffer = Zeroizing::new(Vec::with_capacity(padded + PAD_STEP));
        buffer.extend_from_slice(plain.as_bytes());
        buffer.push(PAD_FIRST);
        buffer.resize(padded, 0);
        let sealed = self.cipher().encrypt([LABEL], &buffer).expect("one header is below the limit");
        out.extend_from_slice(&self.prefix);
        let start = out.len();
        out.resize(start + sealed.len() * 4 / 3 + 4, 0);
        let written =
            URL_SAFE_NO_PAD.encode_slice(&sealed, &mut out[start..]).expect("there is room for the token");
        out.truncate(start + written);
        Ok(Kind::Text)
    }

    /// The longest value, within the limit, whose token is as long as this one.
    pub(crate) fn value_bytes(&self, token: &[u8]) -> usize {
        let sealed = token.len().saturating_sub(self.prefix.len()) * 3 / 4;
        // the first byte of the padding is always there
        sealed.saturating_sub(PAD_STEP + 1).min(SIV_PLAIN_BYTES_MAX)
    }

    /// The value of a token.
    pub fn open(&self, token: &str) -> Result<Zeroizing<String>, TransformError> {
        let broken = |()| TransformError::SealBroken;
        let body = token.as_bytes().strip_prefix(self.prefix.as_slice()).ok_or(()).map_err(broken)?;
        if body.len() > (SIV_PLAIN_BYTES_MAX + 3 * PAD_STEP) * 4 / 3 {
            return Err(TransformError::SealBroken);
        }
        let sealed = URL_SAFE_NO_PAD.decode(body).map_err(|_| TransformError::SealBroken)?;
        let mut plain = self.cipher().decrypt([LABEL], &sealed).map_err(|_| TransformError::SealBroken)?;
        let end = plain.iter().rposition(|byte| *byte != 0).filter(|end| plain[*end] == PAD_FIRST);
        let text = end.and_then(|end| std::str::from_utf8(&plain[..end]).ok()).map(str::to_owned);
        plain.zeroize();
        text.map(Zeroizing::new).ok_or(TransformError::SealBroken)
    }
}
