//! openraft's network, over the peer transport: appends stream in order on their own connections, votes and heartbeats
//! go on the liveness connection, state for lagging replicas on the bulk connection.

use super::{
    codec,
    heartbeat::Heartbeats,
    snapshot::{self, GroupSnapshot},
    types::{Types, Vote},
};
use crate::{
    message::{ReplicaAddress, kind},
    peer::{CallError, PeerClass, Peers, StreamReceiver},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, VoteRequest, VoteResponse,
    },
};
use std::{future::Future, time::Duration};
use wire::{Decoder, Encoder, GroupId, ReplicaId};

/// Makes the clients through which one group reaches its other replicas.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) group: GroupId,
    /// How long a vote may take.
    pub(crate) vote_wait: Duration,
}

/// What a client is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Replication,
    Heartbeat,
}

/// One group's way to one replica.
pub(crate) struct Client {
    network: Network,
    to: ReplicaAddress,
    used_for: Use,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &openraft::EmptyNode) -> Client {
        self.client(target, Use::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &openraft::EmptyNode) -> Client {
        self.client(target, Use::Heartbeat)
    }
}

impl Network {
    fn client(&self, target: u64, used_for: Use) -> Client {
        let to = ReplicaAddress { group: self.group, replica: ReplicaId(target) };
        Client { network: self.clone(), to, used_for }
    }
}

impl Client {
    async fn call(&self, kind: u16, message: Encoder, wait: Duration) -> Result<Bytes, RPCError<Types>> {
        let node = self.to.replica.node();
        let reply = self
            .network
            .peers
            .call(node, PeerClass::Liveness, kind, message.finish(), Vec::new(), wait)
            .await
            .map_err(to_rpc_error)?;
        Ok(reply.head)
    }

    async fn call_vote(
        &self,
        kind: u16,
        request: &VoteRequest<Types>,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut e = Encoder::new();
        self.to.encode(&mut e);
        codec::encode_vote_request(&mut e, request);
        let head = self.call(kind, e, self.network.vote_wait).await?;
        codec::decode_vote_response(&mut Decoder::new("vote answer", head)).map_err(|e| network_error(&e))
    }

    async fn open_stream<S>(
        &self,
        mut input: S,
    ) -> Result<BoxStream<'static, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        // openraft waits out its backoff where requests come from: without taking one first, an unreachable peer would
        // be tried again without a pause
        let Some(first) = input.next().await else { return Ok(Box::pin(stream::empty())) };
        let mut e = Encoder::new();
        self.to.encode(&mut e);
        let (node, lane) = (self.to.replica.node(), self.to.group.0);
        let handle = self
            .network
            .peers
            .open_stream(node, PeerClass::Append, lane, kind::APPEND, e.finish(), self.network.vote_wait)
            .await
            .map_err(to_rpc_error)?;
        let (mut sender, receiver) = handle.split();
        let pump = AbortOnDrop(tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(request) = next {
                let (head, bodies) = codec::encode_append(&request);
                if sender.send(head, bodies).await.is_err() {
                    return;
                }
                next = input.next().await;
            }
            sender.finish();
        }));
        Ok(Box::pin(stream::unfold(Some((receiver, pump)), next_append_result)))
    }
}

/// Yields one answer of an append stream; after an error the stream ends.
async fn next_append_result(
    state: Option<(StreamReceiver, AbortOnDrop)>,
) -> Option<(Result<StreamAppendResult<Types>, RPCError<Types>>, Option<(StreamReceiver, AbortOnDrop)>)> {
    let (mut receiver, pump) = state?;
    match receiver.next().await {
        Ok(Some(reply)) => {
            match codec::decode_append_result(&mut Decoder::new("append answer", reply.head)) {
                Ok(result) => {
                    let more = result.is_ok().then_some((receiver, pump));
                    Some((Ok(result), more))
                }
                Err(error) => Some((Err(network_error(&error)), None)),
            }
        }
        Ok(None) => None,
        Err(error) => Some((Err(to_rpc_error(error)), None)),
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = GroupSnapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        if self.used_for == Use::Heartbeat && request.entries.is_empty() {
            let result = self.network.heartbeats.beat(self.to, request).await.map_err(to_rpc_error)?;
            return Ok(result.into());
        }
        let single = stream::iter([request]);
        let mut results = self.open_stream(single).await?;
        match results.next().await {
            Some(Ok(result)) => Ok(result.into()),
            Some(Err(error)) => Err(error),
            None => Err(to_rpc_error(CallError::Disconnected)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        match self.used_for {
            Use::Heartbeat => openraft::network::stream_append_sequential(self, input, option),
            Use::Replication => Box::pin(async move {
                let results: BoxStream<'s, _> = self.open_stream(input).await?;
                Ok(results)
            }),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call_vote(kind::VOTE, &request).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call_vote(kind::PRE_VOTE, &request).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _snapshot: SnapshotOf<Types, GroupSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let send = snapshot::send(&self.network.peers, self.to, vote);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => sent.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<openraft::raft::TransferLeaderResponse<Types>, RPCError<Types>> {
        let mut e = Encoder::new();
        self.to.encode(&mut e);
        codec::encode_vote(&mut e, request.from_leader());
        e.u64(*request.to_node_id());
        e.option(request.last_log_id(), codec::encode_log_id);
        self.call(kind::TRANSFER, e, self.network.vote_wait).await?;
        Ok(Ok(()))
    }
}

/// A pump ends with the stream it feeds.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn to_rpc_error(error: CallError) -> RPCError<Types> {
    match error {
        CallError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
        _ => network_error(&error),
    }
}

fn network_error(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}
