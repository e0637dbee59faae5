//! Sealed things: headers, wrapped keys, metadata, values, root files, chunks and lists of parts.
//!
//! The keys here are fixed, so what a fuzzer edits can only open when it is byte for byte what was sealed.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use envelope::*;
use wire::{BucketId, DeploymentId, StreamId, TenantId, VersionId};

use crate::allocation::bounded;
use crate::{Seed, Target, check};

pub(crate) const TARGET: Target = Target { name: "envelope", run, seeds };

const HEADER: u8 = 0;
const WRAPPED: u8 = 1;
const ROOT: u8 = 2;
const METADATA: u8 = 3;
const VALUE: u8 = 4;
const CHUNK: u8 = 5;

const PASSPHRASE: &[u8] = b"pass";
const PLAIN: &[u8] = b"plain text";

/// Where a root file keeps what guessing costs, and the cheapest cost there is: memory, passes, lanes.
const COST_AT: usize = 8;
const QUICK: [u32; 3] = [8, 1, 1];

fn run(input: &[u8]) {
    let Some((number, rest)) = check::choice(input) else { return };
    for bytes in [rest.to_vec(), check::with_checksum(rest)] {
        let bytes = Bytes::from(bytes);
        match number {
            HEADER => header(bytes),
            WRAPPED => {
                check::canonical("wrapped key", &bytes, |b| WrappedKey::decode(&b), WrappedKey::encode)
            }
            ROOT => root(&bytes),
            METADATA => opens_only_as_sealed("metadata", bytes, sealed_metadata(), |sealed| {
                open_metadata(&object_key(), &place(), sealed).ok()
            }),
            VALUE => opens_only_as_sealed("value", bytes, sealed_value(), |sealed| {
                open_value(&region_key(), "label", b"context", sealed).ok().map(|plain| plain.to_vec())
            }),
            CHUNK => opens_only_as_sealed("chunk", bytes, sealed_chunk(), |sealed| {
                let mut chunk = BytesMut::from(&sealed[..]);
                let at = ChunkPosition::last(PLAIN.len() as u64);
                StreamOpener::new(&object_key(), &stream()).open_in_place(at, &mut chunk).ok()?;
                Some(chunk.to_vec())
            }),
            _ => return,
        }
    }
}

fn header(bytes: Bytes) {
    check::canonical("object header", &bytes, ObjectHeader::decode, ObjectHeader::encode);
    let Ok(header) = ObjectHeader::decode(bytes) else { return };
    let tenant_key = tenant_key();
    let opened = header.open(&place(), |_, _, _| Some(&tenant_key));
    assert!(opened.is_err() || header == sealed_header(), "an edited header opened");
}

/// With the cost as it is written only damage is looked for, else a fuzzer would spend its time hashing.
fn root(bytes: &Bytes) {
    let mut cheap = bytes.to_vec();
    let Some(cost) = cheap.get_mut(COST_AT..COST_AT + 12) else {
        let refused = open_root(PASSPHRASE, bytes).is_err();
        return assert!(refused, "a root file that was cut opened");
    };
    for (field, value) in cost.chunks_exact_mut(4).zip(QUICK) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    let cheap = check::with_checksum(&cheap);
    let opened = bounded("root file", cheap.len() + (8 << 10), || open_root(PASSPHRASE, &cheap));
    assert!(opened.is_err() || cheap == sealed_root(), "an edited root file opened");
}

fn opens_only_as_sealed(
    what: &str,
    bytes: Bytes,
    sealed: Bytes,
    open: impl FnOnce(Bytes) -> Option<Vec<u8>>,
) {
    if let Some(plain) = bounded(what, bytes.len(), || open(bytes.clone())) {
        assert_eq!((bytes, &plain[..]), (sealed, PLAIN), "{what}: edited bytes opened");
    }
}

fn all(byte: u8) -> impl Fn(&mut [u8]) -> Result<(), Infallible> {
    move |bytes| {
        bytes.fill(byte);
        Ok(())
    }
}

/// A generator that cannot fail.
fn made<T>(made: Result<T, Infallible>) -> T {
    match made {
        Ok(made) => made,
        Err(never) => match never {},
    }
}

fn nonce(byte: u8) -> Nonce {
    made(Nonce::generate(all(byte)))
}

fn region_name() -> RegionKeyName {
    let region = RegionName::parse("here-1").expect("a label");
    RegionKeyName { deployment: DeploymentId([0xd0; 16]), region, version: KeyVersion(1) }
}

fn object_key() -> ObjectKey {
    made(ObjectKey::generate(all(4)))
}

fn region_key() -> RegionKey {
    made(RegionKey::generate(region_name(), all(2)))
}

fn tenant_key() -> TenantKey {
    let RegionKeyName { deployment, region, .. } = region_name();
    let name = TenantKeyName { deployment, region, tenant: TenantId(7), version: KeyVersion(3) };
    made(TenantKey::generate(name, all(3)))
}

fn place() -> ObjectPlace {
    ObjectPlace::new(TenantId(7), BucketId(9), b"jobs/1", VersionId([0x55; 16]))
}

fn stream() -> StreamPlace {
    StreamPlace { object: place(), part: 0, stream: StreamId([0x66; 16]) }
}

fn sealed_header() -> ObjectHeader {
    ObjectHeader::seal(&place(), &object_key(), vec![(&tenant_key(), nonce(5))]).expect("one copy is allowed")
}

fn sealed_metadata() -> Bytes {
    seal_metadata(&object_key(), &place(), PLAIN, nonce(9)).expect("short enough")
}

fn sealed_value() -> Bytes {
    seal_value(&region_key(), "label", b"context", PLAIN, nonce(1)).expect("short enough")
}

fn sealed_root() -> Vec<u8> {
    let [memory_kib, passes, lanes] = QUICK;
    let cost = PassphraseCost::new(memory_kib, passes, lanes).expect("the least there is");
    let root = made(RootKey::generate(all(1)));
    seal_root(PASSPHRASE, cost, [6; SALT_BYTES], &root).expect("a passphrase of four bytes").to_vec()
}

fn sealed_chunk() -> Bytes {
    let mut chunk = BytesMut::from(PLAIN);
    let at = ChunkPosition::last(PLAIN.len() as u64);
    StreamSealer::new(&object_key(), &stream()).seal_in_place(at, &mut chunk).expect("it fits its position");
    chunk.freeze()
}

fn seeds() -> Vec<Seed> {
    let root = made(RootKey::generate(all(1)));
    let wrapped_region = root.wrap(&region_key(), nonce(7)).expect("a root wraps any region key");
    let wrapped_tenant =
        region_key().wrap_tenant_key(&tenant_key(), nonce(8)).expect("a key of this region").encode();
    vec![
        ("header", check::chosen(HEADER, &sealed_header().encode())),
        ("wrapped-region", check::chosen(WRAPPED, &wrapped_region)),
        ("wrapped-tenant", check::chosen(WRAPPED, &wrapped_tenant)),
        ("root", check::chosen(ROOT, &sealed_root())),
        ("metadata", check::chosen(METADATA, &sealed_metadata())),
        ("value", check::chosen(VALUE, &sealed_value())),
        ("chunk", check::chosen(CHUNK, &sealed_chunk())),
    ]
}
