//! The opener's end of a stream: items go out in order, each is answered once, in order.
//!
//! At most 16 items and 16 MiB are without an answer that was *taken*, so a stalled stream holds neither the connection nor
//! memory. A broken connection ends both halves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use wire::FrameType;

use super::frame_io::Outgoing;
use super::link::{Link, Waiting};
use super::options::{STREAM_ITEMS_MAX, STREAM_UNITS_MAX};
use super::{CallError, CallRefusal, Reply};

#[derive(Debug)]
pub(super) enum StreamEvent {
    Item(Reply),
    Refused(CallRefusal),
    End,
}

/// Room for items without an answer.
#[derive(Debug)]
pub(super) struct StreamWindow {
    items: Semaphore,
    units: Semaphore,
    unanswered: Mutex<VecDeque<u32>>,
}

impl StreamWindow {
    /// Nothing more goes out.
    pub(super) fn close(&self) {
        self.items.close();
        self.units.close();
    }

    fn sent(&self, units: u32) {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push_back(units);
    }

    fn answered(&self) -> Result<(), CallError> {
        let oldest = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let units = oldest.ok_or(CallError::Disconnected)?;
        self.items.add_permits(1);
        self.units.add_permits(units as usize);
        Ok(())
    }
}

/// Both halves of a stream.
#[derive(Debug)]
pub struct StreamHandle {
    sender: StreamSender,
    receiver: StreamReceiver,
}

/// Sends items in order.
#[derive(Debug)]
pub struct StreamSender {
    stream: Arc<Open>,
}

/// Takes answers in order.
#[derive(Debug)]
pub struct StreamReceiver {
    stream: Arc<Open>,
    events: mpsc::Receiver<StreamEvent>,
    done: bool,
}

/// An open stream; when both halves are gone before its end, the other side is told.
#[derive(Debug)]
struct Open {
    link: Arc<Link>,
    call: u64,
    kind: u16,
    window: Arc<StreamWindow>,
    finished: AtomicBool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.link.cancel(self.call);
    }
}

impl StreamHandle {
    pub(super) async fn open(
        link: Arc<Link>,
        kind: u16,
        head: Bytes,
        deadline: Instant,
    ) -> Result<Self, CallError> {
        let call = link.next_call();
        let frame = Outgoing::new(FrameType::StreamOpen, link.class, kind, call, head, Vec::new())
            .map_err(|_| CallError::TooLarge)?;
        let window = Arc::new(StreamWindow {
            items: Semaphore::new(STREAM_ITEMS_MAX),
            units: Semaphore::new(STREAM_UNITS_MAX),
            unanswered: Mutex::default(),
        });
        // every item has at most one answer waiting here; one more for the end
        let (sender, events) = mpsc::channel(STREAM_ITEMS_MAX + 1);
        let room = link.queue_room(&frame, deadline).await?;
        link.enqueue(frame, room, Some(Waiting::Stream(sender, window.clone())))?;
        let stream = Arc::new(Open { link, call, kind, window, finished: AtomicBool::new(false) });
        let sender = StreamSender { stream: stream.clone() };
        Ok(Self { sender, receiver: StreamReceiver { stream, events, done: false } })
    }

    /// Sends one item; waits while the window or the connection's queue is full.
    pub async fn send(&mut self, head: Bytes, body: Vec<Bytes>) -> Result<(), CallError> {
        self.sender.send(head, body).await
    }

    /// The next answer; `None` once the other end is done.
    pub async fn next(&mut self) -> Result<Option<Reply>, CallError> {
        self.receiver.next().await
    }

    /// Says that no more items come; answers still do.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (StreamSender, StreamReceiver) {
        (self.sender, self.receiver)
    }
}

impl StreamSender {
    /// Sends one item; waits while the window or the connection's queue is full.
    ///
    /// Dropping the wait sends nothing. An error means that the stream is over; [`StreamReceiver::next`] knows why.
    pub async fn send(&mut self, head: Bytes, body: Vec<Bytes>) -> Result<(), CallError> {
        let Open { link, call, kind, window, finished } = &*self.stream;
        if finished.load(Relaxed) {
            return Err(CallError::Disconnected);
        }
        let frame = Outgoing::new(FrameType::StreamItem, link.class, *kind, *call, head, body)
            .map_err(|_| CallError::TooLarge)?;
        let units = frame.units.min(STREAM_UNITS_MAX as u32);
        let item = window.items.acquire().await.map_err(|_| CallError::Disconnected)?;
        let bytes = window.units.acquire_many(units).await.map_err(|_| CallError::Disconnected)?;
        let room = link.queue_room_whenever(&frame).await?;
        // counted before it is queued, since the answer may come at once
        window.sent(units);
        link.enqueue(frame, room, None).map_err(|_| CallError::Disconnected)?;
        item.forget();
        bytes.forget();
        Ok(())
    }

    /// Says that no more items come; answers still do.
    pub fn finish(&mut self) {
        if !self.stream.finished.swap(true, Relaxed) {
            self.stream.link.enqueue_bare(FrameType::StreamEnd, self.stream.kind, self.stream.call);
        }
    }
}

impl StreamReceiver {
    /// The next answer; `None` once the other end is done.
    pub async fn next(&mut self) -> Result<Option<Reply>, CallError> {
        if self.done {
            return Ok(None);
        }
        match self.events.recv().await {
            Some(StreamEvent::Item(reply)) => {
                self.stream.window.answered()?;
                Ok(Some(reply))
            }
            Some(StreamEvent::End) => {
                self.done = true;
                Ok(None)
            }
            Some(StreamEvent::Refused(refusal)) => Err(refusal.into()),
            None => Err(CallError::Disconnected),
        }
    }
}
