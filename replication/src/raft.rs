//! Raft, by openraft: adapters between its traits and the log, the index and the peers of this crate.
//!
//! Nothing of openraft is seen outside `raft`, `replica` and `service`.

pub(crate) mod codec;
pub(crate) mod founding;
mod heartbeat;
mod log_store;
mod network;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite;
mod types;

pub(crate) use codec::{
    AppendResult, decode_append, decode_log_id, decode_vote, decode_vote_request, encode_append_result,
    encode_vote_response,
};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use heartbeat::decode_answers;
pub(crate) use heartbeat::{Heartbeats, decode_beats, encode_answers};
pub(crate) use log_store::LogStore;
pub(crate) use network::Network;
pub(crate) use snapshot::receive as receive_snapshot;
pub(crate) use state_machine::{GroupState, StateMachine};
pub(crate) use types::{Proposal, Raft, Types};
