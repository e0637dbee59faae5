//! The keys of pseudonymisation: what they are called, how they are derived, and that they leave nothing behind.
//!
//! ```text
//! root             split among people, so many of whom are needed, or sealed by a token: [`RootKey`], [`Share`], [`SealedRoot`]
//!  └ domain master one per pseudonymisation domain and version, wrapped under the root: [`MasterKey`]
//!     └ field key  one per purpose, field class and scope, derived by HKDF: [`FieldKey`]
//! signing key      what the service signs with, wrapped under the root: [`SigningKey`]
//! operator key     what a person signs with, sealed under a passphrase: [`OperatorKey`]
//! second factor    what an operator's authenticator holds too, wrapped under the root: [`TotpSecret`]
//! epoch table      the keys of a vault's buckets, wrapped under the root: [`EpochTable`]
//!  └ person's key  one per person in an identity vault, wrapped under the key of its bucket: [`PersonKey`]
//! ```
//!
//! Two domains have independent masters and every derivation names its domain, version, purpose, class and scope, so no
//! two of them share a key: their tokens cannot be joined.
//!
//! A leaf: no I/O, no clock, no randomness; keys are filled by the caller's source of random bytes. Keys live in boxes,
//! are wiped on drop, cannot be cloned or serialized, and show nothing of themselves in `Debug`. Layouts are in `FORMAT.md`.

mod epoch;
mod error;
mod field;
mod frame;
mod master;
mod name;
mod operator;
mod person;
mod root;
mod secret;
mod shamir;
mod share;
mod sign;
mod token;
mod totp;

pub use epoch::{EpochTable, WRAPPED_TABLE_BYTES};
pub use error::CustodyError;
pub use field::{FIELD_KEY_BYTES, FieldKey, Purpose, Scope};
pub use master::{KEY_ID_BYTES, MasterKey};
pub use name::{ClassName, DatasetName, DomainName, KeyVersion, NAME_BYTES_MAX, OperatorName};
pub use operator::{
    OPERATOR_BYTES_MAX, OperatorKey, OperatorSeal, PASSPHRASE_BYTES_MAX, PassphraseCost, SALT_BYTES,
};
pub use person::{
    BUCKETS, BucketKey, HANDLE_BYTES, Handle, HandleKey, IDENTITY_BYTES_MAX, Identity, Person, PersonKey,
    PersonSalt, VAULT_ID_BYTES, VaultId, WRAPPED_PERSON_BYTES,
};
pub use root::{
    CHECK_BYTES, RootCheck, RootKey, SHARES_MAX, THRESHOLD_MIN, WRAPPED_MASTER_BYTES_MAX, WrappedName,
};
pub use secret::KEY_BYTES;
pub use share::{SHARE_BYTES, Share};
pub use sign::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, SigningKey, WRAPPED_SIGNING_BYTES};
pub use token::{SealedRoot, TOKEN_NONCE_BYTES, TOKEN_ROOT_BYTES};
pub use totp::{
    TOTP_DIGITS, TOTP_SECRET_BYTES, TOTP_STEP_SECONDS, TOTP_STEPS_ASIDE, TotpSecret, WRAPPED_TOTP_BYTES_MAX,
};
