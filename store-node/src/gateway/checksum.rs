//! The five S3 checksums: computing them, the form they have in records and headers, and what becomes of them
//! when parts are joined.
//!
//! In a record a checksum is: algorithm, type, number of parts (u16), digest; an announced one has no digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use s3s::dto;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use wire::{DecodeError, Decoder, Encoder};

/// Longest digest here, bytes: SHA-256.
const DIGEST_BYTES_MAX: usize = 32;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    Crc32 = 1,
    Crc32c = 2,
    Crc64Nvme = 3,
    Sha1 = 4,
    Sha256 = 5,
}

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Over the whole object.
    FullObject = 0,
    /// Over the parts' digests.
    Composite = 1,
}

/// A checksum as recorded and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    /// How many parts a composite one is over.
    pub(crate) parts: u16,
    pub(crate) digest: Vec<u8>,
}

/// What the client of a multipart upload announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
}

/// A checksum being computed.
pub(crate) enum Hasher {
    Crc(Algorithm, CrcDigest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => dto::ChecksumAlgorithm::CRC32,
            Self::Crc32c => dto::ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => dto::ChecksumAlgorithm::CRC64NVME,
            Self::Sha1 => dto::ChecksumAlgorithm::SHA1,
            Self::Sha256 => dto::ChecksumAlgorithm::SHA256,
        }
    }

    /// The header that carries its value.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub(crate) const fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// What S3 makes of it in a multipart upload when the client does not say.
    pub(crate) const fn default_kind(self) -> Kind {
        match self {
            Self::Crc64Nvme => Kind::FullObject,
            _ => Kind::Composite,
        }
    }

    /// Whether S3 allows it over the whole of an object made of parts.
    pub(crate) const fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::FullObject => self.crc().is_some(),
            Kind::Composite => !matches!(self, Self::Crc64Nvme),
        }
    }

    /// Reads a digest as headers and XML carry it.
    pub(crate) fn parse_digest(self, text: &str) -> Option<Vec<u8>> {
        BASE64.decode(text).ok().filter(|digest| digest.len() == self.digest_bytes())
    }

    pub(crate) fn hasher(self) -> Hasher {
        match (self, self.crc()) {
            (_, Some(crc)) => Hasher::Crc(self, CrcDigest::new(crc)),
            (Self::Sha1, None) => Hasher::Sha1(Sha1::new()),
            (_, None) => Hasher::Sha256(Sha256::new()),
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            dto::ChecksumType::FULL_OBJECT => Some(Self::FullObject),
            dto::ChecksumType::COMPOSITE => Some(Self::Composite),
            _ => None,
        }
    }

    pub(crate) fn shown(self) -> dto::ChecksumType {
        dto::ChecksumType::from_static(match self {
            Self::FullObject => dto::ChecksumType::FULL_OBJECT,
            Self::Composite => dto::ChecksumType::COMPOSITE,
        })
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(data),
            Self::Sha1(digest) => digest.update(data),
            Self::Sha256(digest) => digest.update(data),
        }
    }

    /// The checksum over everything seen.
    pub(crate) fn finish(self) -> Checksum {
        let (algorithm, digest) = match self {
            Self::Crc(algorithm, digest) => (algorithm, crc_bytes(algorithm, digest.finalize())),
            Self::Sha1(digest) => (Algorithm::Sha1, digest.finalize().to_vec()),
            Self::Sha256(digest) => (Algorithm::Sha256, digest.finalize().to_vec()),
        };
        Checksum { algorithm, kind: Kind::FullObject, parts: 0, digest }
    }
}

impl Checksum {
    /// As headers and XML carry it: base64, with `-N` behind a composite one over N parts.
    pub(crate) fn shown(&self) -> String {
        let text = BASE64.encode(&self.digest);
        match self.kind {
            Kind::FullObject => text,
            Kind::Composite => format!("{text}-{}", self.parts),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(4 + self.digest.len());
        e.u8(self.algorithm as u8);
        e.u8(self.kind as u8);
        e.u16(self.parts);
        e.fixed(&self.digest);
        e.finish()
    }

    /// Reads a record's checksum; nothing in, nothing out.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Option<Self>, DecodeError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut d = Decoder::new("checksum", bytes.clone());
        let (announced, parts) = decode_head(&mut d)?;
        let digest = d.rest();
        if digest.len() != announced.algorithm.digest_bytes() || digest.len() > DIGEST_BYTES_MAX {
            return Err(d.unknown(digest.len() as u64));
        }
        let Announced { algorithm, kind } = announced;
        Ok(Some(Self { algorithm, kind, parts, digest: digest.to_vec() }))
    }

    /// The checksum of an object made of `parts`, each with its plaintext length; nothing when a part has none.
    pub(crate) fn join(announced: Announced, parts: &[(Option<Self>, u64)]) -> Option<Self> {
        let Announced { algorithm, kind } = announced;
        let count = u16::try_from(parts.len()).ok()?;
        let of = |part: &Option<Self>| {
            part.as_ref().filter(|sum| sum.algorithm == algorithm).map(|sum| sum.digest.clone())
        };
        let digest = match (kind, algorithm.crc()) {
            (Kind::FullObject, Some(crc)) => {
                let mut joined: Option<u64> = None;
                for (sum, size) in parts {
                    let next = crc_value(&of(sum)?);
                    joined = Some(match joined {
                        None => next,
                        Some(before) => crc_fast::checksum_combine(crc, before, next, *size),
                    });
                }
                crc_bytes(algorithm, joined?)
            }
            _ => {
                let mut hasher = algorithm.hasher();
                for (sum, _) in parts {
                    hasher.update(&of(sum)?);
                }
                hasher.finish().digest
            }
        };
        Some(Self { algorithm, kind, parts: count, digest })
    }
}

impl Announced {
    pub(crate) fn encode(self) -> Bytes {
        Bytes::from(vec![self.algorithm as u8, self.kind as u8, 0, 0])
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Option<Self>, DecodeError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut d = Decoder::new("announced checksum", bytes.clone());
        let (announced, _) = decode_head(&mut d)?;
        d.finish()?;
        Ok(Some(announced))
    }
}

fn decode_head(d: &mut Decoder) -> Result<(Announced, u16), DecodeError> {
    let number = d.u8()?;
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|algorithm| *algorithm as u8 == number)
        .ok_or_else(|| d.unknown(u64::from(number)))?;
    let kind = match d.u8()? {
        0 => Kind::FullObject,
        1 => Kind::Composite,
        found => return Err(d.unknown(u64::from(found))),
    };
    Ok((Announced { algorithm, kind }, d.u16()?))
}

fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes[8 - algorithm.digest_bytes()..].to_vec()
}

fn crc_value(digest: &[u8]) -> u64 {
    digest.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(algorithm: Algorithm, data: &[u8]) -> Checksum {
        let mut hasher = algorithm.hasher();
        hasher.update(data);
        hasher.finish()
    }

    #[test]
    fn digests_match_published_check_values() {
        let check = b"123456789";
        for (algorithm, wanted) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let hex: String =
                over(algorithm, check).digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, wanted, "{algorithm:?}");
        }
    }

    #[test]
    fn a_joined_full_object_crc_is_the_crc_of_the_whole() {
        let data: Vec<u8> = (0..100_000_u32).map(|i| (i * 7) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> =
                data.chunks(33_333).map(|part| (Some(over(algorithm, part)), part.len() as u64)).collect();
            let announced = Announced { algorithm, kind: Kind::FullObject };
            assert_eq!(Checksum::join(announced, &parts).unwrap().digest, over(algorithm, &data).digest);
        }
    }

    #[test]
    fn a_composite_checksum_is_over_the_digests_and_names_the_count() {
        let parts: Vec<_> =
            [b"one".as_slice(), b"two"].map(|part| (Some(over(Algorithm::Sha256, part)), 3)).to_vec();
        let announced = Announced { algorithm: Algorithm::Sha256, kind: Kind::Composite };
        let joined = Checksum::join(announced, &parts).unwrap();
        let digests: Vec<u8> = parts.iter().flat_map(|(sum, _)| sum.clone().unwrap().digest).collect();
        assert_eq!(joined.digest, over(Algorithm::Sha256, &digests).digest);
        assert!(joined.shown().ends_with("-2"));
    }

    #[test]
    fn a_part_without_checksum_leaves_none_for_the_object() {
        let announced = Announced { algorithm: Algorithm::Crc32, kind: Kind::FullObject };
        assert_eq!(Checksum::join(announced, &[(None, 3)]), None);
    }

    #[test]
    fn records_keep_checksums() {
        let sum = over(Algorithm::Crc64Nvme, b"x");
        assert_eq!(Checksum::decode(&sum.encode()), Ok(Some(sum)));
        assert_eq!(Checksum::decode(&Bytes::new()), Ok(None));
        assert!(Checksum::decode(&Bytes::from_static(&[1, 0, 0, 0, 9])).is_err());
        let announced = Announced { algorithm: Algorithm::Sha1, kind: Kind::Composite };
        assert_eq!(Announced::decode(&announced.encode()), Ok(Some(announced)));
    }
}
