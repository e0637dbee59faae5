//! Reads along an XML body: nesting, document types, and the digests that its head promised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use md5::{Digest as _, Md5};

use crate::gateway::checksum::{Algorithm, Hasher};
use crate::gateway::context::Fault;

/// Elements within each other. S3's own documents have at most seven.
const DEPTH_MAX: u32 = 16;

/// State of the scan.
pub(super) struct XmlScanner {
    depth: u32,
    place: Place,
    md5: Option<(Md5, Vec<u8>)>,
    checksum: Option<(Hasher, Vec<u8>)>,
    malformed_digest: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// Behind `<`.
    Open,
    /// In a start tag; was the last byte `/`?
    Start {
        slash: bool,
    },
    /// In an end tag or a processing instruction.
    Other,
}

impl XmlScanner {
    pub(super) fn new(headers: &HeaderMap, completes: bool) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let mut malformed_digest = false;
        let md5 = text("content-md5").and_then(|value| match BASE64.decode(value) {
            Ok(digest) if digest.len() == 16 => Some((Md5::new(), digest)),
            _ => {
                malformed_digest = true;
                None
            }
        });
        let checksum = Algorithm::ALL.into_iter().filter(|_| !completes).find_map(|algorithm| {
            let digest = text(algorithm.header())?;
            Some((algorithm.hasher(), algorithm.parse_digest(digest)?))
        });
        Self { depth: 0, place: Place::Text, md5, checksum, malformed_digest }
    }

    pub(super) fn scan(&mut self, data: &[u8]) -> Result<(), Fault> {
        if let Some((hasher, _)) = &mut self.md5 {
            hasher.update(data);
        }
        if let Some((hasher, _)) = &mut self.checksum {
            hasher.update(data);
        }
        data.iter().try_for_each(|byte| self.step(*byte))
    }

    pub(super) fn finish(self) -> Result<(), Fault> {
        let md5 = self.md5.is_none_or(|(hasher, wanted)| hasher.finalize()[..] == wanted[..]);
        let checksum = self.checksum.is_none_or(|(hasher, wanted)| hasher.finish().digest == wanted);
        if md5 && checksum && !self.malformed_digest { Ok(()) } else { Err(Fault::Digest) }
    }

    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        self.place = match (self.place, byte) {
            (Place::Text, b'<') => Place::Open,
            (Place::Text, _) => Place::Text,
            // comments, CDATA and document types: S3's documents have none
            (Place::Open, b'!') => return Err(Fault::Xml),
            (Place::Open, b'?') => Place::Other,
            (Place::Open, b'/') => {
                self.depth = self.depth.checked_sub(1).ok_or(Fault::Xml)?;
                Place::Other
            }
            (Place::Open, _) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Fault::Xml);
                }
                Place::Start { slash: false }
            }
            (Place::Start { slash }, b'>') => {
                if slash {
                    self.depth -= 1;
                }
                Place::Text
            }
            (Place::Start { .. }, b'/') => Place::Start { slash: true },
            (Place::Start { .. }, _) => Place::Start { slash: false },
            (Place::Other, b'>') => Place::Text,
            (Place::Other, _) => Place::Other,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(body: &str) -> Result<(), Fault> {
        let mut scanner = XmlScanner::new(&HeaderMap::new(), false);
        scanner.scan(body.as_bytes())?;
        scanner.finish()
    }

    #[test]
    fn documents_as_clients_send_them_pass() {
        let body = "<?xml version=\"1.0\"?><Delete xmlns='x'><Object><Key>a</Key></Object><Quiet/></Delete>";
        assert_eq!(scan(body), Ok(()));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(scan(&"<a>".repeat(16)), Ok(()));
        assert_eq!(scan(&"<a>".repeat(17)), Err(Fault::Xml));
        assert_eq!(scan(&"<a/>".repeat(100)), Ok(()));
    }

    #[test]
    fn a_document_type_is_refused() {
        assert_eq!(scan("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"), Err(Fault::Xml));
    }

    #[test]
    fn a_digest_that_does_not_match_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("content-md5", "kAFQmDzST7DWlj99KOF/cg==".parse().unwrap());
        let with = |body: &[u8]| {
            let mut scanner = XmlScanner::new(&headers, false);
            scanner.scan(body)?;
            scanner.finish()
        };
        assert_eq!(with(b"abc"), Ok(()));
        assert_eq!(with(b"abd"), Err(Fault::Digest));
    }
}
