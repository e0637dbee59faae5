//! Tokens of people in an identity vault: HMAC-SHA-256 under the key of domain, class, version and scope, over the person's own
//! secret and the value.
//!
//! The person's secret is random and kept by the vault alone, so the key of the domain is not enough to make a person's token, nor
//! to find out by guessing whose it is; and a person who was erased and comes back gets tokens that nothing links with the old ones.

use std::sync::Arc;

use custody::{ClassName, FieldKey, PersonSalt, Scope};

use crate::token::{Token, TokenForm};
use crate::{Clear, Kind, TransformError};

/// Who knows people's secrets. One that has no secret for a person yet makes one and keeps it.
pub trait People: Send + Sync {
    /// Hands over the secret of a person.
    fn with_salt(
        &self,
        class: &ClassName,
        value: &str,
        take: &mut dyn FnMut(&PersonSalt),
    ) -> Result<(), TransformError>;
}

/// Tokens of people under one field key.
pub struct VaultToken {
    token: Token,
    class: ClassName,
    people: Arc<dyn People>,
}

impl VaultToken {
    /// Tokens under this key (of purpose [`custody::Purpose::Vault`]), of scope domain or data set.
    pub fn new(
        key: &FieldKey,
        form: TokenForm,
        class: ClassName,
        people: Arc<dyn People>,
    ) -> Result<Self, TransformError> {
        if key.scope() == Scope::Record {
            let problem = "tokens of one record lead to nobody: take prf";
            return Err(TransformError::Parameter { technique: "prf+vault", problem });
        }
        Ok(Self { token: Token::new(key, form), class, people })
    }

    /// Appends the token of a value.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let identifier = value.identifier().ok_or(TransformError::Type { technique: "prf+vault" })?;
        self.people.with_salt(&self.class, identifier, &mut |salt| {
            self.token.write_salted(salt.expose(), identifier, out);
        })?;
        Ok(Kind::Text)
    }

    /// Appends the token of somebody who is made up and in no vault.
    pub(crate) fn write_made_up(&self, secret: &[u8; 32], value: &str, out: &mut Vec<u8>) {
        self.token.write_salted(secret, value, out);
    }
}

/// The token of a person whose secret is at hand: what a vault is searched with.
pub fn person_token(token: &Token, salt: &PersonSalt, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    token.write_salted(salt.expose(), value, &mut out);
    out
}
