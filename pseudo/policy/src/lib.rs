//! The policy of an export: which fields go in, what becomes of each, for whom and why. One TOML file, read strictly.
//!
//! A field that no rule names never passes: the run stops or leaves it out. [`Policy::parse`] refuses what cannot be meant;
//! [`Policy::lint`] finds what should not be meant, and with a [`Profile`] of a sample also what the data say against it.
//! [`propose`] writes a first policy from such a profile, which passes nothing that nobody looked at.
//!
//! A leaf: text in, text out. Keys are never in a policy. `FORMAT.md` lists what a policy holds, and how its hash is made.

mod detect;
mod error;
mod field;
mod file;
mod honey;
mod ladder;
mod lint;
mod parse;
mod path;
mod period;
mod profile;
mod propose;
mod sections;

pub use detect::{Looks, free_text_name, identifying_name};
pub use error::PolicyError;
pub use field::{Column, OnInvalid, OnNull, Rule, Spec};
pub use honey::{HONEY_PEOPLE_MIN, HONEY_PERSONS_MAX, Honey};
pub use ladder::Ladder;
pub use lint::{Finding, Severity};
pub use parse::{FIELDS_MAX, POLICY_BYTES_MAX, Policy};
pub use path::{PATH_SEGMENTS_MAX, Path};
pub use period::Period;
pub use profile::{Leaf, PROFILE_LEAVES_MAX, Profile};
pub use propose::propose;
pub use sections::{
    Compression, Format, Gate, OnBadRecord, OnFail, OnUnknown, Reidentify, Retention, Source, Target,
};
