//! A planned switch: both regions take part, and nothing is lost.
//!
//! An interrupted one is finished by asking again, or taken back by naming the old primary as long as nothing was promoted. What was begun
//! by force is not finished here when that would give up a write.

use super::{FOLLOWS, FailoverReport, LOOK, Side, answered, is_whole, millis, newest, next_epoch, rejoin};
use crate::ClientError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::PairRole;
use wire::admin::{PAIR_HEARD_MAX_MS, PairChange, PairGroup, PairReport};

/// For how long writes may pause: who is further behind is not switched to, and who does not get in step meanwhile is left a standby.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a standby may take to be so little behind, while the primary goes on.
const IN_STEP_WAIT: Duration = Duration::from_secs(20);

/// How long it may take to get in step with a primary that was sealed before: nothing takes writes either way.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// How long what passes by itself may stand in the way.
const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// How long a sealed primary is left to whoever sealed it: longer than a switch takes whose standby is in step.
const TAKE_BACK_WAIT: Duration = Duration::from_secs(2);

/// Why nothing can be done.
#[derive(Debug)]
enum NoWay {
    /// It may pass by itself.
    Now(ClientError),
    /// It stays until somebody changes it.
    AsItIs(ClientError),
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The region takes the writes already, and the other one follows it.
    Done,
    /// It was sealed for a switch of which nothing else has happened.
    TakeBack,
    /// It takes the writes under this epoch.
    Switch(u64),
}

/// Lets `to` take the writes of `from` without losing any, and without keeping them waiting for longer than `pause_max`. Once `stop` is set it is
/// given up, unless a group was promoted: then it is finished.
pub fn planned(
    from: &Side,
    to: &Side,
    pause_max: Duration,
    stop: &AtomicBool,
) -> Result<FailoverReport, ClientError> {
    let began = Instant::now();
    let mut is_seen_sealed = false;
    let (mut unsettled, mut behind): (Option<Instant>, Option<Instant>) = (None, None);
    let (old, new, way) = loop {
        check_stop(stop)?;
        let (old, new) = (from.report()?, to.report()?);
        match way(&old, &new) {
            // whoever sealed it may be about to promote the other region: then it is another way that is seen next
            Ok(Way::TakeBack) if !std::mem::replace(&mut is_seen_sealed, true) => {
                std::thread::sleep(TAKE_BACK_WAIT);
            }
            Ok(way @ Way::Switch(_)) => {
                unsettled = None;
                match too_far(&old, &new, pause_max) {
                    None => break (old, new, way),
                    Some(_) if behind.get_or_insert_with(Instant::now).elapsed() < IN_STEP_WAIT => {
                        std::thread::sleep(LOOK);
                    }
                    Some(error) => return Err(error),
                }
            }
            Ok(way) => break (old, new, way),
            // a group that has changed its leader is silent until that one has heard of the other region
            Err(NoWay::Now(_)) if unsettled.get_or_insert_with(Instant::now).elapsed() < SETTLE_WAIT => {
                std::thread::sleep(LOOK);
            }
            Err(NoWay::Now(error) | NoWay::AsItIs(error)) => return Err(error),
        }
    };
    let (epoch, writes_paused_ms) = match way {
        Way::Done => (newest(&new), None),
        Way::TakeBack => {
            let epoch = newest(&new);
            to.change(PairChange::Unseal, epoch, |group| group.role == PairRole::Primary)?;
            (epoch, None)
        }
        Way::Switch(epoch) => (epoch, Some(switch(from, to, [&old, &new], epoch, pause_max, stop)?)),
    };
    Ok(FailoverReport {
        from: from.region.clone(),
        to: to.region.clone(),
        planned: true,
        switched: matches!(way, Way::Switch(_)),
        epoch,
        writes_paused_ms,
        took_ms: millis(began),
        recovery_point: None,
    })
}

/// Carries the switch out; says for how long nobody took writes, ms.
fn switch(
    from: &Side,
    to: &Side,
    reports: [&PairReport; 2],
    epoch: u64,
    pause_max: Duration,
    stop: &AtomicBool,
) -> Result<u64, ClientError> {
    let [old, new] = reports;
    let drain_wait = if takes_writes(old) { pause_max } else { pause_max.max(DRAIN_WAIT) };
    // of groups that were promoted before: by an earlier try of this, which lost nothing, or by force
    rejoin::check_nothing_alone(from, to, old, new)?;
    let sealed_epoch = newest(old);
    let sealing = Instant::now();
    let sealed = from
        .change(PairChange::Seal, sealed_epoch, |group| group.role != PairRole::Primary)
        .and_then(|sealed| drain(to, &sealed, sealing + drain_wait, stop).map(|()| sealed));
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return Err(give_back(from, to, Some(new), sealed_epoch, error)),
    };
    rejoin::check_nothing_alone(from, to, &sealed, new)?;
    let now = from.report()?;
    if let Some(group) = now.groups.iter().find(|group| group.role == PairRole::Primary) {
        let problem =
            format!("group {} of {} was let go on by somebody else meanwhile", group.group, from.region);
        return Err(ClientError::state(problem, "nothing was switched; ask for one switch at a time"));
    }
    if sealing.elapsed() > drain_wait {
        let problem = format!("{} did not answer in time", to.region);
        let error = ClientError::state(problem, "nothing was switched, and writes go on; ask again");
        return Err(give_back(from, to, Some(new), sealed_epoch, error));
    }
    let reigns = |group: &PairGroup| group.role == PairRole::Primary && group.epoch == epoch;
    let promoted = match to.change(PairChange::Promote, epoch, reigns) {
        Ok(promoted) => promoted,
        Err(error) => return Err(give_back(from, to, None, sealed_epoch, error)),
    };
    let writes_paused_ms = millis(sealing);
    check_nobody_wrote(from, to, &promoted)?;
    let since = promoted.groups.iter().map(|group| (group.group, group.since)).collect();
    from.change(PairChange::Follow { since }, epoch, |group| {
        FOLLOWS.contains(&group.role) && group.epoch == epoch
    })?;
    Ok(writes_paused_ms)
}

/// What follows gives up what it has alone: refuses when somebody let the old primary go on meanwhile.
fn check_nobody_wrote(from: &Side, to: &Side, promoted: &PairReport) -> Result<(), ClientError> {
    let now = from.report()?;
    if !is_whole(&now) || now.groups.iter().any(|group| group.role == PairRole::Primary) {
        let problem = format!("{} does not say that none of its groups takes writes any more", from.region);
        return Err(ClientError::state(
            problem,
            format!("{} takes the writes: ask for the same again", to.region),
        ));
    }
    rejoin::check_nothing_alone(from, to, &now, promoted)
}

/// Lets the old primary take writes again after a switch that did not come about, unless a group of the other region was promoted meanwhile. One
/// that does not answer is as it was `before`, if nobody was asked to promote it since.
fn give_back(
    from: &Side,
    to: &Side,
    before: Option<&PairReport>,
    epoch: u64,
    error: ClientError,
) -> ClientError {
    let only_follows = |report: &PairReport| is_whole(report) && all(report, &FOLLOWS);
    let untouched = to.report().map_or_else(|_| before.is_some_and(only_follows), |now| only_follows(&now));
    if !untouched {
        let problem = format!("{error}; groups of {} may have been promoted already", to.region);
        let advice = "ask for the same again: the switch is finished then, and until then some writes wait";
        return ClientError::state(problem, advice);
    }
    match from.change(PairChange::Unseal, epoch, |group| group.role == PairRole::Primary) {
        Ok(_) => error,
        Err(again) => again,
    }
}

/// What is to be done so that `new` takes the writes, if that can be done without losing any.
fn way(old: &PairReport, new: &PairReport) -> Result<Way, NoWay> {
    for report in [old, new] {
        if !is_whole(report) {
            let advice = "wait until `twinkeep status` shows a leader for each of them";
            return Err(NoWay::Now(ClientError::state(answered(report), advice)));
        }
    }
    if all(new, &[PairRole::Primary]) && all(old, &FOLLOWS) {
        return Ok(Way::Done);
    }
    if all(new, &[PairRole::Primary, PairRole::Sealed]) && all(old, &FOLLOWS) {
        return Ok(Way::TakeBack);
    }
    let epoch = next_epoch(&[old, new], new);
    let can = |group: &PairGroup| match group.role {
        PairRole::Standby => true,
        PairRole::Primary => group.epoch == epoch,
        PairRole::Sealed | PairRole::Bootstrap => false,
    };
    if let Some(group) = new.groups.iter().find(|group| !can(group)) {
        return Err(NoWay::AsItIs(unfit(old, new, group)));
    }
    let follows = || new.groups.iter().filter(|group| group.role == PairRole::Standby);
    let gone = follows().filter(|group| group.gone).count();
    let silent = follows().filter(|group| group.heard_ms.is_none_or(|ms| ms > PAIR_HEARD_MAX_MS)).count();
    if gone + silent > 0 {
        let problem = format!("{} groups of {} do not follow their primary", gone.max(silent), new.region);
        let error =
            ClientError::state(problem, "`twinkeep lag` says why; a planned switch would lose writes");
        return Err(if gone > 0 { NoWay::AsItIs(error) } else { NoWay::Now(error) });
    }
    Ok(Way::Switch(epoch))
}

/// Why `new` is too far behind to be switched to while the other region takes writes.
fn too_far(old: &PairReport, new: &PairReport, pause_max: Duration) -> Option<ClientError> {
    if !takes_writes(old) {
        return None;
    }
    let follows = new.groups.iter().filter(|group| group.role == PairRole::Standby);
    let behind = follows.map(|group| Some(Duration::from_millis(old.now.0.saturating_sub(group.synced?.0))));
    let behind = behind.collect::<Option<Vec<_>>>().map(|lags| lags.into_iter().max().unwrap_or_default());
    let problem = match behind {
        Some(lag) if lag <= pause_max => return None,
        Some(lag) => {
            format!("{} is {:.1} s behind, and writes would wait for as long", new.region, lag.as_secs_f32())
        }
        None => format!("it is not known how far {} is behind", new.region),
    };
    let advice = "nothing was switched, and writes went on; `twinkeep lag` says what keeps it back, `--max-pause SECONDS` lets writes wait for longer";
    Some(ClientError::state(problem, advice))
}

fn takes_writes(report: &PairReport) -> bool {
    report.groups.iter().any(|group| group.role == PairRole::Primary)
}

fn unfit(old: &PairReport, new: &PairReport, group: &PairGroup) -> ClientError {
    let problem = format!("group {} of {} is {}", group.group, new.region, group.role.name());
    let advice = match group.role {
        PairRole::Bootstrap => {
            "it cannot take writes before it has all of the primary's state; `twinkeep lag` shows how far it is"
                .to_owned()
        }
        _ => format!(
            "{0} was promoted over it: `twinkeep failover manifest` lists what it has alone, `twinkeep failover rejoin` lets it follow {0}, and then it can take the writes",
            old.region
        ),
    };
    ClientError::state(problem, advice)
}

fn all(report: &PairReport, roles: &[PairRole]) -> bool {
    report.groups.iter().all(|group| roles.contains(&group.role))
}

fn check_stop(stop: &AtomicBool) -> Result<(), ClientError> {
    if stop.load(Ordering::Relaxed) {
        return Err(ClientError::state(
            "the switch was given up, as it was asked to",
            "nothing was switched",
        ));
    }
    Ok(())
}

/// Waits until the standby has what the sealed primary acknowledged last.
fn drain(to: &Side, sealed: &PairReport, deadline: Instant, stop: &AtomicBool) -> Result<(), ClientError> {
    let wanted: BTreeMap<u32, u64> = sealed
        .groups
        .iter()
        .filter(|group| group.role == PairRole::Sealed)
        .map(|group| (group.group, group.sequence))
        .collect();
    loop {
        let behind = |group: &&PairGroup| {
            FOLLOWS.contains(&group.role)
                && wanted.get(&group.group).is_some_and(|last| group.sequence < *last)
        };
        check_stop(stop)?;
        let error = match to.report() {
            Ok(report) => {
                let behind = report.groups.iter().filter(behind).count();
                if behind == 0 && is_whole(&report) {
                    return Ok(());
                }
                ClientError::state(
                    format!("{behind} groups of {} do not catch up", to.region),
                    "nothing was switched, and writes go on; `twinkeep lag` says how far they are",
                )
            }
            Err(error) => error,
        };
        if Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::UnixMillis;

    /// A region's groups, each with its part and epoch.
    type Groups<'a> = &'a [(PairRole, u64)];

    fn report(region: &str, groups: Groups<'_>) -> PairReport {
        let group = |(number, (role, epoch)): (usize, &(PairRole, u64))| PairGroup {
            group: number as u32,
            role: *role,
            epoch: *epoch,
            sequence: 10,
            since: 1,
            followed: Some(10),
            other_sequence: None,
            other_epoch: None,
            synced: None,
            heard_ms: Some(5),
            gone: false,
            shipped: None,
            unshipped_operations: None,
            unshipped_bytes: None,
            blocked: None,
        };
        PairReport {
            region: region.into(),
            now: UnixMillis(1),
            groups: groups.iter().enumerate().map(group).collect(),
            groups_total: groups.len() as u32,
        }
    }

    #[test]
    fn nobody_is_switched_to_who_is_further_behind_than_writes_may_wait() {
        let behind = |old: PairRole, synced: &[Option<u64>]| {
            let roles: Vec<_> = synced.iter().map(|_| (old, 3)).collect();
            let mut old = report("old", &roles);
            old.now = UnixMillis(10_000);
            let mut new = report("new", &vec![(PairRole::Standby, 3); synced.len()]);
            for (group, synced) in new.groups.iter_mut().zip(synced) {
                group.synced = synced.map(UnixMillis);
            }
            too_far(&old, &new, Duration::from_secs(5)).map(|error| error.to_string())
        };
        assert_eq!(behind(PairRole::Primary, &[Some(5_000), Some(9_900)]), None);
        assert!(behind(PairRole::Primary, &[Some(4_999), Some(9_900)]).unwrap().contains("5.0 s behind"));
        assert!(behind(PairRole::Primary, &[None, Some(9_900)]).unwrap().contains("not known"));
        assert_eq!(behind(PairRole::Sealed, &[None, Some(1)]), None, "nothing takes writes");
    }

    #[test]
    fn a_switch_goes_to_a_region_that_follows_or_began_to_reign_and_to_no_other() {
        use PairRole::{Bootstrap, Primary, Sealed, Standby};
        let way = |old: Groups<'_>, new: Groups<'_>| way(&report("old", old), &report("new", new)).ok();
        let cases: [(Groups<'_>, Groups<'_>, Option<Way>); 9] = [
            (&[(Primary, 3), (Primary, 3)], &[(Standby, 3), (Standby, 3)], Some(Way::Switch(4))),
            // interrupted while it promoted, and before the old primary followed
            (&[(Sealed, 3), (Sealed, 3)], &[(Primary, 4), (Standby, 3)], Some(Way::Switch(4))),
            (&[(Sealed, 3), (Standby, 4)], &[(Primary, 4), (Primary, 4)], Some(Way::Switch(4))),
            // asked for twice
            (&[(Standby, 4), (Standby, 4)], &[(Primary, 4), (Primary, 4)], Some(Way::Done)),
            (&[(Standby, 4), (Bootstrap, 4)], &[(Primary, 4), (Primary, 4)], Some(Way::Done)),
            // sealed for a switch that went no further
            (&[(Standby, 3), (Bootstrap, 3)], &[(Sealed, 3), (Primary, 3)], Some(Way::TakeBack)),
            // what was relieved by force is no place to switch to
            (&[(Primary, 4), (Primary, 4)], &[(Sealed, 3), (Sealed, 3)], None),
            (&[(Primary, 4), (Primary, 4)], &[(Primary, 3), (Primary, 3)], None),
            (&[(Primary, 4), (Primary, 4)], &[(Bootstrap, 4), (Standby, 4)], None),
        ];
        for (old, new, expected) in cases {
            assert_eq!(way(old, new), expected, "{old:?} {new:?}");
        }
    }
}
