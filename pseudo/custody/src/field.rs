//! Field keys: what a technique works with. Derived, never stored.

use std::fmt;

use crate::KeyVersion;
use crate::secret::{KEY_BYTES, Secret};

/// A field key, bytes: AES-256-SIV takes all of it, every other technique the first 32.
pub const FIELD_KEY_BYTES: usize = 64;

/// What a field key is for. One purpose, one key: no two techniques share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Tokens by keyed pseudorandom function.
    Token,
    /// Reversible tokens by AES-SIV.
    Siv,
    /// Format-preserving encryption.
    FormatPreserving,
    /// The number of days by which a person's dates move.
    DateShift,
    /// Counting values without keeping them.
    Count,
    /// The order of rows in an export.
    Order,
    /// Tokens of people in an identity vault.
    Vault,
    /// Made-up persons of exports.
    Honey,
}

impl Purpose {
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::Siv => 2,
            Self::FormatPreserving => 3,
            Self::DateShift => 4,
            Self::Count => 5,
            Self::Order => 6,
            Self::Vault => 7,
            Self::Honey => 8,
        }
    }
}

/// How far equal values get equal tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In all data sets of the domain.
    Domain,
    /// In one data set.
    Dataset,
    /// In one record of one run: tokens that can be joined with nothing.
    Record,
}

impl Scope {
    /// The number that derivations and tokens in UUID form carry.
    pub const fn id(self) -> u8 {
        match self {
            Self::Domain => 0,
            Self::Dataset => 1,
            Self::Record => 2,
        }
    }
}

/// The key of one purpose, field class and scope in one version of a domain.
pub struct FieldKey {
    pub(crate) version: KeyVersion,
    pub(crate) scope: Scope,
    pub(crate) secret: Secret<FIELD_KEY_BYTES>,
}

impl FieldKey {
    /// The version of the domain master it comes from.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// The scope it was derived for.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// All of it, for AES-256-SIV.
    pub fn expose(&self) -> &[u8; FIELD_KEY_BYTES] {
        self.secret.bytes()
    }

    /// The first 32 bytes, for every other technique.
    pub fn expose_half(&self) -> &[u8; KEY_BYTES] {
        self.secret.bytes().first_chunk().expect("a field key is longer than 32 bytes")
    }
}

impl fmt::Debug for FieldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldKey")
            .field("version", &self.version)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
