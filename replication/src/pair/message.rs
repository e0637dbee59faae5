//! What the two regions say to each other about a group, and what a node says of its own groups.

use bytes::Bytes;
use wire::{DecodeError, Decoder, Encoder, Epoch, GroupId, PairState, Sequence, UnixMillis, limits};

/// Commands in one answer. 1,024: their heads fit a frame.
pub(super) const COMMANDS_MAX: usize = 1_024;

/// The reason why a standby does not go on, bytes.
const REASON_BYTES_MAX: usize = 512;

/// Groups in one report: all that a node may hold.
const GROUPS_MAX: usize = 8_192;

/// A standby asks for what follows `after`; a region that does not follow asks for the group's part alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShipRequest {
    pub(crate) group: GroupId,
    /// The reign under which the asker follows; it has its entries up to `after`, and no others.
    pub(crate) follows: Option<Epoch>,
    pub(crate) after: Sequence,
    /// Bodies that are wanted, bytes; one command comes whatever its length.
    pub(crate) bytes_max: u32,
    /// How long an answer without commands may wait, ms.
    pub(crate) wait_ms: u32,
}

/// What the other region's group answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shipment {
    /// The group's part there.
    pub(crate) state: PairState,
    /// The clock there, before the log was looked at.
    pub(crate) now: UnixMillis,
    /// Whether everything acknowledged by `now` is in this answer or was in earlier ones.
    pub(crate) complete: bool,
    /// Whether the log there no longer reaches back to what was asked for.
    pub(crate) gone: bool,
    /// Up to where the system group there has changed what both regions have: the commands are to come after that.
    pub(crate) system: Sequence,
    /// In order; bodies come one after another beside this.
    pub(crate) commands: Vec<ShippedHead>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShippedHead {
    pub(crate) sequence: Sequence,
    pub(crate) head: Bytes,
    pub(crate) body_bytes: u32,
}

/// How far a group and its pair are apart, as the node that leads it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: GroupId,
    /// Its part here.
    pub own: PairState,
    /// The other region's group, when it was heard of last.
    pub other: Option<PairState>,
    /// Everything acknowledged there by this time, by the clock there, is here; none while that is not known.
    pub synced: Option<UnixMillis>,
    /// How long ago the other region answered last, ms.
    pub heard_ms: Option<u64>,
    /// The other region's log no longer reaches back to where this group is.
    pub gone: bool,
    /// Of a primary that the other region asked for entries: what it does not have yet.
    pub unshipped: Option<Unshipped>,
    /// Of a standby: why the entry after its last one does not come in now. Of a primary: why no write is acknowledged.
    pub blocked: Option<String>,
}

/// How far a standby had its primary under an epoch, as a node knows that led the group then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedThen {
    /// The group.
    pub group: GroupId,
    /// The epoch of its primary.
    pub epoch: Epoch,
    /// Everything acknowledged there by then is here.
    pub synced: UnixMillis,
}

/// What a primary still has for its standby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unshipped {
    /// The last entry of the pair that the standby had when it asked last.
    pub after: Sequence,
    /// Commands.
    pub operations: u64,
    /// Their heads and bodies, bytes.
    pub bytes: u64,
}

impl ShipRequest {
    /// Asks for a group's part alone.
    pub(crate) fn part_of(group: GroupId) -> Self {
        Self { group, follows: None, after: Sequence(0), bytes_max: 0, wait_ms: 0 }
    }

    pub(crate) fn encode(self) -> Bytes {
        let mut e = Encoder::with_capacity(29);
        e.u32(self.group.0);
        e.option(self.follows.as_ref(), |e, epoch| e.u64(epoch.0));
        e.u64(self.after.0);
        e.u32(self.bytes_max);
        e.u32(self.wait_ms);
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("ship request", head);
        let request = Self {
            group: GroupId(d.u32()?),
            follows: d.option(|d| d.u64().map(Epoch))?,
            after: Sequence(d.u64()?),
            bytes_max: d.u32()?,
            wait_ms: d.u32()?,
        };
        d.finish()?;
        Ok(request)
    }
}

impl Shipment {
    pub(crate) fn encode(&self) -> Bytes {
        let heads: usize = self.commands.iter().map(|command| command.head.len() + 16).sum();
        let mut e = Encoder::with_capacity(64 + heads);
        self.state.encode(&mut e);
        e.u64(self.now.0);
        e.flag(self.complete);
        e.flag(self.gone);
        e.u64(self.system.0);
        e.list(&self.commands, |e, command| {
            e.u64(command.sequence.0);
            e.bytes(&command.head);
            e.u32(command.body_bytes);
        });
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("shipment", head);
        let shipment = Self {
            state: PairState::decode(&mut d)?,
            now: UnixMillis(d.u64()?),
            complete: d.flag()?,
            gone: d.flag()?,
            system: Sequence(d.u64()?),
            commands: d.list(COMMANDS_MAX, |d| {
                let sequence = Sequence(d.u64()?);
                let head = d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?;
                Ok(ShippedHead { sequence, head, body_bytes: d.u32()? })
            })?,
        };
        d.finish()?;
        Ok(shipment)
    }
}

impl GroupLag {
    pub(super) fn encode(&self, e: &mut Encoder) {
        e.u32(self.group.0);
        self.own.encode(e);
        e.option(self.other.as_ref(), |e, other| other.encode(e));
        e.option(self.synced.as_ref(), |e, synced| e.u64(synced.0));
        e.option(self.heard_ms.as_ref(), |e, heard| e.u64(*heard));
        e.flag(self.gone);
        e.option(self.unshipped.as_ref(), |e, unshipped| {
            e.u64(unshipped.after.0);
            e.u64(unshipped.operations);
            e.u64(unshipped.bytes);
        });
        e.option(self.blocked.as_ref(), |e, reason| {
            e.text(&reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
        });
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            group: GroupId(d.u32()?),
            own: PairState::decode(d)?,
            other: d.option(PairState::decode)?,
            synced: d.option(Decoder::u64)?.map(UnixMillis),
            heard_ms: d.option(Decoder::u64)?,
            gone: d.flag()?,
            unshipped: d.option(|d| {
                Ok(Unshipped { after: Sequence(d.u64()?), operations: d.u64()?, bytes: d.u64()? })
            })?,
            blocked: d.option(|d| d.text(REASON_BYTES_MAX))?,
        })
    }
}

/// The report of a node without a pair.
pub(crate) fn no_lags() -> Bytes {
    encode_lags(&[], &[])
}

pub(super) fn encode_lags(lags: &[GroupLag], then: &[SyncedThen]) -> Bytes {
    let mut e = Encoder::with_capacity(16 + 96 * lags.len() + 20 * then.len());
    e.list(lags, |e, lag| lag.encode(e));
    e.list(then, |e, then| {
        e.u32(then.group.0);
        e.u64(then.epoch.0);
        e.u64(then.synced.0);
    });
    e.finish()
}

/// Reads a node's report of its groups.
pub fn decode_lags(head: Bytes) -> Result<(Vec<GroupLag>, Vec<SyncedThen>), DecodeError> {
    let mut d = Decoder::new("pair report", head);
    let lags = d.list(GROUPS_MAX, GroupLag::decode)?;
    let then = d.list(GROUPS_MAX, |d| {
        Ok(SyncedThen { group: GroupId(d.u32()?), epoch: Epoch(d.u64()?), synced: UnixMillis(d.u64()?) })
    })?;
    d.finish()?;
    Ok((lags, then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::PairRole;

    #[test]
    fn messages_of_a_pair_come_back_as_sent_and_every_cut_is_an_error() {
        let state = PairState {
            role: PairRole::Sealed,
            epoch: Epoch(3),
            sequence: Sequence(40),
            time: UnixMillis(5),
            since: Sequence(2),
            followed: Sequence(1),
        };
        let request = ShipRequest {
            group: GroupId(1),
            follows: Some(Epoch(4)),
            after: Sequence(2),
            bytes_max: 5,
            wait_ms: 3,
        };
        let command =
            ShippedHead { sequence: Sequence(41), head: Bytes::from_static(b"head"), body_bytes: 9 };
        let commands = vec![command.clone(), command];
        let shipment = Shipment {
            state,
            now: UnixMillis(6),
            complete: true,
            gone: false,
            system: Sequence(39),
            commands,
        };
        let lag = GroupLag {
            group: GroupId(1),
            own: state,
            other: Some(state),
            synced: Some(UnixMillis(4)),
            heard_ms: None,
            gone: true,
            unshipped: Some(Unshipped { after: Sequence(6), operations: 7, bytes: 8 }),
            blocked: Some("the disks are full".into()),
        };
        assert_eq!(ShipRequest::decode(request.encode()), Ok(request));
        assert_eq!(Shipment::decode(shipment.encode()), Ok(shipment.clone()));
        let then = SyncedThen { group: GroupId(2), epoch: Epoch(3), synced: UnixMillis(4) };
        let report = encode_lags(&[lag.clone(), lag.clone()], &[then]);
        assert_eq!(decode_lags(report), Ok((vec![lag.clone(), lag.clone()], vec![then])));
        for cut in 0..request.encode().len() {
            assert!(ShipRequest::decode(request.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
        for cut in 0..shipment.encode().len() {
            assert!(Shipment::decode(shipment.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
        let report = encode_lags(&[lag], &[then]);
        for cut in 0..report.len() {
            assert!(decode_lags(report.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
