//! One connection's frames as poll functions, so that a single task both reads and writes.
//!
//! The writer hands many queued frames to one vectored write and copies no byte of them. The reader takes several small
//! frames from one read, makes room for a head only as it arrives, and for a body only once its head has been checked.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::Instant;
use wire::descriptor::PAIR_HELLO_BYTES_MAX;
use wire::{DecodeError, FRAME_HEADER_BYTES, FrameHeader, FrameType, PeerClass};

use super::metrics::ClassCounters;
use super::options::units;

/// Slices of one vectored write. 64: what TLS passes on in one call, and twenty small frames.
const SLICES_MAX: usize = 64;

/// Room made for a head before any of it has come, bytes: more than any ordinary head.
const HEAD_ROOM_BYTES: usize = 16 << 10;

/// A frame on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    fixed: [u8; FRAME_HEADER_BYTES],
    head: Bytes,
    body: Vec<Bytes>,
    pub(super) frame_type: FrameType,
    pub(super) call: u64,
    /// Room held in the sender's queue until the frame is written; 0 for frames that need none.
    pub(super) units: u32,
    pub(super) bytes: usize,
}

impl Outgoing {
    pub(super) fn new(
        frame_type: FrameType,
        class: PeerClass,
        kind: u16,
        call: u64,
        head: Bytes,
        body: Vec<Bytes>,
    ) -> Result<Self, DecodeError> {
        let header = FrameHeader::new(frame_type, class, kind, call, &head, &body)?;
        let bytes = FRAME_HEADER_BYTES + header.head_bytes as usize + header.body_bytes as usize;
        Ok(Self { fixed: header.encode(), head, body, frame_type, call, units: units(bytes), bytes })
    }

    /// A frame without head and body; it needs no room in a queue.
    pub(super) fn bare(frame_type: FrameType, class: PeerClass, kind: u16, call: u64) -> Self {
        let frame = Self::new(frame_type, class, kind, call, Bytes::new(), Vec::new());
        Self { units: 0, ..frame.expect("an empty frame is within every limit") }
    }

    /// A greeting or the answer to one; the head is empty but between two regions.
    pub(super) fn greeting(frame_type: FrameType, class: PeerClass, head: Bytes) -> Self {
        let frame = Self::new(frame_type, class, 0, 0, head, Vec::new());
        Self { units: 0, ..frame.expect("a greeting is far below every limit") }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [&self.fixed[..], &self.head[..]].into_iter().chain(self.body.iter().map(|part| &part[..]))
    }
}

/// The sending half of a connection.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    queue: VecDeque<Outgoing>,
    /// How much of the first frame is written.
    offset: usize,
    pub(super) queued_bytes: usize,
    flush_due: bool,
    /// Since when a write has been waiting without moving on.
    pub(super) stuck_since: Option<Instant>,
}

impl FrameWriter {
    pub(super) fn push(&mut self, frame: Outgoing) {
        self.queued_bytes += frame.bytes;
        self.queue.push_back(frame);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.flush_due
    }

    /// Calls of which not a byte was written.
    pub(super) fn unsent(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().skip(usize::from(self.offset > 0)).map(|frame| frame.call)
    }

    /// Writes until all is out (`Ready`) or the socket is full; `written` sees every frame that is done.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        counters: &ClassCounters,
        mut written: impl FnMut(&Outgoing),
    ) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.slices(&mut slices);
            match Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => self.advance(length, counters, &mut written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stuck(),
            }
        }
        if self.flush_due {
            match Pin::new(stream).poll_flush(context) {
                Poll::Ready(Ok(())) => (self.flush_due, self.stuck_since) = (false, None),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.stuck(),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn stuck(&mut self) -> Poll<io::Result<()>> {
        self.stuck_since.get_or_insert_with(Instant::now);
        Poll::Pending
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut skip = self.offset;
        let mut count = 0;
        for part in self.queue.iter().flat_map(Outgoing::parts) {
            let rest = part.get(skip..).unwrap_or(&[]);
            skip = skip.saturating_sub(part.len());
            if !rest.is_empty() {
                slices[count] = IoSlice::new(rest);
                count += 1;
                if count == SLICES_MAX {
                    break;
                }
            }
        }
        count
    }

    fn advance(&mut self, length: usize, counters: &ClassCounters, written: &mut impl FnMut(&Outgoing)) {
        (self.flush_due, self.stuck_since) = (true, None);
        self.offset += length;
        while let Some(front) = self.queue.front()
            && self.offset >= front.bytes
        {
            self.offset -= front.bytes;
            self.queued_bytes -= front.bytes;
            counters.sent(front.bytes);
            written(front);
            self.queue.pop_front();
        }
    }
}

/// A frame that has come in whole, its checksums verified.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) header: FrameHeader,
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// Why no further frame can be read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error("the other end closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    #[error("not a valid frame: {0}")]
    Invalid(DecodeError),
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> Self {
        Self::Invalid(error)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Header,
    Head,
    Admission,
    Body,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    stage: Stage,
    fixed: [u8; FRAME_HEADER_BYTES],
    filled: usize,
    header: FrameHeader,
    head: BytesMut,
    body: BytesMut,
    body_crc32c: u32,
    /// Before the peer is known, a frame has room for the greeting of a pair and no more, so that a stranger costs little.
    greeting_only: bool,
    /// Since when a frame has been incomplete and the other end is the one to move.
    pub(super) stuck_since: Option<Instant>,
}

impl FrameReader {
    /// A reader that takes only greetings until [`FrameReader::trust`].
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Header,
            fixed: [0; FRAME_HEADER_BYTES],
            filled: 0,
            header: FrameHeader::new(FrameType::Ping, PeerClass::Admin, 0, 0, &[], &[])
                .expect("an empty frame is within every limit"),
            head: BytesMut::new(),
            body: BytesMut::new(),
            body_crc32c: 0,
            greeting_only: true,
            stuck_since: None,
        }
    }

    pub(super) fn trust(&mut self) {
        self.greeting_only = false;
    }

    /// Whether it is this end that lets a body wait.
    pub(super) fn waits_for_room(&self) -> bool {
        self.stage == Stage::Admission
    }

    /// The next frame. `admit` is asked for room once per body, with its length.
    pub(super) fn poll<S: AsyncBufRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        counters: &ClassCounters,
        admit: impl FnMut(&mut Context<'_>, usize) -> Poll<()>,
    ) -> Poll<Result<Incoming, ReadError>> {
        let polled = self.advance(context, stream, admit);
        match &polled {
            Poll::Pending if self.filled == 0 || self.stage == Stage::Admission => self.stuck_since = None,
            Poll::Pending => _ = self.stuck_since.get_or_insert_with(Instant::now),
            Poll::Ready(Ok(frame)) => {
                self.stuck_since = None;
                counters.received(FRAME_HEADER_BYTES + frame.head.len() + frame.body.len());
            }
            Poll::Ready(Err(ReadError::Invalid(DecodeError::Checksum { .. }))) => {
                counters.checksum_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    fn advance<S: AsyncBufRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        mut admit: impl FnMut(&mut Context<'_>, usize) -> Poll<()>,
    ) -> Poll<Result<Incoming, ReadError>> {
        loop {
            match self.stage {
                Stage::Header => {
                    let missing = FRAME_HEADER_BYTES - self.filled;
                    let (fixed, filled) = (&mut self.fixed, &mut self.filled);
                    let taken = ready!(take(context, stream, missing, |chunk| {
                        fixed[*filled..*filled + chunk.len()].copy_from_slice(chunk);
                        *filled += chunk.len();
                    }));
                    taken?;
                    if self.filled == FRAME_HEADER_BYTES {
                        self.header = self.begin()?;
                        self.stage = Stage::Head;
                    }
                }
                Stage::Head => {
                    let missing = self.header.head_bytes as usize - self.head.len();
                    if missing == 0 {
                        self.header.check_head(&self.head)?;
                        self.stage = Stage::Admission;
                        continue;
                    }
                    let head = &mut self.head;
                    ready!(take(context, stream, missing, |chunk| head.extend_from_slice(chunk)))?;
                }
                Stage::Admission => {
                    let length = self.header.body_bytes as usize;
                    if length > 0 {
                        ready!(admit(context, length));
                        self.body = BytesMut::with_capacity(length);
                    }
                    self.stage = Stage::Body;
                }
                Stage::Body => {
                    let missing = self.header.body_bytes as usize - self.body.len();
                    if missing == 0 {
                        return Poll::Ready(self.finish().map_err(ReadError::from));
                    }
                    let (body, crc) = (&mut self.body, &mut self.body_crc32c);
                    ready!(take(context, stream, missing, |chunk| {
                        *crc = crc32c::crc32c_append(*crc, chunk);
                        body.extend_from_slice(chunk);
                    }))?;
                }
            }
        }
    }

    fn begin(&mut self) -> Result<FrameHeader, DecodeError> {
        let header = FrameHeader::decode(&self.fixed)?;
        let length = header.head_bytes as usize;
        let whole = length + header.body_bytes as usize;
        if self.greeting_only && (length > PAIR_HELLO_BYTES_MAX || header.body_bytes > 0) {
            let limit = PAIR_HELLO_BYTES_MAX as u64;
            return Err(DecodeError::OverLimit { what: "first frame", found: whole as u64, limit });
        }
        if length > 0 {
            self.head = BytesMut::with_capacity(length.min(HEAD_ROOM_BYTES));
        }
        Ok(header)
    }

    fn finish(&mut self) -> Result<Incoming, DecodeError> {
        self.header.check_body_crc32c(self.body.len(), self.body_crc32c)?;
        (self.stage, self.filled, self.body_crc32c) = (Stage::Header, 0, 0);
        let head = std::mem::take(&mut self.head).freeze();
        let body = std::mem::take(&mut self.body).freeze();
        Ok(Incoming { header: self.header, head, body })
    }
}

/// Passes on at most `missing` bytes of what the stream has.
fn take<S: AsyncBufRead + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    missing: usize,
    pass: impl FnOnce(&[u8]),
) -> Poll<Result<(), ReadError>> {
    let chunk = ready!(Pin::new(&mut *stream).poll_fill_buf(context)).map_err(ReadError::Failed)?;
    if chunk.is_empty() {
        return Poll::Ready(Err(ReadError::Closed));
    }
    let length = chunk.len().min(missing);
    pass(&chunk[..length]);
    Pin::new(stream).consume(length);
    Poll::Ready(Ok(()))
}
