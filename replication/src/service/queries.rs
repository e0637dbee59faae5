//! Queries of gateways and of other nodes, answered by the group's leader here with the bodies they ask for.

use super::{Service, not_leader, not_understood, refuse, stopped};
use crate::{
    log::{Place, ReadError},
    machine::MachineError,
    message::refusal,
    nearby::{self, BODY_BYTES_MIN, Nearby},
    peer::Reply,
    raft::Raft,
    repair::RepairError,
    replica::{GroupState, Replica},
};
use bytes::{Bytes, BytesMut};
use openraft::{
    errors::{LinearizableReadError, RaftError},
    raft::ReadPolicy,
};
use tracing::{error, warn};
use wire::{Answer, CallRefusal, Decoder, GroupId, PairRole, Query};

impl Service {
    pub(super) async fn query(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let mut d = Decoder::new("query", head);
        let group = GroupId(d.u32().map_err(not_understood)?);
        let linearizable = d.flag().map_err(not_understood)?;
        let readable = nearby::decode_readable(&mut d).map_err(not_understood)?;
        let query = Query::decode(d.rest()).map_err(not_understood)?;
        let replica = self.replica(group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
        let reads_state = group != GroupId::SYSTEM && query != Query::PairState;
        if reads_state && replica.state.machine().pair().role == PairRole::Bootstrap {
            return Err(refuse(refusal::OVERLOADED, "the state of this group is being brought up"));
        }
        if linearizable {
            ensure_linearizable(&replica.raft, group).await?;
        }
        self.answer(&replica, query, readable.contains(&self.node)).await
    }

    /// With places instead of the bodies if the asker `reads_here` and they are large.
    async fn answer(&self, replica: &Replica, query: Query, reads_here: bool) -> Result<Reply, CallRefusal> {
        let group = replica.address.group;
        let mut last_error = None;
        // a body may be moved between looking it up and reading it: then look it up again
        for _attempt in 0..3 {
            let (answer, places) =
                replica.state.machine().query(&query).map_err(|error| index_failed(group, &error))?;
            let places: Vec<Place> = places.into_iter().map(Place::from).collect();
            let body_bytes: usize = places.iter().map(|place| place.body_length as usize).sum();
            if reads_here && body_bytes >= BODY_BYTES_MIN {
                let answer = answer_with(answer, &places);
                let nearby = Nearby { node: self.node, places };
                return Ok(Reply::head(nearby::encode_answer(Some(&nearby), &answer)));
            }
            match self.read_bodies(&places).await {
                Ok(body) => {
                    let head = nearby::encode_answer(None, &answer_with(answer, &places));
                    return Ok(Reply { head, body });
                }
                Err(error @ ReadError::Gone) => last_error = Some(error),
                Err(error @ (ReadError::Rotten { .. } | ReadError::Io { .. })) => {
                    if let Some(reply) = self.answer_repaired(&replica.state, &query).await {
                        return Ok(reply);
                    }
                    warn!(%group, error = &error as &dyn std::error::Error, "stored bytes cannot be read here");
                    return Err(refuse(refusal::UNREADABLE, "stored bytes cannot be read here"));
                }
            }
        }
        warn!(%group, error = ?last_error, "stored bytes moved again and again");
        Err(refuse(refusal::UNREADABLE, "stored bytes moved"))
    }

    /// Answers with what other replicas have where the own copy is rotten, which is repaired.
    async fn answer_repaired(&self, state: &GroupState, query: &Query) -> Option<Reply> {
        let (answer, rows) = {
            let machine = state.machine();
            (machine.query(query).ok()?.0, machine.body_rows(query).ok()?)
        };
        let places: Vec<Place> = rows.iter().map(|(_, place)| Place::from(*place)).collect();
        let mut body = BytesMut::new();
        for ((row_key, _), place) in rows.iter().zip(&places) {
            match self.shared.segments.read_body(place).await {
                Ok(bytes) => body.extend_from_slice(&bytes),
                Err(_) => match self.shared.repairer.row(state, row_key).await {
                    Ok(repaired) => body.extend_from_slice(&repaired.entry.body),
                    Err(RepairError::Gone) => return None,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        error!(group = %state.group, error, "rotten record cannot be repaired");
                        return None;
                    }
                },
            }
        }
        let head = nearby::encode_answer(None, &answer_with(answer, &places));
        Some(Reply { head, body: body.freeze() })
    }

    async fn read_bodies(&self, places: &[Place]) -> Result<Bytes, ReadError> {
        match places {
            [] => Ok(Bytes::new()),
            [place] => self.shared.segments.read_body(place).await,
            places => {
                let length = places.iter().map(|place| place.body_length as usize).sum();
                let mut all = BytesMut::with_capacity(length);
                for place in places {
                    all.extend_from_slice(&self.shared.segments.read_body(place).await?);
                }
                Ok(all.freeze())
            }
        }
    }
}

/// The lengths of the chunks that are sent along are known here, not to the machine's caller.
fn answer_with(answer: Answer, places: &[Place]) -> Answer {
    match answer {
        Answer::Chunks(_) => Answer::Chunks(places.iter().map(|place| place.body_length).collect()),
        other => other,
    }
}

pub(crate) async fn ensure_linearizable(raft: &Raft, group: GroupId) -> Result<(), CallRefusal> {
    let leased = raft.ensure_linearizable(ReadPolicy::LeaseRead).await;
    let result = match leased {
        // the lease is stale: ask a majority
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            raft.ensure_linearizable(ReadPolicy::ReadIndex).await
        }
        other => other,
    };
    match result {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(not_leader(to.leader_id)),
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(not_leader(None)),
        Err(error) => Err(stopped(group, &error)),
    }
}

fn index_failed(group: GroupId, error: &MachineError) -> CallRefusal {
    error!(%group, error = error as &dyn std::error::Error, "index cannot be read");
    refuse(refusal::STOPPED, "the index cannot be read")
}
