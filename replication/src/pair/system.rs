//! The order between groups: what a data group applied was done under buckets, rights and keys of the system group, so in the standby it
//! comes after those.
//!
//! The primary says with what it ships how far its system group had come by then, the standby waits until its own has come as far.
//! Whatever a forced switch cuts off, nothing that is there needs a record that is still to come.

use super::message::{ShipRequest, Shipment};
use crate::{
    message::kind,
    region::{Consistency, Region, RegionError},
    router::Router,
    service::Service,
};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use wire::{Answer, GroupId, Query, Sequence};

/// How long the system group may take to answer.
const ASK_WAIT: Duration = Duration::from_secs(2);

/// How long a replica of the system group may be behind its leader before that is asked, and pause between two such questions.
const ASK_PAUSE: Duration = Duration::from_millis(100);

/// Pause between two looks at how far the system group has come.
const LOOK: Duration = Duration::from_millis(5);

/// How far this region's system group has come, for the groups that are led here.
pub(crate) struct SystemGroup {
    service: Weak<Service>,
    router: Arc<Router>,
    /// When it was asked last, and what it said: whoever waited for that meanwhile need not ask again.
    asked: Mutex<Option<(Instant, Sequence)>>,
    /// The furthest that it was seen to have its primary's.
    seen: AtomicU64,
}

impl SystemGroup {
    pub(super) fn new(service: Weak<Service>, router: Arc<Router>) -> Self {
        Self { service, router, asked: Mutex::default(), seen: AtomicU64::new(0) }
    }

    /// The last change, at some time after this is called, of the records that both regions have.
    pub(crate) async fn upto(&self) -> Result<Sequence, RegionError> {
        let since = Instant::now();
        let mut asked = self.asked.lock().await;
        if let Some((at, upto)) = *asked
            && at >= since
        {
            return Ok(upto);
        }
        let at = Instant::now();
        let group = GroupId::SYSTEM;
        let head = ShipRequest::part_of(group).encode();
        let reply = self.router.ask(group, kind::SHIP, head, at + ASK_WAIT).await?;
        let shipment = Shipment::decode(reply.head).map_err(|_| RegionError::Protocol { group })?;
        *asked = Some((at, shipment.system));
        Ok(shipment.system)
    }

    /// Waits until the system group here has all that the primary's had up to `wanted`; false if it takes longer than `wait`.
    pub(super) async fn has_come_to(&self, wanted: Sequence, wait: Duration) -> bool {
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let here = self.here();
            if self.note(here) >= wanted {
                return true;
            }
            // no replica of it is here, or one that lags behind its leader
            let is_due = match asked {
                None => here.is_none() || began.elapsed() >= ASK_PAUSE,
                Some(at) => at.elapsed() >= ASK_PAUSE,
            };
            if is_due {
                asked = Some(Instant::now());
                let there = self.there().await;
                if self.note(there) >= wanted {
                    return true;
                }
            }
            if began.elapsed() >= wait {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The furthest that it was ever seen: what was applied once is not taken back.
    fn note(&self, followed: Option<Sequence>) -> Sequence {
        let followed = followed.map_or(0, |followed| followed.0);
        Sequence(self.seen.fetch_max(followed, Ordering::Relaxed).max(followed))
    }

    /// What it has of the primary, by the replica here: a promoted one counts on from far beyond that.
    fn here(&self) -> Option<Sequence> {
        let replica = self.service.upgrade()?.replica(GroupId::SYSTEM)?;
        let state = replica.state.machine().pair();
        Some(state.followed)
    }

    /// By whoever leads it.
    async fn there(&self) -> Option<Sequence> {
        let (group, deadline) = (GroupId::SYSTEM, Instant::now() + ASK_WAIT);
        let asked = self.router.query(group, Query::PairState, Consistency::Linearizable, deadline).await;
        match asked {
            Ok((Answer::PairState(state), _)) => Some(state.followed),
            _ => None,
        }
    }
}
