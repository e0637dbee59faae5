//! Messages between peers: the numbers that tell them apart, and the small heads that are not Raft's.

use wire::{DecodeError, Decoder, Encoder, GroupId, ReplicaId};

/// What a call or stream is about.
pub mod kind {
    /// Stream of append requests of one group (append).
    pub const APPEND: u16 = 1;
    /// Heartbeats of many groups in one call (liveness).
    pub const HEARTBEATS: u16 = 2;
    /// A vote request (liveness).
    pub const VOTE: u16 = 3;
    /// A pre-vote request (liveness).
    pub const PRE_VOTE: u16 = 4;
    /// A leader hands over (liveness).
    pub const TRANSFER: u16 = 5;
    /// A leader asks a replica that lags behind the log to fetch the group's state (bulk).
    pub const INSTALL: u16 = 6;
    /// A piece of a group's state, for a replica that fetches it (bulk).
    pub const STATE: u16 = 7;
    /// A command for the group's leader (bulk).
    pub const PROPOSE: u16 = 10;
    /// A query (bulk).
    pub const QUERY: u16 = 11;
    /// Who leads which group; answered when that changed (bulk).
    pub const LEADERS: u16 = 12;
    /// A node's own state, for other nodes and for status (bulk).
    pub const NODE_STATUS: u16 = 13;
    /// Asks a node to hold a replica of a group, or to give it up (bulk).
    pub const REPLICA: u16 = 14;
    /// A node with an empty disk asks whether others have begun, and with which disks (bulk).
    pub const HELLO: u16 = 15;
    /// What follows in a group's log, for the other region's group (bulk).
    pub const SHIP: u16 = 16;
    /// How far the groups led here are behind the other region's (bulk).
    pub const PAIR_REPORT: u16 = 17;
    /// What a group acknowledged and the pair does not have, a page at a time (bulk).
    pub const DIVERGED: u16 = 18;
    /// The state of a group, for the other region's group that takes it over (bulk).
    pub const PAIR_STATE: u16 = 19;
    /// A record whose copy here is rotten, for a replica that repairs it (bulk).
    pub const RECORD: u16 = 20;
    /// A leader tells how far all replicas of its groups are (bulk).
    pub const HELD: u16 = 21;
    /// Asks a node to free what can be freed, and what that was (bulk).
    pub const GC: u16 = 22;
    /// Asks a node what scrubbing found, or to begin a pass (bulk).
    pub const SCRUB: u16 = 23;
    /// What a group holds, so that the other region's can be held against it (bulk).
    pub const COMPARE: u16 = 24;
    /// A standby's lease for its primary, and the stamp of the next (bulk).
    pub const LEASE: u16 = 25;
    /// An operator's request, as JSON (admin).
    pub const ADMIN: u16 = 100;
}

/// Codes of refusals that callers act on.
pub mod refusal {
    use wire::CallRefusal;

    /// This node does not lead the group; the message is the leader's node id, or empty.
    pub const NOT_LEADER: u16 = CallRefusal::HANDLER_CODES;
    /// This node holds no replica of the group.
    pub const NO_REPLICA: u16 = CallRefusal::HANDLER_CODES + 1;
    /// Too much is in flight here.
    pub const OVERLOADED: u16 = CallRefusal::HANDLER_CODES + 2;
    /// The disks are nearly full and the command does not free space.
    pub const FULL: u16 = CallRefusal::HANDLER_CODES + 3;
    /// The bytes asked for cannot be read here.
    pub const UNREADABLE: u16 = CallRefusal::HANDLER_CODES + 4;
    /// The message makes no sense.
    pub const MALFORMED: u16 = CallRefusal::HANDLER_CODES + 5;
    /// The replica stopped after a storage error.
    pub const STOPPED: u16 = CallRefusal::HANDLER_CODES + 6;
    /// The replica asked for runs under another incarnation.
    pub const WRONG_INCARNATION: u16 = CallRefusal::HANDLER_CODES + 7;
    /// This peer may not ask for that.
    pub const DENIED: u16 = CallRefusal::HANDLER_CODES + 8;
    /// The process is still starting.
    pub const STARTING: u16 = CallRefusal::HANDLER_CODES + 9;
    /// Neither the witness nor the standby vouches for this region: it acknowledges no write.
    pub const CUT_OFF: u16 = CallRefusal::HANDLER_CODES + 10;
    /// The region has a pair, which the caller does not know.
    pub const PAIRED: u16 = CallRefusal::HANDLER_CODES + 11;
}

/// First part of each message to one replica of a group: for whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaAddress {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
}

impl ReplicaAddress {
    pub(crate) fn encode(self, e: &mut Encoder) {
        e.u32(self.group.0);
        e.u64(self.replica.0);
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { group: GroupId(d.u32()?), replica: ReplicaId(d.u64()?) })
    }
}

/// Who leads a group, as one node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) group: GroupId,
    /// The reign: openraft orders leaders by term and, within a term, by replica: a term may see more than one.
    pub(crate) reign: (u64, ReplicaId),
    pub(crate) leader: Option<ReplicaId>,
}

impl Leadership {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.u32(self.group.0);
        e.u64(self.reign.0);
        e.u64(self.reign.1.0);
        e.option(self.leader.as_ref(), |e, leader| e.u64(leader.0));
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            group: GroupId(d.u32()?),
            reign: (d.u64()?, ReplicaId(d.u64()?)),
            leader: d.option(Decoder::u64)?.map(ReplicaId),
        })
    }
}
