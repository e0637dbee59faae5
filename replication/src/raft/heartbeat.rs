//! Heartbeats of all groups to one node ride in one frame: idle cost follows nodes, not groups.
//!
//! A heartbeat is an append request without entries. Those that become due within a moment of each other are sent
//! together on the liveness connection; the answers come back together, and a group that cannot answer in time is
//! left out rather than holding up the others.

use super::{
    codec::{self, AppendResult},
    types::Types,
};
use crate::{
    message::{ReplicaAddress, kind},
    peer::{CallError, PeerClass, Peers},
};
use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{DecodeError, Decoder, Encoder, NodeId};

/// How long the first heartbeat of a batch waits for others, which the same pulse called. 3 ms: below a tick of the
/// fastest setting.
const GATHER: Duration = Duration::from_millis(3);

/// Heartbeats in one frame.
pub(crate) const HEARTBEATS_MAX: usize = 4096;

/// Heartbeats waiting for one node; beyond it the oldest problem is the node, not the queue.
const QUEUE_MAX: usize = 2 * HEARTBEATS_MAX;

/// Batches under way to one node: a slow answer must not hold up the next beat.
const BATCHES_MAX: usize = 4;

struct Beat {
    to: ReplicaAddress,
    request: AppendEntriesRequest<Types>,
    answer: oneshot::Sender<Result<AppendResult, CallError>>,
}

/// Sends heartbeats, gathered per node.
#[derive(Clone)]
pub(crate) struct Heartbeats {
    shared: Arc<Shared>,
}

struct Shared {
    peers: Peers,
    wait: Duration,
    queues: Mutex<HashMap<NodeId, mpsc::Sender<Beat>>>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Heartbeats {
    /// Over `peers`; an answer may take `wait`.
    pub(crate) fn new(peers: Peers, wait: Duration, tracker: TaskTracker, stop: CancellationToken) -> Self {
        Self { shared: Arc::new(Shared { peers, wait, queues: Mutex::default(), tracker, stop }) }
    }

    /// Sends one heartbeat and waits for its answer.
    pub(crate) async fn beat(
        &self,
        to: ReplicaAddress,
        request: AppendEntriesRequest<Types>,
    ) -> Result<AppendResult, CallError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue(to.replica.node());
        queue.try_send(Beat { to, request, answer }).map_err(|_| CallError::Overloaded)?;
        answered.await.unwrap_or(Err(CallError::Disconnected))
    }

    fn queue(&self, node: NodeId) -> mpsc::Sender<Beat> {
        let mut queues = self.shared.queues.lock().expect("no holder of this lock panics");
        queues
            .entry(node)
            .or_insert_with(|| {
                let (sender, receiver) = mpsc::channel(QUEUE_MAX);
                let shared = Arc::clone(&self.shared);
                self.shared.tracker.spawn(async move {
                    let stop = shared.stop.clone();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = gather(shared, node, receiver) => {}
                    }
                });
                sender
            })
            .clone()
    }
}

async fn gather(shared: Arc<Shared>, node: NodeId, mut queue: mpsc::Receiver<Beat>) {
    let under_way = Arc::new(tokio::sync::Semaphore::new(BATCHES_MAX));
    loop {
        let Some(first) = queue.recv().await else { return };
        tokio::time::sleep(GATHER).await;
        let mut beats = vec![first];
        while beats.len() < HEARTBEATS_MAX
            && let Ok(beat) = queue.try_recv()
        {
            beats.push(beat);
        }
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let shared_for_send = Arc::clone(&shared);
        shared.tracker.spawn(async move {
            send(&shared_for_send, node, beats).await;
            drop(permit);
        });
    }
}

async fn send(shared: &Shared, node: NodeId, beats: Vec<Beat>) {
    let mut e = Encoder::with_capacity(16 + 96 * beats.len());
    e.list(&beats, |e, beat| {
        beat.to.encode(e);
        let (head, _no_bodies) = codec::encode_append(&beat.request);
        e.bytes(&head);
    });
    let result = shared
        .peers
        .call(node, PeerClass::Liveness, kind::HEARTBEATS, e.finish(), Vec::new(), shared.wait)
        .await;
    let answers = match result {
        Ok(reply) => decode_answers(reply.head).unwrap_or_default(),
        Err(error) => {
            for beat in beats {
                // the waiting side may be gone; nothing to do then
                let _receiver_gone = beat.answer.send(Err(error.clone())).is_err();
            }
            return;
        }
    };
    let mut answers = answers.into_iter();
    for beat in beats {
        let answer = answers.next().flatten().ok_or(CallError::TimedOut);
        let _receiver_gone = beat.answer.send(answer).is_err();
    }
}

/// Reads the heartbeats of one frame.
pub(crate) fn decode_beats(
    head: Bytes,
) -> Result<Vec<(ReplicaAddress, AppendEntriesRequest<Types>)>, DecodeError> {
    let mut d = Decoder::new("heartbeats", head);
    let beats = d.list(HEARTBEATS_MAX, |d| {
        let to = ReplicaAddress::decode(d)?;
        Ok((to, codec::decode_append(d.bytes(4096)?, Bytes::new())?))
    })?;
    d.finish()?;
    Ok(beats)
}

/// The answers to one frame's heartbeats, in order; nothing for those that did not answer in time.
pub(crate) fn encode_answers(answers: &[Option<AppendResult>]) -> Bytes {
    let mut e = Encoder::with_capacity(8 + 32 * answers.len());
    e.list(answers, |e, answer| e.option(answer.as_ref(), codec::encode_append_result));
    e.finish()
}

/// Reads [`encode_answers`].
pub(crate) fn decode_answers(head: Bytes) -> Result<Vec<Option<AppendResult>>, DecodeError> {
    let mut d = Decoder::new("heartbeat answers", head);
    let answers = d.list(HEARTBEATS_MAX, |d| d.option(codec::decode_append_result))?;
    d.finish()?;
    Ok(answers)
}
