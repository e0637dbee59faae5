//! What can be wrong with keys. No error carries a key, a share or a passphrase.

use thiserror::Error;

/// What can be wrong with keys.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CustodyError {
    /// A name outside its alphabet or length.
    #[error(
        "a {what} has 1 to {most} of the characters a-z, 0-9, '-', '_', '.' and begins with a letter or digit"
    )]
    Name {
        /// What was to be named.
        what: &'static str,
        /// Longest name, bytes.
        most: usize,
    },
    /// A number outside its limits.
    #[error("{what}: {found} is not from {least} to {most}")]
    OutsideLimits {
        /// What was counted.
        what: &'static str,
        /// What was found.
        found: u64,
        /// Least value allowed.
        least: u64,
        /// Most allowed.
        most: u64,
    },
    /// Bytes that are something else.
    #[error("this is not a {what}")]
    NotThisFormat {
        /// What was expected.
        what: &'static str,
    },
    /// A format of another release.
    #[error("{what}: format {found} is not known to this release")]
    UnknownFormat {
        /// What was being read.
        what: &'static str,
        /// The format found.
        found: u8,
    },
    /// Bytes that are cut off, too long, or changed by accident.
    #[error("{what}: damaged, or mistyped")]
    Damaged {
        /// What was being read.
        what: &'static str,
    },
    /// Fewer shares than the root needs.
    #[error("{found} shares are here, {needed} are needed")]
    TooFewShares {
        /// Shares given.
        found: usize,
        /// Shares needed.
        needed: usize,
    },
    /// Shares of two ceremonies.
    #[error("these shares are not all of one root")]
    SharesOfDifferentRoots,
    /// One share given twice.
    #[error("share {index} was given twice")]
    ShareTwice {
        /// Which one.
        index: u8,
    },
    /// Shares that give another key than the one that was split.
    #[error("at least one of these shares is wrong: together they do not give the root")]
    WrongShare,
    /// Something wrapped under another root.
    #[error("{what}: wrapped under another root")]
    OtherRoot {
        /// What was being opened.
        what: &'static str,
    },
    /// Sealed bytes that were changed.
    #[error("{what}: the seal is broken")]
    SealBroken {
        /// What was being opened.
        what: &'static str,
    },
    /// A passphrase that does not open a file, or a file that was changed.
    #[error("{what}: the passphrase is another, or the file was changed")]
    WrongPassphrase {
        /// What was being opened.
        what: &'static str,
    },
    /// Less memory than a passphrase takes.
    #[error("{memory_kib} KiB of memory are not there, which the passphrase takes")]
    NoMemory {
        /// How much it takes.
        memory_kib: u32,
    },
}
