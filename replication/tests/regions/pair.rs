//! Two regions of real nodes as a pair: what is acknowledged in one comes to the other, and writing changes sides.

use crate::support::{GROUPS, LONG, Shape, TestRegion};
use bytes::Bytes;
use replication::{
    message::{kind, refusal},
    pair::{GroupLag, diverged},
    peer::{CallError, PeerClass},
    region::RegionError,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use wire::*;

const BUCKET: BucketId = BucketId(7);

/// Two regions, the second following the first and the other way round.
async fn pair() -> (TestRegion, TestRegion) {
    let one = TestRegion::start().await;
    let two = TestRegion::start_shaped(Shape { begins_as: PairRole::Standby, ..Shape::default() }).await;
    one.follow(&two);
    two.follow(&one);
    (one, two)
}

fn body(name: &str, length: usize) -> Bytes {
    name.bytes().cycle().take(length).collect()
}

/// Until every group of `standby` has what its primary acknowledged so far.
async fn wait_synced(standby: &TestRegion, primary: &TestRegion) {
    let mut wanted = BTreeMap::new();
    for group in (0..=GROUPS).map(GroupId) {
        wanted.insert(group, state(primary, group).await.sequence);
    }
    let deadline = Instant::now() + LONG;
    loop {
        let mut behind = Vec::new();
        for (group, sequence) in &wanted {
            let lag = standby.lags().get(group).cloned();
            let own = state(standby, *group).await.sequence;
            // entries of the other region that are no commands have numbers too
            let whole = lag.is_some_and(|lag| {
                lag.synced.is_some() && lag.other.is_some_and(|other| other.sequence >= *sequence)
            });
            if own < *sequence && !whole {
                behind.push((*group, own, *sequence));
            }
        }
        if behind.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still behind: {behind:?}, {:?}", standby.lags());
        tokio::task::yield_now().await;
    }
}

async fn state(region: &TestRegion, group: GroupId) -> PairState {
    match region.query(group, Query::PairState).await {
        (Answer::PairState(state), _) => state,
        other => panic!("{other:?}"),
    }
}

async fn step(region: &TestRegion, group: GroupId, step: PairStep) -> PairState {
    match region.propose(group, Operation::PairStep(step), Bytes::new()).await {
        Outcome::Pair(state) => state,
        other => panic!("{other:?}"),
    }
}

/// Writing moves from `from` to `to`, group by group, without loss.
async fn switch(from: &TestRegion, to: &TestRegion) {
    for group in (0..=GROUPS).map(GroupId) {
        let promoted = hand_over(from, to, group).await;
        step(from, group, PairStep::Follow { epoch: promoted.epoch, since: promoted.since }).await;
    }
}

/// A group of `from` is sealed, and the one of `to` promoted once it has everything.
async fn hand_over(from: &TestRegion, to: &TestRegion, group: GroupId) -> PairState {
    let epoch = state(from, group).await.epoch;
    let sealed = step(from, group, PairStep::Seal { epoch }).await;
    let deadline = Instant::now() + LONG;
    while state(to, group).await.sequence < sealed.sequence {
        assert!(Instant::now() < deadline, "{group} is not drained");
        tokio::task::yield_now().await;
    }
    step(to, group, PairStep::Promote { epoch: Epoch(epoch.0 + 1) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_comes_to_the_other_region_and_writing_changes_sides_without_loss() {
    let (one, two) = pair().await;
    let mut written = BTreeMap::new();
    let (mut primary, mut standby) = (&one, &two);
    for round in 0..4_u8 {
        for number in 0..20 {
            let name = format!("{round}/{number}");
            let bytes = body(&name, if number % 7 == 0 { 60 << 10 } else { 100 });
            let version = primary.put(BUCKET, &name, round * 20 + number + 1, bytes.clone()).await;
            written.insert(name, (version, bytes));
        }
        let gone = format!("{round}/3");
        primary.delete(BUCKET, &gone).await;
        written.remove(&gone);
        wait_synced(standby, primary).await;
        for (name, (version, bytes)) in &written {
            let found = standby.get(BUCKET, name).await;
            assert_eq!(found, Some((version.version, bytes.clone())), "{name} in the standby");
        }
        assert_eq!(standby.get(BUCKET, &gone).await, None, "a delete is a write like others");
        let refused = standby.try_put(BUCKET, "here", 250, body("here", 20)).await;
        assert!(matches!(refused, Err(RegionError::NotPrimary { .. })), "{refused:?}");
        switch(primary, standby).await;
        std::mem::swap(&mut primary, &mut standby);
    }
}

/// Buckets and keys lie in the system group, what is under them in others: a region that takes over at any moment must have both.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_a_record_of_the_system_group_never_comes_before_it() {
    let one = TestRegion::start().await;
    let two = TestRegion::start_shaped(Shape { begins_as: PairRole::Standby, ..Shape::default() }).await;
    let leader = two.leader(GroupId::SYSTEM).await;
    let (slow, rest): (Vec<_>, Vec<_>) = [1, 2, 3].map(NodeId).into_iter().partition(|node| *node == leader);
    one.follow(&two);
    // the system group is led where nothing is followed yet
    two.follow_on(&rest, &one, None);
    let key = Bytes::from_static(b"record");
    let change = SystemChange {
        table: SystemTable::Setting,
        key: key.clone(),
        expect: SystemExpect::Absent,
        value: Some(Bytes::new()),
    };
    one.propose(GroupId::SYSTEM, Operation::System(vec![change]), Bytes::new()).await;
    let names: Vec<String> = (0..24).map(|number| format!("under/{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        one.put(BUCKET, name, number as u8 + 1, body(name, 100)).await;
    }
    let record = async || {
        let query = Query::SystemGet { table: SystemTable::Setting, key: key.clone() };
        matches!(two.query(GroupId::SYSTEM, query).await, (Answer::SystemGet(Some(_)), _))
    };
    let waits = |lag: &GroupLag| lag.blocked.as_deref().is_some_and(|why| why.contains("system group"));
    let deadline = Instant::now() + LONG;
    while !two.lags().values().any(waits) {
        assert!(Instant::now() < deadline, "nothing waits: {:?}", two.lags());
        for name in &names {
            if two.get(BUCKET, name).await.is_some() {
                assert!(record().await, "{name} came before its record");
            }
        }
    }
    two.follow_on(&slow, &one, None);
    wait_synced(&two, &one).await;
    assert!(record().await);
    for name in &names {
        assert!(two.get(BUCKET, name).await.is_some(), "{name}");
    }
}

/// Its number is a bucket's or a principal's, and data under it may have come to the other region without it.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_the_system_group_that_one_region_gave_alone_is_given_again_by_the_other() {
    let (one, two) = pair().await;
    let create = |name: &'static str| {
        let change = SystemChange {
            table: SystemTable::Setting,
            key: Bytes::from_static(name.as_bytes()),
            expect: SystemExpect::Absent,
            value: Some(Bytes::new()),
        };
        Operation::System(vec![change])
    };
    one.propose(GroupId::SYSTEM, create("both"), Bytes::new()).await;
    wait_synced(&two, &one).await;
    let mut epoch = state(&two, GroupId::SYSTEM).await.epoch;
    epoch.0 += 1;
    for group in (0..=GROUPS).map(GroupId) {
        step(&two, group, PairStep::Promote { epoch }).await;
    }
    let given = async |region: &TestRegion, name| match region
        .propose(GroupId::SYSTEM, create(name), Bytes::new())
        .await
    {
        Outcome::Changed(revision) => Some(revision.0),
        Outcome::Refused(_) => None,
        other => panic!("{other:?}"),
    };
    let there = given(&two, "there").await.unwrap();
    // until it hears of the other one, a moment later
    let alone = given(&one, "alone").await.unwrap_or_default();
    assert!(there > alone + (1 << 20), "{there} is not beyond all that {alone} may be followed by");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_other_region_may_read_logs_and_nothing_else() {
    let one = TestRegion::start().await;
    let guest = one.guest();
    let node = NodeId(1);
    for kind in [
        kind::PROPOSE,
        kind::QUERY,
        kind::STATE,
        kind::RECORD,
        kind::GC,
        kind::NODE_STATUS,
        kind::PAIR_REPORT,
    ] {
        let called = guest.call(node, PeerClass::Bulk, kind, Bytes::new(), Vec::new(), LONG).await;
        let denied = matches!(called, Err(CallError::Refused { code: refusal::DENIED, .. }));
        assert!(denied, "kind {kind}: {called:?}");
    }
    for class in [PeerClass::Append, PeerClass::Liveness, PeerClass::Admin] {
        let called =
            guest.call(node, class, kind::VOTE, Bytes::new(), Vec::new(), Duration::from_secs(2)).await;
        assert!(called.is_err(), "{class:?}: {called:?}");
    }
    let leaders =
        guest.call(node, PeerClass::Bulk, kind::LEADERS, Bytes::from(vec![0; 8]), Vec::new(), LONG).await;
    assert!(leaders.is_ok(), "{leaders:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_away_goes_on_where_it_was() {
    let (one, mut two) = pair().await;
    one.put(BUCKET, "before", 1, body("before", 100)).await;
    wait_synced(&two, &one).await;
    for node in [1, 2, 3].map(NodeId) {
        two.stop(node).await;
    }
    for number in 0..50 {
        one.put(BUCKET, &format!("meanwhile/{number}"), number + 2, body("meanwhile", 500)).await;
    }
    let restarts = [1, 2, 3].map(NodeId);
    two.restart_all(&restarts).await;
    two.follow(&one);
    wait_synced(&two, &one).await;
    for number in 0..50 {
        let found = two.get(BUCKET, &format!("meanwhile/{number}")).await;
        assert_eq!(found.map(|(_, bytes)| bytes), Some(body("meanwhile", 500)), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_knows_what_a_standby_had_that_was_away_before_it() {
    let (one, mut two) = pair().await;
    for number in 0..20 {
        one.put(BUCKET, &format!("{number}"), number + 1, body("both", 100)).await;
    }
    wait_unshipped(&one, 0).await;
    for node in [1, 2, 3].map(NodeId) {
        two.stop(node).await;
    }
    for group in (0..=GROUPS).map(GroupId) {
        one.move_leader(group).await;
    }
    let alone = 30;
    for number in 0..alone {
        one.put(BUCKET, &format!("alone/{number}"), number + 1, body("alone", 100)).await;
    }
    wait_unshipped(&one, u64::from(alone)).await;
}

/// Until a primary knows of every group what its standby lacks, and it is so many writes.
async fn wait_unshipped(primary: &TestRegion, operations: u64) {
    let deadline = Instant::now() + LONG;
    loop {
        let lags = primary.lags();
        let behind = |group| Some(lags.get(&group)?.unshipped?.operations);
        let behind: Option<u64> = (0..=GROUPS).map(GroupId).map(behind).sum();
        if behind == Some(operations) {
            return;
        }
        assert!(Instant::now() < deadline, "{behind:?} instead of {operations}: {lags:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_alone_stays_in_the_log_whatever_the_new_primary_asks_for() {
    let (one, mut two) = pair().await;
    one.put(BUCKET, "before", 1, body("before", 100)).await;
    wait_synced(&two, &one).await;
    let nodes = [1, 2, 3].map(NodeId);
    for node in nodes {
        two.stop(node).await;
    }
    let alone = 40;
    for number in 0..alone {
        one.put(BUCKET, &format!("alone/{number}"), number + 2, body("alone", 100)).await;
    }
    // it takes over without having heard of them, and its numbers go far beyond theirs
    two.restart_all(&nodes).await;
    let groups: Vec<GroupId> = (0..=GROUPS).map(GroupId).collect();
    let mut followed = BTreeMap::new();
    for group in groups.iter().copied() {
        let promoted = step(&two, group, PairStep::Promote { epoch: Epoch(2) }).await;
        followed.insert(group, promoted.followed);
    }
    for number in 0..4 * alone {
        two.put(BUCKET, &format!("after/{number}"), number + 1, body("after", 100)).await;
    }
    two.follow(&one);
    let deadline = Instant::now() + LONG;
    let heard = || {
        let (one, two) = (one.lags(), two.lags());
        groups.iter().all(|group| {
            one[group].own.role == PairRole::Sealed && two.get(group).is_some_and(|lag| lag.other.is_some())
        })
    };
    while !heard() {
        assert!(Instant::now() < deadline, "{:?}, {:?}", one.lags(), two.lags());
        tokio::task::yield_now().await;
    }
    for node in nodes {
        one.collect(node).await;
    }
    let mut listed = 0;
    for (group, followed) in followed {
        let since = Sequence(followed.0 + 1);
        let page = diverged(&one.router, group, since, 0, Instant::now() + LONG).await.unwrap();
        assert!(page.complete, "{group} lost the log that shows what it acknowledged alone");
        listed += page.writes.len();
    }
    assert_eq!(listed, usize::from(alone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_ended_half_way_is_taken_back_by_force_when_the_new_primary_is_lost() {
    let (one, mut two) = pair().await;
    let count = 24;
    let put_all = async |region: &TestRegion, when: &str| {
        for number in 0..count {
            region.put(BUCKET, &format!("{when}/{number}"), number + 1, body(when, 100)).await;
        }
    };
    put_all(&one, "before").await;
    let groups: Vec<GroupId> = (0..=GROUPS).map(GroupId).collect();
    for group in groups.iter().copied() {
        let promoted = hand_over(&one, &two, group).await;
        // whoever switches them ends here: half of the groups follow, half are still sealed
        if group.0 % 2 == 0 {
            step(&one, group, PairStep::Follow { epoch: promoted.epoch, since: promoted.since }).await;
        }
    }
    put_all(&two, "meanwhile").await;
    let nodes = [1, 2, 3].map(NodeId);
    for node in nodes {
        two.stop(node).await;
    }
    let mut began = BTreeMap::new();
    for group in groups.iter().copied() {
        began.insert(group, step(&one, group, PairStep::Promote { epoch: Epoch(3) }).await);
    }
    put_all(&one, "after").await;
    let mut lost = 0;
    for number in 0..count {
        lost += usize::from(one.get(BUCKET, &format!("meanwhile/{number}")).await.is_none());
    }
    assert!(lost > 0, "of groups that were sealed nothing came");
    two.restart_all(&nodes).await;
    two.follow(&one);
    let deadline = Instant::now() + LONG;
    while two.lags().len() < groups.len() || two.lags().values().any(|lag| lag.own.role != PairRole::Sealed) {
        assert!(Instant::now() < deadline, "not fenced: {:?}", two.lags());
        tokio::task::yield_now().await;
    }
    let mut listed = 0;
    for group in groups.iter().copied() {
        let since = began[&group].followed.max(state(&two, group).await.since);
        let page =
            diverged(&two.router, group, Sequence(since.0 + 1), 0, Instant::now() + LONG).await.unwrap();
        assert!(page.complete, "{group}");
        listed += page.writes.len();
        step(&two, group, PairStep::Rejoin { epoch: Epoch(3) }).await;
    }
    assert_eq!(listed, lost, "what it acknowledged alone");
    wait_synced(&two, &one).await;
    for number in 0..count {
        for when in ["before", "meanwhile", "after"] {
            let name = format!("{when}/{number}");
            let [here, there] = [one.get(BUCKET, &name).await, two.get(BUCKET, &name).await];
            assert_eq!(here, there, "{name}");
            assert!(here.is_some() || when == "meanwhile", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_link_brings_everything_and_no_faster_than_it_may() {
    let one = TestRegion::start().await;
    let two = TestRegion::start_shaped(Shape { begins_as: PairRole::Standby, ..Shape::default() }).await;
    let (objects, length) = (80_u8, 50 << 10);
    for number in 0..objects {
        one.put(BUCKET, &format!("{number}"), number + 1, body("limited", length)).await;
    }
    let rate = 1 << 20;
    let began = Instant::now();
    one.follow(&two);
    two.follow_at(&one, Some(rate));
    wait_synced(&two, &one).await;
    let took = began.elapsed();
    for number in 0..objects {
        let found = two.get(BUCKET, &format!("{number}")).await;
        assert_eq!(found.map(|(_, bytes)| bytes), Some(body("limited", length)), "{number}");
    }
    // each of the three nodes has the rate for itself, and what comes last is paid for when it is here
    let least = Duration::from_secs_f64(f64::from(objects) * length as f64 / rate as f64 / 3.0) / 2;
    assert!(took >= least, "{took:?} at a rate for which it takes {least:?}");
}
