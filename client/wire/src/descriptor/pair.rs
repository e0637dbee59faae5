//! What a pair is: its two regions, the one jurisdiction and environment that both are in, and the keys of their
//! authorities; as text that both authorities sign. And what a member says of it when it greets the other region.
//!
//! Pure: reading, writing, comparing. That the signatures are genuine is for `trust` to say. The lines are in
//! `FORMAT.md` beside this file.

use super::{DescriptorError, check_name};
use crate::{DecodeError, Decoder, DeploymentId, Digest, Encoder, UnixMillis};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::fmt::Write;
use thiserror::Error;

/// The file beside the other files of a node's identity in the paired region.
pub const PAIR_DESCRIPTOR_FILE: &str = "pair.descriptor";

/// A pair descriptor with its signatures, bytes. 4 KiB: the longest names and keys take a third of it.
pub const PAIR_DESCRIPTOR_BYTES_MAX: usize = 4 << 10;

/// A member's greeting to the other region, bytes: more than one with the longest name has.
pub const PAIR_HELLO_BYTES_MAX: usize = 128;

/// The first line. Nothing else that an authority signs begins like it: a certificate begins with a byte that is no letter.
const TITLE: &str = "twinkeep pair descriptor 1";

/// The first line up to the version.
const TITLE_OF_ANY_VERSION: &str = "twinkeep pair descriptor ";

/// What the line begins with that makes certificates worthless.
const MEMBERS_SINCE: &str = "members_since_ms";

/// A public key or a signature, bytes: those of ECDSA P-256 take 91 and at most 72.
const FIELD_BYTES_MAX: usize = 256;

/// Two regions and what holds for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairDescriptor {
    /// The deployment that both regions are of.
    pub deployment: DeploymentId,
    /// The environment that both are in.
    pub environment: String,
    /// The jurisdiction that both are in.
    pub jurisdiction: String,
    /// Grows with every descriptor of this pair, from 1.
    pub serial: u64,
    /// When it was made.
    pub issued_at: UnixMillis,
    /// The regions, by name.
    pub regions: [PairedRegion; 2],
}

/// One region of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedRegion {
    /// Its name.
    pub name: String,
    /// The public key of its authority, as certificates hold it (DER of SubjectPublicKeyInfo).
    pub key: Vec<u8>,
    /// What its nodes show in the other region counts only if it was issued since: a whole second, as certificates have it.
    pub members_since: Option<UnixMillis>,
}

/// A descriptor as a file holds it. Whether the signatures fit is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPair {
    /// What is signed.
    pub descriptor: PairDescriptor,
    /// Each region's signature, in the order of the regions.
    pub signatures: [Vec<u8>; 2],
}

/// What a member says of its pair when it greets the other region, and what it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairHello {
    /// SHA-256 of what the regions signed.
    pub sha256: Digest,
    /// The descriptor's serial.
    pub serial: u64,
    /// The jurisdiction in it.
    pub jurisdiction: String,
}

/// Why a text is no pair descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PairTextError {
    /// Something else altogether, or far too long.
    #[error(
        "this is no pair descriptor (one begins with {TITLE:?} and has at most {PAIR_DESCRIPTOR_BYTES_MAX} bytes)"
    )]
    NotOne,
    /// Made by a newer release.
    #[error("the pair descriptor is of version {found:?}, this release reads 1")]
    Version {
        /// The version found.
        found: String,
    },
    /// A line that is not there, or says what it cannot say.
    #[error("the pair descriptor's line {line:?} is missing or damaged")]
    Line {
        /// What the line begins with.
        line: &'static str,
    },
    /// A name that is none.
    #[error("the pair descriptor cannot be: {0}")]
    Name(#[from] DescriptorError),
    /// The same name or the same authority twice, or not in order.
    #[error("the pair descriptor does not name two regions, each with its own authority, by name")]
    Regions,
    /// Right in content, but not exactly as it is written: it was changed.
    #[error("the pair descriptor's form was changed")]
    Spelling,
}

/// Why the other end of a connection between two regions is not of the same pair.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PairMismatch {
    /// It says nothing of a pair.
    #[error("no pair descriptor was shown")]
    NotShown,
    /// This process has none to hold it against.
    #[error("there is no pair descriptor to hold it against")]
    NotHere,
    /// It is in another jurisdiction.
    #[error("pair descriptor of another jurisdiction: {found} instead of {own}")]
    Jurisdiction {
        /// Where this process is.
        own: String,
        /// Where the other end says it is.
        found: String,
    },
    /// It has an older or newer descriptor.
    #[error(
        "another pair descriptor: serial {found} instead of {own}; whoever has the lower one needs its newest folder pair/node-N"
    )]
    Serial {
        /// The serial here.
        own: u64,
        /// The serial there.
        found: u64,
    },
    /// It has another descriptor under the same serial.
    #[error("another pair descriptor under the same serial: {found}")]
    Other {
        /// Its SHA-256.
        found: Digest,
    },
}

impl PairDescriptor {
    /// Checks everything that can be judged without keys.
    pub fn validate(&self) -> Result<(), PairTextError> {
        check_name("environment", &self.environment)?;
        check_name("jurisdiction", &self.jurisdiction)?;
        if self.serial == 0 {
            return Err(PairTextError::Line { line: "serial" });
        }
        let [first, second] = &self.regions;
        for region in [first, second] {
            check_name("region", &region.name)?;
            if region.key.is_empty() || region.key.len() > FIELD_BYTES_MAX {
                return Err(PairTextError::Line { line: "region" });
            }
            // later than the descriptor: nothing that came with it would count
            let is_wrong = |since: UnixMillis| since > self.issued_at || !since.0.is_multiple_of(1000);
            if region.members_since.is_some_and(is_wrong) {
                return Err(PairTextError::Line { line: MEMBERS_SINCE });
            }
        }
        if first.name < second.name && first.key != second.key { Ok(()) } else { Err(PairTextError::Regions) }
    }

    /// Exactly what both authorities sign.
    pub fn statement(&self) -> String {
        let Self { deployment, environment, jurisdiction, serial, issued_at, regions } = self;
        let mut text = format!(
            "{TITLE}\ndeployment {deployment}\nenvironment {environment}\njurisdiction {jurisdiction}\nserial {serial}\nissued_at_ms {}\n",
            issued_at.0
        );
        for PairedRegion { name, key, .. } in regions {
            line(&mut text, "region", name, key);
        }
        for PairedRegion { name, members_since, .. } in regions {
            if let Some(since) = members_since {
                writeln!(text, "{MEMBERS_SINCE} {name} {}", since.0)
                    .expect("a String takes all that is written");
            }
        }
        text
    }

    /// The region of that name, and the other one.
    pub fn sides(&self, name: &str) -> Option<(&PairedRegion, &PairedRegion)> {
        let [first, second] = &self.regions;
        match name {
            name if name == first.name => Some((first, second)),
            name if name == second.name => Some((second, first)),
            _ => None,
        }
    }
}

impl SignedPair {
    /// The file.
    pub fn to_text(&self) -> String {
        let mut text = self.descriptor.statement();
        for (region, signature) in self.descriptor.regions.iter().zip(&self.signatures) {
            line(&mut text, "signature", &region.name, signature);
        }
        text
    }

    /// Reads the file; a descriptor has exactly one spelling.
    pub fn parse(text: &str) -> Result<Self, PairTextError> {
        if text.len() > PAIR_DESCRIPTOR_BYTES_MAX {
            return Err(PairTextError::NotOne);
        }
        let mut lines = text.lines().peekable();
        let title = lines.next().unwrap_or_default();
        let version = title.strip_prefix(TITLE_OF_ANY_VERSION).ok_or(PairTextError::NotOne)?;
        if title != TITLE {
            let found = version.chars().filter(char::is_ascii_graphic).take(16).collect();
            return Err(PairTextError::Version { found });
        }
        let mut value = |line| value(lines.next(), line);
        let (deployment, environment) = (value("deployment")?, value("environment")?);
        let (jurisdiction, serial) = (value("jurisdiction")?, value("serial")?);
        let issued_at = value("issued_at_ms")?;
        let regions = [value("region")?, value("region")?];
        // none, one or two of them
        let mut since = Vec::new();
        while let Some(found) = lines.next_if(|line| line.starts_with(MEMBERS_SINCE)) {
            since.extend(self::value(Some(found), MEMBERS_SINCE)?.split_once(' '));
        }
        let mut value = |line| self::value(lines.next(), line);
        let signatures = [value("signature")?, value("signature")?];
        let number = |line, text: &str| text.parse::<u64>().map_err(|_| PairTextError::Line { line });
        let [first, second] = regions.map(|region| named("region", region));
        let (first, second) = (first?, second?);
        let [first_signature, second_signature] = signatures.map(|signature| named("signature", signature));
        let region = |(name, key): (&str, Vec<u8>)| {
            let said = since.iter().find(|(region, _)| *region == name);
            let members_since = said.map(|(_, since)| number(MEMBERS_SINCE, since)).transpose()?;
            let members_since = members_since.map(UnixMillis);
            Ok::<_, PairTextError>(PairedRegion { name: name.to_owned(), key, members_since })
        };
        let deployment = DeploymentId::parse(deployment).ok_or(PairTextError::Line { line: "deployment" })?;
        let descriptor = PairDescriptor {
            deployment,
            environment: environment.to_owned(),
            jurisdiction: jurisdiction.to_owned(),
            serial: number("serial", serial)?,
            issued_at: UnixMillis(number("issued_at_ms", issued_at)?),
            regions: [region(first)?, region(second)?],
        };
        descriptor.validate()?;
        let signed = Self { descriptor, signatures: [first_signature?.1, second_signature?.1] };
        // whose signature is whose, how numbers and keys are written, what comes after the last line
        if signed.to_text() == text { Ok(signed) } else { Err(PairTextError::Spelling) }
    }
}

impl PairHello {
    /// The head of the first ping, and of the pong that answers it.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(PAIR_HELLO_BYTES_MAX);
        encoder.fixed(&self.sha256.0);
        encoder.u64(self.serial);
        encoder.text(&self.jurisdiction);
        encoder.finish()
    }

    /// Reads it.
    pub fn decode(head: Bytes) -> Result<Self, DecodeError> {
        const WHAT: &str = "pair greeting";
        let mut decoder = Decoder::new(WHAT, head);
        let hello = Self {
            sha256: Digest(decoder.array()?),
            serial: decoder.u64()?,
            jurisdiction: decoder.text(super::NAME_BYTES_MAX)?,
        };
        decoder.finish()?;
        // it is shown to people
        check_name("jurisdiction", &hello.jurisdiction).map_err(|_| DecodeError::NotText { what: WHAT })?;
        Ok(hello)
    }

    /// Whether the other end has the very same descriptor.
    pub fn agrees(&self, found: &Self) -> Result<(), PairMismatch> {
        if self.jurisdiction != found.jurisdiction {
            let (own, found) = (self.jurisdiction.clone(), found.jurisdiction.clone());
            return Err(PairMismatch::Jurisdiction { own, found });
        }
        if self.serial != found.serial {
            return Err(PairMismatch::Serial { own: self.serial, found: found.serial });
        }
        if self.sha256 == found.sha256 { Ok(()) } else { Err(PairMismatch::Other { found: found.sha256 }) }
    }
}

fn line(text: &mut String, what: &str, name: &str, bytes: &[u8]) {
    writeln!(text, "{what} {name} {}", STANDARD.encode(bytes)).expect("a String takes all that is written");
}

fn value<'a>(found: Option<&'a str>, line: &'static str) -> Result<&'a str, PairTextError> {
    let rest = found.and_then(|found| found.strip_prefix(line)?.strip_prefix(' '));
    rest.ok_or(PairTextError::Line { line })
}

fn named<'a>(line: &'static str, value: &'a str) -> Result<(&'a str, Vec<u8>), PairTextError> {
    let wrong = || PairTextError::Line { line };
    let (name, bytes) = value.split_once(' ').ok_or_else(wrong)?;
    let bytes = STANDARD.decode(bytes).map_err(|_| wrong())?;
    if (1..=FIELD_BYTES_MAX).contains(&bytes.len()) { Ok((name, bytes)) } else { Err(wrong()) }
}

// a greeting with the longest name fits
const _: () = assert!(32 + 8 + 4 + super::NAME_BYTES_MAX <= PAIR_HELLO_BYTES_MAX);
// and so does a descriptor with the longest names and keys: five names, a dozen numbers' room, and four of everything in base64
const _: () = assert!(
    400 + 10 * super::NAME_BYTES_MAX + 4 * (FIELD_BYTES_MAX * 4 / 3 + 32) <= PAIR_DESCRIPTOR_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> SignedPair {
        let region =
            |name: &str, byte| PairedRegion { name: name.into(), key: vec![byte; 91], members_since: None };
        let descriptor = PairDescriptor {
            deployment: DeploymentId([7; 16]),
            environment: "production".into(),
            jurisdiction: "eu".into(),
            serial: 3,
            issued_at: UnixMillis(1_795_384_644_123),
            regions: [region("north-europe", 1), region("west-europe", 2)],
        };
        SignedPair { descriptor, signatures: [vec![3; 70], vec![4; 71]] }
    }

    #[test]
    fn the_text_of_a_descriptor_is_golden() {
        let text = SignedPair {
            descriptor: PairDescriptor {
                regions: [("a", 1), ("b", 2)].map(|(name, byte)| PairedRegion {
                    name: name.into(),
                    key: vec![byte; 3],
                    members_since: None,
                }),
                ..signed().descriptor
            },
            signatures: [vec![3; 3], vec![4; 3]],
        }
        .to_text();
        assert_eq!(
            text,
            "twinkeep pair descriptor 1\ndeployment 07070707070707070707070707070707\nenvironment production\njurisdiction eu\nserial 3\nissued_at_ms 1795384644123\nregion a AQEB\nregion b AgIC\nsignature a AwMD\nsignature b BAQE\n"
        );
        assert!(text.starts_with(&SignedPair::parse(&text).unwrap().descriptor.statement()));
    }

    #[test]
    fn a_descriptor_survives_its_text_form_and_has_one_spelling() {
        let text = signed().to_text();
        assert_eq!(SignedPair::parse(&text), Ok(signed()));
        for cut in 0..text.len() {
            assert!(SignedPair::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        for (from, to) in [
            ("serial 3", "serial 03"),
            ("serial 3", "serial +3"),
            ("serial 3", "serial 0"),
            ("jurisdiction eu", "jurisdiction EU"),
            ("jurisdiction eu", "jurisdiction  eu"),
            ("environment production", "environment pro duction"),
            ("signature west-europe", "signature north-europe"),
            ("region west-europe", "region north-europe"),
            ("region west-europe", "region a"),
            ("descriptor 1", "descriptor 2"),
            ("\nserial", "\r\nserial"),
            ("deployment", "environment"),
        ] {
            assert!(SignedPair::parse(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        for more in ["\n", " ", "signature a AwMD\n"] {
            assert_eq!(SignedPair::parse(&format!("{text}{more}")), Err(PairTextError::Spelling), "{more:?}");
        }
        assert_eq!(SignedPair::parse(&text.repeat(20)), Err(PairTextError::NotOne));
        assert_eq!(SignedPair::parse("hello"), Err(PairTextError::NotOne));
    }

    #[test]
    fn the_time_since_when_members_count_is_a_line_per_region_and_part_of_what_is_signed() {
        let mut pair = signed();
        pair.descriptor.regions[1].members_since = Some(UnixMillis(1_795_384_644_000));
        let text = pair.to_text();
        let line = "\nmembers_since_ms west-europe 1795384644000\nsignature north-europe ";
        assert!(text.contains(line) && pair.descriptor.statement().contains("members_since_ms"), "{text}");
        assert_eq!(SignedPair::parse(&text), Ok(pair.clone()));
        pair.descriptor.regions[0].members_since = Some(UnixMillis(0));
        assert_eq!(SignedPair::parse(&pair.to_text()), Ok(pair));
        let only = "members_since_ms west-europe 1795384644000\n";
        for wrong in [
            // a region that there is not, the same twice, no whole second, after it was made, other spellings
            "members_since_ms east-us 1795384644000\n".to_owned(),
            only.repeat(2),
            "members_since_ms west-europe 1795384644001\n".into(),
            "members_since_ms west-europe 1795384645000\n".into(),
            "members_since_ms west-europe 01795384644000\n".into(),
            "members_since_ms west-europe\n".into(),
            "members_since_ms west-europe 1795384644000 \n".into(),
            "members_since_ms west-europe 18446744073709551616\n".into(),
            format!("{only}members_since_ms north-europe 0\n"),
        ] {
            assert!(SignedPair::parse(&text.replace(only, &wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pair_has_two_regions_with_an_authority_each() {
        let mut one_key = signed().descriptor;
        one_key.regions[1].key = one_key.regions[0].key.clone();
        assert_eq!(one_key.validate(), Err(PairTextError::Regions));
        let mut one_name = signed().descriptor;
        one_name.regions[1].name = one_name.regions[0].name.clone();
        assert_eq!(one_name.validate(), Err(PairTextError::Regions));
        let pair = signed().descriptor;
        let names =
            |name: &str| pair.sides(name).map(|(own, other)| (own.name.as_str(), other.name.as_str()));
        assert_eq!(names("west-europe"), Some(("west-europe", "north-europe")));
        assert_eq!(names("north-europe"), Some(("north-europe", "west-europe")));
        assert_eq!(names("east-us"), None);
    }

    #[test]
    fn a_greeting_comes_back_as_sent_and_only_the_same_descriptor_agrees() {
        let own = PairHello { sha256: Digest([5; 32]), serial: 2, jurisdiction: "eu".into() };
        let sent = own.encode();
        assert!(sent.len() <= PAIR_HELLO_BYTES_MAX);
        assert_eq!(PairHello::decode(sent.clone()), Ok(own.clone()));
        for cut in 0..sent.len() {
            assert!(PairHello::decode(sent.slice(..cut)).is_err(), "cut at {cut}");
        }
        let spoilt = PairHello { jurisdiction: "E\u{1b}".into(), ..own.clone() };
        assert!(PairHello::decode(spoilt.encode()).is_err());
        assert_eq!(own.agrees(&own), Ok(()));
        let us = PairHello { jurisdiction: "us".into(), serial: 9, ..own.clone() };
        assert!(matches!(own.agrees(&us), Err(PairMismatch::Jurisdiction { .. })));
        let newer = PairHello { serial: 3, sha256: Digest([6; 32]), ..own.clone() };
        assert_eq!(own.agrees(&newer), Err(PairMismatch::Serial { own: 2, found: 3 }));
        let other = PairHello { sha256: Digest([6; 32]), ..own.clone() };
        assert_eq!(own.agrees(&other), Err(PairMismatch::Other { found: Digest([6; 32]) }));
    }
}
