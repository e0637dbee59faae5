//! Limits that both ends of a border must agree on, each with its unit and its reason.

/// Plaintext of one chunk, bytes. 1 MiB: the largest piece that may delay another request of its group.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Plaintext of an object that travels inside its commit entry, bytes. 64 KiB: one round and one fsync; above it,
/// pipelined chunks cost less than the delay one large entry puts on its group.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// What sealing adds to a chunk, bytes: the AES-256-GCM-SIV tag.
pub const SEAL_OVERHEAD_BYTES: usize = 16;

/// An object's name, bytes of UTF-8 (S3's own limit).
pub const KEY_BYTES_MAX: usize = 1024;

/// One part of a multipart upload is numbered 1 to this (S3's own limit).
pub const PART_NUMBER_MAX: u16 = 10_000;

/// Plaintext of one part or one PUT, bytes (S3's own limit: 5 GiB).
pub const PUT_BYTES_MAX: u64 = 5 << 30;

/// Plaintext of one object, bytes (S3's own limit: 5 TiB).
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// Head of a command (everything but the bulk body), bytes. 2 MiB holds a completed upload of 10,000 parts.
pub const COMMAND_HEAD_BYTES_MAX: usize = 2 << 20;

/// Head of a frame, bytes: a command head, an answer of a full listing page, or a batch of append headers.
pub const FRAME_HEAD_BYTES_MAX: usize = 4 << 20;

/// Body of a frame, bytes: four chunks, so that one append can carry a window without pinning more.
pub const FRAME_BODY_BYTES_MAX: usize = 4 * (CHUNK_BYTES_MAX + SEAL_OVERHEAD_BYTES) + (64 << 10);

/// Rows of one listing answer. 1,000 is S3's page; a group may be asked for one more.
pub const LIST_ROWS_MAX: usize = 1001;

/// Sealed user metadata of one object, bytes: S3 allows 2 KiB of user metadata, system headers and the seal come on top.
pub const METADATA_BYTES_MAX: usize = 16 << 10;

/// Sealed object header (wrapped keys, commitment), bytes.
pub const OBJECT_HEADER_BYTES_MAX: usize = 2 << 10;

/// One value of the system group, bytes.
pub const SYSTEM_VALUE_BYTES_MAX: usize = 256 << 10;

/// Key of a record of the system group, bytes: the longest is a principal's name and a bucket's.
pub const SYSTEM_KEY_BYTES_MAX: usize = 512;

/// Changes of system records in one command.
pub const SYSTEM_CHANGES_MAX: usize = 64;
