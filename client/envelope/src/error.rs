//! Why something could not be sealed or opened. No variant holds a key, a nonce, a name or plaintext.

use thiserror::Error;
use wire::{DecodeError, TenantId};

use crate::KeyLevel;

/// Why something could not be sealed or opened.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// The bytes do not begin as this kind of thing does.
    #[error("{what}: these bytes are something else")]
    NotThisFormat {
        /// What was expected.
        what: &'static str,
    },
    /// Written by a release that knows more formats.
    #[error("{what}: format {found} is not known to this release")]
    UnknownFormat {
        /// What was being read.
        what: &'static str,
        /// The format number found.
        found: u8,
    },
    /// A cipher suite this release does not have.
    #[error("{what}: cipher suite {found} is not known to this release")]
    UnknownSuite {
        /// What was being read.
        what: &'static str,
        /// The suite number found.
        found: u8,
    },
    /// Checksum, length or a field is wrong: an accident on disk or on the way.
    #[error("{what}: damaged")]
    Damaged {
        /// What was being read.
        what: &'static str,
        /// Where the layout broke.
        #[source]
        source: DecodeError,
    },
    /// An argument or field above its limit.
    #[error("{what}: {found} is outside {least} to {most}")]
    OutsideLimits {
        /// Which one.
        what: &'static str,
        /// What was given.
        found: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// The machine does not have the memory that the passphrase's cost asks for.
    #[error("no memory for the passphrase's cost of {memory_kib} KiB")]
    OutOfMemory {
        /// Memory asked for, KiB.
        memory_kib: u32,
    },
    /// The root file is whole, but this passphrase does not open it (or its parameters were edited).
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The wrapping key does not open this key: another key, another place, or edited bytes.
    #[error("the {level} key does not open under this wrapping key in this place")]
    KeyRefused {
        /// Which level of key was being unwrapped.
        level: KeyLevel,
    },
    /// A wrapped key of one level where another was expected.
    #[error("a wrapped {found} key where a {wanted} key belongs")]
    OtherLevel {
        /// The level expected.
        wanted: KeyLevel,
        /// The level found.
        found: KeyLevel,
    },
    /// A key of another deployment, region, tenant or version than the operation asks for.
    #[error("the {level} key belongs to another deployment, region, tenant or version")]
    OtherOwner {
        /// Which level of key.
        level: KeyLevel,
    },
    /// An object header of another tenant.
    #[error("the object header belongs to tenant {found}, not {wanted}")]
    OtherTenant {
        /// The tenant asked for.
        wanted: TenantId,
        /// The tenant named by the header.
        found: TenantId,
    },
    /// No tenant key is at hand for any copy in the object header: destroyed, or not loaded.
    #[error("no key of tenant {tenant} is at hand for this object")]
    KeyMissing {
        /// The tenant whose key is missing.
        tenant: TenantId,
    },
    /// The unwrapped key is not the one the header commits to: a crafted header.
    #[error("the object key is not the one that the header commits to")]
    Commitment,
    /// A chunk whose length does not fit its position.
    #[error("chunk {index}: {found} bytes do not fit this position")]
    ChunkLength {
        /// Index of the chunk.
        index: u64,
        /// Length found, bytes.
        found: usize,
    },
    /// Sealed bytes that were changed, moved, or sealed under another key.
    #[error("{what}: the seal is broken")]
    SealBroken {
        /// What was being opened.
        what: &'static str,
    },
    /// The root of trust (hardware, service) failed.
    #[error("the root key holder failed to {operation}")]
    Root {
        /// What it was asked to do.
        operation: &'static str,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
