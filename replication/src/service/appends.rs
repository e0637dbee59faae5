//! A leader's stream of entries: decoded, let in as far as the disk has room, given to Raft in order.

use super::refuse;
use crate::{
    log::{Promise, SegmentLog},
    message::refusal,
    peer::IncomingStream,
    raft::{self, Raft},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tracing::error;
use wire::{CallRefusal, Encoder};

/// How long entries from a leader wait for room on a full disk before their stream ends. 1 s: so often a full follower is
/// asked again.
const APPEND_WAIT: Duration = Duration::from_secs(1);

/// Pause between two looks at the room.
const APPEND_PAUSE: Duration = Duration::from_millis(50);

/// Feeds a stream of append requests to Raft and its answers back, both in order. Ends, to be opened again by the leader,
/// when the disk has no room for what comes: Raft must not be given entries that cannot be appended, it would stand
/// still, and heartbeats, votes and purges with it.
pub(super) async fn serve(
    raft: Raft,
    segments: SegmentLog,
    incoming: IncomingStream,
) -> Result<(), CallRefusal> {
    let (items, replies) = incoming.split();
    let room = Arc::new(StreamRoom::default());
    let state = (items, segments, Arc::clone(&room));
    let requests = stream::unfold(state, |(mut items, segments, room)| async move {
        let item = items.next().await.ok()??;
        let bytes = item.head.len() + item.body.len();
        match raft::decode_append(item.head, item.body) {
            Ok(request) => {
                let promise = promise_room(&segments, request.entries.len(), bytes).await;
                room.let_in(promise).then_some((request, (items, segments, room)))
            }
            Err(error) => {
                error!(%error, "append request not understood");
                None
            }
        }
    });
    let mut results = Box::pin(raft.stream_append(Box::pin(requests)));
    while let Some(result) = results.next().await {
        room.answered();
        let result = result.map_err(|error| refuse(refusal::STOPPED, &error.to_string()))?;
        let mut e = Encoder::with_capacity(32);
        raft::encode_append_result(&mut e, &result);
        replies.reply(e.finish())?;
    }
    if room.is_used_up() { Err(refuse(refusal::FULL, "disk is full")) } else { Ok(()) }
}

/// Room for the requests of one stream that Raft has not answered yet, in order.
#[derive(Default)]
struct StreamRoom {
    promises: Mutex<VecDeque<Promise>>,
    used_up: AtomicBool,
}

impl StreamRoom {
    /// Whether the next request may go to Raft.
    fn let_in(&self, promise: Option<Promise>) -> bool {
        match promise {
            Some(promise) => self.promises().push_back(promise),
            None => self.used_up.store(true, Ordering::Release),
        }
        !self.is_used_up()
    }

    /// The oldest request is on disk, or was turned down.
    fn answered(&self) {
        self.promises().pop_front();
    }

    fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Acquire)
    }

    fn promises(&self) -> MutexGuard<'_, VecDeque<Promise>> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for entries, or none if there is not enough before long.
async fn promise_room(segments: &SegmentLog, entries: usize, bytes: usize) -> Option<Promise> {
    if entries == 0 {
        return segments.promise(0, 0);
    }
    let deadline = Instant::now() + APPEND_WAIT;
    loop {
        match segments.promise(entries, bytes) {
            None if Instant::now() < deadline => tokio::time::sleep(APPEND_PAUSE).await,
            promise => return promise,
        }
    }
}
