//! How far a table is from its people: privacy measures over the classes of records that share their quasi-identifiers.
//!
//! Words: a *quasi-identifier* is a column that somebody outside may know about a person (age, place); a *class* is all
//! records that agree in every quasi-identifier; a *sensitive attribute* is what nobody may learn about a person; a
//! *hierarchy* says how the values of a column are made coarser, level by level.
//!
//! A leaf: no I/O, no clock, no randomness (the key of [`fingerprint`] is an argument). Everything here works on classes
//! that arrive one after another, so that the caller decides where the records are kept: in memory or, sorted, on disk.
//!
//! It leaves to others: reading files, memory limits, printing.

pub mod attribute;
pub mod entry;
pub mod fingerprint;
pub mod hierarchy;
pub mod identity;
pub mod lattice;
pub mod loss;
pub mod population;

pub use attribute::{AttributeFigures, AttributeMeter, Distribution};
pub use entry::{ClassKey, Entry, Grouper, ValueCount, sort_and_combine};
pub use fingerprint::{Fingerprinter, KEY_BYTES};
pub use hierarchy::{Hierarchy, HierarchyError};
pub use identity::{ClassSizes, IdentityFigures};
pub use lattice::{Lattice, Settled};
pub use loss::{ColumnLoss, precision};
pub use population::PopulationUniqueness;
