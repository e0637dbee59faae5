//! Frames between peers: what a receiver does with bytes from a socket.

use bytes::Bytes;
use wire::{CallRefusal, DecodeError, FRAME_HEADER_BYTES, FrameHeader, FrameType, PeerClass};

use crate::{Seed, Target, check};

pub(crate) const TARGET: Target = Target { name: "frame", run, seeds };

/// Where the header keeps its two lengths and two checksums.
const LENGTHS_AT: usize = 20;
const CHECKSUMS_AT: usize = 28;

fn run(input: &[u8]) {
    check::canonical("refusal", &Bytes::copy_from_slice(input), CallRefusal::decode, CallRefusal::encode);
    let Some((fixed, rest)) = input.split_first_chunk::<FRAME_HEADER_BYTES>() else { return };
    let _damaged_or_not = receive(fixed, rest);
    let mended = mend(fixed, rest);
    let Ok((header, head, body)) = receive(&mended, rest) else { return };
    assert_eq!(header.encode(), mended, "frame header: another encoding than was read");
    let made = FrameHeader::new(
        header.frame_type,
        header.class,
        header.kind,
        header.call,
        head,
        &[Bytes::copy_from_slice(body)],
    );
    assert_eq!(made, Ok(header), "a sender makes another header of the same frame");
}

/// What a receiver does: header, head, body, each checked before the next is believed.
fn receive<'a>(
    fixed: &[u8; FRAME_HEADER_BYTES],
    rest: &'a [u8],
) -> Result<(FrameHeader, &'a [u8], &'a [u8]), DecodeError> {
    let header = FrameHeader::decode(fixed)?;
    let (head, rest) = rest.split_at(rest.len().min(header.head_bytes as usize));
    header.check_head(head)?;
    let body = &rest[..rest.len().min(header.body_bytes as usize)];
    header.check_body(body)?;
    Ok((header, head, body))
}

/// The header with lengths that fit what follows and checksums that are right.
fn mend(fixed: &[u8; FRAME_HEADER_BYTES], rest: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
    let mut mended = *fixed;
    let head_bytes = usize::from(fixed[LENGTHS_AT]).min(rest.len());
    let (head, body) = rest.split_at(head_bytes);
    let lengths = [head.len() as u32, body.len() as u32];
    for (number, value) in lengths.into_iter().chain([crc32c::crc32c(body)]).enumerate() {
        let at = LENGTHS_AT + 4 * number;
        mended[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    if body.is_empty() {
        mended[CHECKSUMS_AT..CHECKSUMS_AT + 4].fill(0);
    }
    let checked = FRAME_HEADER_BYTES - 4;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&mended[..checked]), head);
    mended[checked..].copy_from_slice(&sum.to_le_bytes());
    mended
}

fn seeds() -> Vec<Seed> {
    let frame = |frame_type, class, head: &[u8], body: &[u8]| {
        let header = FrameHeader::new(frame_type, class, 10, 7, head, &[Bytes::copy_from_slice(body)])
            .expect("far below the limits");
        [&header.encode()[..], head, body].concat()
    };
    vec![
        ("request", frame(FrameType::Request, PeerClass::Bulk, b"head", b"body")),
        ("item", frame(FrameType::StreamItem, PeerClass::Append, b"head", b"")),
        ("ping", frame(FrameType::Ping, PeerClass::Liveness, b"", b"")),
        ("refusal", CallRefusal::new(CallRefusal::PROTOCOL, "not expected here").encode().to_vec()),
    ]
}
