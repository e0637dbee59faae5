//! What a group holds, told so that the other region's group can be held against it: sums of its entries, the entries of
//! some leaves, single entries. It goes by the rows, not by the log, and asks nobody for a key.
//!
//! The group's leader answers. An answer says between which entries of the pair it was read; what the two regions' answers
//! mean together is judged by whoever asked both.

mod message;

pub use message::{CompareRequest, EntriesPage, SumsPage};

use crate::{
    machine::{LeavesWalk, MachineError, RowSource, SumsWalk, Walk, entries_at},
    message::{kind, refusal},
    pace::Pace,
    peer::{CallRefusal, Reply},
    region::RegionError,
    replica::{GroupState, Replica},
    router::Router,
    service::{Service, ensure_linearizable, not_understood, refuse},
};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};
use tokio::{task::spawn_blocking, time::Instant};
use tracing::warn;
use wire::{ComparePosition, GroupId, PairRole};

/// Rows that a walk reads in a second, bytes. 32 MiB: a million entries in about twenty seconds, a fraction of one core.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// Walks at once on one node; another one is refused.
pub(crate) const WALKS_MAX: usize = 2;

/// Asks the group's leader for a page of sums.
pub async fn compare_sums(
    router: &Router,
    group: GroupId,
    request: &CompareRequest,
    deadline: Instant,
) -> Result<SumsPage, RegionError> {
    let reply = router.ask(group, kind::COMPARE, request.encode(group), deadline).await?;
    SumsPage::decode(reply.head).map_err(|_| RegionError::Protocol { group })
}

/// Asks the group's leader for entries.
pub async fn compare_entries(
    router: &Router,
    group: GroupId,
    request: &CompareRequest,
    deadline: Instant,
) -> Result<EntriesPage, RegionError> {
    let reply = router.ask(group, kind::COMPARE, request.encode(group), deadline).await?;
    EntriesPage::decode(reply.head).map_err(|_| RegionError::Protocol { group })
}

/// Answers a request.
pub(crate) async fn serve(service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
    let (group, request) = CompareRequest::decode(head).map_err(not_understood)?;
    let replica = service.replica(group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
    ensure_linearizable(&replica.raft, group).await?;
    let begun = position(service, &replica);
    if begun.role == PairRole::Bootstrap {
        return Err(refuse(refusal::OVERLOADED, "the state of this group is being brought up"));
    }
    let state = Arc::clone(&replica.state);
    let ended = |begun: ComparePosition| {
        let now = position(service, &replica);
        // a part that changed meanwhile is seen by who asked: roles and epochs no longer fit together
        ComparePosition { from: begun.from, to: now.to, ..now }
    };
    let failed = |error: Failed| {
        warn!(%group, error = &error.0 as &dyn std::error::Error, "rows cannot be read for comparing");
        refuse(refusal::UNREADABLE, "rows cannot be read here")
    };
    if let CompareRequest::Rows { rows } = request {
        let entries = run_blocking(move || entries_at(&*state, &rows)).await.map_err(failed)?;
        return Ok(Reply::head(EntriesPage { position: ended(begun), entries, next: None }.encode()));
    }
    let Ok(_walking) = service.walks().try_acquire() else {
        return Err(refuse(refusal::OVERLOADED, "others compare what this node holds just now"));
    };
    match request {
        CompareRequest::Sums { after, bucket } => {
            let (trees, next) = paced(state, SumsWalk::new(after, bucket)).await.map_err(failed)?;
            Ok(Reply::head(SumsPage { position: ended(begun), trees, next }.encode()))
        }
        CompareRequest::Leaves { tree, leaves, after } => {
            let walk = LeavesWalk::new(tree, leaves, after);
            let (entries, next) = paced(state, walk).await.map_err(failed)?;
            Ok(Reply::head(EntriesPage { position: ended(begun), entries, next }.encode()))
        }
        CompareRequest::Rows { .. } => unreachable!("answered above"),
    }
}

/// Walks to the end of a page, step by step at its pace.
async fn paced<W: Walk + Send + 'static>(state: Arc<GroupState>, mut walk: W) -> Result<W::Page, Failed> {
    let mut pace = Pace::new();
    while !walk.is_over() {
        let (state, mut stepping) = (Arc::clone(&state), walk);
        let bytes;
        (walk, bytes) = run_blocking(move || stepping.step(&*state).map(|bytes| (stepping, bytes))).await?;
        pace.pass(bytes as u64, Some(BYTES_PER_SECOND)).await;
    }
    Ok(walk.finish())
}

/// Where the group stands. A standby has all up to where its primary was when it answered last, also when the last entries
/// there were no commands, and have no copy here.
fn position(service: &Service, replica: &Replica) -> ComparePosition {
    let group = replica.address.group;
    // first: what it says was applied before it was noted
    let through = service.synced_through(group);
    let own = replica.state.machine().pair();
    let through = through.filter(|(epoch, _)| own.role == PairRole::Standby && *epoch == own.epoch);
    let from = through.map_or(own.sequence, |(_, through)| through.max(own.sequence)).0;
    ComparePosition { node: service.node().0, role: own.role, epoch: own.epoch.0, from, to: from }
}

impl RowSource for GroupState {
    fn rows(&self, range: Range<&[u8]>, rows_max: usize) -> Result<Vec<crate::index::Row>, MachineError> {
        self.machine().rows(range, rows_max)
    }
}

/// Why rows could not be read.
struct Failed(std::io::Error);

async fn run_blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, MachineError> + Send + 'static,
) -> Result<T, Failed> {
    let ran = spawn_blocking(run).await.map_err(|error| Failed(std::io::Error::other(error)))?;
    ran.map_err(|error| Failed(std::io::Error::other(error)))
}
