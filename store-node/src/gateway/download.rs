//! From sealed chunks to a body: only the chunks that a range needs, fetched ahead, opened where they lie.
//!
//! A chunk that does not open ends the connection: bytes that are not known to be right are never sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use envelope::{ChunkPosition, ObjectKey, ObjectPlace, StreamOpener, StreamPlace};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, Stream};
use http_body::{Body, Frame, SizeHint};
use replication::region::Consistency;
use s3s::{S3Error, S3Result};
use tokio::time::Instant;
use wire::limits::{CHUNK_BYTES_MAX, SEAL_OVERHEAD_BYTES};
use wire::{Answer, GroupId, ObjectContent, PartContent, Query};

use super::Core;
use super::budget::Room;
use super::context::HOLD;
use super::errors;

/// Chunks fetched ahead of the one being sent. Three hide the way to a disk and keep a download below 4 MiB.
const WINDOW_CHUNKS: usize = 3;

/// An object whose key is at hand.
pub(crate) struct OpenedObject {
    pub(crate) group: GroupId,
    pub(crate) place: ObjectPlace,
    pub(crate) key: ObjectKey,
    pub(crate) content: ObjectContent,
}

/// A chunk that came along with the record: which part (from 0), which chunk, its sealed bytes.
pub(crate) struct FirstChunk {
    pub(crate) part: usize,
    pub(crate) chunk: u32,
    pub(crate) sealed: Bytes,
}

impl OpenedObject {
    fn opener(&self, part: &PartContent) -> StreamOpener {
        let number = if self.content.multipart { part.number } else { 0 };
        let place = StreamPlace { object: self.place.clone(), part: number, stream: part.stream };
        StreamOpener::new(&self.key, &place)
    }
}

/// The bytes `range` of an object, as a body and as a stream.
pub(crate) struct Download {
    core: Arc<Core>,
    object: Arc<OpenedObject>,
    // next chunk to ask for
    fetch: Option<Cursor>,
    first: Option<FirstChunk>,
    fetching: FuturesOrdered<BoxFuture<'static, S3Result<Fetched>>>,
    opener: Option<(usize, StreamOpener)>,
    // bytes of the next chunk before the range begins
    skip: usize,
    remaining: u64,
}

#[derive(Clone, Copy)]
struct Cursor {
    part: usize,
    chunk: u32,
    // bytes from here that are still wanted
    wanted: u64,
}

struct Fetched {
    part: usize,
    chunk: u32,
    sealed: Bytes,
    _room: Option<Room>,
}

impl Download {
    /// The bytes from `start` on, `length` of them.
    pub(crate) fn new(
        core: Arc<Core>,
        object: Arc<OpenedObject>,
        start: u64,
        length: u64,
        first: Option<FirstChunk>,
    ) -> Self {
        let (mut part, mut offset) = (0, start);
        while let Some(content) = object.content.parts.get(part)
            && offset >= content.size
            && length > 0
        {
            offset -= content.size;
            part += 1;
        }
        let chunk = (offset / CHUNK_BYTES_MAX as u64) as u32;
        let skip = (offset % CHUNK_BYTES_MAX as u64) as usize;
        let fetch = (length > 0).then_some(Cursor { part, chunk, wanted: length + skip as u64 });
        Self {
            core,
            object,
            fetch,
            first,
            fetching: FuturesOrdered::new(),
            opener: None,
            skip,
            remaining: length,
        }
    }

    /// The whole body at once if it needs no further chunk: small objects need no stream.
    pub(crate) fn try_now(&mut self) -> S3Result<Option<Bytes>> {
        if self.remaining == 0 {
            // an empty object's only chunk proves that it is empty
            if let (0, Some(first)) = (self.object.content.size, self.first.take()) {
                let FirstChunk { part, chunk, sealed } = first;
                self.open(Fetched { part, chunk, sealed, _room: None })?;
            }
            return Ok(Some(Bytes::new()));
        }
        let Some(cursor) = self.fetch else { return Ok(None) };
        let Some(bytes) = self.chunk_bytes(cursor) else { return Err(errors::internal()) };
        let fits = cursor.wanted <= bytes as u64;
        let is_here =
            self.first.as_ref().is_some_and(|first| first.part == cursor.part && first.chunk == cursor.chunk);
        if !fits || !is_here {
            return Ok(None);
        }
        let Some(FirstChunk { part, chunk, sealed }) = self.first.take() else { return Ok(None) };
        self.fetch = None;
        let plain = self.open(Fetched { part, chunk, sealed, _room: None })?;
        Ok(Some(plain))
    }

    /// Asks for chunks up to the window.
    fn fill_window(&mut self) {
        while let Some(cursor) = self.fetch {
            let ahead = self.fetching.len();
            if ahead > WINDOW_CHUNKS {
                return;
            }
            let Some(bytes) = self.chunk_bytes(cursor) else {
                self.fetching
                    .push_back(Box::pin(async { Err(errors::unexpected("parts shorter than an object")) }));
                self.fetch = None;
                return;
            };
            // the chunk that is needed now needs no spare room, those ahead of it do
            let room = self.core.budget.spare_bytes(bytes + SEAL_OVERHEAD_BYTES);
            if ahead > 0 && room.is_none() {
                return;
            }
            self.fetch = self.after(cursor, bytes);
            let here = self.first.take_if(|first| (first.part, first.chunk) == (cursor.part, cursor.chunk));
            self.fetching.push_back(match here {
                Some(FirstChunk { part, chunk, sealed }) => {
                    Box::pin(async move { Ok(Fetched { part, chunk, sealed, _room: room }) })
                }
                None => Box::pin(fetch(self.core.clone(), self.object.clone(), cursor, room)),
            });
        }
    }

    fn chunk_bytes(&self, cursor: Cursor) -> Option<usize> {
        let part = self.object.content.parts.get(cursor.part)?;
        ChunkPosition::of(u64::from(cursor.chunk), part.size).map(ChunkPosition::plain_bytes)
    }

    fn after(&self, cursor: Cursor, bytes: usize) -> Option<Cursor> {
        let wanted = cursor.wanted.checked_sub(bytes as u64).filter(|left| *left > 0)?;
        let part = self.object.content.parts.get(cursor.part)?;
        if u64::from(cursor.chunk) + 1 < envelope::chunk_count(part.size) {
            return Some(Cursor { part: cursor.part, chunk: cursor.chunk + 1, wanted });
        }
        // empty parts hold nothing that could be wanted
        let parts = &self.object.content.parts;
        let next = (cursor.part + 1..parts.len()).find(|index| parts[*index].size > 0);
        Some(Cursor { part: next.unwrap_or(parts.len()), chunk: 0, wanted })
    }

    fn open(&mut self, fetched: Fetched) -> S3Result<Bytes> {
        let part = &self.object.content.parts[fetched.part];
        let at = ChunkPosition::of(u64::from(fetched.chunk), part.size).ok_or_else(errors::internal)?;
        if self.opener.as_ref().is_none_or(|(index, _)| *index != fetched.part) {
            self.opener = Some((fetched.part, self.object.opener(part)));
        }
        let (_, opener) = self.opener.as_ref().ok_or_else(errors::internal)?;
        let plain = opener.open(at, fetched.sealed).map_err(|error| {
            self.core.metrics.chunks_unopened.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                group = %self.object.group,
                version = %self.object.place.version,
                chunk = fetched.chunk,
                error = &error as &dyn std::error::Error,
                "a chunk does not open"
            );
            errors::internal()
        })?;
        let begin = std::mem::take(&mut self.skip).min(plain.len());
        let end = plain.len().min(begin + usize::try_from(self.remaining).unwrap_or(usize::MAX));
        self.remaining -= (end - begin) as u64;
        Ok(plain.slice(begin..end))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<S3Result<Bytes>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        self.fill_window();
        match Pin::new(&mut self.fetching).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                Poll::Ready(Some(Err(errors::unexpected("an object shorter than its record"))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(fetched))) => Poll::Ready(Some(self.open(fetched))),
        }
    }
}

async fn fetch(
    core: Arc<Core>,
    object: Arc<OpenedObject>,
    cursor: Cursor,
    room: Option<Room>,
) -> S3Result<Fetched> {
    let stream = object.content.parts[cursor.part].stream;
    let query = Query::Chunks { stream, first: cursor.chunk, count: 1 };
    let deadline = Instant::now() + HOLD;
    // a chunk never changes, so any replica will do
    let asked = core.region.query(object.group, query, Consistency::Local, deadline).await;
    match asked.map_err(errors::region)? {
        (Answer::Chunks(lengths), body) if lengths == [body.len() as u32] => {
            Ok(Fetched { part: cursor.part, chunk: cursor.chunk, sealed: body, _room: room })
        }
        _ => Err(errors::unexpected("the answer with a chunk")),
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = S3Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().poll_piece(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl Stream for Download {
    type Item = S3Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(cx)
    }
}
