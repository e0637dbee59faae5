//! The server's end of one connection: reads calls and stream items, runs handlers, writes answers.
//!
//! It stops reading while too much is running or waiting to be written, so a peer that floods, or does not read, slows
//! only itself. On shutdown it reads no more, finishes what runs, and closes.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::PollSemaphore;
use wire::{FrameType, PeerClass};

use super::clocks::{Clocks, Verdict};
use super::frame_io::{FrameReader, FrameWriter, Incoming, Outgoing, ReadError};
use super::incoming::{IncomingEvent, StreamFrame};
use super::options::{STREAM_ITEMS_MAX, UNIT_BYTES, units};
use super::server::Shared;
use super::{CallRefusal, Identity, IncomingStream, Reply};

/// Frames taken in one go before others get a turn.
const FRAMES_PER_TURN: usize = 64;

pub(super) type ServerStream = TlsStream<BufReader<TcpStream>>;

/// Answers on their way to the connection's task.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<VecDeque<Outgoing>>,
    driver: AtomicWaker,
}

impl Outbox {
    /// Bounded by the calls that run and the items without an answer.
    pub(super) fn push(&self, frame: Outgoing) {
        self.lock().push_back(frame);
        self.driver.wake();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Outgoing>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    from: Arc<Identity>,
    class: PeerClass,
    stream: ServerStream,
    reader: FrameReader,
    writer: FrameWriter,
    clocks: Clocks,
    outbox: Arc<Outbox>,
    /// Calls whose handler is not done, and whether the opener still wants the answer.
    running: HashMap<u64, bool>,
    /// Streams whose handler is not done; `None` once the opener gave up.
    streams: HashMap<u64, Option<mpsc::Sender<IncomingEvent>>>,
    bodies: PollSemaphore,
    bodies_units_max: u32,
    admitted: Option<OwnedSemaphorePermit>,
    /// Whether the last turn did not read because too much was waiting.
    held_back: bool,
}

/// One call to be answered.
struct Work {
    shared: Arc<Shared>,
    from: Arc<Identity>,
    class: PeerClass,
    frame: Incoming,
    /// Room that the body takes until the answer is there.
    _room: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        from: Arc<Identity>,
        class: PeerClass,
        stream: ServerStream,
        mut reader: FrameReader,
        greeting: Bytes,
    ) -> Self {
        reader.trust();
        let mut writer = FrameWriter::default();
        writer.push(Outgoing::greeting(FrameType::Pong, class, greeting));
        let options = shared.options;
        let bodies = PollSemaphore::new(shared.bodies[class.index()].clone());
        Self {
            shared,
            from,
            class,
            stream,
            reader,
            writer,
            clocks: Clocks::new(options),
            outbox: Arc::default(),
            running: HashMap::new(),
            streams: HashMap::new(),
            bodies,
            bodies_units_max: u32::try_from(options.bodies_bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1),
            admitted: None,
            held_back: false,
        }
    }

    /// Serves until the connection ends; returns why.
    pub(super) async fn run(mut self) -> String {
        let mut inline = FuturesUnordered::new();
        let shared = self.shared.clone();
        let serving = std::future::poll_fn(|context| self.poll(context, &mut inline, answer, false));
        let mut ended = shared.stop.run_until_cancelled(serving).await;
        if ended.is_none() {
            self.streams.values_mut().for_each(|stream| *stream = None);
            let draining = std::future::poll_fn(|context| self.poll(context, &mut inline, answer, true));
            ended = shared.abandon.run_until_cancelled(draining).await;
        }
        self.forget();
        if !inline.is_empty() {
            // a call runs to its end even when nobody waits for the answer any more
            let rest = inline.for_each(|_| std::future::ready(()));
            shared.tasks.spawn(shared.abandon.clone().run_until_cancelled_owned(rest));
        }
        ended.unwrap_or_else(|| "calls were still running when shutdown ran out of time".into())
    }

    /// Ready with the reason once the connection is over, or, when `draining`, once nothing is left to do.
    fn poll<F, M>(
        &mut self,
        context: &mut Context<'_>,
        inline: &mut FuturesUnordered<F>,
        answer: M,
        draining: bool,
    ) -> Poll<String>
    where
        F: Future<Output = Outgoing> + Send + 'static,
        M: Fn(Work) -> F + Copy,
    {
        self.outbox.driver.register(context.waker());
        let verdict = self.clocks.poll(context, [self.reader.stuck_since, self.writer.stuck_since]);
        if let (Verdict::Dead(reason), false) = (verdict, draining) {
            return Poll::Ready(reason.into());
        }
        let mut more = false;
        if !draining {
            match self.poll_read(context, inline, answer) {
                Ok(full) => more = full,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        while let Poll::Ready(Some(frame)) = inline.poll_next_unpin(context) {
            self.queue_answer(frame);
        }
        let answers = std::mem::take(&mut *self.outbox.lock());
        answers.into_iter().for_each(|frame| self.queue_answer(frame));
        let counters = self.shared.counters.class(self.class);
        if let Poll::Ready(Err(error)) = self.writer.poll(context, &mut self.stream, counters, |_| ()) {
            return Poll::Ready(error.to_string());
        }
        if draining && self.running.is_empty() && self.writer.is_idle() {
            return Poll::Ready("shutting down".into());
        }
        // room may have come free after the reading was held back
        if more || (!draining && self.held_back && self.may_read()) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads what there is; true when there may be more.
    fn poll_read<F, M>(
        &mut self,
        context: &mut Context<'_>,
        inline: &mut FuturesUnordered<F>,
        answer: M,
    ) -> Result<bool, String>
    where
        F: Future<Output = Outgoing> + Send + 'static,
        M: Fn(Work) -> F + Copy,
    {
        let shared = self.shared.clone();
        let counters = shared.counters.class(self.class);
        for _ in 0..FRAMES_PER_TURN {
            self.held_back = !self.may_read();
            if self.held_back {
                // it is this end that does not listen
                self.clocks.heard = true;
                self.reader.stuck_since = None;
                return Ok(false);
            }
            let (bodies, admitted, most) = (&mut self.bodies, &mut self.admitted, self.bodies_units_max);
            let polled = self.reader.poll(context, &mut self.stream, counters, |context, length| {
                bodies.poll_acquire_many(context, units(length).min(most)).map(|room| *admitted = room)
            });
            match polled {
                Poll::Ready(Ok(frame)) => {
                    self.clocks.heard = true;
                    let room = self.admitted.take();
                    if let Some(call) = self.receive(frame, room)? {
                        if shared.handler.inline(self.class, call.frame.header.kind) {
                            inline.push(answer(call));
                        } else {
                            let (outbox, shared, answer) =
                                (self.outbox.clone(), shared.clone(), answer(call));
                            self.shared.tasks.spawn(async move {
                                if let Some(frame) = shared.abandon.run_until_cancelled(answer).await {
                                    outbox.push(frame);
                                }
                            });
                        }
                    }
                }
                Poll::Ready(Err(ReadError::Closed)) => return Err("closed by the other end".into()),
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => {
                    self.clocks.heard |= self.reader.waits_for_room();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn may_read(&self) -> bool {
        let options = &self.shared.options;
        self.running.len() < options.calls_running && self.writer.queued_bytes < options.answer_bytes
    }

    /// Takes one frame; a call comes back to be run. An error ends the connection.
    fn receive(
        &mut self,
        frame: Incoming,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Work>, String> {
        let header = frame.header;
        let call = header.call;
        if header.class != self.class {
            return Err("a frame of another class".into());
        }
        match header.frame_type {
            FrameType::Request => {
                if call == 0 || self.running.insert(call, true).is_some() {
                    return Err("a call number twice".into());
                }
                self.shared.counters.class(self.class).calls_in_flight.fetch_add(1, Relaxed);
                let (shared, from) = (self.shared.clone(), self.from.clone());
                return Ok(Some(Work { shared, from, class: self.class, frame, _room: room }));
            }
            FrameType::StreamOpen => self.open(header.kind, call, frame.head)?,
            FrameType::StreamItem => {
                let item = IncomingEvent::Item(StreamFrame { head: frame.head, body: frame.body }, room);
                self.pass_on(call, item)?;
            }
            FrameType::StreamEnd => self.pass_on(call, IncomingEvent::End)?,
            FrameType::Cancel => {
                // both stay counted until their handlers are done
                self.running.entry(call).and_modify(|wanted| *wanted = false);
                self.streams.entry(call).and_modify(|stream| *stream = None);
            }
            FrameType::Ping => self.writer.push(Outgoing::bare(FrameType::Pong, self.class, 0, call)),
            other => return Err(format!("unexpected frame {other:?}")),
        }
        Ok(None)
    }

    fn open(&mut self, kind: u16, call: u64, head: Bytes) -> Result<(), String> {
        if call == 0 || self.streams.contains_key(&call) {
            return Err("a stream number twice".into());
        }
        if self.streams.len() >= self.shared.options.streams {
            let refusal = CallRefusal::new(CallRefusal::TOO_MANY, "too many streams on this connection");
            self.writer.push(refused(self.class, kind, call, &refusal));
            return Ok(());
        }
        // the opener keeps to its window; one more for the end
        let (sender, events) = mpsc::channel(STREAM_ITEMS_MAX + 1);
        self.streams.insert(call, Some(sender));
        let (shared, from, class) = (self.shared.clone(), self.from.clone(), self.class);
        let outbox = self.outbox.clone();
        let incoming = IncomingStream::new(outbox.clone(), class, kind, call, events);
        self.shared.tasks.spawn(async move {
            let serving = shared.handler.stream(&from, class, kind, head, incoming);
            let serving = AssertUnwindSafe(serving).catch_unwind();
            let last = match shared.abandon.run_until_cancelled(serving).await {
                Some(Ok(Ok(()))) => Outgoing::bare(FrameType::StreamEnd, class, kind, call),
                Some(Ok(Err(refusal))) => refused(class, kind, call, &refusal),
                Some(Err(_)) => fault(class, kind, call),
                None => return,
            };
            outbox.push(last);
        });
        Ok(())
    }

    fn pass_on(&mut self, call: u64, event: IncomingEvent) -> Result<(), String> {
        // a stream whose handler is done drops what still comes
        match self.streams.get(&call).and_then(Option::as_ref).map(|stream| stream.try_send(event)) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err("a stream beyond its window".into()),
            _ => Ok(()),
        }
    }

    fn queue_answer(&mut self, frame: Outgoing) {
        match frame.frame_type {
            FrameType::Reply | FrameType::ReplyError | FrameType::StreamEnd => {
                let of_stream = self.streams.remove(&frame.call).flatten().is_some();
                if self.finish_call(frame.call) || of_stream {
                    self.writer.push(frame);
                }
            }
            _ => self.writer.push(frame),
        }
    }

    /// Whether the answer is wanted.
    fn finish_call(&mut self, call: u64) -> bool {
        let wanted = self.running.remove(&call);
        if wanted.is_some() {
            self.shared.counters.class(self.class).calls_in_flight.fetch_sub(1, Relaxed);
        }
        wanted.unwrap_or(false)
    }

    fn forget(&mut self) {
        let running = std::mem::take(&mut self.running);
        let counter = &self.shared.counters.class(self.class).calls_in_flight;
        counter.fetch_sub(running.len() as u64, Relaxed);
    }
}

/// Runs the handler for one call.
async fn answer(work: Work) -> Outgoing {
    let Work { shared, from, class, frame, _room } = work;
    let (kind, call) = (frame.header.kind, frame.header.call);
    let answering = shared.handler.call(&from, class, kind, frame.head, frame.body);
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(Reply { head, body })) => {
            let body = if body.is_empty() { Vec::new() } else { vec![body] };
            Outgoing::new(FrameType::Reply, class, kind, call, head, body).unwrap_or_else(|error| {
                refused(class, kind, call, &CallRefusal::new(CallRefusal::FAULT, error.to_string()))
            })
        }
        Ok(Err(refusal)) => refused(class, kind, call, &refusal),
        Err(_) => fault(class, kind, call),
    }
}

fn fault(class: PeerClass, kind: u16, call: u64) -> Outgoing {
    tracing::error!(class = class.name(), kind, "a handler panicked");
    refused(class, kind, call, &CallRefusal::new(CallRefusal::FAULT, "the handler failed"))
}

/// The frame that carries a refusal.
pub(super) fn refused(class: PeerClass, kind: u16, call: u64, refusal: &CallRefusal) -> Outgoing {
    Outgoing::new(FrameType::ReplyError, class, kind, call, refusal.encode(), Vec::new())
        .expect("a refusal is far below the limits")
}
