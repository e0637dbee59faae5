//! Large bodies read from the disks of nodes on the same host, instead of being sent by their processes.
//!
//! Whoever asks names the nodes whose disks it can read. One of those answers a query for much with the places of the
//! bodies in its log; the asker reads them there, and asks again for the bodies themselves if it cannot. What is read is
//! sealed and has its checksum, so a place that is out of date is noticed.

use crate::log::{OutsideLog, Place};
use bytes::{Bytes, BytesMut};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tracing::warn;
use wire::{Answer, DecodeError, Decoder, Encoder, NodeId};

/// Bytes that are worth it: below, sending them costs less than opening a file.
pub(crate) const BODY_BYTES_MIN: usize = 32 << 10;

/// Nodes on one host.
pub const NODES_MAX: usize = 16;

/// Places in one answer: as many as a query for chunks has.
const PLACES_MAX: usize = 4;

/// How long a read may take. 1 s: the node may have been asked long before.
const READ_WAIT: Duration = Duration::from_secs(1);

/// How long a disk that could not be read is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// The disks of nodes on this host.
pub struct NearbyDisks {
    logs: BTreeMap<NodeId, OutsideLog>,
    /// Until when disks are left alone.
    resting: Mutex<BTreeMap<NodeId, Instant>>,
}

/// A node's answer whose bodies lie on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nearby {
    pub(crate) node: NodeId,
    pub(crate) places: Vec<Place>,
}

impl NearbyDisks {
    /// The disks of these nodes, by their data folders; beyond [`NODES_MAX`] nodes are left out.
    pub fn new(nodes: impl IntoIterator<Item = (NodeId, PathBuf)>) -> Self {
        let logs = nodes.into_iter().take(NODES_MAX);
        let logs = logs.map(|(node, data)| (node, OutsideLog::new(crate::node::log_folder(&data)))).collect();
        Self { logs, resting: Mutex::default() }
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes whose disks can be read, as far as known.
    pub(crate) fn readable(&self) -> Vec<NodeId> {
        self.readable_at(Instant::now())
    }

    fn readable_at(&self, now: Instant) -> Vec<NodeId> {
        let mut resting = self.resting();
        resting.retain(|_, until| *until > now);
        self.logs.keys().filter(|node| !resting.contains_key(node)).copied().collect()
    }

    /// The bodies at those places, one after another; nothing when they must be asked for.
    pub(crate) async fn read(&self, nearby: &Nearby) -> Option<Bytes> {
        match timeout(READ_WAIT, self.read_bodies(nearby)).await {
            Ok(read) => read,
            Err(_) => {
                warn!(node = %nearby.node, "a disk on this host does not answer; its node is asked instead");
                self.rest(nearby.node);
                None
            }
        }
    }

    fn rest(&self, node: NodeId) {
        self.resting().insert(node, Instant::now() + PAUSE);
    }

    async fn read_bodies(&self, nearby: &Nearby) -> Option<Bytes> {
        let log = self.logs.get(&nearby.node)?;
        let mut bodies = Vec::with_capacity(nearby.places.len());
        for place in &nearby.places {
            match log.read_body(place).await {
                Ok(body) => bodies.push(body?),
                Err(error) => {
                    warn!(node = %nearby.node, %error, "a disk on this host cannot be read; its node is asked instead");
                    self.rest(nearby.node);
                    return None;
                }
            }
        }
        if bodies.len() == 1 {
            return bodies.pop();
        }
        let mut all = BytesMut::with_capacity(bodies.iter().map(Bytes::len).sum());
        bodies.iter().for_each(|body| all.extend_from_slice(body));
        Some(all.freeze())
    }
}

/// Writes the nodes whose disks the asker can read.
pub(crate) fn encode_readable(e: &mut Encoder, nodes: &[NodeId]) {
    e.list(nodes, |e, node| e.u16(node.0));
}

/// Reads [`encode_readable`].
pub(crate) fn decode_readable(d: &mut Decoder) -> Result<Vec<NodeId>, DecodeError> {
    d.list(NODES_MAX, |d| d.u16().map(NodeId))
}

/// An answer, and where its bodies lie unless they come along.
pub(crate) fn encode_answer(nearby: Option<&Nearby>, answer: &Answer) -> Bytes {
    let mut e = Encoder::with_capacity(256);
    e.option(nearby, |e, nearby| {
        e.u16(nearby.node.0);
        e.list(&nearby.places, |e, place| e.fixed(&place.to_bytes()));
    });
    e.fixed(&answer.encode());
    e.finish()
}

/// Reads [`encode_answer`].
pub(crate) fn decode_answer(head: Bytes) -> Result<(Option<Nearby>, Answer), DecodeError> {
    let mut d = Decoder::new("query answer", head);
    let nearby = d.option(|d| {
        let node = NodeId(d.u16()?);
        Ok(Nearby { node, places: d.list(PLACES_MAX, |d| d.array().map(Place::from_bytes))? })
    })?;
    Ok((nearby, Answer::decode(d.rest())?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::log::{EntryId, EntryKind, LogEntry, LogOptions, SegmentId, SegmentLog};
    use wire::{DeploymentId, GroupId, Incarnation, ReplicaId};

    const NODE: NodeId = NodeId(3);

    /// A node's data folder with one body in its log, and where that is.
    async fn written(body: &Bytes) -> (tempfile::TempDir, SegmentLog, Place) {
        let folder = tempfile::tempdir().unwrap();
        let log_folder = crate::node::log_folder(folder.path());
        std::fs::create_dir_all(&log_folder).unwrap();
        let mut options = LogOptions::new(&log_folder, DeploymentId([7; 16]), NODE, Incarnation(0)).unwrap();
        options.segment_bytes = 4 << 20;
        let log = SegmentLog::open(options).unwrap().0;
        let group = log.group(GroupId(1));
        let id = EntryId { term: 1, leader: ReplicaId::new(NODE, Incarnation(0)), index: 0 };
        let head = Bytes::from_static(b"head");
        let entry = LogEntry { id, kind: EntryKind::Normal, head, body: body.clone() };
        group.append(vec![entry], |_result| {}).await.unwrap();
        let place = group.flushed(0).await.unwrap();
        (folder, log, place)
    }

    fn body() -> Bytes {
        Bytes::from((0..300_000_u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>())
    }

    #[tokio::test]
    async fn bodies_are_read_beside_the_process_that_writes_them() {
        let body = body();
        let (folder, _log, place) = written(&body).await;
        let disks = NearbyDisks::new([(NODE, folder.path().to_owned())]);
        let one = Nearby { node: NODE, places: vec![place] };
        assert_eq!(disks.read(&one).await.unwrap(), body);
        let two = Nearby { node: NODE, places: vec![place, place] };
        assert_eq!(disks.read(&two).await.unwrap(), [&body[..], &body[..]].concat());
    }

    #[tokio::test]
    async fn what_is_not_there_as_said_is_not_read_and_its_disk_is_asked_again() {
        let (folder, _log, place) = written(&body()).await;
        let disks = NearbyDisks::new([(NODE, folder.path().to_owned())]);
        let wrong = [
            Place { offset: place.offset + 1, ..place },
            Place { body_length: u32::MAX, ..place },
            Place { offset: u32::MAX, ..place },
            Place { segment: SegmentId(99), ..place },
            Place { body_crc: !place.body_crc, ..place },
        ];
        for place in wrong {
            let nearby = Nearby { node: NODE, places: vec![place] };
            assert_eq!(disks.read(&nearby).await, None, "{place:?}");
        }
        assert_eq!(disks.read(&Nearby { node: NodeId(4), places: vec![place] }).await, None);
        assert_eq!(disks.readable(), [NODE]);
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_read_is_left_alone_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        // a file where a folder should be
        std::fs::write(crate::node::log_folder(folder.path()), b"").unwrap();
        let disks = NearbyDisks::new([(NODE, folder.path().to_owned())]);
        let place = Place { segment: SegmentId(1), offset: 0, head_length: 0, body_length: 1, body_crc: 0 };
        assert_eq!(disks.read(&Nearby { node: NODE, places: vec![place] }).await, None);
        assert_eq!(disks.readable(), []);
        assert_eq!(disks.readable_at(Instant::now() + PAUSE), [NODE]);
    }

    #[test]
    fn answers_come_back_as_they_were_sent() {
        let place = Place { segment: SegmentId(1), offset: 2, head_length: 3, body_length: 4, body_crc: 5 };
        for nearby in [None, Some(Nearby { node: NODE, places: vec![place; PLACES_MAX] })] {
            let answer = Answer::Chunks(vec![4; 2]);
            let head = encode_answer(nearby.as_ref(), &answer);
            assert_eq!(decode_answer(head).unwrap(), (nearby, answer));
        }
    }
}
