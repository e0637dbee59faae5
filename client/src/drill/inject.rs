//! The kinds of drill, and undoing what one of them left half done.
//!
//! ```text
//! planned   switch there, read back, switch back, read back
//! forced    take over, wait until the old primary is fenced, read back, list the loss, rejoin, switch back
//! node      kill a node, wait until the region has noticed and writes go on, start it, wait for its copies
//! restore   the same, but its disk is thrown away; when its copies are made anew, read every disk
//! ```

pub(super) mod node;

use super::run::Run;
use super::{BUCKET, DrillKind};
use crate::ClientError;
use crate::failover::{self, LossManifest, Side};
use wire::PairRole;
use wire::admin::{LostChange, LostWrite, PairReport};

/// How often undoing is tried: the first try may meet the very fault that ended the run.
const HEAL_TRIES: u32 = 3;

/// Carries the drill out, from the region that takes writes.
pub(super) fn carry_out(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    run.begin_probes(primary)?;
    match run.plan.kind {
        DrillKind::Planned => planned(run, primary),
        DrillKind::Forced => forced(run, primary),
        DrillKind::Node => node::restart(run, primary),
        DrillKind::Restore => node::restore(run, primary),
    }
}

/// Undoes what a run that was given up left behind, as far as that can be done without deciding for a person.
pub(super) fn heal(run: &mut Run<'_>, primary: &str) {
    run.begin_healing();
    let healed = match run.plan.kind {
        DrillKind::Node | DrillKind::Restore => node::start_all(run, primary),
        DrillKind::Planned | DrillKind::Forced => {
            (0..HEAL_TRIES).any(|_| run.left_to_do.is_empty() && go_back(run, primary).is_ok())
        }
    };
    if !healed && run.left_to_do.is_empty() {
        run.left_to_do.push(match run.plan.kind {
            DrillKind::Restore => "look with `twinkeep status`; `twinkeep node replace ID --wait` gives the node that is down an empty disk once more".to_owned(),
            DrillKind::Node => "start the node that was killed: `twinkeep dev list` shows it, `twinkeep dev start` starts it".to_owned(),
            _ => format!("look with `twinkeep lag`; finish the switch with `twinkeep failover --planned --to {primary}`"),
        });
    }
}

fn planned(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    let standby = other(run, primary)?;
    run.switch(&standby)?;
    run.read_back(&standby)?;
    run.follow(&standby)?;
    run.switch(primary)?;
    run.read_back(primary)?;
    run.follow(primary)
}

fn forced(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    let standby = other(run, primary)?;
    run.injected = Some((run.clock.now(), standby.clone()));
    take_over(run, primary, &standby)?;
    run.read_back(&standby)?;
    bring_back(run, primary, &standby)?;
    run.follow(&standby)?;
    run.switch(primary)?;
    run.read_back(primary)?;
    run.follow(primary)
}

/// Makes the standby the primary at what it has, and waits until the old one has heard of it.
fn take_over(run: &mut Run<'_>, primary: &str, standby: &str) -> Result<(), ClientError> {
    let report = run.step(&format!("switch to {standby}, by force"), |run| {
        failover::forced(primary, run.target.sides(standby)?.0, false)
    })?;
    run.switches.push(report);
    run.step(&format!("wait until {primary} takes no more writes"), |run| {
        let old = run.target.sides(primary)?.0;
        run.wait(|| Ok(whole(old)?.is_some_and(|report| count(&report, PairRole::Primary) == 0)))
    })
}

/// Lists what the old primary has alone, and lets it follow; gives up nobody's writes but the drill's own unasked.
fn bring_back(run: &mut Run<'_>, primary: &str, standby: &str) -> Result<(), ClientError> {
    let manifest = run.step("list what was lost", |run| failover::manifest(run.target.pair()?))?;
    let found = of_others(&manifest, &run.name);
    // a later look, when undoing, must not hide what the first one found
    run.losses.get_or_insert(manifest);
    if let Some(found) = found.filter(|_| !run.plan.discard) {
        run.left_to_do = vec![
            format!("{primary} has {found}, and {standby} does not: the report has the list"),
            "put it back, or record that it is given up: `twinkeep failover reconcile --preview`, then --yes"
                .to_owned(),
            "then `twinkeep failover rejoin`; `rejoin --discard` gives up what is not settled".to_owned(),
            format!("once `twinkeep lag` says Live, `twinkeep failover --planned --to {primary}`"),
        ];
        return Err(ClientError::state(
            format!("{found} would be given up"),
            "the report says what is left to do",
        ));
    }
    run.step(&format!("let {primary} follow {standby}"), |run| {
        failover::rejoin(run.target.pair()?, true, &|_| false)
    })?;
    Ok(())
}

/// What is in the list, or may be missing from it, that this run of a drill did not write.
fn of_others(manifest: &LossManifest, run: &str) -> Option<String> {
    let is_of_run = |key: &str| key.strip_prefix(run).is_some_and(|rest| rest.starts_with('/'));
    let is_own = |entry: &&LostWrite| {
        // somebody's right on the bucket is theirs
        let is_about_it = entry.bucket.as_deref() == Some(BUCKET) && entry.change != LostChange::Access;
        is_about_it && entry.key.as_deref().is_none_or(is_of_run)
    };
    match manifest.entries.iter().filter(|entry| !is_own(entry)).count() {
        0 if manifest.complete => None,
        0 => Some("perhaps writes that its list no longer names".to_owned()),
        others => Some(format!("{others} writes of others")),
    }
}

/// Brings the pair back to where it was, from wherever its groups say they are: finishes what was half done, then
/// switches back.
fn go_back(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    let standby = other(run, primary)?;
    let (home, away) = run.target.sides(primary)?;
    let (Some(own), Some(its)) = (whole(home)?, whole(away)?) else {
        return Err(ClientError::state(
            "not all groups answer",
            "wait until `twinkeep status` shows leaders",
        ));
    };
    let all = |report: &PairReport, role| count(report, role) == report.groups.len();
    if all(&own, PairRole::Primary) && all(&its, PairRole::Standby) {
        run.undone.push(format!("nothing had to be: {primary} takes writes and {standby} follows"));
        return Ok(());
    }
    let follows = count(&own, PairRole::Standby) + count(&own, PairRole::Bootstrap) == own.groups.len();
    if count(&its, PairRole::Sealed) == 0 && !(all(&its, PairRole::Primary) && follows) {
        if run.plan.kind == DrillKind::Forced {
            take_over(run, primary, &standby)?;
            bring_back(run, primary, &standby)?;
        } else {
            run.switch(&standby)?;
        }
        run.undone.push(format!("what was half done was finished: {primary} follows {standby}"));
    }
    if count(&its, PairRole::Sealed) == 0 {
        run.follow(&standby)?;
    }
    run.switch(primary)?;
    run.undone.push(format!("{primary} takes writes again"));
    Ok(())
}

fn other(run: &Run<'_>, primary: &str) -> Result<String, ClientError> {
    Ok(run.target.sides(primary)?.1.region.clone())
}

/// What a region says of its groups, once all of them answer.
fn whole(side: &Side) -> Result<Option<PairReport>, ClientError> {
    let report = side.report()?;
    Ok(Some(report).filter(|report| report.groups.len() == report.groups_total as usize))
}

fn count(report: &PairReport, role: PairRole) -> usize {
    report.groups.iter().filter(|group| group.role == role).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::UnixMillis;

    fn lost(bucket: &str, key: Option<&str>) -> LostWrite {
        LostWrite {
            change: LostChange::Put,
            bucket: Some(bucket.into()),
            key: key.map(str::to_owned),
            subject: None,
            version: None,
            size: Some(1),
            etag: None,
            principal: None,
            acknowledged_at: UnixMillis(1),
            kept: true,
            certain: true,
            group: 1,
            sequence: 1,
            part: 0,
        }
    }

    #[test]
    fn only_what_this_run_wrote_may_be_given_up_unasked_and_only_by_a_whole_list() {
        let of = |complete, entries: Vec<LostWrite>| {
            let (from, to) = ("twin-1".to_owned(), "twin-2".to_owned());
            of_others(&LossManifest { from, to, epoch: 2, complete, entries }, "20261122-forced")
        };
        let own = || lost(BUCKET, Some("20261122-forced/twin-1/000001"));
        assert_eq!(of(true, vec![own(), lost(BUCKET, None)]), None);
        assert!(of(false, vec![own()]).unwrap().contains("perhaps"));
        let right = LostWrite { change: LostChange::Access, ..lost(BUCKET, None) };
        let keys = [("jobs", "a"), (BUCKET, "20261122-forced-2/a"), (BUCKET, "b")];
        for other in keys.map(|(bucket, key)| lost(bucket, Some(key))).into_iter().chain([right]) {
            assert_eq!(of(true, vec![own(), other]).unwrap(), "1 writes of others");
        }
    }
}
