//! The opener's end of one connection: many calls and streams in flight, told apart by number.
//!
//! Callers put frames into the queue and wait; the driver task writes them and hands answers back. When the connection
//! breaks, everything that waits is told at once, and told apart: never sent, or possibly executed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;
use wire::{FrameType, PeerClass};

use super::clocks::{Clocks, Verdict};
use super::frame_io::{FrameReader, FrameWriter, Incoming, Outgoing, ReadError};
use super::metrics::{ClassCounters, Counters};
use super::options::UNIT_BYTES;
use super::refusals::shown;
use super::stream::{StreamEvent, StreamWindow};
use super::{CallError, CallRefusal, PeerOptions, Reply};

/// Frames taken in one go before others get a turn.
const FRAMES_PER_TURN: usize = 64;

pub(super) type ClientStream = TlsStream<BufReader<TcpStream>>;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) class: PeerClass,
    counters: Arc<Counters>,
    state: Mutex<State>,
    driver: AtomicWaker,
    queue_room: Semaphore,
    queue_units_max: u32,
    calls_room: Semaphore,
    next_call: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    waiting: HashMap<u64, Waiting>,
    closed: bool,
}

#[derive(Debug)]
pub(super) enum Waiting {
    Call(oneshot::Sender<Result<Reply, CallError>>),
    Stream(mpsc::Sender<StreamEvent>, Arc<StreamWindow>),
}

impl Link {
    pub(super) fn new(class: PeerClass, options: &PeerOptions, counters: Arc<Counters>) -> Self {
        let queue_units = (options.queue_bytes / UNIT_BYTES).max(1);
        Self {
            class,
            counters,
            state: Mutex::default(),
            driver: AtomicWaker::new(),
            queue_room: Semaphore::new(queue_units),
            queue_units_max: u32::try_from(queue_units).unwrap_or(u32::MAX),
            calls_room: Semaphore::new(options.calls_in_flight),
            next_call: AtomicU64::new(1),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn next_call(&self) -> u64 {
        self.next_call.fetch_add(1, Relaxed)
    }

    /// One call and its answer.
    pub(super) async fn call(
        &self,
        kind: u16,
        head: Bytes,
        body: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<Reply, CallError> {
        let call = self.next_call();
        let frame = Outgoing::new(FrameType::Request, self.class, kind, call, head, body)
            .map_err(|_| CallError::TooLarge)?;
        let _slot = self.room(&self.calls_room, 1, deadline).await?;
        let room = self.queue_room(&frame, deadline).await?;
        let (sender, receiver) = oneshot::channel();
        self.enqueue(frame, room, Some(Waiting::Call(sender)))?;
        let in_flight = InFlight::new(self, call);
        let answer = match timeout_at(deadline, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Disconnected),
            Err(_) => return Err(CallError::TimedOut),
        };
        in_flight.answered();
        answer
    }

    /// Waits for room in the queue; dropping what comes back gives it up again.
    pub(super) async fn queue_room(
        &self,
        frame: &Outgoing,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, CallError> {
        self.room(&self.queue_room, frame.units.min(self.queue_units_max), deadline).await
    }

    /// As [`Link::queue_room`], for streams, whose callers set their own deadlines.
    pub(super) async fn queue_room_whenever(
        &self,
        frame: &Outgoing,
    ) -> Result<SemaphorePermit<'_>, CallError> {
        let units = frame.units.min(self.queue_units_max);
        self.queue_room.acquire_many(units).await.map_err(|_| CallError::Disconnected)
    }

    /// Queues a frame; its room is given back once it is written.
    pub(super) fn enqueue(
        &self,
        mut frame: Outgoing,
        room: SemaphorePermit<'_>,
        waiting: Option<Waiting>,
    ) -> Result<(), CallError> {
        frame.units = u32::try_from(room.num_permits()).unwrap_or(frame.units);
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        if let Some(waiting) = waiting {
            state.waiting.insert(frame.call, waiting);
        }
        state.queue.push_back(frame);
        drop(state);
        room.forget();
        self.driver.wake();
        Ok(())
    }

    /// Queues a frame that needs no room: at most a few per call or stream.
    pub(super) fn enqueue_bare(&self, frame_type: FrameType, kind: u16, call: u64) {
        let mut state = self.lock();
        if !state.closed {
            state.queue.push_back(Outgoing::bare(frame_type, self.class, kind, call));
            drop(state);
            self.driver.wake();
        }
    }

    /// The caller lost interest.
    pub(super) fn cancel(&self, call: u64) {
        if self.take(call).is_some() {
            self.enqueue_bare(FrameType::Cancel, 0, call);
        }
    }

    /// Ends the link: nothing more is accepted, and whoever waits is told. `unsent` never left this process.
    pub(super) fn close(&self, unsent: impl Iterator<Item = u64>) {
        let mut state = self.lock();
        state.closed = true;
        let unsent: HashSet<u64> = unsent.chain(state.queue.drain(..).map(|frame| frame.call)).collect();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.queue_room.close();
        self.calls_room.close();
        self.driver.wake();
        for (call, waiting) in waiting {
            match waiting {
                Waiting::Call(sender) if unsent.contains(&call) => _ = sender.send(Err(closed())),
                Waiting::Call(sender) => _ = sender.send(Err(CallError::Disconnected)),
                Waiting::Stream(_, window) => window.close(),
            }
        }
    }

    async fn room<'a>(
        &'a self,
        semaphore: &'a Semaphore,
        count: u32,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'a>, CallError> {
        if let Ok(permit) = semaphore.try_acquire_many(count) {
            return Ok(permit);
        }
        match timeout_at(deadline, semaphore.acquire_many(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(CallError::Overloaded),
        }
    }

    fn counters(&self) -> &ClassCounters {
        self.counters.class(self.class)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, call: u64) -> Option<Waiting> {
        self.lock().waiting.remove(&call)
    }

    /// Hands one frame to whoever waits for it; an error ends the connection.
    fn deliver(&self, frame: Incoming) -> Result<(), String> {
        let Incoming { header, head, body } = frame;
        let call = header.call;
        match header.frame_type {
            FrameType::Reply => {
                if let Some(Waiting::Call(sender)) = self.take(call) {
                    // the caller may have given up in this very moment
                    _ = sender.send(Ok(Reply { head, body }));
                }
            }
            FrameType::ReplyError => {
                let refusal = CallRefusal::decode(head).map_err(|error| error.to_string())?;
                if call == 0 {
                    return Err(format!("refused by the peer: {}", shown(&refusal.message)));
                }
                match self.take(call) {
                    Some(Waiting::Call(sender)) => _ = sender.send(Err(refusal.into())),
                    Some(Waiting::Stream(sender, window)) => {
                        window.close();
                        sender.try_send(StreamEvent::Refused(refusal)).map_err(|_| FLOOD)?;
                    }
                    None => {}
                }
            }
            FrameType::StreamItem => {
                if let Some(Waiting::Stream(sender, _)) = self.lock().waiting.get(&call)
                    && let Err(mpsc::error::TrySendError::Full(_)) =
                        sender.try_send(StreamEvent::Item(Reply { head, body }))
                {
                    return Err(FLOOD.into());
                }
            }
            FrameType::StreamEnd => {
                if let Some(Waiting::Stream(sender, window)) = self.take(call) {
                    window.close();
                    // full or closed: the receiver then sees the end of the channel instead
                    _ = sender.try_send(StreamEvent::End);
                }
            }
            FrameType::Pong => {}
            other => return Err(format!("unexpected frame {other:?}")),
        }
        Ok(())
    }
}

const FLOOD: &str = "more answers than items";

fn closed() -> CallError {
    CallError::Unreachable { reason: Arc::from("the connection broke before the call was sent") }
}

/// A call between sending and answer; when dropped before the answer, the other end is told.
struct InFlight<'a> {
    link: &'a Link,
    call: u64,
    answered: bool,
}

impl<'a> InFlight<'a> {
    fn new(link: &'a Link, call: u64) -> Self {
        link.counters().calls_in_flight.fetch_add(1, Relaxed);
        Self { link, call, answered: false }
    }

    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.link.counters().calls_in_flight.fetch_sub(1, Relaxed);
        if !self.answered {
            self.link.cancel(self.call);
        }
    }
}

/// Reads and writes one connection until it ends.
#[derive(Debug)]
pub(super) struct Driver {
    link: Arc<Link>,
    stream: ClientStream,
    reader: FrameReader,
    writer: FrameWriter,
    clocks: Clocks,
}

impl Driver {
    pub(super) fn new(
        link: Arc<Link>,
        stream: ClientStream,
        mut reader: FrameReader,
        options: PeerOptions,
    ) -> Self {
        reader.trust();
        Self { link, stream, reader, writer: FrameWriter::default(), clocks: Clocks::new(options) }
    }

    /// Ready with the reason once the connection is over; then [`Driver::end`] is due.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<String> {
        self.link.driver.register(context.waker());
        match self.clocks.poll(context, [self.reader.stuck_since, self.writer.stuck_since]) {
            Verdict::Fine => {}
            Verdict::Silent => self.link.enqueue_bare(FrameType::Ping, 0, 0),
            Verdict::Dead(reason) => return Poll::Ready(reason.into()),
        }
        if self.take_queue() {
            return Poll::Ready("closed by this end".into());
        }
        let counters = self.link.counters();
        let link = &self.link;
        let write = self.writer.poll(context, &mut self.stream, counters, |frame| {
            link.queue_room.add_permits(frame.units as usize);
        });
        if let Poll::Ready(Err(error)) = write {
            return Poll::Ready(error.to_string());
        }
        for _ in 0..FRAMES_PER_TURN {
            match self.reader.poll(context, &mut self.stream, counters, |_, _| Poll::Ready(())) {
                Poll::Ready(Ok(frame)) => {
                    self.clocks.heard = true;
                    if let Err(reason) = self.link.deliver(frame) {
                        return Poll::Ready(reason);
                    }
                }
                Poll::Ready(Err(ReadError::Closed)) => return Poll::Ready("closed by the other end".into()),
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells everybody who waits.
    pub(super) fn end(self) {
        self.link.close(self.writer.unsent());
    }

    /// Moves queued frames to the writer; true once the link is closed.
    fn take_queue(&mut self) -> bool {
        let mut state = self.link.lock();
        while let Some(frame) = state.queue.pop_front() {
            self.writer.push(frame);
        }
        state.closed
    }
}
