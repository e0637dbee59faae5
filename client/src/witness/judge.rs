//! What a witness concludes from the answers of two regions: who gets a lease, and when the standby shall take over.
//!
//! Pure: times are readings of one clock that goes on while the machine sleeps, answers come in by [`Judge::heard`], and
//! [`Judge::judge`] says what is to be asked. What has to outlive the process is in [`Judge::to_remember`]; a switch is not
//! asked for before [`Judge::remembered`] says that it is written.
//!
//! **A lease goes to a region whose epoch is the newest one known, and to no other.** Before a region is asked to take
//! over, the coming epoch becomes the newest one, durably, and every lease that the old primary could hold of this
//! witness has ended ([`Granter::is_over`]). So from the moment in which anything could be promoted, the old primary has
//! none of it and never gets another one; the standby's own leases are for the standby to judge.
//!
//! **That is never taken back**, also when nothing was promoted. Whether a request that was sent is still to be carried out
//! cannot be known: a process may be halted with it for an hour, and go on as if nothing had happened. A witness that
//! vouched for the old primary again would then have let two regions reign. Until a reign begins under that epoch or a newer one
//! (any planned switch does) the old primary has its standby's word alone.
//!
//! **One that has no memory waits for both regions.** It would otherwise vouch for an old primary that is cut off from the
//! new one.

use super::memory::{Memory, Relief};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire::admin::LeaseReport;
use wire::lease::{Granter, WAIT};

/// How often every node is asked.
pub const PERIOD: Duration = Duration::from_millis(500);

/// For how long an answer counts as what a node does now: two questions, one of which may be lost, and its answer's time.
const FRESH: Duration = Duration::from_millis(1_500);

/// A primary whose groups are not all led is gone after this; a whole region's elections take a tenth of it.
pub const DETECT: Duration = Duration::from_secs(3);

/// Between two requests to take over: elections come and go.
const RELIEF_PAUSE: Duration = Duration::from_secs(1);

/// A switch that was asked for this often, with the standby ready each time, is a person's matter.
const RELIEF_TRIES_MAX: u32 = 10;

/// What a witness may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It gives leases, and says when a switch is due.
    Manual,
    /// It also lets the standby take over.
    Automatic,
}

/// What a witness is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is to be done, or nothing can be.
    Watching,
    /// The primary is gone: no more leases, and those that it may have run out.
    Withholding,
    /// A switch is due, or under way.
    Due,
    /// The standby has taken over, and has no standby of its own yet.
    Switched,
    /// A switch was begun, and a person has to finish it.
    Stuck,
}

/// The judgement.
pub struct Judge {
    mode: Mode,
    regions: [Region; 2],
    memory: Memory,
    is_remembered: bool,
    /// The region that was heard last as a whole primary under the newest epoch, and when.
    reign: Option<(usize, Duration)>,
    withheld: Option<usize>,
    effort: Effort,
    has_switched: bool,
    standing: Standing,
    reason: Option<String>,
}

struct Region {
    name: String,
    nodes: Vec<Node>,
    /// The newest that any of its nodes said.
    epoch: u64,
}

struct Node {
    id: u16,
    granter: Granter,
    answer: Option<(LeaseReport, Duration)>,
    leases: u64,
}

/// How far the requests to take over are.
#[derive(Default)]
struct Effort {
    tries: u32,
    asked: Option<Duration>,
    is_asking: bool,
    hindered: Option<Duration>,
}

/// What a region's nodes say between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Nodes that answered lately.
    pub answered: usize,
    /// Groups, as far as anyone said.
    pub groups_total: u64,
    /// Groups led that take writes.
    pub primaries: u64,
    /// Groups led that are standbys with a whole state.
    pub standbys: u64,
    /// Groups led that are neither.
    pub others: u64,
    /// The newest epoch.
    pub epoch: u64,
    /// For how long the standby that heard of its primary last has not.
    pub unheard: Option<Duration>,
}

impl Seen {
    fn led(&self) -> u64 {
        self.primaries + self.standbys + self.others
    }

    /// Whether every group is spoken for.
    pub fn is_whole(&self) -> bool {
        self.groups_total > 0 && self.led() >= self.groups_total
    }

    /// Whether every group is led as one that takes writes.
    pub fn is_primary(&self) -> bool {
        self.groups_total > 0 && self.primaries >= self.groups_total
    }

    /// Whether every group is led as a standby with a whole state, and none as anything else.
    pub fn is_standby(&self) -> bool {
        self.groups_total > 0 && self.standbys == self.groups_total && self.led() == self.standbys
    }
}

impl Judge {
    /// Of two regions by name, each with the numbers of its nodes. An earlier life may have given leases until `now`.
    pub fn new(mode: Mode, regions: [(String, Vec<u16>); 2], memory: Memory, now: Duration) -> Self {
        let node = |id| Node { id, granter: Granter::new(now), answer: None, leases: 0 };
        let regions = regions.map(|(name, nodes)| Region {
            name,
            nodes: nodes.into_iter().map(node).collect(),
            epoch: 0,
        });
        Self {
            mode,
            regions,
            memory,
            is_remembered: true,
            reign: None,
            withheld: None,
            effort: Effort::default(),
            has_switched: false,
            standing: Standing::Watching,
            reason: None,
        }
    }

    /// What to ask a node: the newest epoch, and the stamp of the lease that it gets, if it gets one.
    pub fn question(&mut self, region: usize, node: usize) -> (u64, Option<u64>) {
        let may_have = self.may_have_leases(region);
        let node = &mut self.regions[region].nodes[node];
        // a stamp that was not given back is not kept for later
        let stamp = node.granter.grant().filter(|_| may_have);
        node.leases += u64::from(stamp.is_some());
        (self.memory.epoch, stamp)
    }

    /// A node answered.
    pub fn heard(&mut self, region: usize, node: usize, report: LeaseReport, now: Duration) {
        let found = &mut self.regions[region];
        if report.region != found.name {
            return self.unanswered(region, node);
        }
        found.epoch = found.epoch.max(report.epoch);
        if report.epoch > self.memory.epoch {
            self.memory.epoch = report.epoch;
            self.is_remembered = false;
        }
        let (name, id) = (found.name.clone(), found.nodes[node].id);
        if self.memory.needed.entry(name).or_default().insert(id, report.is_needed) != Some(report.is_needed)
        {
            self.is_remembered = false;
        }
        let may_have = self.may_have_leases(region);
        let node = &mut self.regions[region].nodes[node];
        if may_have {
            node.granter.hear(report.stamp, now);
        }
        node.answer = Some((report, now));
    }

    /// A node did not answer.
    pub fn unanswered(&mut self, region: usize, node: usize) {
        self.regions[region].nodes[node].answer = None;
    }

    /// Looks at everything anew; gives the switch that is to be asked for now.
    pub fn judge(&mut self, now: Duration) -> Option<Relief> {
        let seen = [0, 1].map(|region| self.seen(region, now));
        self.learn(&seen, now);
        if let Some(relief) = self.memory.relief.clone() {
            return self.go_on(relief, &seen, now);
        }
        self.withheld = None;
        if !self.memory.is_informed {
            let reason = "no lease is given before both regions were heard as a whole";
            return self.stand(Standing::Watching, reason);
        }
        let Some((primary, whole_at)) = self.reign else {
            let reason = "no region was heard as a whole primary since this witness began";
            return self.stand(Standing::Watching, reason);
        };
        let standby = 1 - primary;
        if now.saturating_sub(whole_at) < DETECT {
            self.has_switched &= !seen[standby].is_standby();
            let standing = if self.has_switched { Standing::Switched } else { Standing::Watching };
            return self.stand(standing, "");
        }
        if let Some(reason) = self.refuses_because(primary, standby, &seen) {
            return self
                .stand(Standing::Watching, &format!("{} is gone, but {reason}", self.regions[primary].name));
        }
        if self.mode == Mode::Manual {
            let [from, to] = [primary, standby].map(|region| &self.regions[region].name);
            let reason = format!("{from} is gone; `twinkeep failover --force --to {to}` lets {to} take over");
            return self.stand(Standing::Due, &reason);
        }
        self.withheld = Some(primary);
        if self.regions[primary].nodes.iter().any(|node| !node.granter.is_over(now)) {
            return self.stand(Standing::Withholding, "the primary is gone; its leases run out");
        }
        self.memory.epoch = self.memory.epoch.max(1) + 1;
        self.memory.relief =
            Some(Relief { to: self.regions[standby].name.clone(), epoch: self.memory.epoch });
        (self.is_remembered, self.effort) = (false, Effort::default());
        self.stand(Standing::Due, "the standby takes over")
    }

    /// What is to be written down, if it is not yet as it was written last.
    pub fn to_remember(&self) -> Option<&Memory> {
        (!self.is_remembered).then_some(&self.memory)
    }

    /// It was written as it is now.
    pub fn remembered(&mut self) {
        self.is_remembered = true;
    }

    /// The request to take over ended, however.
    pub fn relief_asked(&mut self) {
        self.effort.is_asking = false;
    }

    /// What the witness is at.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Why, in words that do not change while it does not.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The newest epoch known.
    pub fn epoch(&self) -> u64 {
        self.memory.epoch
    }

    /// The switch that was begun.
    pub fn relief(&self) -> Option<(&Relief, u32)> {
        self.memory.relief.as_ref().map(|relief| (relief, self.effort.tries))
    }

    /// The region that reigns, as far as known.
    pub fn reign(&self) -> Option<usize> {
        self.reign.map(|(region, _)| region)
    }

    /// What a region's nodes say between them.
    pub fn seen(&self, region: usize, now: Duration) -> Seen {
        let mut seen = Seen::default();
        for (report, at) in self.regions[region].nodes.iter().filter_map(|node| node.answer.as_ref()) {
            if now.saturating_sub(*at) > FRESH {
                continue;
            }
            seen.answered += 1;
            seen.groups_total = seen.groups_total.max(report.groups_total.into());
            seen.primaries += u64::from(report.primaries);
            seen.standbys += u64::from(report.standbys);
            seen.others += u64::from(report.others);
            seen.epoch = seen.epoch.max(report.epoch);
            if report.standbys > 0 {
                let unheard = Duration::from_millis(report.unheard_ms.unwrap_or(0));
                seen.unheard = Some(seen.unheard.map_or(unheard, |least| least.min(unheard)));
            }
        }
        seen
    }

    /// Leases given to a region's nodes so far, and how many nodes there are.
    pub fn leases(&self, region: usize) -> (u64, usize) {
        let nodes = &self.regions[region].nodes;
        (nodes.iter().map(|node| node.leases).sum(), nodes.len())
    }

    fn may_have_leases(&self, region: usize) -> bool {
        self.memory.is_informed
            && self.regions[region].epoch >= self.memory.epoch
            && self.withheld != Some(region)
    }

    fn learn(&mut self, seen: &[Seen; 2], now: Duration) {
        if !self.memory.is_informed && seen.iter().all(Seen::is_whole) {
            self.memory.is_informed = true;
            self.is_remembered = false;
        }
        for (region, seen) in seen.iter().enumerate() {
            // one that reigned before is older than what is known
            if seen.is_primary() && seen.epoch >= self.memory.epoch {
                if self.reign.is_some_and(|(before, _)| before != region) {
                    self.has_switched = false;
                }
                self.reign = Some((region, now));
            }
        }
    }

    /// Why a primary that is gone is not relieved.
    fn refuses_because(&self, primary: usize, standby: usize, seen: &[Seen; 2]) -> Option<String> {
        let needed = |region: usize, node: &Node| {
            let needed = self.memory.needed.get(&self.regions[region].name);
            needed.and_then(|nodes| nodes.get(&node.id)).copied()
        };
        for region in [primary, standby] {
            let Region { name, nodes, .. } = &self.regions[region];
            if let Some(node) = nodes.iter().find(|node| needed(region, node) == Some(false)) {
                return Some(format!(
                    "{name}/{} goes on acknowledging writes without a lease (its pair.witness is not set): a person has to see to it that {} does not run",
                    node.id, self.regions[primary].name
                ));
            }
        }
        let Region { name, nodes, .. } = &self.regions[primary];
        if let Some(node) = nodes.iter().find(|node| needed(primary, node).is_none()) {
            return Some(format!(
                "{name}/{} was never heard: it may acknowledge writes without a lease",
                node.id
            ));
        }
        let half = "a switch by hand was begun; a person has to finish it";
        self.unready(standby, &seen[standby])
            .or_else(|| (!seen[standby].is_standby()).then(|| half.to_owned()))
    }

    /// Why a region that is to take over could not; nothing once it has.
    fn unready(&self, region: usize, seen: &Seen) -> Option<String> {
        let name = &self.regions[region].name;
        if !seen.is_whole() {
            return Some(format!("{name} does not answer for every group"));
        }
        if seen.others > 0 || seen.led() > seen.groups_total {
            return Some(format!("not every group of {name} is a standby with a whole state"));
        }
        if seen.unheard.is_some_and(|unheard| unheard < WAIT) {
            // or has a new leader for a group, which does not know what the one before it gave
            return Some(format!("{name} heard of it a moment ago, or could have"));
        }
        None
    }

    /// A switch was begun: asks for it until it is done, as long as the rest of the standby hears nothing of its primary.
    fn go_on(&mut self, relief: Relief, seen: &[Seen; 2], now: Duration) -> Option<Relief> {
        let Some(to) = self.regions.iter().position(|region| region.name == relief.to) else {
            return self
                .stand(Standing::Stuck, "the switch that was begun is to a region that is not known here");
        };
        self.withheld = Some(1 - to);
        if let Some(region) = [0, 1]
            .into_iter()
            .find(|region| seen[*region].is_primary() && seen[*region].epoch >= relief.epoch)
        {
            (self.memory.relief, self.is_remembered, self.withheld) = (None, false, None);
            self.has_switched = region == to;
            let standing = if self.has_switched { Standing::Switched } else { Standing::Watching };
            return self.stand(standing, "");
        }
        let finish = format!(
            "finish the switch with `twinkeep failover --force --to {0}`, or with `--planned --to {0}` when both regions answer",
            relief.to
        );
        if self.mode == Mode::Manual {
            return self
                .stand(Standing::Stuck, &format!("an earlier life of this witness began it: {finish}"));
        }
        if self.effort.tries >= RELIEF_TRIES_MAX {
            return self.stand(Standing::Stuck, &format!("asked for in vain: {finish}"));
        }
        if let Some(reason) = self.unready(to, &seen[to]) {
            let since = *self.effort.hindered.get_or_insert(now);
            let standing = if now.saturating_sub(since) < DETECT { Standing::Due } else { Standing::Stuck };
            return self.stand(standing, &format!("{reason}: {finish}"));
        }
        self.effort.hindered = None;
        let is_too_soon = self.effort.asked.is_some_and(|asked| now.saturating_sub(asked) < RELIEF_PAUSE);
        self.stand(Standing::Due, "the standby takes over");
        if !self.is_remembered || self.effort.is_asking || is_too_soon {
            return None;
        }
        self.effort.tries += 1;
        (self.effort.asked, self.effort.is_asking) = (Some(now), true);
        Some(relief)
    }

    fn stand(&mut self, standing: Standing, reason: &str) -> Option<Relief> {
        self.standing = standing;
        self.reason = (!reason.is_empty()).then(|| reason.to_owned());
        None
    }
}

#[cfg(test)]
#[path = "judge/tests.rs"]
mod tests;
#[cfg(test)]
mod world;
