//! What a node does for the pair of its region: which part its groups have, what the other region has of them, and who
//! vouches for them.

use super::{
    Service,
    proposals::{not_written, outcome},
    refuse,
};
use crate::{
    machine::is_local,
    maintenance::Shipped,
    message::refusal,
    pair::{self, CUT_OFF, GroupLag, Leases, Led, Standby},
    peer::{CallRefusal, Reply},
    raft::Proposal,
    replica::Replica,
};
use bytes::Bytes;
use std::sync::Arc;
use wire::{Epoch, GroupId, Operation, Outcome, PairRole, Refusal, Sequence};

impl Service {
    /// The region has a pair; a second one changes nothing.
    pub fn set_pair(&self, standby: Arc<Standby>) {
        let _second = self.standby.set(standby).is_err();
    }

    /// How far this region's system group has come at some time from now on.
    pub(crate) async fn system_upto(&self) -> Result<Sequence, CallRefusal> {
        let unknown = || refuse(refusal::OVERLOADED, "the system group does not answer");
        let standby = self.standby.get().ok_or_else(unknown)?;
        standby.system().upto().await.map_err(|_| unknown())
    }

    /// How far the groups led here are behind the other region; nothing without a pair.
    pub fn pair_lags(&self) -> Vec<GroupLag> {
        self.standby.get().map_or_else(Vec::new, |standby| standby.lags())
    }

    /// Whether a group led here is not to take writes: the other region of the pair does.
    pub fn follows(&self) -> bool {
        let led = self.replicas().into_iter().filter(|replica| replica.leads());
        led.into_iter().any(|replica| replica.state.machine().pair().role != PairRole::Primary)
    }

    /// From now on writes are acknowledged only while the witness or the standby vouches for this region.
    pub fn need_leases(&self) {
        let _second = self.leases.set(Leases::default()).is_err();
    }

    /// The leases held here; none if none is needed.
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.get()
    }

    /// Whether a group led here would acknowledge a write, but nobody vouches for it.
    pub fn is_cut_off(&self) -> bool {
        let mut led = self.replicas().into_iter().filter(|replica| replica.leads());
        led.any(|replica| self.is_unvouched(&replica))
    }

    /// Whether that is so of this group.
    pub(crate) fn is_unvouched(&self, replica: &Replica) -> bool {
        let pair = replica.state.machine().pair();
        let vouches = |leases: &Leases| leases.vouches(replica.address.group, pair.epoch);
        pair.role == PairRole::Primary && !self.leases.get().is_none_or(vouches)
    }

    /// The groups led here, as a witness counts them.
    pub async fn led(&self) -> Led {
        pair::led(self, self.standby.get().map(Arc::as_ref)).await
    }

    /// Whether the region has a pair.
    pub fn has_pair(&self) -> bool {
        self.standby.get().is_some()
    }

    /// The standby of a group's reign `epoch` asks for the entry at `first` of its log: it has what comes before, or is about to
    /// take over a state that has.
    pub(crate) fn note_shipped(&self, group: GroupId, epoch: Epoch, first: Option<u64>, is_there: bool) {
        let upto = first.map_or(0, |first| first.saturating_sub(1));
        self.purges.shipped(group, Shipped { epoch, upto, is_there });
    }

    /// The last entry of a group that the standby of its reign `epoch` is known to have.
    pub(crate) fn shipped_upto(&self, group: GroupId, epoch: Epoch) -> Option<u64> {
        self.purges.shipped_upto(group, epoch)
    }

    /// Up to where a group has all of its primary, and under which reign; none while that is not known here.
    pub(crate) fn synced_through(&self, group: GroupId) -> Option<(Epoch, Sequence)> {
        self.standby.get()?.through(group)
    }

    /// Refuses a command before it is proposed if nobody vouches for this region; its part is judged when it is applied.
    pub(super) fn check_vouched(&self, replica: &Replica, operation: &Operation) -> Result<(), CallRefusal> {
        let Some(leases) = self.leases.get().filter(|_| needs_lease(operation)) else { return Ok(()) };
        let pair = replica.state.machine().pair();
        if pair.role != PairRole::Primary || leases.vouches(replica.address.group, pair.epoch) {
            return Ok(());
        }
        Err(cut_off(leases))
    }

    /// What may be said of a command that was applied. It may have taken longer than the lease lasts, or be a repeat of one
    /// that was applied when this was still the primary: what was done is acknowledged by a primary alone. Asked again, it
    /// comes to the same.
    pub(super) fn vouched(
        &self,
        replica: &Replica,
        operation: &Operation,
        outcome: Outcome,
    ) -> Result<Outcome, CallRefusal> {
        let is_refused = matches!(outcome, Outcome::Refused(_));
        let Some(leases) = self.leases.get().filter(|_| needs_lease(operation) && !is_refused) else {
            return Ok(outcome);
        };
        // before the lease is looked at: once a newer epoch is heard of, the part is another one
        let pair = replica.state.machine().pair();
        if pair.role != PairRole::Primary {
            return Ok(Outcome::Refused(Refusal::PairRole { role: pair.role, epoch: pair.epoch }));
        }
        if leases.vouches(replica.address.group, pair.epoch) {
            return Ok(outcome);
        }
        Err(cut_off(leases))
    }

    /// Lets a standby take over whose primary nobody has heard of.
    pub(super) async fn relieve(&self, replica: &Arc<Replica>, head: Bytes) -> Result<Reply, CallRefusal> {
        let group = replica.address.group;
        let pair = replica.state.machine().pair();
        let standby = self.standby.get().filter(|_| self.leases.get().is_some());
        let Some(standby) = standby.filter(|standby| standby.begin_relief(replica)) else {
            // its part is what it was
            let refusal = Refusal::PairRole { role: pair.role, epoch: pair.epoch };
            return Ok(outcome(&Outcome::Refused(refusal)));
        };
        match replica.raft.client_write(Proposal { head, body: Bytes::new() }).await {
            Ok(written) => {
                standby.end_relief(replica);
                Ok(outcome(&written.data))
            }
            Err(error) => {
                // it may come yet
                tokio::spawn(Arc::clone(standby).end_relief_once_decided(Arc::clone(replica)));
                Err(not_written(group, &error))
            }
        }
    }
}

/// What a region says for which nobody vouches.
fn cut_off(leases: &Leases) -> CallRefusal {
    leases.note_refused();
    refuse(refusal::CUT_OFF, CUT_OFF)
}

/// Whether a command is acknowledged to a client.
fn needs_lease(operation: &Operation) -> bool {
    !matches!(operation, Operation::PairStep(_)) && !is_local(operation)
}
