//! The order between groups: what a data group applied was done under buckets, rights and keys of the system group, so in the standby it
//! comes after those.
//!
//! The primary says with what it ships how far its system group had come by then, the standby waits until its own has come as far.
//! Whatever a forced switch cuts off, nothing that is there needs a record that is not.

use super::message::{ShipRequest, Shipment};
use crate::{
    message::kind,
    region::{Consistency, Region, RegionError},
    router::Router,
    service::Service,
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use wire::{Answer, GroupId, Query, Sequence};

/// How long the system group may take to answer.
const ASK_WAIT: Duration = Duration::from_secs(2);

/// How long a follower's system group may be behind its leader's before that is asked.
const FOLLOWER_WAIT: Duration = Duration::from_millis(100);

/// Pause between two looks at how far the system group has come.
const LOOK: Duration = Duration::from_millis(5);

/// How far this region's system group has come, for the groups that are led here.
pub(crate) struct SystemGroup {
    service: Weak<Service>,
    router: Arc<Router>,
    /// When it was asked last, and what it said: whoever waited for that meanwhile need not ask again.
    asked: Mutex<Option<(Instant, Sequence)>>,
}

impl SystemGroup {
    pub(super) fn new(service: Weak<Service>, router: Arc<Router>) -> Self {
        Self { service, router, asked: Mutex::default() }
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
        let request = ShipRequest { group, follows: None, after: Sequence(0), bytes_max: 0, wait_ms: 0 };
        let reply = self.router.ask(group, kind::SHIP, request.encode(), at + ASK_WAIT).await?;
        let shipment = Shipment::decode(reply.head).map_err(|_| RegionError::Protocol { group })?;
        *asked = Some((at, shipment.system));
        Ok(shipment.system)
    }

    /// Waits until the system group here has all that the primary's had up to `wanted`; false if it takes longer than `wait`.
    pub(super) async fn has_come_to(&self, wanted: Sequence, wait: Duration) -> bool {
        let began = Instant::now();
        while !self.is_here(wanted) {
            // no replica of it is here, or one that lags
            if began.elapsed() >= FOLLOWER_WAIT && self.is_there(wanted).await {
                return true;
            }
            if began.elapsed() >= wait {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    fn is_here(&self, wanted: Sequence) -> bool {
        let replica = self.service.upgrade().and_then(|service| service.replica(GroupId::SYSTEM));
        replica.is_some_and(|replica| replica.state.machine().pair().sequence >= wanted)
    }

    /// Asks whoever leads the system group.
    async fn is_there(&self, wanted: Sequence) -> bool {
        let (group, deadline) = (GroupId::SYSTEM, Instant::now() + ASK_WAIT);
        let asked = self.router.query(group, Query::PairState, Consistency::Linearizable, deadline).await;
        matches!(asked, Ok((Answer::PairState(state), _)) if state.sequence >= wanted)
    }
}
