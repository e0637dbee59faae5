//! Continuation tokens: a place in the order of names, opaque to clients, good on any gateway at any time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use s3s::S3Result;
use wire::{ListAfter, limits};

use crate::gateway::errors::invalid_argument;

/// First byte of a token.
const FORMAT: u8 = 1;

/// A token for going on there.
pub(crate) fn encode(after: &ListAfter) -> String {
    let (kind, name): (u8, &[u8]) = match after {
        ListAfter::Start => (0, b""),
        ListAfter::Key(key) | ListAfter::Version(key, _) => (1, key),
        ListAfter::Prefix(prefix) => (2, prefix),
    };
    let mut bytes = vec![FORMAT, kind];
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&crc32(&bytes).to_le_bytes());
    BASE64.encode(bytes)
}

/// Where a token goes on.
pub(crate) fn decode(token: &str) -> S3Result<ListAfter> {
    read(token).ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
}

fn read(token: &str) -> Option<ListAfter> {
    if token.len() > 2 * limits::KEY_BYTES_MAX {
        return None;
    }
    let bytes = BASE64.decode(token).ok()?;
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32(body).to_le_bytes() != sum {
        return None;
    }
    let name = Bytes::copy_from_slice(body.get(2..)?);
    if name.len() > limits::KEY_BYTES_MAX {
        return None;
    }
    match (body[0], body[1], name.is_empty()) {
        (FORMAT, 0, true) => Some(ListAfter::Start),
        (FORMAT, 1, false) => Some(ListAfter::Key(name)),
        (FORMAT, 2, false) => Some(ListAfter::Prefix(name)),
        _ => None,
    }
}

/// Finds tokens that were cut or mixed up; nobody gains anything by making one.
fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_for_a_name_that_no_object_can_have_is_refused() {
        let name = |length| ListAfter::Key(Bytes::from(vec![b'a'; length]));
        let longest = name(limits::KEY_BYTES_MAX);
        assert_eq!(decode(&encode(&longest)).unwrap(), longest);
        assert!(decode(&encode(&name(limits::KEY_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn tokens_go_on_where_they_say_and_others_are_refused() {
        for after in [
            ListAfter::Start,
            ListAfter::Key(Bytes::from_static("ä/b".as_bytes())),
            ListAfter::Prefix(Bytes::from_static(b"a/")),
        ] {
            let token = encode(&after);
            assert_eq!(decode(&token).unwrap(), after);
            assert!(decode(&token[1..]).is_err());
        }
        for wrong in ["", "x", "AAAA", "ä", &"A".repeat(5000)] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
