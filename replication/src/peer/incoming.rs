//! The server's end of a stream: items come in order and are answered in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use wire::{FrameType, PeerClass};

use super::frame_io::Outgoing;
use super::session::Outbox;
use super::{CallError, CallRefusal};

/// One item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFrame {
    /// What the opener says.
    pub head: Bytes,
    /// Bulk bytes that come with it.
    pub body: Bytes,
}

#[derive(Debug)]
pub(super) enum IncomingEvent {
    /// An item, and the room that its body takes until it is answered.
    Item(StreamFrame, Option<OwnedSemaphorePermit>),
    End,
}

/// A stream that a peer has opened. Every item is to be answered once, in order; answers may lag behind items.
#[derive(Debug)]
pub struct IncomingStream {
    items: IncomingItems,
    replies: StreamReplies,
}

/// The items of a stream.
#[derive(Debug)]
pub struct IncomingItems {
    events: mpsc::Receiver<IncomingEvent>,
    shared: Arc<Shared>,
    done: bool,
}

/// Answers the items of a stream.
#[derive(Clone, Debug)]
pub struct StreamReplies {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Arc<Outbox>,
    class: PeerClass,
    kind: u16,
    call: u64,
    unanswered: Mutex<VecDeque<Option<OwnedSemaphorePermit>>>,
}

impl IncomingStream {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        class: PeerClass,
        kind: u16,
        call: u64,
        events: mpsc::Receiver<IncomingEvent>,
    ) -> Self {
        let shared = Arc::new(Shared { outbox, class, kind, call, unanswered: Mutex::default() });
        let items = IncomingItems { events, shared: shared.clone(), done: false };
        Self { items, replies: StreamReplies { shared } }
    }

    /// The next item; `None` once the opener has none left, an error when the connection broke or the opener gave up.
    ///
    /// Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Result<Option<StreamFrame>, CallError> {
        self.items.next().await
    }

    /// Answers the oldest item that has no answer yet.
    pub fn reply(&self, head: Bytes) -> Result<(), CallRefusal> {
        self.replies.reply(head)
    }

    /// Items and answers apart, for two tasks.
    pub fn split(self) -> (IncomingItems, StreamReplies) {
        (self.items, self.replies)
    }
}

impl IncomingItems {
    /// The next item; `None` once the opener has none left, an error when the connection broke or the opener gave up.
    ///
    /// Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Result<Option<StreamFrame>, CallError> {
        if self.done {
            return Ok(None);
        }
        match self.events.recv().await {
            Some(IncomingEvent::Item(frame, room)) => {
                self.shared.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push_back(room);
                Ok(Some(frame))
            }
            Some(IncomingEvent::End) => {
                self.done = true;
                Ok(None)
            }
            None => Err(CallError::Disconnected),
        }
    }
}

impl StreamReplies {
    /// Answers the oldest item that has no answer yet; an error if there is none, or the answer is over its limits.
    /// On a broken connection the answer goes nowhere; [`IncomingItems::next`] says so.
    pub fn reply(&self, head: Bytes) -> Result<(), CallRefusal> {
        let Shared { outbox, class, kind, call, unanswered } = &*self.shared;
        let frame = Outgoing::new(FrameType::StreamItem, *class, *kind, *call, head, Vec::new())
            .map_err(|error| CallRefusal::new(CallRefusal::FAULT, error.to_string()))?;
        // the lock is kept so that two answers cannot overtake each other between here and the queue
        let mut unanswered = unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        if unanswered.pop_front().is_none() {
            return Err(CallRefusal::new(CallRefusal::FAULT, "an answer without an item"));
        }
        outbox.push(frame);
        Ok(())
    }
}
