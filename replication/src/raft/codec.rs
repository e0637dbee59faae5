//! Layouts of Raft's own messages: positions, votes, memberships, append requests and their answers.
//!
//! Bulk bodies are not in these layouts: a frame carries them after its head, one after another, by reference count.

use super::types::{Entry, LeaderId, LogId, Membership, Proposal, Types, Vote};
use bytes::Bytes;
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, StreamAppendError, VoteRequest, VoteResponse},
};
use std::collections::{BTreeMap, BTreeSet};
use wire::{DecodeError, Decoder, Encoder, limits};

/// Entries of one append request. 256: past that a frame's fixed cost no longer shows.
pub(crate) const APPEND_ENTRIES_MAX: usize = 256;

/// Replicas a membership may name, old and new together.
const MEMBERS_MAX: usize = 64;

/// What an entry is.
pub(crate) const ENTRY_BLANK: u8 = 0;
pub(crate) const ENTRY_NORMAL: u8 = 1;
pub(crate) const ENTRY_MEMBERSHIP: u8 = 2;

/// The answer to one append request of a stream.
pub(crate) type AppendResult = Result<Option<LogId>, StreamAppendError<Types>>;

pub(crate) fn encode_log_id(e: &mut Encoder, id: &LogId) {
    e.u64(id.leader_id.term);
    e.u64(id.leader_id.node_id);
    e.u64(id.index);
}

pub(crate) fn decode_log_id(d: &mut Decoder) -> Result<LogId, DecodeError> {
    Ok(LogId { leader_id: LeaderId { term: d.u64()?, node_id: d.u64()? }, index: d.u64()? })
}

pub(crate) fn encode_vote(e: &mut Encoder, vote: &Vote) {
    e.u64(vote.leader_id.term);
    e.u64(vote.leader_id.node_id);
    e.flag(vote.committed);
}

pub(crate) fn decode_vote(d: &mut Decoder) -> Result<Vote, DecodeError> {
    Ok(Vote { leader_id: LeaderId { term: d.u64()?, node_id: d.u64()? }, committed: d.flag()? })
}

/// A membership: each configuration's voters, then all known replicas.
pub(crate) fn encode_membership(membership: &Membership) -> Bytes {
    let mut e = Encoder::new();
    e.list(membership.get_joint_config(), |e, voters| {
        let voters: Vec<u64> = voters.iter().copied().collect();
        e.list(&voters, |e, voter| e.u64(*voter));
    });
    let known: Vec<u64> = membership.nodes().map(|(id, _)| *id).collect();
    e.list(&known, |e, id| e.u64(*id));
    e.finish()
}

/// Reads [`encode_membership`].
pub(crate) fn decode_membership(input: Bytes) -> Result<Membership, DecodeError> {
    let mut d = Decoder::new("membership", input);
    let configurations: Vec<BTreeSet<u64>> =
        d.list(4, |d| Ok(d.list(MEMBERS_MAX, Decoder::u64)?.into_iter().collect()))?;
    let known: BTreeMap<u64, openraft::EmptyNode> =
        d.list(MEMBERS_MAX, Decoder::u64)?.into_iter().map(|id| (id, openraft::EmptyNode::new())).collect();
    d.finish()?;
    Membership::new(configurations, known).map_err(|_| DecodeError::Unknown { what: "membership", found: 0 })
}

/// An entry's kind, head and body, by reference count.
pub(crate) fn entry_parts(entry: &Entry) -> (u8, Bytes, Bytes) {
    match &entry.payload {
        EntryPayload::Blank => (ENTRY_BLANK, Bytes::new(), Bytes::new()),
        EntryPayload::Normal(proposal) => (ENTRY_NORMAL, proposal.head.clone(), proposal.body.clone()),
        EntryPayload::Membership(membership) => {
            (ENTRY_MEMBERSHIP, encode_membership(membership), Bytes::new())
        }
    }
}

/// Joins what [`entry_parts`] took apart.
pub(crate) fn entry_from_parts(
    log_id: LogId,
    kind: u8,
    head: Bytes,
    body: Bytes,
) -> Result<Entry, DecodeError> {
    let payload = match kind {
        ENTRY_BLANK => EntryPayload::Blank,
        ENTRY_NORMAL => EntryPayload::Normal(Proposal { head, body }),
        ENTRY_MEMBERSHIP => EntryPayload::Membership(decode_membership(head)?),
        found => return Err(DecodeError::Unknown { what: "entry kind", found: u64::from(found) }),
    };
    Ok(Entry { log_id, payload })
}

/// An append request as a frame's head and bodies.
pub(crate) fn encode_append(request: &AppendEntriesRequest<Types>) -> (Bytes, Vec<Bytes>) {
    let mut e = Encoder::with_capacity(128 + 512 * request.entries.len());
    let mut bodies = Vec::with_capacity(request.entries.len());
    encode_vote(&mut e, &request.vote);
    e.option(request.prev_log_id.as_ref(), encode_log_id);
    e.option(request.leader_commit.as_ref(), encode_log_id);
    e.list(&request.entries, |e, entry| {
        let (kind, head, body) = entry_parts(entry);
        encode_log_id(e, &entry.log_id);
        e.u8(kind);
        e.bytes(&head);
        e.count(body.len());
        if !body.is_empty() {
            bodies.push(body);
        }
    });
    (e.finish(), bodies)
}

/// Reads [`encode_append`]; bodies are slices of `body`.
pub(crate) fn decode_append(
    head: Bytes,
    mut body: Bytes,
) -> Result<AppendEntriesRequest<Types>, DecodeError> {
    let mut d = Decoder::new("append request", head);
    let vote = decode_vote(&mut d)?;
    let prev_log_id = d.option(decode_log_id)?;
    let leader_commit = d.option(decode_log_id)?;
    let entries = d.list(APPEND_ENTRIES_MAX, |d| {
        let log_id = decode_log_id(d)?;
        let kind = d.u8()?;
        let head = d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?;
        let length = d.u32()? as usize;
        if length > body.len() {
            return Err(DecodeError::Short { what: "append body", missing: length - body.len() });
        }
        entry_from_parts(log_id, kind, head, body.split_to(length))
    })?;
    d.finish()?;
    match body.len() {
        0 => Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }),
        extra => Err(DecodeError::Trailing { what: "append body", extra }),
    }
}

/// The answer to an append request.
pub(crate) fn encode_append_result(e: &mut Encoder, result: &AppendResult) {
    match result {
        Ok(matched) => {
            e.u8(0);
            e.option(matched.as_ref(), encode_log_id);
        }
        Err(StreamAppendError::Conflict(id)) => {
            e.u8(1);
            encode_log_id(e, id);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            e.u8(2);
            encode_vote(e, vote);
        }
    }
}

/// Reads [`encode_append_result`].
pub(crate) fn decode_append_result(d: &mut Decoder) -> Result<AppendResult, DecodeError> {
    Ok(match d.u8()? {
        0 => Ok(d.option(decode_log_id)?),
        1 => Err(StreamAppendError::Conflict(decode_log_id(d)?)),
        2 => Err(StreamAppendError::HigherVote(decode_vote(d)?)),
        found => return Err(d.unknown(u64::from(found))),
    })
}

/// A vote request (also a pre-vote).
pub(crate) fn encode_vote_request(e: &mut Encoder, request: &VoteRequest<Types>) {
    encode_vote(e, &request.vote);
    e.option(request.last_log_id.as_ref(), encode_log_id);
    e.flag(request.leadership_transfer);
}

/// Reads [`encode_vote_request`].
pub(crate) fn decode_vote_request(d: &mut Decoder) -> Result<VoteRequest<Types>, DecodeError> {
    let mut request = VoteRequest::new(decode_vote(d)?, d.option(decode_log_id)?);
    request.leadership_transfer = d.flag()?;
    Ok(request)
}

/// The answer to a vote request.
pub(crate) fn encode_vote_response(e: &mut Encoder, response: &VoteResponse<Types>) {
    encode_vote(e, &response.vote);
    e.option(response.last_log_id.as_ref(), encode_log_id);
    e.flag(response.vote_granted);
}

/// Reads [`encode_vote_response`].
pub(crate) fn decode_vote_response(d: &mut Decoder) -> Result<VoteResponse<Types>, DecodeError> {
    Ok(VoteResponse::new(decode_vote(d)?, d.option(decode_log_id)?, d.flag()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 3, node_id: 1 << 16 }, index }
    }

    fn request() -> AppendEntriesRequest<Types> {
        let voters = BTreeSet::from([1 << 16, 2 << 16, 3 << 16]);
        let known = voters.iter().map(|id| (*id, openraft::EmptyNode::new())).collect::<BTreeMap<_, _>>();
        let membership = Membership::new(vec![voters], known).unwrap();
        AppendEntriesRequest {
            vote: Vote { leader_id: LeaderId { term: 3, node_id: 1 << 16 }, committed: true },
            prev_log_id: Some(log_id(6)),
            leader_commit: None,
            entries: vec![
                Entry { log_id: log_id(7), payload: EntryPayload::Blank },
                Entry {
                    log_id: log_id(8),
                    payload: EntryPayload::Normal(Proposal {
                        head: Bytes::from_static(b"head"),
                        body: Bytes::from_static(b"body of eight"),
                    }),
                },
                Entry { log_id: log_id(9), payload: EntryPayload::Membership(membership) },
            ],
        }
    }

    #[test]
    fn an_append_request_comes_back_as_sent() {
        let (head, bodies) = encode_append(&request());
        let body = Bytes::from(bodies.concat());
        let decoded = decode_append(head, body).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{:?}", request()));
    }

    #[test]
    fn cut_or_flipped_append_requests_are_errors_and_never_panics() {
        let (head, bodies) = encode_append(&request());
        let body = Bytes::from(bodies.concat());
        for cut in 0..head.len() {
            assert!(decode_append(head.slice(..cut), body.clone()).is_err(), "cut at {cut}");
        }
        for position in 0..head.len() {
            let mut bytes = head.to_vec();
            bytes[position] ^= 0xff;
            let _outcome_does_not_matter_here = decode_append(Bytes::from(bytes), body.clone()).is_ok();
        }
        assert!(decode_append(head, body.slice(1..)).is_err());
    }
}
