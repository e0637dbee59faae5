//! Frames: what peers say to each other inside TLS, a fixed header, then a head, then a body.
//!
//! Pure: bytes in, values out; sockets are the caller's. A header is checked field by field before anything it
//! promises is read, its checksum covers the head too, and the body carries its own. `FORMAT.md` has the byte table.
//!
//! It leaves to others: what a `kind` means, who may use which class, and every wait.

use bytes::{Buf, Bytes};

use crate::limits::{FRAME_BODY_BYTES_MAX, FRAME_HEAD_BYTES_MAX};
use crate::{DecodeError, Decoder, Encoder};

/// Length of every frame's header, bytes.
pub const FRAME_HEADER_BYTES: usize = 36;

/// What a peer names in the TLS handshake (ALPN), so that no other protocol is ever spoken by mistake.
pub const FRAME_PROTOCOL: &[u8] = b"twinkeep/1";

/// Text of a refusal, bytes: one line for a person.
pub const REFUSAL_MESSAGE_BYTES_MAX: usize = 1024;

const MAGIC: u32 = u32::from_le_bytes(*b"TKFR");
const VERSION: u8 = 1;
const CHECKED_BYTES: usize = FRAME_HEADER_BYTES - 4;

/// Which connections of a peer pair a frame travels on; classes never wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PeerClass {
    /// Raft entries.
    Append = 1,
    /// Heartbeats and votes.
    Liveness = 2,
    /// Reads, writes and snapshots.
    Bulk = 3,
    /// What the command line and the gateways ask.
    Admin = 4,
}

impl PeerClass {
    /// Every class, in the order of [`PeerClass::index`].
    pub const ALL: [Self; 4] = [Self::Append, Self::Liveness, Self::Bulk, Self::Admin];

    /// Position in [`PeerClass::ALL`].
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The lower-case word used in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Liveness => "liveness",
            Self::Bulk => "bulk",
            Self::Admin => "admin",
        }
    }
}

/// What a frame does to the call that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Begins a call; one answer comes back.
    Request = 1,
    /// Answers a call.
    Reply = 2,
    /// Answers a call, or ends a stream, with a [`CallRefusal`] as its head.
    ReplyError = 3,
    /// Begins a stream.
    StreamOpen = 4,
    /// One item of a stream, or the answer to one.
    StreamItem = 5,
    /// No more items (from the opener); the stream is done (from the other end).
    StreamEnd = 6,
    /// The opener no longer wants the answer.
    Cancel = 7,
    /// Asks whether the other end is there and willing.
    Ping = 8,
    /// Answers a ping.
    Pong = 9,
}

/// The fixed header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame does.
    pub frame_type: FrameType,
    /// The class of its connection.
    pub class: PeerClass,
    /// Which operation; the two ends' handlers agree on the numbers.
    pub kind: u16,
    /// Which call of the connection; chosen by the end that opened it.
    pub call: u64,
    /// Length of the head, bytes.
    pub head_bytes: u32,
    /// Length of the body, bytes.
    pub body_bytes: u32,
    /// CRC32C of the body; 0 when it is empty.
    pub body_crc32c: u32,
    /// CRC32C of the fields above as encoded, then the head.
    pub head_crc32c: u32,
}

impl FrameHeader {
    /// The header for `head` and `body`; an error if either is over its limit.
    pub fn new(
        frame_type: FrameType,
        class: PeerClass,
        kind: u16,
        call: u64,
        head: &[u8],
        body: &[Bytes],
    ) -> Result<Self, DecodeError> {
        let mut header = Self {
            frame_type,
            class,
            kind,
            call,
            head_bytes: bounded("frame head", head.len(), FRAME_HEAD_BYTES_MAX)?,
            body_bytes: bounded("frame body", body.iter().map(Bytes::len).sum(), FRAME_BODY_BYTES_MAX)?,
            body_crc32c: body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part)),
            head_crc32c: 0,
        };
        header.head_crc32c = header.checksum(head);
        Ok(header)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = VERSION;
        bytes[5] = self.class as u8;
        bytes[6..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_le_bytes());
        bytes[16] = self.frame_type as u8;
        bytes[20..24].copy_from_slice(&self.head_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc32c.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.head_crc32c.to_le_bytes());
        bytes
    }

    /// Reads a header. Its checksum is only known to match after [`FrameHeader::check_head`].
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, DecodeError> {
        let mut rest = &bytes[..];
        expect("frame magic", rest.get_u32_le(), MAGIC)?;
        expect("frame version", u32::from(rest.get_u8()), u32::from(VERSION))?;
        let class = read_class(rest.get_u8())?;
        let kind = rest.get_u16_le();
        let call = rest.get_u64_le();
        let type_and_reserved = rest.get_u32_le();
        let frame_type = read_type(type_and_reserved)?;
        let head_bytes = bounded("frame head", rest.get_u32_le() as usize, FRAME_HEAD_BYTES_MAX)?;
        let body_bytes = bounded("frame body", rest.get_u32_le() as usize, FRAME_BODY_BYTES_MAX)?;
        let body_crc32c = rest.get_u32_le();
        let head_crc32c = rest.get_u32_le();
        Ok(Self { frame_type, class, kind, call, head_bytes, body_bytes, body_crc32c, head_crc32c })
    }

    /// Checks header and head against their common checksum.
    pub fn check_head(&self, head: &[u8]) -> Result<(), DecodeError> {
        if head.len() == self.head_bytes as usize && self.checksum(head) == self.head_crc32c {
            Ok(())
        } else {
            Err(DecodeError::Checksum { what: "frame head" })
        }
    }

    /// Checks the body against its checksum.
    pub fn check_body(&self, body: &[u8]) -> Result<(), DecodeError> {
        self.check_body_crc32c(body.len(), crc32c::crc32c(body))
    }

    /// Checks a body whose checksum the caller gathered while it arrived.
    pub fn check_body_crc32c(&self, length: usize, crc32c: u32) -> Result<(), DecodeError> {
        if length == self.body_bytes as usize && crc32c == self.body_crc32c {
            Ok(())
        } else {
            Err(DecodeError::Checksum { what: "frame body" })
        }
    }

    fn checksum(&self, head: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()[..CHECKED_BYTES]), head)
    }
}

/// Why the other end would not do what it was asked. Codes below [`CallRefusal::HANDLER_CODES`] are the transport's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRefusal {
    /// What kind of refusal, for programs.
    pub code: u16,
    /// Why, for people; never holds object names or personal data.
    pub message: String,
}

impl CallRefusal {
    /// The peer's certificate names another deployment, environment or region, or nothing at all.
    pub const IDENTITY: u16 = 1;
    /// The peer's role may not use this class.
    pub const CLASS: u16 = 2;
    /// More connections or streams than one peer may have.
    pub const TOO_MANY: u16 = 3;
    /// The handler failed in a way that only a bug explains.
    pub const FAULT: u16 = 4;
    /// The frame is not one that this end expects here.
    pub const PROTOCOL: u16 = 5;
    /// The peer is of the paired region and has no pair descriptor, or another one.
    pub const PAIR: u16 = 6;
    /// The first code that handlers may use for their own refusals.
    pub const HANDLER_CODES: u16 = 100;

    /// A refusal; a message over the limit is cut.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > REFUSAL_MESSAGE_BYTES_MAX {
            let cut = (0..=REFUSAL_MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(cut.unwrap_or(0));
        }
        Self { code, message }
    }

    /// The head of a [`FrameType::ReplyError`] frame.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(6 + self.message.len());
        encoder.u16(self.code);
        encoder.text(&self.message);
        encoder.finish()
    }

    /// Reads the head of a [`FrameType::ReplyError`] frame.
    pub fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new("refusal", head);
        let refusal = Self { code: decoder.u16()?, message: decoder.text(REFUSAL_MESSAGE_BYTES_MAX)? };
        decoder.finish()?;
        Ok(refusal)
    }
}

fn bounded(what: &'static str, length: usize, limit: usize) -> Result<u32, DecodeError> {
    if length > limit {
        return Err(DecodeError::OverLimit { what, found: length as u64, limit: limit as u64 });
    }
    Ok(u32::try_from(length).expect("both limits are far below 4 GiB"))
}

fn expect(what: &'static str, found: u32, wanted: u32) -> Result<(), DecodeError> {
    if found == wanted { Ok(()) } else { Err(DecodeError::Unknown { what, found: u64::from(found) }) }
}

fn read_class(found: u8) -> Result<PeerClass, DecodeError> {
    PeerClass::ALL
        .into_iter()
        .find(|class| *class as u8 == found)
        .ok_or(DecodeError::Unknown { what: "frame class", found: u64::from(found) })
}

/// The three bytes beside the type are reserved and zero, so the four are read as one number.
fn read_type(found: u32) -> Result<FrameType, DecodeError> {
    Ok(match found {
        1 => FrameType::Request,
        2 => FrameType::Reply,
        3 => FrameType::ReplyError,
        4 => FrameType::StreamOpen,
        5 => FrameType::StreamItem,
        6 => FrameType::StreamEnd,
        7 => FrameType::Cancel,
        8 => FrameType::Ping,
        9 => FrameType::Pong,
        _ => return Err(DecodeError::Unknown { what: "frame type", found: u64::from(found) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"head";

    fn body() -> Vec<Bytes> {
        vec![Bytes::from_static(b"bo"), Bytes::from_static(b"dy")]
    }

    fn header() -> FrameHeader {
        FrameHeader::new(FrameType::Request, PeerClass::Bulk, 0x0102, 0x0a0b_0c0d, HEAD, &body())
            .expect("within the limits")
    }

    /// What a receiver does with one whole frame.
    fn receive(bytes: &[u8]) -> Result<FrameHeader, DecodeError> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(DecodeError::Short {
                what: "frame header",
                missing: FRAME_HEADER_BYTES - bytes.len(),
            });
        };
        let header = FrameHeader::decode(fixed)?;
        let (head, body) = rest.split_at_checked(header.head_bytes as usize).unwrap_or((rest, &[]));
        header.check_head(head)?;
        header.check_body(body)?;
        Ok(header)
    }

    fn frame() -> Vec<u8> {
        [&header().encode()[..], b"headbody"].concat()
    }

    #[test]
    fn a_frame_has_these_bytes() {
        let hex: String = frame().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "544b4652010302010d0c0b0a00000000\
             01000000040000000400000050c93f26\
             48ae579768656164626f6479"
        );
    }

    #[test]
    fn a_frame_comes_back_as_written() {
        assert_eq!(receive(&frame()), Ok(header()));
    }

    #[test]
    fn every_cut_is_an_error() {
        let frame = frame();
        for cut in 0..frame.len() {
            assert!(receive(&frame[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let frame = frame();
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(receive(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_lying_length_is_refused_by_the_header_alone() {
        for at in [20, 24] {
            let mut bytes = header().encode();
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(
                matches!(FrameHeader::decode(&bytes), Err(DecodeError::OverLimit { .. })),
                "length at {at}"
            );
        }
    }

    #[test]
    fn a_sender_cannot_pass_the_limits_either() {
        let head = vec![0; FRAME_HEAD_BYTES_MAX + 1];
        let half = Bytes::from(vec![0; FRAME_BODY_BYTES_MAX / 2 + 1]);
        let new = |head: &[u8], body: &[Bytes]| {
            FrameHeader::new(FrameType::Reply, PeerClass::Append, 1, 1, head, body)
        };
        assert!(matches!(new(&head, &[]), Err(DecodeError::OverLimit { what: "frame head", .. })));
        assert!(matches!(
            new(&[], &[half.clone(), half]),
            Err(DecodeError::OverLimit { what: "frame body", .. })
        ));
    }

    #[test]
    fn every_class_and_type_has_its_own_number() {
        for number in 0..=u8::MAX {
            assert_eq!(
                read_class(number).map(|class| class as u8).ok(),
                (1..=4).contains(&number).then_some(number)
            );
            let found = read_type(u32::from(number)).map(|frame_type| frame_type as u8).ok();
            assert_eq!(found, (1..=9).contains(&number).then_some(number));
        }
    }

    #[test]
    fn a_refusal_survives_and_every_cut_of_it_is_an_error() {
        let refusal = CallRefusal::new(CallRefusal::CLASS, "an operator may not append");
        let bytes = refusal.encode();
        assert_eq!(CallRefusal::decode(bytes.clone()), Ok(refusal));
        for cut in 0..bytes.len() {
            assert!(CallRefusal::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_long_refusal_is_cut_between_characters() {
        let refusal = CallRefusal::new(7, "é".repeat(600));
        assert_eq!(refusal.message.len(), REFUSAL_MESSAGE_BYTES_MAX);
        let odd = CallRefusal::new(7, format!("x{}", "é".repeat(600)));
        assert_eq!(CallRefusal::decode(odd.encode()), Ok(odd));
    }
}
