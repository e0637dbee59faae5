//! Before a node takes part: is its disk the one that the region knows?
//!
//! A disk that was wiped has forgotten its votes and entries; letting it vote again under its old identity could undo
//! acknowledged writes. So an empty disk may found a region only if every other founder says that there is none yet, and
//! may join a formed one only if the system group has never seen another disk under its node and incarnation.

use crate::{
    message::kind,
    peer::{PeerClass, Peers},
    region::{Consistency, Region, RegionError},
    router::Router,
};
use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use wire::{
    Answer, Command, CommandMeta, GroupId, Incarnation, NodeId, NodeRecord, NodeState, Operation, Outcome,
    PrincipalId, Query, Refusal as CommandRefusal, RequestId, SystemChange, SystemExpect, SystemRecord,
    SystemTable, UnixMillis,
};

/// The file that holds the disk's identity.
const DISK_FILE: &str = "disk.id";

/// The file that says the region has registered the disk.
const REGISTERED_FILE: &str = "disk.registered";

/// The file that says this disk is founding groups and has not finished.
const FOUNDING_FILE: &str = "disk.founding";

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
        source: wire::DecodeError,
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

/// What a peer says to an empty disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionAge {
    /// No group has ever committed anything here.
    Unformed = 0,
    /// There is a region.
    Formed = 1,
}

impl RegionAge {
    pub(crate) fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&[self as u8])
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self::Unformed),
            [1] => Some(Self::Formed),
            _ => None,
        }
    }
}

/// The disk's identity and whether the region has registered it.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    id: [u8; 16],
    registered: bool,
}

impl Disk {
    /// The disk in `folder`, if it has an identity.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>, AdmissionError> {
        let path = folder.join(DISK_FILE);
        let mut id = [0; 16];
        match std::fs::File::open(&path) {
            Ok(mut file) => file
                .read_exact(&mut id)
                .map_err(|source| AdmissionError::File { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AdmissionError::File { path, source }),
        }
        let registered = folder.join(REGISTERED_FILE).exists();
        Ok(Some(Self { folder: folder.to_owned(), id, registered }))
    }

    /// Gives the disk in `folder` its identity; a founder's disk begins the region's groups.
    pub(crate) fn create(folder: &Path, id: [u8; 16], age: RegionAge) -> Result<Self, AdmissionError> {
        if age == RegionAge::Unformed {
            write_durably(folder, FOUNDING_FILE, b"")?;
        }
        write_durably(folder, DISK_FILE, &id)?;
        Ok(Self { folder: folder.to_owned(), id, registered: false })
    }

    /// Whether this disk is to begin groups: only until they have begun, never again after.
    pub(crate) fn is_founding(&self) -> bool {
        self.folder.join(FOUNDING_FILE).exists()
    }

    /// All groups have begun.
    pub(crate) fn set_founded(&self) -> Result<(), AdmissionError> {
        let path = self.folder.join(FOUNDING_FILE);
        let removed =
            std::fs::remove_file(&path).and_then(|()| std::fs::File::open(&self.folder)?.sync_all());
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(AdmissionError::File { path, source: error })
            }
            _ => Ok(()),
        }
    }

    fn set_registered(&mut self) -> Result<(), AdmissionError> {
        write_durably(&self.folder, REGISTERED_FILE, b"")?;
        self.registered = true;
        Ok(())
    }
}

/// Waits until an empty disk may take part: as a founder, or in a region that has formed. Says which.
pub(crate) async fn wait_for_region(peers: &Peers, applicant: &Applicant) -> RegionAge {
    let mut told = false;
    loop {
        let mut unformed = 0;
        for &node in &applicant.others {
            let reply =
                peers.call(node, PeerClass::Bulk, kind::HELLO, Bytes::new(), Vec::new(), ASK_WAIT).await;
            match reply.ok().and_then(|reply| RegionAge::decode(&reply.head)) {
                Some(RegionAge::Formed) => return RegionAge::Formed,
                Some(RegionAge::Unformed) if applicant.other_founders.contains(&node) => unformed += 1,
                _ => {}
            }
        }
        // every founder must say so: one that is away may hold what this disk has forgotten
        if !applicant.other_founders.is_empty() && unformed == applicant.other_founders.len() {
            return RegionAge::Unformed;
        }
        if !told {
            info!(node = %applicant.node, "empty disk waits for the region's other first members");
            told = true;
        }
        sleep(RETRY).await;
    }
}

/// Registers the disk with the system group, once; keeps trying while the group cannot be reached.
pub(crate) async fn register(
    router: &Router,
    applicant: &Applicant,
    disk: &mut Disk,
    now: UnixMillis,
    request: RequestId,
) -> Result<(), AdmissionError> {
    while !disk.registered {
        match try_register(router, applicant, disk.id, now, request).await? {
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
    disk: [u8; 16],
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
fn judge(applicant: &Applicant, record: &NodeRecord, disk: [u8; 16]) -> Result<Option<()>, AdmissionError> {
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

fn first_record(applicant: &Applicant, disk: [u8; 16]) -> NodeRecord {
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

fn write_durably(folder: &Path, name: &str, content: &[u8]) -> Result<(), AdmissionError> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let fresh = folder.join(format!("{name}.new"));
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| AdmissionError::File { path: path.clone(), source })
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

    #[test]
    fn a_disk_keeps_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Disk::load(folder.path()).unwrap().is_none());
        let mut disk = Disk::create(folder.path(), [5; 16], RegionAge::Unformed).unwrap();
        assert!(disk.is_founding());
        disk.set_founded().unwrap();
        assert!(!disk.is_founding());
        disk.set_registered().unwrap();
        let disk = Disk::load(folder.path()).unwrap().unwrap();
        assert_eq!((disk.id, disk.registered), ([5; 16], true));
    }
}
