//! Keys, their wrapping, and the sealing of everything a tenant stores.
//!
//! ```text
//! root key             in a passphrase-sealed file, or in hardware behind [`RootWrap`]
//!  └ region key        one per region and version, independent of the other region's
//!     ├ tenant key     one per tenant, region and version; rotated by re-wrapping object keys
//!     │  └ object key  fresh per version of an object; wrapped once per region in the [`ObjectHeader`]
//!     │     ├ commitment     in the header, compared before anything is opened
//!     │     ├ stream key     one per run of chunks: [`StreamSealer`], [`StreamOpener`]
//!     │     ├ metadata key   [`seal_metadata`]
//!     │     └ parts key      [`seal_parts`]
//!     └ value key      one per kind of small secret of the region: [`seal_value`]
//! ```
//!
//! A leaf: no I/O, no clock, no randomness; keys and nonces are filled by the caller's source of random bytes.
//! Every layout is in `FORMAT.md`; every decoder is total and takes no more memory than its limits say.
//! Keys live in boxes, are wiped on drop, cannot be cloned or serialized, and show nothing of themselves in `Debug`.
//!
//! What a seal proves: these bytes were sealed for exactly this place (tenant, bucket, name, version, part, stream,
//! chunk). What it cannot prove: that the place named by the caller is the newest one, and the length of a stream
//! whose last chunk is not read. It leaves to others where sealed bytes are kept, which versions exist, and who may ask.

mod blob;
mod derive;
mod error;
mod frame;
mod header;
mod metadata;
mod name;
mod parts;
mod root;
mod secret;
mod size;
mod stream;
mod suite;
mod value;
mod wrap;

pub use error::EnvelopeError;
pub use header::{COPIES_MAX, ObjectHeader};
pub use metadata::{METADATA_PLAIN_BYTES_MAX, open_metadata, seal_metadata};
pub use name::{
    KeyVersion, ObjectPlace, REGION_NAME_BYTES_MAX, RegionKeyName, RegionName, StreamPlace, TenantKeyName,
};
pub use parts::{PARTS_SEAL_BYTES, SealedPart, seal_parts, verify_parts};
pub use root::{PASSPHRASE_BYTES_MAX, PassphraseCost, SALT_BYTES, open_root, seal_root};
pub use secret::{KEY_BYTES, ObjectKey, RegionKey, RootKey, TenantKey};
pub use size::{CHUNK_SEALED_BYTES_MAX, chunk_count, chunk_plain_bytes, plain_bytes, sealed_bytes};
pub use stream::{ChunkPosition, StreamOpener, StreamSealer};
pub use suite::{NONCE_BYTES, Nonce, Suite, TAG_BYTES};
pub use value::{
    VALUE_CONTEXT_BYTES_MAX, VALUE_LABEL_BYTES_MAX, VALUE_PLAIN_BYTES_MAX, open_value, seal_value,
};
pub use wrap::{KeyLevel, RootWrap, WrappedKey};

#[cfg(test)]
mod tests;
