//! The standby's side of taking over the primary's state: its rows go through the own log, and the records that are not
//! held yet before them.
//!
//! Whoever leads the group begins anew: what is there already is not sent twice, so beginning costs the rows only.

use super::{
    standby::{ShipError, Standby},
    state::{StateBegun, StatePage, StateRequest},
};
use crate::{
    machine::{ADOPTED_END, Place},
    message::kind,
    peer::Reply,
    raft::Proposal,
    replica::Replica,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;
use wire::{
    AdoptStep, AdoptedRow, AdoptedState, Command, CommandMeta, DecodeError, Epoch, GroupId, Operation,
    Outcome, Refusal,
};

/// How long one answer may take: 256 KiB of rows, or a record of 1 MiB, over a slow link. Less than the primary keeps a session that is not
/// heard of.
const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// How long the whole state of a group waits for that of the system group, which it is not to be ahead of.
const SYSTEM_WAIT: Duration = Duration::from_secs(60);

/// Records between two looks at what the log made of them, bytes.
const RECORDS_BYTES: usize = 8 << 20;

/// One group on its way to the primary's state.
pub(super) struct Adoption<'a> {
    standby: &'a Standby,
    replica: &'a Replica,
    group: GroupId,
    /// The primary's name for it.
    theirs: u64,
    /// The index of the entry that began it here.
    session: u64,
    epoch: Epoch,
    records_at_once: usize,
    rows: u64,
    bodies: u64,
}

impl<'a> Adoption<'a> {
    /// Takes over the primary's state as it is when this begins.
    pub(super) async fn run(
        standby: &'a Standby,
        replica: &'a Replica,
        records_at_once: usize,
    ) -> Result<(), ShipError> {
        let group = replica.address.group;
        let began = Instant::now();
        let begun = StateBegun::decode(ask(standby, group, &StateRequest::Begin).await?.head)?;
        let theirs = begun.session;
        let epoch = begun.state.epoch;
        let mut adoption =
            Self { standby, replica, group, theirs, session: 0, epoch, records_at_once, rows: 0, bodies: 0 };
        let taken = adoption.take(&begun).await;
        // the primary keeps former rows until it hears this, or for a minute
        let ended = ask(standby, group, &StateRequest::End { session: theirs }).await;
        taken?;
        ended?;
        let (rows, body_bytes) = (adoption.rows, adoption.bodies);
        let elapsed_ms = began.elapsed().as_millis() as u64;
        info!(%group, rows, body_bytes, elapsed_ms, "the primary's state is here");
        Ok(())
    }

    async fn take(&mut self, begun: &StateBegun) -> Result<(), ShipError> {
        self.session = self.propose(vec![(AdoptStep::Begin { epoch: self.epoch }, Bytes::new())]).await?;
        let standby = self.standby;
        // asked for once the state is held fast: what it was made under is from before now
        let system = match self.group {
            GroupId::SYSTEM => None,
            _ => Some(standby.system_there(Instant::now() + ANSWER_WAIT).await?),
        };
        let mut after = Bytes::new();
        loop {
            let request = StateRequest::Rows { session: self.theirs, after: after.clone() };
            let page = StatePage::decode(ask(self.standby, self.group, &request).await?.head)?;
            self.fetch_records(&page).await?;
            let through = page.more_after.clone().unwrap_or(Bytes::from_static(&ADOPTED_END));
            self.rows += page.rows.len() as u64;
            let rows = page.rows.into_iter().map(|(row, _)| row).collect();
            self.propose_rows(&after, &through, rows).await?;
            match page.more_after {
                Some(more) if more > after => after = more,
                Some(_) => return Err(DecodeError::Short { what: "page of the state", missing: 1 }.into()),
                None => break,
            }
        }
        if let Some(wanted) = system
            && !standby.system().has_come_to(wanted, SYSTEM_WAIT).await
        {
            return Err(ShipError::System);
        }
        let state = begun.state;
        let state = AdoptedState {
            sequence: state.sequence,
            time: state.time,
            since: state.since,
            revision: begun.revision,
        };
        let end = AdoptStep::End { session: self.session, state };
        self.propose(vec![(end, Bytes::new())]).await.map(drop)
    }

    /// Fetches the records that rows of the page point to and that are not held, and puts them into the log.
    async fn fetch_records(&mut self, page: &StatePage) -> Result<(), ShipError> {
        let mut missing: Vec<(&AdoptedRow, Place)> = Vec::new();
        for (row, place) in &page.rows {
            if let (Some(record), Some(place)) = (&row.record, place)
                && !self.replica.state.machine().holds(&row.key, record).map_err(|error| refused(&error))?
            {
                missing.push((row, *place));
            }
        }
        let (standby, group, theirs) = (self.standby, self.group, self.theirs);
        let fetch = |(row, place): (&AdoptedRow, Place)| {
            let row = row.clone();
            async move {
                let request = StateRequest::Body { session: theirs, place };
                let body = ask(standby, group, &request).await?.body;
                if body.len() != place.body_length as usize || crc32c::crc32c(&body) != place.body_crc {
                    return Err(ShipError::from(DecodeError::Short {
                        what: "record of the state",
                        missing: 1,
                    }));
                }
                Ok((row, body))
            }
        };
        let mut records = stream::iter(missing.into_iter().map(fetch).collect::<Vec<_>>())
            .buffer_unordered(self.records_at_once);
        let (mut steps, mut bytes) = (Vec::new(), 0);
        let mut failed = None;
        while let Some(record) = records.next().await {
            let (row, body) = match record {
                Ok(record) => record,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            bytes += body.len();
            self.bodies += body.len() as u64;
            steps.push((AdoptStep::Record { session: self.session, key: row.key, value: row.value }, body));
            if bytes >= RECORDS_BYTES {
                self.propose(std::mem::take(&mut steps)).await?;
                bytes = 0;
            }
        }
        // what has come is held, and does not come again with the next try
        if !steps.is_empty() {
            self.propose(steps).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes the rows between `after` and `through` be `rows`, in steps that look at no more own rows than one may.
    async fn propose_rows(
        &self,
        after: &Bytes,
        through: &Bytes,
        mut rows: Vec<AdoptedRow>,
    ) -> Result<(), ShipError> {
        let mut after = after.clone();
        loop {
            let last = self.replica.state.machine().last_to_adopt(&after, through);
            let upto = last.map_err(|error| refused(&error))?.unwrap_or_else(|| through.clone());
            let rest = rows.split_off(rows.partition_point(|row| row.key <= upto));
            let step = AdoptStep::Rows { session: self.session, through: upto.clone(), rows };
            self.propose(vec![(step, Bytes::new())]).await?;
            if upto == *through {
                return Ok(());
            }
            (after, rows) = (upto, rest);
        }
    }

    /// Puts steps into the log, in order; says where the first one stands.
    async fn propose(&self, steps: Vec<(AdoptStep, Bytes)>) -> Result<u64, ShipError> {
        let meta = CommandMeta { epoch: self.epoch, ..CommandMeta::default() };
        let proposal = |(step, body)| {
            let head = Command { meta, operation: Operation::Adopt(step), body: Bytes::new() }.encode_head();
            Proposal { head, body }
        };
        let proposals: Vec<Proposal> = steps.into_iter().map(proposal).collect();
        let bytes = proposals.iter().map(|proposal| proposal.head.len() + proposal.body.len()).sum();
        self.standby.check_room(bytes)?;
        let written = self.replica.raft.client_write_many(proposals).await;
        let mut written = written.map_err(|error| refused(&error))?;
        let mut first = None;
        while let Some(outcome) = written.next().await {
            let outcome = outcome.map_err(|error| refused(&error))?.map_err(|error| refused(&error))?;
            match outcome.response {
                Outcome::Done => first = first.or(Some(outcome.log_id.index)),
                Outcome::Refused(Refusal::OutOfOrder { .. }) => {
                    return Err(refused(&"another session began meanwhile"));
                }
                other => return Err(refused(&format_args!("{other:?}"))),
            }
        }
        first.ok_or_else(|| refused(&"nothing was written"))
    }
}

fn refused(reason: &dyn std::fmt::Display) -> ShipError {
    ShipError::Propose { reason: reason.to_string() }
}

async fn ask(standby: &Standby, group: GroupId, request: &StateRequest) -> Result<Reply, ShipError> {
    let deadline = Instant::now() + ANSWER_WAIT;
    Ok(standby.fetch(group, kind::PAIR_STATE, request.encode(group), deadline).await?)
}
