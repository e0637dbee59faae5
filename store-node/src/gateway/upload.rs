//! From a body to sealed chunks in a group: small bodies travel inside the command that adopts them, larger ones
//! as a pipeline of chunks before it.
//!
//! While one chunk is hashed and sealed and a few are on their way to the disks, the next one is read. A stream that
//! nothing adopts, whatever the reason, is given up in the background.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use envelope::{ChunkPosition, ObjectKey, ObjectPlace, StreamPlace, StreamSealer, chunk_count};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use s3s::{S3Error, S3ErrorCode, S3Result};
use wire::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX, SEAL_OVERHEAD_BYTES};
use wire::{Command, GroupId, Operation, Outcome, PartContent, StreamId};

use super::Core;
use super::budget::Room;
use super::checksum::{Algorithm, Checksum};
use super::context::RequestContext;
use super::errors;
use super::hashing::{Digests, SealingLane, Working, hex};

/// Chunks of one upload on their way to the disks. Four fill the pipe on one machine and keep an upload below 6 MiB.
const WINDOW_CHUNKS: usize = 4;

/// What a chunk takes of the budget until it is stored, bytes.
const CHUNK_ROOM_BYTES: usize = CHUNK_BYTES_MAX + SEAL_OVERHEAD_BYTES;

/// Where a stream belongs.
pub(crate) struct Target<'a> {
    pub(crate) group: GroupId,
    pub(crate) place: &'a ObjectPlace,
    pub(crate) key: &'a ObjectKey,
    /// 0 for the body of a PUT.
    pub(crate) part: u16,
}

/// A body that is sealed, and stored unless it is inline.
pub(crate) struct StoredStream {
    stream: StreamId,
    size: u64,
    chunks: u32,
    /// The only chunk of a small body: travels in the command that adopts it.
    pub(crate) inline: Option<Bytes>,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Vec<Checksum>,
    // gives the stream up unless it is adopted
    guard: Option<StreamGuard>,
    // a small body's room, until the command is done
    _room: Option<Room>,
}

impl StoredStream {
    /// The record of it as part `number`.
    pub(crate) fn part(&self, number: u16, checksum: Option<&Checksum>) -> PartContent {
        PartContent {
            number,
            stream: self.stream,
            size: self.size,
            chunks: self.chunks,
            inline: self.inline.is_some(),
            etag: hex(&self.md5),
            checksum: checksum.map(Checksum::encode).unwrap_or_default(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Something holds the stream now; it is not given up any more.
    pub(crate) fn adopted(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
    }
}

/// Reads `bytes` from `source`, seals them, stores them.
pub(crate) async fn store<S>(
    core: &Arc<Core>,
    context: &RequestContext,
    target: Target<'_>,
    source: S,
    bytes: u64,
    algorithms: &[Algorithm],
) -> S3Result<StoredStream>
where
    S: Stream<Item = S3Result<Bytes>> + Unpin + Send,
{
    let stream = StreamId(crate::random::id());
    let place = StreamPlace { object: target.place.clone(), part: target.part, stream };
    let lane = SealingLane::new(StreamSealer::new(target.key, &place), algorithms);
    let mut reader = Reader { source, rest: Bytes::new() };
    if bytes <= INLINE_BYTES_MAX as u64 {
        return store_inline(core, stream, lane, &mut reader, bytes as usize).await;
    }
    let guard = StreamGuard { core: core.clone(), group: target.group, stream, armed: true };
    let digests =
        Pipeline { core, context, group: target.group, stream }.run(lane, &mut reader, bytes).await?;
    let Digests { md5, checksums } = digests;
    let chunks = u32::try_from(chunk_count(bytes)).map_err(|_| errors::internal())?;
    Ok(StoredStream {
        stream,
        size: bytes,
        chunks,
        inline: None,
        md5,
        checksums,
        guard: Some(guard),
        _room: None,
    })
}

async fn store_inline<S>(
    core: &Core,
    stream: StreamId,
    mut lane: SealingLane,
    reader: &mut Reader<S>,
    bytes: usize,
) -> S3Result<StoredStream>
where
    S: Stream<Item = S3Result<Bytes>> + Unpin,
{
    let room = core.budget.first_bytes(bytes + SEAL_OVERHEAD_BYTES).await?;
    let mut buffer = BytesMut::with_capacity(bytes + SEAL_OVERHEAD_BYTES);
    reader.fill(&mut buffer, bytes).await?;
    reader.expect_end().await?;
    lane.process(ChunkPosition::last(bytes as u64), &mut buffer).map_err(|e| errors::sealed(&e))?;
    let Digests { md5, checksums } = lane.finish();
    Ok(StoredStream {
        stream,
        size: bytes as u64,
        chunks: 1,
        inline: Some(buffer.freeze()),
        md5,
        checksums,
        guard: None,
        _room: Some(room),
    })
}

struct Pipeline<'a> {
    core: &'a Core,
    context: &'a RequestContext,
    group: GroupId,
    stream: StreamId,
}

/// A chunk that is being hashed and sealed, with the room it takes and its index.
type Busy = (Working, Room, u64);

impl Pipeline<'_> {
    async fn run<S>(&self, lane: SealingLane, reader: &mut Reader<S>, bytes: u64) -> S3Result<Digests>
    where
        S: Stream<Item = S3Result<Bytes>> + Unpin,
    {
        let mut on_the_way = FuturesUnordered::new();
        let mut idle = Some(lane);
        let mut busy: Option<Busy> = None;
        for index in 0..chunk_count(bytes) {
            let at = ChunkPosition::of(index, bytes).ok_or_else(errors::internal)?;
            let room = match self.core.budget.spare_bytes(CHUNK_ROOM_BYTES) {
                Some(room) => room,
                None => {
                    // uploads that wait for room while they sit on some would wait for each other
                    if let Some(chunk) = busy.take() {
                        idle = Some(self.send(&mut on_the_way, chunk).await?);
                    }
                    alongside(&mut on_the_way, self.room(index)).await?
                }
            };
            let mut buffer = BytesMut::with_capacity(at.plain_bytes() + SEAL_OVERHEAD_BYTES);
            let reading = async {
                reader.fill(&mut buffer, at.plain_bytes()).await?;
                // a wrong digest or signature shows at the end: know it before anything is adopted
                if at.is_last() { reader.expect_end().await } else { Ok(()) }
            };
            alongside(&mut on_the_way, reading).await?;
            if let Some(chunk) = busy.take() {
                idle = Some(self.send(&mut on_the_way, chunk).await?);
            }
            let lane = idle.take().ok_or_else(errors::internal)?;
            busy = Some((lane.begin(at, buffer), room, index));
        }
        if let Some(chunk) = busy.take() {
            idle = Some(self.send(&mut on_the_way, chunk).await?);
        }
        while let Some(stored) = on_the_way.next().await {
            stored?;
        }
        idle.map(SealingLane::finish).ok_or_else(errors::internal)
    }

    /// Sends a chunk on its way once it is sealed and the window has a place.
    async fn send<'a>(
        &'a self,
        on_the_way: &mut FuturesUnordered<BoxFuture<'a, S3Result<()>>>,
        (working, held, index): Busy,
    ) -> S3Result<SealingLane> {
        let (lane, sealed) = alongside(on_the_way, processed(working)).await?;
        self.wait_for_window(on_the_way).await?;
        on_the_way.push(Box::pin(self.put_chunk(index, sealed.freeze(), held)));
        Ok(lane)
    }

    async fn room(&self, index: u64) -> S3Result<Room> {
        match index {
            0 => self.core.budget.first_bytes(CHUNK_ROOM_BYTES).await,
            _ => self.core.budget.next_bytes(CHUNK_ROOM_BYTES).await,
        }
    }

    async fn wait_for_window<F>(&self, on_the_way: &mut FuturesUnordered<F>) -> S3Result<()>
    where
        F: Future<Output = S3Result<()>>,
    {
        while on_the_way.len() >= WINDOW_CHUNKS {
            if let Some(stored) = on_the_way.next().await {
                stored?;
            }
        }
        Ok(())
    }

    async fn put_chunk(&self, index: u64, body: Bytes, _room: Room) -> S3Result<()> {
        let index = u32::try_from(index).map_err(|_| errors::internal())?;
        let operation = Operation::PutChunk { stream: self.stream, index };
        let deadline = self.context.deadline_after_body();
        match self.core.propose(self.group, self.context, operation, body, deadline).await? {
            Outcome::Done => Ok(()),
            Outcome::Refused(refusal) => Err(errors::refusal(&refusal)),
            _ => Err(errors::unexpected("the outcome of a chunk")),
        }
    }
}

async fn processed(working: Working) -> S3Result<(SealingLane, BytesMut)> {
    working.done().await.map_err(|error| errors::sealed(&error))
}

/// Waits for `work` while chunks go on being stored; a chunk that is not ends it.
async fn alongside<F, T>(
    on_the_way: &mut FuturesUnordered<F>,
    work: impl Future<Output = S3Result<T>>,
) -> S3Result<T>
where
    F: Future<Output = S3Result<()>>,
{
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(stored) = on_the_way.next() => stored?,
        }
    }
}

/// A body with what is left of its last piece.
struct Reader<S> {
    source: S,
    rest: Bytes,
}

impl<S: Stream<Item = S3Result<Bytes>> + Unpin> Reader<S> {
    /// Appends exactly `bytes` to `buffer`.
    async fn fill(&mut self, buffer: &mut BytesMut, bytes: usize) -> S3Result<()> {
        let mut wanted = bytes;
        while wanted > 0 {
            if self.rest.is_empty() {
                self.rest = self.source.next().await.ok_or_else(incomplete)??;
            }
            let taken = wanted.min(self.rest.len());
            buffer.extend_from_slice(&self.rest[..taken]);
            self.rest.advance(taken);
            wanted -= taken;
        }
        Ok(())
    }

    /// Nothing more may come; what checks the body does so at its end.
    async fn expect_end(&mut self) -> S3Result<()> {
        loop {
            if !self.rest.is_empty() {
                return Err(incomplete());
            }
            match self.source.next().await {
                None => return Ok(()),
                Some(piece) => self.rest = piece?,
            }
        }
    }
}

fn incomplete() -> S3Error {
    errors::s3(
        S3ErrorCode::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

/// Gives a stream up when it is dropped, unless something adopted it.
struct StreamGuard {
    core: Arc<Core>,
    group: GroupId,
    stream: StreamId,
    armed: bool,
}

impl StreamGuard {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (core, group, stream) = (self.core.clone(), self.group, self.stream);
        core.metrics.streams_abandoned.fetch_add(1, Ordering::Relaxed);
        self.core.tracker.spawn(async move {
            let meta = super::system::background_meta(&*core.region);
            let operation = Operation::AbandonStream { stream };
            let command = Command { meta, operation, body: Bytes::new() };
            let deadline = tokio::time::Instant::now() + super::context::HOLD;
            // what is left after a failure here expires after a day
            if let Err(error) = core.region.propose(group, command, deadline).await {
                tracing::warn!(%group, error = &error as &dyn std::error::Error, "a stream was not given up");
            }
        });
    }
}
