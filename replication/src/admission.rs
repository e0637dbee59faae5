//! Before a node takes part: is its disk the one that the region knows?
//!
//! A disk that was wiped has forgotten its votes and entries; letting it vote again under its old identity could undo
//! acknowledged writes. So an empty disk founds a region only if every other founder has a disk that has not begun either,
//! or remembers that it began together with this very disk; and it joins a formed region only if the system group has
//! never seen another disk under its node and incarnation.

mod disk;

pub(crate) use disk::Disk;

use crate::{
    message::kind,
    peer::{PeerClass, Peers},
    region::{Consistency, Region, RegionError},
    router::Router,
};
use bytes::Bytes;
use disk::{DiskId, Founders};
use std::{io, path::PathBuf, time::Duration};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use wire::{
    Answer, Command, CommandMeta, DecodeError, Decoder, Encoder, GroupId, Incarnation, NodeId, NodeRecord,
    NodeState, Operation, Outcome, PrincipalId, Query, Refusal as CommandRefusal, RequestId, SystemChange,
    SystemExpect, SystemRecord, SystemTable, UnixMillis,
};

/// How often peers are asked again.
const RETRY: Duration = Duration::from_millis(100);

/// How long one question to a peer may take.
const ASK_WAIT: Duration = Duration::from_secs(2);

/// How long one try to register may take before it is logged and tried again.
const REGISTER_WAIT: Duration = Duration::from_secs(5);

/// Why a node may not take part.
#[derive(Debug, Error)]
pub enum AdmissionError {
    /// The region knows another disk under this node's identity.
    #[error(
        "this disk is empty, but the region knows node {node} with data: a wiped disk must not vote again; run `twinkeep node replace {node}` and start with the new token"
    )]
    WipedDisk {
        /// The node.
        node: NodeId,
    },
    /// The node was removed, replaced, or never admitted.
    #[error("node {node} incarnation {incarnation} is not admitted: {reason}")]
    NotAdmitted {
        /// The node.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The disk's identity cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record of the system group is damaged or newer than this program.
    #[error("the region's record of node {node} cannot be read")]
    Record {
        /// The node.
        node: NodeId,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

/// A node that asks to take part.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Which node.
    pub node: NodeId,
    /// Under which incarnation.
    pub incarnation: Incarnation,
    /// Its failure zone.
    pub zone: String,
    /// Where peers reach it.
    pub peer_address: String,
    /// The other first members; empty unless this node is one.
    pub other_founders: Vec<NodeId>,
    /// All other nodes known at start.
    pub others: Vec<NodeId>,
}

/// What a node says about its disk to one that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    disk: DiskId,
    /// Whether it takes part already; until then it holds nothing and has voted for nobody.
    begun: bool,
    /// The disk of the asking node that it counted among the founders.
    yours: Option<DiskId>,
}

impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::new();
        e.fixed(&self.disk);
        e.flag(self.begun);
        e.option(self.yours.as_ref(), |e, disk| e.fixed(disk));
        e.finish()
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("hello", bytes);
        let (disk, begun, yours) = (d.array()?, d.flag()?, d.option(Decoder::array)?);
        d.finish()?;
        Ok(Self { disk, begun, yours })
    }
}

/// How an empty disk begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Beginning {
    /// It founds the region, with these disks of the other founders.
    Founds(Founders),
    /// There is a region without it.
    Joins,
}

/// Waits until an empty disk may take part: as a founder, or in a region that has formed. One that has begun goes on.
pub(crate) async fn begin(peers: &Peers, applicant: &Applicant, disk: &Disk) -> Result<(), AdmissionError> {
    if disk.has_begun() {
        return Ok(());
    }
    let mut told = false;
    loop {
        let mut heard = Vec::new();
        for &node in &applicant.others {
            let reply =
                peers.call(node, PeerClass::Bulk, kind::HELLO, Bytes::new(), Vec::new(), ASK_WAIT).await;
            if let Some(hello) = reply.ok().and_then(|reply| Hello::decode(reply.head).ok()) {
                heard.push((node, hello));
            }
        }
        match judge_hellos(&applicant.other_founders, disk.id(), &heard) {
            Some(Beginning::Founds(founders)) => return disk.begin_founding(founders),
            Some(Beginning::Joins) => {
                info!(node = %applicant.node, "joins a region that has formed");
                return disk.begin_joining();
            }
            None => {}
        }
        if !told {
            info!(node = %applicant.node, "empty disk waits for the region's other first members");
            told = true;
        }
        sleep(RETRY).await;
    }
}

/// What follows from the answers, if they are enough.
fn judge_hellos(other_founders: &[NodeId], disk: DiskId, heard: &[(NodeId, Hello)]) -> Option<Beginning> {
    let founds = |hello: &Hello| !other_founders.is_empty() && (!hello.begun || hello.yours == Some(disk));
    if heard.iter().any(|(_, hello)| hello.begun && !founds(hello)) {
        return Some(Beginning::Joins);
    }
    // every founder must say so: one that is away may hold what this node's disk has forgotten
    let with = |node: &NodeId| heard.iter().find(|(from, _)| from == node);
    let founders: Option<Founders> =
        other_founders.iter().map(|node| with(node).map(|(_, hello)| (*node, hello.disk))).collect();
    founders.filter(|founders| !founders.is_empty()).map(Beginning::Founds)
}

/// Registers the disk with the system group, once; keeps trying while the group cannot be reached.
pub(crate) async fn register(
    router: &Router,
    applicant: &Applicant,
    disk: &Disk,
    now: UnixMillis,
    request: RequestId,
) -> Result<(), AdmissionError> {
    while !disk.is_registered() {
        match try_register(router, applicant, disk.id(), now, request).await? {
            Ok(()) => disk.set_registered()?,
            Err(error) => {
                warn!(node = %applicant.node, %error, "could not register this disk yet");
                sleep(RETRY).await;
            }
        }
    }
    Ok(())
}

async fn try_register(
    router: &Router,
    applicant: &Applicant,
    disk: DiskId,
    now: UnixMillis,
    request: RequestId,
) -> Result<Result<(), RegionError>, AdmissionError> {
    let known = match node_record(router, applicant.node).await {
        Ok(known) => known,
        Err(error) => return Ok(Err(error)),
    };
    let (expect, record) = match known {
        None if applicant.other_founders.is_empty() => {
            return Err(not_admitted(applicant, "run `twinkeep node add` first"));
        }
        None => (SystemExpect::Absent, first_record(applicant, disk)),
        Some(known) => {
            let mut record = NodeRecord::decode(known.value)
                .map_err(|source| AdmissionError::Record { node: applicant.node, source })?;
            if let Some(registered) = judge(applicant, &record, disk)? {
                return Ok(Ok(registered));
            }
            record.disk = Some(disk);
            (SystemExpect::At(known.changed), record)
        }
    };
    let change = SystemChange {
        table: SystemTable::Node,
        key: NodeRecord::key(applicant.node),
        expect,
        value: Some(record.encode()),
    };
    let command = Command {
        meta: CommandMeta { epoch: router.epoch(), time: now, principal: PrincipalId::default(), request },
        operation: Operation::System(vec![change]),
        body: Bytes::new(),
    };
    match router.propose(GroupId::SYSTEM, command, Instant::now() + REGISTER_WAIT).await {
        Ok(Outcome::Changed(_)) => Ok(Ok(())),
        // someone changed the record meanwhile: look again
        Ok(Outcome::Refused(CommandRefusal::Conflict { .. })) => Ok(Err(RegionError::Overloaded)),
        Ok(_) => Ok(Err(RegionError::Protocol { group: GroupId::SYSTEM })),
        Err(error) => Ok(Err(error)),
    }
}

/// `Some` when the disk is registered already, `None` when it may be.
fn judge(applicant: &Applicant, record: &NodeRecord, disk: DiskId) -> Result<Option<()>, AdmissionError> {
    if record.state == NodeState::Removed {
        return Err(not_admitted(applicant, "it was removed; its number is never used again"));
    }
    if record.incarnation > applicant.incarnation {
        return Err(not_admitted(applicant, "its disk was replaced; start with the newest token"));
    }
    if record.incarnation < applicant.incarnation {
        return Err(not_admitted(applicant, "run `twinkeep node replace` first"));
    }
    match record.disk {
        None => Ok(None),
        Some(known) if known == disk => Ok(Some(())),
        Some(_) => Err(AdmissionError::WipedDisk { node: applicant.node }),
    }
}

async fn node_record(router: &Router, node: NodeId) -> Result<Option<SystemRecord>, RegionError> {
    let query = Query::SystemGet { table: SystemTable::Node, key: NodeRecord::key(node) };
    let deadline = Instant::now() + REGISTER_WAIT;
    match router.query(GroupId::SYSTEM, query, Consistency::Linearizable, deadline).await? {
        (Answer::SystemGet(record), _) => Ok(record),
        _ => Err(RegionError::Protocol { group: GroupId::SYSTEM }),
    }
}

fn first_record(applicant: &Applicant, disk: DiskId) -> NodeRecord {
    NodeRecord {
        state: NodeState::Active,
        incarnation: applicant.incarnation,
        disk: Some(disk),
        zone: applicant.zone.clone(),
        peer_address: applicant.peer_address.clone(),
    }
}

fn not_admitted(applicant: &Applicant, reason: &'static str) -> AdmissionError {
    AdmissionError::NotAdmitted { node: applicant.node, incarnation: applicant.incarnation, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant() -> Applicant {
        Applicant {
            node: NodeId(3),
            incarnation: Incarnation(2),
            zone: "a".into(),
            peer_address: "127.0.0.1:1".into(),
            other_founders: vec![],
            others: vec![],
        }
    }

    fn record(state: NodeState, incarnation: u16, disk: Option<[u8; 16]>) -> NodeRecord {
        let applicant = applicant();
        NodeRecord {
            state,
            incarnation: Incarnation(incarnation),
            disk,
            zone: applicant.zone,
            peer_address: applicant.peer_address,
        }
    }

    #[test]
    fn only_the_known_disk_or_the_first_one_of_an_incarnation_takes_part() {
        let judged = |record: NodeRecord| judge(&applicant(), &record, [1; 16]);
        assert!(matches!(judged(record(NodeState::Active, 2, None)), Ok(None)));
        assert!(matches!(judged(record(NodeState::Draining, 2, Some([1; 16]))), Ok(Some(()))));
        assert!(matches!(
            judged(record(NodeState::Active, 2, Some([9; 16]))),
            Err(AdmissionError::WipedDisk { .. })
        ));
        for refused in [
            record(NodeState::Removed, 2, Some([1; 16])),
            record(NodeState::Active, 3, Some([1; 16])),
            record(NodeState::Active, 1, None),
        ] {
            assert!(matches!(judged(refused), Err(AdmissionError::NotAdmitted { .. })));
        }
    }

    const MINE: DiskId = [1; 16];

    fn hello(disk: u8, begun: bool, yours: Option<DiskId>) -> Hello {
        Hello { disk: [disk; 16], begun, yours }
    }

    #[test]
    fn an_empty_disk_founds_a_region_only_with_every_founder() {
        let founders = [NodeId(1), NodeId(2)];
        let judged = |heard: &[(NodeId, Hello)]| judge_hellos(&founders, MINE, heard);
        let waits = (NodeId(1), hello(11, false, None));
        let founded = Beginning::Founds([(NodeId(1), [11; 16]), (NodeId(2), [12; 16])].into());
        assert_eq!(judged(&[waits]), None);
        assert_eq!(judged(&[waits, (NodeId(3), hello(13, false, None))]), None);
        assert_eq!(judged(&[waits, (NodeId(2), hello(12, false, None))]), Some(founded.clone()));
        // the others were faster
        assert_eq!(judged(&[waits, (NodeId(2), hello(12, true, Some(MINE)))]), Some(founded));
        assert_eq!(judged(&[(NodeId(2), hello(12, true, Some(MINE)))]), None);
        // they began with the disk that was here before
        assert_eq!(judged(&[waits, (NodeId(2), hello(12, true, Some([9; 16])))]), Some(Beginning::Joins));
        assert_eq!(judged(&[waits, (NodeId(3), hello(13, true, None))]), Some(Beginning::Joins));
    }

    #[test]
    fn who_is_no_founder_joins() {
        let judged = |heard: &[(NodeId, Hello)]| judge_hellos(&[], MINE, heard);
        assert_eq!(judged(&[]), None);
        assert_eq!(judged(&[(NodeId(1), hello(11, false, None))]), None);
        assert_eq!(judged(&[(NodeId(1), hello(11, true, Some(MINE)))]), Some(Beginning::Joins));
    }

    #[test]
    fn what_a_disk_says_is_read_back() {
        for said in [hello(7, false, None), hello(8, true, Some([3; 16]))] {
            assert_eq!(Hello::decode(said.encode()).unwrap(), said);
        }
        assert!(Hello::decode(Bytes::from_static(b"?")).is_err());
    }
}
