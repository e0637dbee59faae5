//! Records of the system group about the region itself: its nodes and where each group's replicas shall be.

use crate::{DecodeError, Decoder, Encoder, GroupId, Incarnation, NodeId};
use bytes::Bytes;

/// First byte of both records.
const RECORD_VERSION: u8 = 1;

/// A zone's name or a node's address, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Replicas that one group may be meant to have.
const REPLICAS_MAX: usize = 16;

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It holds its share.
    Active = 0,
    /// Its replicas are moving elsewhere.
    Draining = 1,
    /// It is gone for good; its number is never used again.
    Removed = 2,
}

/// A node as the system group knows it; the key is its number in decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// What is wanted of it.
    pub state: NodeState,
    /// The incarnation that may take part; older ones are refused.
    pub incarnation: Incarnation,
    /// The disk that took part first under this incarnation; another one is a wiped disk and is refused.
    pub disk: Option<[u8; 16]>,
    /// Its failure zone.
    pub zone: String,
    /// `host:port` where peers reach it.
    pub peer_address: String,
}

/// Where a group's replicas shall be; the key is the group's number in decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRecord {
    /// The nodes.
    pub nodes: Vec<NodeId>,
}

impl NodeRecord {
    /// The key of a node's record.
    pub fn key(node: NodeId) -> Bytes {
        Bytes::from(node.to_string())
    }

    /// The node that a record's key names.
    pub fn node_of(key: &[u8]) -> Option<NodeId> {
        std::str::from_utf8(key).ok()?.parse().ok().map(NodeId)
    }

    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::new();
        e.u8(RECORD_VERSION);
        e.u8(self.state as u8);
        e.u16(self.incarnation.0);
        e.option(self.disk.as_ref(), |e, disk| e.fixed(disk));
        e.text(&self.zone);
        e.text(&self.peer_address);
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("node record", input);
        check_version(&mut d)?;
        let state = match d.u8()? {
            0 => NodeState::Active,
            1 => NodeState::Draining,
            2 => NodeState::Removed,
            found => return Err(d.unknown(u64::from(found))),
        };
        let record = Self {
            state,
            incarnation: Incarnation(d.u16()?),
            disk: d.option(Decoder::array)?,
            zone: d.text(TEXT_BYTES_MAX)?,
            peer_address: d.text(TEXT_BYTES_MAX)?,
        };
        d.finish()?;
        Ok(record)
    }
}

impl PlacementRecord {
    /// The key of a group's record.
    pub fn key(group: GroupId) -> Bytes {
        Bytes::from(group.to_string())
    }

    /// The group that a record's key names.
    pub fn group_of(key: &[u8]) -> Option<GroupId> {
        std::str::from_utf8(key).ok()?.parse().ok().map(GroupId)
    }

    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::new();
        e.u8(RECORD_VERSION);
        e.list(&self.nodes, |e, node| e.u16(node.0));
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("placement record", input);
        check_version(&mut d)?;
        let nodes = d.list(REPLICAS_MAX, |d| Ok(NodeId(d.u16()?)))?;
        d.finish()?;
        Ok(Self { nodes })
    }
}

fn check_version(d: &mut Decoder) -> Result<(), DecodeError> {
    match d.u8()? {
        RECORD_VERSION => Ok(()),
        found => Err(d.unknown(u64::from(found))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_written() {
        let node = NodeRecord {
            state: NodeState::Draining,
            incarnation: Incarnation(3),
            disk: Some([7; 16]),
            zone: "a".into(),
            peer_address: "127.0.0.1:1".into(),
        };
        assert_eq!(NodeRecord::decode(node.encode()), Ok(node));
        let placement = PlacementRecord { nodes: vec![NodeId(1), NodeId(5)] };
        assert_eq!(PlacementRecord::decode(placement.encode()), Ok(placement));
        assert_eq!(NodeRecord::node_of(&NodeRecord::key(NodeId(12))), Some(NodeId(12)));
    }
}
