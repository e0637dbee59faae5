//! Two regions of real nodes whose primary needs somebody to vouch for it: its standby, or a witness.

use crate::support::{GROUPS, LONG, Shape, TestRegion};
use bytes::Bytes;
use replication::region::{Region, RegionError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use wire::*;

const BUCKET: BucketId = BucketId(7);

/// A question of a witness to a node follows the last one after so long.
const ROUND: Duration = Duration::from_millis(200);

/// Two regions whose nodes need leases; nobody follows anybody yet.
async fn regions() -> (TestRegion, TestRegion) {
    let one = TestRegion::start().await;
    let two = TestRegion::start_shaped(Shape { begins_as: PairRole::Standby, ..Shape::default() }).await;
    for running in one.nodes.values().chain(two.nodes.values()) {
        running.node.service().need_leases();
    }
    (one, two)
}

/// Vouches for every node of the region as a witness does, until it is dropped.
struct Witness(tokio::task::JoinHandle<()>);

impl Witness {
    fn of(region: &TestRegion, epoch: u64) -> Self {
        let services: Vec<_> = region.nodes.values().map(|running| running.node.service().clone()).collect();
        Self(tokio::spawn(async move {
            let mut stamps = vec![None; services.len()];
            loop {
                for (service, stamp) in services.iter().zip(&mut stamps) {
                    *stamp = Some(service.leases().unwrap().of_witness(Epoch(epoch), *stamp));
                }
                sleep(ROUND).await;
            }
        }))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn body() -> Bytes {
    Bytes::from_static(&[7; 100])
}

/// Until a write is acknowledged, or until one is refused for want of a lease.
async fn wait_until_acknowledged(region: &TestRegion, wanted: bool) {
    let deadline = Instant::now() + LONG;
    for number in 0.. {
        let written = region.try_put(BUCKET, &format!("{number}"), 1, body()).await;
        let is_cut_off = matches!(written, Err(RegionError::CutOff { .. }));
        assert!(written.is_ok() || is_cut_off, "{written:?}");
        if written.is_ok() == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "acknowledged: {}", !wanted);
    }
}

async fn state(region: &TestRegion, group: GroupId) -> PairState {
    match region.query(group, Query::PairState).await {
        (Answer::PairState(state), _) => state,
        other => panic!("{other:?}"),
    }
}

async fn relieve(region: &TestRegion, group: GroupId, epoch: u64) -> Outcome {
    let step = PairStep::Relieve { epoch: Epoch(epoch) };
    region.propose(group, Operation::PairStep(step), Bytes::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_acknowledges_only_while_its_witness_or_its_standby_vouches_for_it() {
    let (mut one, two) = regions().await;
    // a client that would wait for longer is told as soon as a new leader would have been vouched for
    let asked = Instant::now();
    let refused = one.try_put(BUCKET, "at-once", 1, body()).await;
    assert!(matches!(refused, Err(RegionError::CutOff { .. })), "{refused:?}");
    assert!(asked.elapsed() < one.patience, "it waited to the end");
    one.patience = Duration::from_millis(300);
    wait_until_acknowledged(&one, false).await;
    let witness = Witness::of(&one, 1);
    wait_until_acknowledged(&one, true).await;
    drop(witness);
    wait_until_acknowledged(&one, false).await;
    two.follow(&one);
    wait_until_acknowledged(&one, true).await;
    // both, then the witness alone
    let _witness = Witness::of(&one, 1);
    for running in two.nodes.into_values() {
        running.stop().await;
    }
    sleep(lease::WAIT).await;
    for number in 0..10 {
        one.put(BUCKET, &format!("alone/{number}"), 1, body()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_on_a_witness_word_only_once_it_has_not_heard_of_its_primary() {
    let (mut one, two) = regions().await;
    one.follow(&two);
    two.follow(&one);
    one.patience = Duration::from_millis(300);
    wait_until_acknowledged(&one, true).await;
    for group in (0..=GROUPS).map(GroupId) {
        let outcome = relieve(&two, group, 2).await;
        assert!(matches!(outcome, Outcome::Refused(Refusal::PairRole { .. })), "{outcome:?}");
        assert_eq!(state(&two, group).await.role, PairRole::Standby);
    }
    // heard of again since: it goes on being vouched for
    sleep(lease::WAIT).await;
    wait_until_acknowledged(&one, true).await;
    for node in 1..=3 {
        one.stop(NodeId(node)).await;
    }
    let deadline = Instant::now() + LONG;
    for group in (0..=GROUPS).map(GroupId) {
        loop {
            let outcome = relieve(&two, group, 2).await;
            if matches!(outcome, Outcome::Pair(_)) {
                break;
            }
            assert!(Instant::now() < deadline, "{group}: {outcome:?}, {:?}", two.lags().get(&group));
            sleep(ROUND).await;
        }
        assert_eq!(state(&two, group).await.role, PairRole::Primary);
    }
    let _witness = Witness::of(&two, 2);
    two.put(BUCKET, "after", 2, body()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_knows_a_newer_epoch_vouches_for_no_older_one() {
    let (mut one, _two) = regions().await;
    one.patience = Duration::from_millis(300);
    let witness = Witness::of(&one, 1);
    wait_until_acknowledged(&one, true).await;
    drop(witness);
    let _witness = Witness::of(&one, 2);
    wait_until_acknowledged(&one, false).await;
    assert!(one.nodes.values().any(|running| running.node.service().is_cut_off()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_sealed_acknowledges_no_repeat_of_what_it_did() {
    let (mut one, _two) = regions().await;
    one.patience = Duration::from_millis(300);
    let _witness = Witness::of(&one, 1);
    wait_until_acknowledged(&one, true).await;
    let key = ObjectKey::new("gone".to_owned()).unwrap();
    let group = group_of(BUCKET, key.as_bytes(), GROUPS);
    let delete = DeleteObject {
        bucket: BUCKET,
        key,
        target: DeleteTarget::Current,
        mode: VersioningMode::Off,
        marker: VersionId([0xEE; 16]),
        condition: WriteCondition::default(),
    };
    let (epoch, request) = (Epoch(1), RequestId([0xCD; 16]));
    let meta = CommandMeta { epoch, time: UnixMillis(1), principal: PrincipalId(1), request };
    let command = Command { meta, operation: Operation::DeleteObject(delete), body: Bytes::new() };
    let ask = async || one.router.propose(group, command.clone(), Instant::now() + one.patience).await;
    assert!(matches!(ask().await, Ok(Outcome::Deleted(_))));
    assert!(matches!(ask().await, Ok(Outcome::Deleted(_))), "a primary remembers what it did");
    let epoch = state(&one, group).await.epoch;
    one.propose(group, Operation::PairStep(PairStep::Seal { epoch }), Bytes::new()).await;
    let repeated = ask().await;
    assert!(repeated.is_err(), "{repeated:?}");
}
