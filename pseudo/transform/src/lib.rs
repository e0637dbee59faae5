//! The techniques of pseudonymisation, one value at a time.
//!
//! | technique | what comes out | reversible |
//! |---|---|---|
//! | [`Token`] | HMAC-SHA-256 under a key per domain, class, version and scope | no |
//! | [`VaultToken`] | the same over a secret of the person, which a vault keeps | by the vault, until the person is erased |
//! | [`SivToken`] | AES-256-SIV under such a key | by the key |
//! | [`FormatPreserving`] | FF1: the same alphabet and length | by the key |
//! | [`DateShift`] | a date moved by days that only the key and the person determine | no |
//! | [`TimeUnit`], [`Bucket`], [`Clamp`], [`IpPrefix`], [`Hierarchy`], [`TextPrefix`] | something coarser | no |
//! | [`Title`] | a class, an ending, a length of a document's title, from closed lists | no |
//! | [`Mask`], [`RareValues`] and the rest of [`Technique`] | less, or nothing | no |
//!
//! [`Normaliser`]s come before a technique, so that spellings of one identifier give one token. Each has a name and a
//! version: what a normaliser gives never changes under one version.
//!
//! A leaf: no I/O, no clock, no randomness; the seed of a run and the number of a record are arguments. Clear values are
//! [`Clear`], which cannot be printed; no error carries a value. Layouts of tokens are in `FORMAT.md`.

mod address;
mod alphabet;
mod bucket;
mod civil;
mod clear;
mod divide;
mod error;
mod ff1;
mod hierarchy;
mod honey;
mod keyed;
mod mask;
mod normalise;
mod number;
mod rare;
mod shift;
mod siv;
mod technique;
mod title;
mod token;
mod vault;

pub use address::{IPV4_BITS, IPV6_BITS, IpPrefix};
pub use alphabet::Alphabet;
pub use bucket::{BUCKET_EDGES_MAX, Bucket, Clamp};
pub use civil::{Moment, TimeUnit};
pub use clear::{Clear, Kind, Place, RUN_SEED_BYTES, RunSeed};
pub use error::TransformError;
pub use ff1::{DOMAIN_MIN, Ff1, FormatPreserving};
pub use hierarchy::{HIERARCHY_LEVELS_MAX, HIERARCHY_ROWS_MAX, Hierarchy};
pub use honey::{Honey, MadeUp};
pub use mask::{Mask, TextPrefix};
pub use normalise::{NORMALISERS, Normaliser};
pub use number::Decimal;
pub use rare::{RARE_VALUES_MAX, RareCounter, RareValues};
pub use shift::{DateShift, SHIFT_DAYS_MAX};
pub use siv::{SIV_PLAIN_BYTES_MAX, SivToken};
pub use technique::Technique;
pub use title::{TITLE_CLASSES_MAX, TITLE_WORDS_MAX, Title, TitleClass};
pub use token::{TOKEN_TEXT_BYTES_MAX, Token, TokenForm};
pub use vault::{People, VaultToken, person_token};
