//! Comparing what the two regions of a pair hold, without keys and without believing their logs: what one side says of its
//! rows, so that another can tell whether both hold the same.
//!
//! A *tree* is what a group has of one bucket, of its unfinished streams, or of one table of the system group. Each thing in
//! it (a version, an upload, a record) is an *entry*; its digest covers all that both regions must have alike. Entries fall
//! into [`COMPARE_LEAVES`] leaves by the hash of their name, and a leaf is the sum of its entries' digests: so parts of a tree
//! that were read one after another, in any order and cut anywhere, add up to the same leaves.

use crate::{DecodeError, Decoder, Encoder, PairRole, UnixMillis, limits};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// Leaves of one tree. 4,096: of a million entries, a leaf that differs has some 250 to list.
pub const COMPARE_LEAVES: u16 = 4_096;

/// Entries in one answer.
pub const COMPARED_ENTRIES_MAX: usize = 2_048;

/// Rows that may be asked for by name at once. 256: one look at them takes milliseconds.
pub const COMPARED_ROWS_MAX: usize = 256;

/// Trees with entries in one answer.
pub const COMPARED_TREES_MAX: usize = 4_096;

/// A row's key, bytes: the longest name, escaped, and what surrounds it.
const ROW_KEY_BYTES_MAX: usize = 4 << 10;

/// What is compared on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CompareTree {
    /// What a group has of a bucket.
    Bucket {
        /// The bucket's number.
        bucket: u64,
    },
    /// Chunks that no version and no part has taken over yet.
    Streams,
    /// Records of the system group.
    System {
        /// The table's number.
        table: u8,
    },
}

/// A SHA-256, or a sum of some.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// All entries of a tree whose names' hashes begin alike, or those that one answer came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafSum {
    /// Which one, below [`COMPARE_LEAVES`].
    pub leaf: u16,
    /// How many entries.
    pub entries: u64,
    /// Plaintext bytes of the versions among them.
    pub bytes: u64,
    /// Their digests, added up modulo 2^256.
    pub sum: Digest,
}

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparedKind {
    /// A version of an object.
    Version = 0,
    /// A delete marker.
    DeleteMarker = 1,
    /// Which of an object's versions is the null version.
    NullVersion = 2,
    /// A multipart upload under way, with its parts.
    Upload = 3,
    /// A bucket's counters in the group, and whether it is being removed.
    Figures = 4,
    /// Chunks that nothing has taken over yet.
    Stream = 5,
    /// A record of the system group.
    Record = 6,
}

/// One entry as one region has it. Says nothing that storage nodes do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedEntry {
    /// The key of its row: the same in both regions.
    pub row: RowKey,
    /// What it is.
    pub kind: ComparedKind,
    /// The object's name, or what else it is called; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Of a version: its id as S3 clients know it.
    #[serde(default)]
    pub version: Option<String>,
    /// Of a version: plaintext bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Of a version: its ETag.
    #[serde(default)]
    pub etag: Option<String>,
    /// Of a version: when it was written.
    #[serde(default)]
    pub modified: Option<UnixMillis>,
    /// SHA-256 of the row without the place of its body.
    pub record: Digest,
    /// SHA-256 of lengths and checksums of all sealed bodies that belong to it.
    pub content: Digest,
}

/// A row's key; JSON has it as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Bytes);

/// Between which entries of the pair an answer was read, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparePosition {
    /// The node that read it: the group's leader.
    pub node: u16,
    /// The group's part there.
    pub role: PairRole,
    /// The reign it knows.
    pub epoch: u64,
    /// What the pair agreed on up to here is in it.
    pub from: u64,
    /// Nothing that the pair agreed on after this is in it.
    pub to: u64,
}

/// Where a walk goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareCursor {
    /// In this tree.
    pub tree: CompareTree,
    /// After this row; empty: from its start.
    pub after: RowKey,
}

impl Digest {
    /// Adds another one, modulo 2^256, the first byte counting least.
    pub fn add(&mut self, other: &Self) {
        let mut carry = 0;
        for (byte, more) in self.0.iter_mut().zip(other.0) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            *byte = (sum & 0xFF) as u8;
            carry = sum >> 8;
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl LeafSum {
    /// Takes in more entries of the same leaf.
    pub fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.sum.add(&other.sum);
    }

    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.u16(self.leaf);
        e.u64(self.entries);
        e.u64(self.bytes);
        e.fixed(&self.sum.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let leaf = d.u16()?;
        if leaf >= COMPARE_LEAVES {
            return Err(d.unknown(u64::from(leaf)));
        }
        Ok(Self { leaf, entries: d.u64()?, bytes: d.u64()?, sum: Digest(d.array()?) })
    }
}

impl CompareTree {
    /// Appends its layout.
    pub fn encode(self, e: &mut Encoder) {
        match self {
            Self::Bucket { bucket } => {
                e.u8(0);
                e.u64(bucket);
            }
            Self::Streams => e.u8(1),
            Self::System { table } => {
                e.u8(2);
                e.u8(table);
            }
        }
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Bucket { bucket: d.u64()? },
            1 => Self::Streams,
            2 => Self::System { table: d.u8()? },
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl CompareCursor {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        self.tree.encode(e);
        self.after.encode(e);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { tree: CompareTree::decode(d)?, after: RowKey::decode(d)? })
    }
}

impl RowKey {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.bytes(&self.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        d.bytes(ROW_KEY_BYTES_MAX).map(Self)
    }
}

impl ComparePosition {
    /// Appends its layout.
    pub fn encode(self, e: &mut Encoder) {
        e.u16(self.node);
        self.role.encode(e);
        e.u64(self.epoch);
        e.u64(self.from);
        e.u64(self.to);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { node: d.u16()?, role: PairRole::decode(d)?, epoch: d.u64()?, from: d.u64()?, to: d.u64()? })
    }
}

impl ComparedKind {
    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Version,
            1 => Self::DeleteMarker,
            2 => Self::NullVersion,
            3 => Self::Upload,
            4 => Self::Figures,
            5 => Self::Stream,
            6 => Self::Record,
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl ComparedEntry {
    /// Whether both regions have it alike, going by what each says.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.row, self.record, self.content) == (&other.row, other.record, other.content)
    }

    /// What it takes at most in JSON, bytes, so that an answer keeps below its limit.
    pub fn json_bytes_max(&self) -> usize {
        // a control character becomes six letters
        600 + 2 * self.row.0.len() + 6 * self.name.len()
    }

    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        self.row.encode(e);
        e.u8(self.kind as u8);
        e.text(&self.name);
        e.option(self.version.as_ref(), |e, version| e.text(version));
        e.option(self.size.as_ref(), |e, size| e.u64(*size));
        e.option(self.etag.as_ref(), |e, etag| e.text(etag));
        e.option(self.modified.as_ref(), |e, modified| e.u64(modified.0));
        e.fixed(&self.record.0);
        e.fixed(&self.content.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            row: RowKey::decode(d)?,
            kind: ComparedKind::decode(d)?,
            // a byte that is no UTF-8 becomes three
            name: d.text(3 * limits::KEY_BYTES_MAX)?,
            version: d.option(|d| d.text(64))?,
            size: d.option(Decoder::u64)?,
            etag: d.option(|d| d.text(64))?,
            modified: d.option(Decoder::u64)?.map(UnixMillis),
            record: Digest(d.array()?),
            content: Digest(d.array()?),
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = unhex(&String::deserialize(deserializer)?);
        let digest = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        digest.map(Self).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for RowKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = unhex(&String::deserialize(deserializer)?);
        let bytes = bytes.filter(|bytes| bytes.len() <= ROW_KEY_BYTES_MAX);
        bytes.map(|bytes| Self(bytes.into())).ok_or_else(|| D::Error::custom("expected hexadecimal digits"))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
