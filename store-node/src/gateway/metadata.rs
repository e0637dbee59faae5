//! System headers and user metadata of an object: how they are laid out before they are sealed.
//!
//! Layout: format byte; list of system headers (number, text); list of user entries (name, text); the seal over the
//! list of parts, if there is one.

use bytes::Bytes;
use envelope::PARTS_SEAL_BYTES;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode};
use wire::{DecodeError, Decoder, Encoder};

use super::errors::{invalid_argument, s3};

const FORMAT: u8 = 1;

/// User metadata, bytes of names and values together (S3's own limit).
const USER_METADATA_BYTES_MAX: usize = 2 << 10;

/// One system header, bytes: together with the user's metadata they fit a sealed record.
const SYSTEM_HEADER_BYTES_MAX: usize = 2 << 10;

/// Entries of user metadata: each takes at least a name's byte.
const ENTRIES_MAX: usize = USER_METADATA_BYTES_MAX;

/// What is kept with an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectMetadata {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    /// As an HTTP date.
    pub(crate) expires: Option<String>,
    pub(crate) user: Vec<(String, String)>,
    pub(crate) parts_seal: Option<[u8; PARTS_SEAL_BYTES]>,
}

impl ObjectMetadata {
    /// Takes over user metadata, in the order of names.
    pub(crate) fn set_user(&mut self, metadata: Option<dto::Metadata>) {
        self.user = metadata.into_iter().flatten().collect();
        self.user.sort();
    }

    /// User metadata as the protocol layer shows it.
    pub(crate) fn shown_user(&self) -> Option<dto::Metadata> {
        (!self.user.is_empty()).then(|| self.user.iter().cloned().collect())
    }

    pub(crate) fn set_expires(&mut self, expires: Option<&dto::Timestamp>) {
        self.expires = expires.and_then(|instant| {
            let mut text = Vec::new();
            instant.format(dto::TimestampFormat::HttpDate, &mut text).ok()?;
            String::from_utf8(text).ok()
        });
    }

    pub(crate) fn shown_expires(&self) -> Option<dto::Timestamp> {
        dto::Timestamp::parse(dto::TimestampFormat::HttpDate, self.expires.as_deref()?).ok()
    }

    /// Keeps what remains of a content encoding when the upload's own framing is taken away.
    pub(crate) fn set_content_encoding(&mut self, encoding: Option<String>) {
        self.content_encoding = encoding.and_then(|encoding| {
            if !encoding.contains("aws-chunked") {
                return Some(encoding);
            }
            let rest: Vec<&str> =
                encoding.split(',').map(str::trim).filter(|part| *part != "aws-chunked").collect();
            (!rest.is_empty()).then(|| rest.join(","))
        });
    }

    /// Refuses what is larger than S3 allows.
    pub(crate) fn check(&self) -> Result<(), S3Error> {
        let user: usize = self.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        if user > USER_METADATA_BYTES_MAX {
            return Err(s3(
                S3ErrorCode::MetadataTooLarge,
                "Your metadata headers exceed the maximum allowed metadata size of 2048 bytes",
            ));
        }
        if self.system().into_iter().flatten().any(|value| value.len() > SYSTEM_HEADER_BYTES_MAX) {
            return Err(invalid_argument(
                "A header that is stored with the object is longer than 2048 bytes.",
            ));
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(128);
        e.u8(FORMAT);
        let system: Vec<(u8, &String)> =
            (1..).zip(self.system()).filter_map(|(n, v)| Some((n, v?))).collect();
        e.list(&system, |e, (number, value)| {
            e.u8(*number);
            e.text(value);
        });
        e.list(&self.user, |e, (name, value)| {
            e.text(name);
            e.text(value);
        });
        e.option(self.parts_seal.as_ref(), |e, seal| e.fixed(seal));
        e.finish()
    }

    pub(crate) fn decode(plain: Vec<u8>) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("object metadata", plain.into());
        match d.u8()? {
            FORMAT => {}
            found => return Err(d.unknown(u64::from(found))),
        }
        let mut metadata = Self::default();
        for (number, value) in d.list(6, |d| Ok((d.u8()?, d.text(SYSTEM_HEADER_BYTES_MAX)?)))? {
            let slot = match number {
                1 => &mut metadata.content_type,
                2 => &mut metadata.cache_control,
                3 => &mut metadata.content_disposition,
                4 => &mut metadata.content_encoding,
                5 => &mut metadata.content_language,
                6 => &mut metadata.expires,
                found => return Err(d.unknown(u64::from(found))),
            };
            *slot = Some(value);
        }
        let text = USER_METADATA_BYTES_MAX;
        metadata.user = d.list(ENTRIES_MAX, |d| Ok((d.text(text)?, d.text(text)?)))?;
        metadata.parts_seal = d.option(Decoder::array)?;
        d.finish()?;
        Ok(metadata)
    }

    fn system(&self) -> [Option<&String>; 6] {
        [
            self.content_type.as_ref(),
            self.cache_control.as_ref(),
            self.content_disposition.as_ref(),
            self.content_encoding.as_ref(),
            self.content_language.as_ref(),
            self.expires.as_ref(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_back_as_written_and_every_cut_is_an_error() {
        let metadata = ObjectMetadata {
            content_type: Some("text/plain".into()),
            expires: Some("Sat, 21 Nov 2026 20:00:00 GMT".into()),
            user: vec![("a".into(), "ä".into())],
            parts_seal: Some([7; 32]),
            ..ObjectMetadata::default()
        };
        let encoded = metadata.encode().to_vec();
        assert_eq!(ObjectMetadata::decode(encoded.clone()), Ok(metadata));
        for cut in 0..encoded.len() {
            assert!(ObjectMetadata::decode(encoded[..cut].to_vec()).is_err(), "{cut}");
        }
    }

    #[test]
    fn the_uploads_own_framing_is_no_content_encoding() {
        let shown = |encoding: &str| {
            let mut metadata = ObjectMetadata::default();
            metadata.set_content_encoding(Some(encoding.into()));
            metadata.content_encoding
        };
        assert_eq!(shown("aws-chunked"), None);
        assert_eq!(shown("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(shown("gzip").as_deref(), Some("gzip"));
    }

    #[test]
    fn too_much_user_metadata_is_refused() {
        let metadata = ObjectMetadata { user: vec![("n".into(), "v".repeat(2048))], ..Default::default() };
        assert_eq!(metadata.check().unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
    }
}
