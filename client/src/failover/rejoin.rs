//! After a forced switch: what it lost, write by write, asked of the old primary, which still has it; and the old primary's
//! return as a standby.

use super::{FOLLOWS, LOOK, Side, answered, is_whole, newest};
use crate::ClientError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use wire::PairRole;
use wire::admin::{AdminRequest, AdminResponse, LossPage, LostWrite, PairChange, PairGroup, PairReport};

/// How long the old primary may take to hear of its successor, once it is back.
const HEAR_WAIT: Duration = Duration::from_secs(5);

/// Everything that the old primary acknowledged and the new one does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossManifest {
    /// The region that acknowledged it.
    pub from: String,
    /// The region that does not have it.
    pub to: String,
    /// The epoch that began with the switch.
    pub epoch: u64,
    /// Whether the list is whole: the old primary's logs reach back to the switch, and nothing in it is uncertain.
    pub complete: bool,
    /// Group by group, in the order in which it happened.
    pub entries: Vec<LostWrite>,
}

/// An old primary that began to follow the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejoinReport {
    /// The region that follows.
    pub region: String,
    /// The region that it follows.
    pub primary: String,
    /// Whether it was let in before this was asked.
    pub already: bool,
    /// How many writes that only it had are given up.
    pub discarded: usize,
    /// How many writes that only it had are settled by reconciliations.
    pub settled: usize,
}

/// Asks the old primary of `sides` for what the new one lacks; empty if nobody was promoted over it.
pub fn manifest(sides: &[Side; 2]) -> Result<LossManifest, ClientError> {
    let deadline = Instant::now() + HEAR_WAIT;
    let (reports, old, new, is_fenced) = loop {
        let reports = [whole(&sides[0])?, whole(&sides[1])?];
        let (old, new) = order(&reports)?;
        // it has just come back, and will hear of its successor in a moment
        let is_fenced = check_fenced(&sides[old], &reports[old]).is_ok();
        if is_fenced || Instant::now() >= deadline {
            break (reports, old, new, is_fenced);
        }
        std::thread::sleep(LOOK);
    };
    let mut manifest = list(&sides[old], &sides[new], &reports[old], &reports[new])?;
    // one that has not heard of its successor acknowledges more
    manifest.complete &= is_fenced;
    Ok(manifest)
}

/// Refuses when `from` acknowledged what `to` does not have in groups that were promoted there.
pub(super) fn check_nothing_alone(
    from: &Side,
    to: &Side,
    old: &PairReport,
    new: &PairReport,
) -> Result<(), ClientError> {
    if new.groups.iter().all(|group| group.role == PairRole::Standby) {
        return Ok(());
    }
    let manifest = list(from, to, old, new)?;
    if manifest.complete && manifest.entries.is_empty() {
        return Ok(());
    }
    let problem = match manifest.entries.len() {
        0 => format!("what {} acknowledged alone is not known to the last write", from.region),
        alone => format!(
            "{} has {alone} writes that {} does not: it was promoted by force",
            from.region, to.region
        ),
    };
    Err(ClientError::state(
        problem,
        format!(
            "finish that switch with `twinkeep failover --force --to {}`; then `twinkeep failover manifest` lists the writes, and `twinkeep failover reconcile` and `rejoin` settle them",
            to.region
        ),
    ))
}

/// Lets the old primary follow the new one, if it has nothing alone, `is_settled` says that something has become of all it
/// has, or `discard` that it is given up.
pub fn rejoin(
    sides: &[Side; 2],
    discard: bool,
    is_settled: &dyn Fn(&LossManifest) -> bool,
) -> Result<RejoinReport, ClientError> {
    let reports = [whole(&sides[0])?, whole(&sides[1])?];
    let (old, new) = order(&reports)?;
    let (from, to) = (&sides[old], &sides[new]);
    check_fenced(from, &reports[old])?;
    let (region, primary) = (from.region.clone(), to.region.clone());
    let mut report = RejoinReport { region, primary, already: false, discarded: 0, settled: 0 };
    // it was let in before: beginning anew would only take longer
    let follows = |group: &PairGroup| FOLLOWS.contains(&group.role);
    if reports[old].groups.iter().all(follows) {
        report.already = true;
        return Ok(report);
    }
    let manifest = list(from, to, &reports[old], &reports[new])?;
    let nothing_lost = manifest.complete && manifest.entries.is_empty();
    let settled = !nothing_lost && is_settled(&manifest);
    if !(discard || nothing_lost || settled) {
        let alone = manifest.entries.len();
        let problem = if manifest.complete {
            format!("{} has {alone} writes that {} does not", from.region, to.region)
        } else {
            format!(
                "{} has {alone} writes and perhaps more that {} does not: the list is not whole",
                from.region, to.region
            )
        };
        return Err(ClientError::state(
            problem,
            "`twinkeep failover reconcile --preview` says what would become of them, and with --yes puts them back; or save the list (`twinkeep failover manifest --json`) and give them up with --discard",
        ));
    }
    from.change(PairChange::Rejoin, manifest.epoch, follows)?;
    let alone = manifest.entries.len();
    (report.settled, report.discarded) = if settled { (alone, 0) } else { (0, alone) };
    Ok(report)
}

/// Both regions after a forced switch, and what the new primary acknowledged since.
pub(crate) struct Divergence<'a> {
    /// What the new primary does not have.
    pub(crate) manifest: LossManifest,
    new: &'a Side,
    groups: Vec<SinceSwitch>,
}

/// What a group of the new primary acknowledged since its reign began, as far as it is wanted.
struct SinceSwitch {
    group: u32,
    /// The first entry after the one under which the reign began.
    since: u64,
    /// Where the last page but one ended, in the group's own log: the last may have grown.
    after: u64,
    is_whole: bool,
    /// By their number.
    writes: BTreeMap<u64, Vec<LostWrite>>,
}

impl<'a> Divergence<'a> {
    /// Asks the old primary for what it acknowledged alone; refuses while it still takes writes.
    pub(crate) fn of(sides: &'a [Side; 2]) -> Result<Self, ClientError> {
        let reports = [whole(&sides[0])?, whole(&sides[1])?];
        let (old, new) = order(&reports)?;
        check_fenced(&sides[old], &reports[old])?;
        let manifest = list(&sides[old], &sides[new], &reports[old], &reports[new])?;
        let groups = reports[new].groups.iter().map(|group| SinceSwitch {
            group: group.group,
            since: group.since + 1,
            after: 0,
            is_whole: true,
            writes: BTreeMap::new(),
        });
        Ok(Self { manifest, new: &sides[new], groups: groups.collect() })
    }

    /// Takes in what the new primary acknowledged until now, of what `is_wanted`: always the same.
    pub(crate) fn refresh(&mut self, is_wanted: impl Fn(&LostWrite) -> bool) -> Result<(), ClientError> {
        for group in &mut self.groups {
            loop {
                let page = self.new.loss_page(group.group, group.since, group.after)?;
                group.is_whole &= page.complete;
                let mut grouped: BTreeMap<u64, Vec<LostWrite>> = BTreeMap::new();
                for write in page.entries.into_iter().filter(&is_wanted) {
                    grouped.entry(write.sequence).or_default().push(write);
                }
                group.writes.extend(grouped);
                match page.next {
                    Some(next) if next > group.after => group.after = next,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// What was taken in; of one group in order.
    pub(crate) fn newer(&self) -> impl Iterator<Item = &LostWrite> {
        self.groups.iter().flat_map(|group| group.writes.values().flatten())
    }

    /// Whether both lists reach back to the switch.
    pub(crate) fn is_whole(&self) -> bool {
        self.manifest.complete && self.groups.iter().all(|group| group.is_whole)
    }
}

fn check_fenced(side: &Side, report: &PairReport) -> Result<(), ClientError> {
    if report.groups.iter().any(|group| group.role == PairRole::Primary) {
        return Err(ClientError::state(
            format!("{} still takes writes", side.region),
            "it stops as soon as it hears of the other region: ask again in a moment",
        ));
    }
    Ok(())
}

/// Which of the two is the old primary, and which the new one.
fn order(reports: &[PairReport; 2]) -> Result<(usize, usize), ClientError> {
    let reigns = |report: &PairReport| report.groups.iter().all(|group| group.role == PairRole::Primary);
    let new = match [reigns(&reports[0]), reigns(&reports[1])] {
        [true, false] => 0,
        [false, true] => 1,
        [true, true] if newest(&reports[0]) > newest(&reports[1]) => 0,
        [true, true] => 1,
        [false, false] => {
            return Err(ClientError::state(
                "neither region takes writes in all of its groups",
                "finish the switch first: ask for it again with `twinkeep failover`",
            ));
        }
    };
    Ok((1 - new, new))
}

fn list(from: &Side, to: &Side, old: &PairReport, new: &PairReport) -> Result<LossManifest, ClientError> {
    let mut manifest = LossManifest {
        from: from.region.clone(),
        to: to.region.clone(),
        epoch: newest(new),
        complete: true,
        entries: Vec::new(),
    };
    for group in &new.groups {
        let there = old.groups.iter().find(|other| other.group == group.group);
        if let Some((there, since)) = there.and_then(|there| Some((there, alone_from(there, group)?))) {
            // what it had before its own reign, it had from the new primary, unless that gave some of it up itself
            manifest.complete &= group.followed.is_none_or(|followed| followed >= there.since);
            from.list_lost(group.group, since, &mut manifest)?;
        }
    }
    manifest.complete &= manifest.entries.iter().all(|entry| entry.certain);
    Ok(manifest)
}

/// From which of its entries on an old primary's group has what the new primary's does not; nothing of one that follows, since what that has came
/// from the new primary.
fn alone_from(old: &PairGroup, new: &PairGroup) -> Option<u64> {
    let is_relieved = old.role != PairRole::Standby && old.epoch < new.epoch;
    // the new reign's numbers may begin further on
    is_relieved.then(|| new.followed.map_or(new.since, |followed| followed.max(old.since) + 1))
}

/// Whether a region that was relieved by force has entries that the one that relieved it never had.
pub(super) fn has_diverged(old: &PairReport, new: &PairReport) -> bool {
    new.groups.iter().any(|group| {
        let there = old.groups.iter().find(|other| other.group == group.group);
        let there = there.filter(|_| group.role == PairRole::Primary);
        there.is_some_and(|there| alone_from(there, group).is_some_and(|since| there.sequence >= since))
    })
}

fn whole(side: &Side) -> Result<PairReport, ClientError> {
    let report = side.report()?;
    if !is_whole(&report) {
        return Err(ClientError::state(answered(&report), "the list needs all of both regions; ask again"));
    }
    Ok(report)
}

impl Side {
    fn loss_page(&self, group: u32, since: u64, after: u64) -> Result<LossPage, ClientError> {
        match self.client.ask(&AdminRequest::PairLoss { group, since, after })? {
            AdminResponse::LossPage(page) => Ok(page),
            other => Err(self.client.unexpected(&other)),
        }
    }

    /// What a group acknowledged from the pair's entry `since` on, page by page, until `take` wants no more of it.
    pub(super) fn loss_pages(
        &self,
        group: u32,
        since: u64,
        mut take: impl FnMut(LossPage) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        let mut after = 0;
        loop {
            let page = self.loss_page(group, since, after)?;
            let next = page.next.filter(|next| *next > after);
            let taken = take(page);
            match next {
                Some(next) if taken.is_continue() => after = next,
                Some(_) => return Ok(ControlFlow::Break(())),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }

    fn list_lost(&self, group: u32, since: u64, manifest: &mut LossManifest) -> Result<(), ClientError> {
        let every_page = self.loss_pages(group, since, |page| {
            manifest.complete &= page.complete;
            manifest.entries.extend(page.entries);
            ControlFlow::Continue(())
        });
        every_page.map(|_| ())
    }
}
