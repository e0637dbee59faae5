//! Records that the gateway keeps in the region, and the continuation tokens that clients hand back. The first byte of
//! an input chooses which.

use super::Seed;
use crate::gateway::decoders::{Announced, Checksum, ObjectMetadata, Progress, decode_token, encode_token};
use crate::gateway::records::{
    AccessKeyRecord, BucketRecord, PrincipalRecord, Rights, decode_grant, encode_grant, grant_key,
    parse_grant_key,
};
use crate::root_key::wrapped::WrappedOnToken;
use bytes::Bytes;
use envelope::{KeyVersion, NONCE_BYTES};
use wire::{BucketId, ListAfter, PrincipalId, UnixMillis, VersioningMode};

const BUCKET: u8 = 0;
const PRINCIPAL: u8 = 1;
const ACCESS_KEY: u8 = 2;
const GRANT: u8 = 3;
const GRANT_KEY: u8 = 4;
const CONTINUATION: u8 = 5;
const CHECKSUM: u8 = 6;
const ANNOUNCED: u8 = 7;
const METADATA: u8 = 8;
const ON_TOKEN: u8 = 9;
const REWRAP: u8 = 10;

/// Gives the bytes after the first to the decoder that the first one names.
pub fn run(input: &[u8]) {
    let Some((number, rest)) = input.split_first() else { return };
    let rest = Bytes::copy_from_slice(rest);
    match *number {
        BUCKET => canonical(&rest, BucketRecord::decode(rest.clone()).ok(), BucketRecord::encode),
        PRINCIPAL => canonical(&rest, PrincipalRecord::decode(rest.clone()).ok(), PrincipalRecord::encode),
        ACCESS_KEY => canonical(&rest, AccessKeyRecord::decode(rest.clone()).ok(), AccessKeyRecord::encode),
        GRANT => canonical(&rest, decode_grant(rest.clone()).ok(), |rights| encode_grant(*rights)),
        GRANT_KEY => canonical(&rest, parse_grant_key(&rest), |(who, what)| grant_key(*who, *what)),
        CONTINUATION => continuation(&rest),
        CHECKSUM => canonical(&rest, Checksum::decode(&rest).ok().flatten(), Checksum::encode),
        ANNOUNCED => announced(&rest),
        METADATA => metadata(&rest),
        ON_TOKEN => canonical(&rest, WrappedOnToken::decode(&rest).ok(), WrappedOnToken::encode),
        REWRAP => canonical(&rest, Progress::decode(rest.clone()).ok(), Progress::encode),
        _ => {}
    }
}

fn canonical<T>(input: &Bytes, decoded: Option<T>, encode: impl FnOnce(&T) -> Bytes) {
    if let Some(value) = decoded {
        assert_eq!(encode(&value), *input, "another encoding than was read");
    }
}

fn continuation(input: &Bytes) {
    if let Some(token) = std::str::from_utf8(input).ok()
        && let Ok(after) = decode_token(token)
    {
        assert_eq!(encode_token(&after), token, "a place has one token");
    }
    // past base64 and checksum, which random changes never get right
    let after = ListAfter::Prefix(input.clone());
    let fits = (1..=wire::limits::KEY_BYTES_MAX).contains(&input.len());
    let read = decode_token(&encode_token(&after)).ok();
    assert_eq!(read, fits.then_some(after), "a token for a name is taken when there can be such a name");
}

/// Two of its bytes mean nothing, so what was read is compared.
fn announced(input: &Bytes) {
    if let Ok(Some(read)) = Announced::decode(input) {
        assert_eq!(Announced::decode(&read.encode()), Ok(Some(read)));
    }
}

/// Headers may be in any order, so what was read is compared.
fn metadata(input: &Bytes) {
    if let Ok(read) = ObjectMetadata::decode(input.to_vec()) {
        assert_eq!(ObjectMetadata::decode(read.encode().to_vec()), Ok(read));
    }
}

/// A real encoding of each.
pub fn seeds() -> Vec<Seed> {
    let (principal, created) = (PrincipalId(7), UnixMillis(8));
    let (versioning, deleting) = (VersioningMode::Enabled, Some(UnixMillis(9)));
    let bucket = BucketRecord { owner: principal, created, versioning, deleting };
    let sealed_secret = Bytes::from_static(b"sealed");
    let metadata = ObjectMetadata {
        content_type: Some("text/plain".into()),
        user: vec![("color".into(), "blue".into())],
        parts_seal: Some([7; 32]),
        ..ObjectMetadata::default()
    };
    let on_token = WrappedOnToken {
        version: KeyVersion(7),
        nonce: [0x11; NONCE_BYTES],
        sealed: [0x22; crate::root_key::wrapped::SEALED_BYTES],
    };
    let token = encode_token(&ListAfter::Key(Bytes::from_static(b"jobs/1")));
    let chosen = |number: u8, encoding: &[u8]| [&[number], encoding].concat();
    vec![
        ("bucket", chosen(BUCKET, &bucket.encode())),
        (
            "principal",
            chosen(PRINCIPAL, &PrincipalRecord { admin: true, create_buckets: true, created }.encode()),
        ),
        ("access-key", chosen(ACCESS_KEY, &AccessKeyRecord { principal, created, sealed_secret }.encode())),
        ("grant", chosen(GRANT, &encode_grant(Rights::READ.with(Rights::LIST)))),
        ("grant-key", chosen(GRANT_KEY, &grant_key(principal, BucketId(4)))),
        ("continuation", chosen(CONTINUATION, token.as_bytes())),
        // CRC-32, of the whole object, no parts, four bytes
        ("checksum", chosen(CHECKSUM, &[1, 0, 0, 0, 1, 2, 3, 4])),
        ("announced", chosen(ANNOUNCED, &[2, 1, 0, 0])),
        ("metadata", chosen(METADATA, &metadata.encode())),
        ("on-token", chosen(ON_TOKEN, &on_token.encode())),
        ("rewrap", chosen(REWRAP, &[&[1, 2, 0, 0, 0][..], &[0; 45]].concat())),
    ]
}
