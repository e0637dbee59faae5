//! The judgement by answers that a test makes up, step by step.

use super::*;

const PRIMARY: usize = 0;
const STANDBY: usize = 1;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn judge_with(mode: Mode, memory: Memory) -> Judge {
    let regions = [("twin-1".to_owned(), vec![1, 2, 3]), ("twin-2".to_owned(), vec![1, 2, 3])];
    Judge::new(mode, regions, memory, ms(0))
}

/// A region of three nodes that lead a group each.
fn report(region: usize, primaries: u32, standbys: u32, epoch: u64, unheard_ms: u64) -> LeaseReport {
    LeaseReport {
        region: ["twin-1", "twin-2"][region].to_owned(),
        stamp: 7,
        is_needed: true,
        groups_total: 3,
        primaries,
        standbys,
        others: 0,
        epoch,
        unheard_ms: (standbys > 0).then_some(unheard_ms),
    }
}

/// Two regions and what they do, with all that is between asking and judging done every half second.
struct Stage {
    judge: Judge,
    now: u64,
    /// What each node of each region answers, if it does.
    answers: [[Option<LeaseReport>; 3]; 2],
    /// Leases given in the last round.
    leases: [usize; 2],
    orders: Vec<Relief>,
    is_disk_well: bool,
}

impl Stage {
    fn new(mode: Mode) -> Self {
        Self::of(judge_with(mode, Memory::default()))
    }

    fn of(judge: Judge) -> Self {
        let answers = [
            [(); 3].map(|()| Some(report(PRIMARY, 1, 0, 1, 0))),
            [(); 3].map(|()| Some(report(STANDBY, 0, 1, 1, 200))),
        ];
        Self { judge, now: 0, answers, leases: [0; 2], orders: Vec::new(), is_disk_well: true }
    }

    fn lose_primary(&mut self) {
        self.answers[PRIMARY] = [const { None }; 3];
    }

    fn silence(&mut self, unheard_ms: u64) {
        self.answers[STANDBY] = [(); 3].map(|()| Some(report(STANDBY, 0, 1, 1, unheard_ms)));
    }

    fn round(&mut self) {
        self.leases = [0; 2];
        for region in [PRIMARY, STANDBY] {
            for node in 0..3 {
                let (_, stamp) = self.judge.question(region, node);
                self.leases[region] += usize::from(stamp.is_some());
                match self.answers[region][node].clone() {
                    Some(report) => self.judge.heard(region, node, report, ms(self.now)),
                    None => self.judge.unanswered(region, node),
                }
            }
        }
        for _ in 0..2 {
            if let Some(order) = self.judge.judge(ms(self.now)) {
                self.orders.push(order);
                self.judge.relief_asked();
            }
            if self.is_disk_well && self.judge.to_remember().is_some() {
                self.judge.remembered();
            }
        }
        self.now += 500;
    }

    fn rounds(&mut self, count: usize) {
        (0..count).for_each(|_| self.round());
    }

    fn is(&self, standing: Standing, words: &str) {
        assert_eq!(self.judge.standing(), standing, "{:?}", self.judge.reason());
        let reason = self.judge.reason().unwrap_or_default();
        assert!(reason.contains(words), "{reason:?} says {words:?}");
    }
}

#[test]
fn both_regions_get_leases_while_all_is_well() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(3);
    stage.is(Standing::Watching, "");
    assert_eq!(stage.leases, [3, 3]);
    assert_eq!((stage.judge.reign(), stage.judge.epoch()), (Some(PRIMARY), 1));
}

#[test]
fn a_lost_primary_is_relieved_once_no_lease_is_left_and_the_standby_has_not_heard_of_it() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    let lost = stage.now;
    stage.silence(1_000);
    stage.rounds(5);
    stage.is(Standing::Watching, "");
    stage.rounds(4);
    stage.is(Standing::Watching, "twin-2 heard of it");
    stage.silence(3_500);
    stage.round();
    stage.is(Standing::Due, "takes over");
    stage.round();
    assert_eq!(stage.orders, [Relief { to: "twin-2".into(), epoch: 2 }]);
    assert!(stage.now - lost >= 3_400, "no lease is left");
    stage.answers[STANDBY] = [(); 3].map(|()| Some(report(STANDBY, 1, 0, 2, 0)));
    stage.rounds(3);
    stage.is(Standing::Switched, "");
    assert_eq!((stage.judge.reign(), stage.leases), (Some(STANDBY), [0, 3]));
    // the old primary is back, and has not heard of the new one
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 1, 0, 1, 0)));
    stage.rounds(8);
    assert_eq!((stage.leases, stage.judge.reign()), ([0, 3], Some(STANDBY)));
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 0, 1, 2, 100)));
    stage.rounds(3);
    stage.is(Standing::Watching, "");
    assert_eq!((stage.leases, stage.orders.len()), ([3, 3], 1));
}

#[test]
fn nothing_is_asked_for_before_it_is_remembered() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.is_disk_well = false;
    stage.rounds(20);
    stage.is(Standing::Due, "");
    assert!(stage.orders.is_empty(), "the disk does not take it");
    stage.is_disk_well = true;
    stage.rounds(2);
    assert_eq!(stage.orders.len(), 1);
}

#[test]
fn a_manual_witness_says_that_a_switch_is_due_and_leaves_it_there() {
    let mut stage = Stage::new(Mode::Manual);
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(40);
    stage.is(Standing::Due, "failover --force --to twin-2");
    assert!(stage.orders.is_empty() && stage.judge.relief().is_none());
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 1, 0, 1, 0)));
    stage.rounds(2);
    stage.is(Standing::Watching, "");
    assert_eq!(stage.leases, [3, 3], "it is vouched for at once");
}

#[test]
fn a_primary_that_the_standby_hears_is_left_alone() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.rounds(40);
    stage.is(Standing::Watching, "twin-2 heard of it");
    assert!(stage.orders.is_empty());
}

#[test]
fn a_primary_that_the_witness_hears_is_left_alone() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.silence(60_000);
    stage.rounds(40);
    stage.is(Standing::Watching, "");
    assert_eq!((stage.orders.len(), stage.leases), (0, [3, 3]));
}

#[test]
fn a_primary_that_does_not_fence_itself_is_never_relieved() {
    for region in [PRIMARY, STANDBY] {
        let mut stage = Stage::new(Mode::Automatic);
        if let Some(report) = &mut stage.answers[region][1] {
            report.is_needed = false;
        }
        stage.rounds(4);
        stage.lose_primary();
        if region == PRIMARY {
            stage.silence(9_000);
        }
        stage.rounds(40);
        stage.is(Standing::Watching, "goes on acknowledging writes without a lease");
        assert!(stage.orders.is_empty());
    }
}

#[test]
fn a_node_that_was_never_heard_may_not_fence_itself() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.answers[PRIMARY][2] = None;
    if let Some(report) = &mut stage.answers[PRIMARY][0] {
        report.primaries = 2;
    }
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(40);
    stage.is(Standing::Watching, "twin-1/3 was never heard");
    assert!(stage.orders.is_empty());
}

#[test]
fn a_standby_that_is_not_whole_relieves_nobody() {
    let mut missing = Stage::new(Mode::Automatic);
    missing.rounds(4);
    missing.lose_primary();
    missing.silence(9_000);
    missing.answers[STANDBY][2] = None;
    missing.rounds(40);
    missing.is(Standing::Watching, "does not answer for every group");
    let mut half = Stage::new(Mode::Automatic);
    half.rounds(4);
    half.lose_primary();
    half.silence(9_000);
    if let Some(report) = &mut half.answers[STANDBY][2] {
        (report.standbys, report.others) = (0, 1);
    }
    half.rounds(40);
    half.is(Standing::Watching, "not every group of twin-2 is a standby");
    assert!(missing.orders.is_empty() && half.orders.is_empty());
}

#[test]
fn what_is_left_of_a_primary_gets_no_more_leases_and_then_its_standby_takes_over() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    // one of three nodes is left: it leads nothing, and answers
    stage.lose_primary();
    stage.answers[PRIMARY][0] = Some(report(PRIMARY, 0, 0, 0, 0));
    stage.rounds(8);
    assert_eq!(stage.leases[PRIMARY], 1, "the standby hears of its primary: nothing is withheld");
    stage.silence(3_500);
    stage.round();
    stage.is(Standing::Withholding, "run out");
    let withheld = stage.now;
    while stage.orders.is_empty() {
        stage.round();
        assert_eq!(stage.leases[PRIMARY], 0);
        assert!(stage.now < withheld + 10_000);
    }
    assert!(stage.now - withheld >= 3_400);
}

#[test]
fn a_primary_that_is_whole_again_before_the_switch_is_vouched_for_again() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.answers[PRIMARY][0] = Some(report(PRIMARY, 0, 0, 0, 0));
    stage.silence(3_500);
    stage.rounds(8);
    stage.is(Standing::Withholding, "");
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 1, 0, 1, 0)));
    stage.rounds(3);
    stage.is(Standing::Watching, "");
    assert_eq!((stage.leases, stage.orders.len()), ([3, 3], 0));
}

#[test]
fn a_switch_that_promoted_half_of_the_groups_is_gone_on_with() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(10);
    stage.answers[STANDBY][0] = Some(report(STANDBY, 1, 0, 2, 0));
    let asked = stage.orders.len();
    stage.rounds(6);
    assert!(stage.orders.len() > asked, "the rest is asked for");
    assert!(stage.orders.iter().all(|order| order.epoch == 2), "under the same epoch");
    // the rest hears of its primary, which reigns there still
    for node in 1..3 {
        stage.answers[STANDBY][node] = Some(report(STANDBY, 0, 1, 1, 100));
    }
    stage.rounds(10);
    stage.is(Standing::Stuck, "failover --force --to twin-2");
    let asked = stage.orders.len();
    stage.rounds(10);
    assert_eq!(stage.orders.len(), asked);
    for node in 1..3 {
        stage.answers[STANDBY][node] = Some(report(STANDBY, 1, 0, 2, 0));
    }
    stage.rounds(2);
    stage.is(Standing::Switched, "");
}

#[test]
fn a_switch_that_was_asked_for_is_never_taken_back() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(10);
    assert!(!stage.orders.is_empty());
    // nothing was promoted, and all is as it was: the request may still be on its way
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 1, 0, 1, 0)));
    stage.silence(100);
    stage.rounds(40);
    assert_eq!(stage.leases[PRIMARY], 0, "its standby vouches for it");
    stage.is(Standing::Stuck, "--planned --to twin-2");
    // a person lets the standby take over; then all is well again
    stage.answers[STANDBY] = [(); 3].map(|()| Some(report(STANDBY, 1, 0, 2, 0)));
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 0, 1, 2, 100)));
    stage.rounds(3);
    stage.is(Standing::Watching, "");
    assert_eq!(stage.leases, [3, 3]);
}

#[test]
fn a_switch_that_is_asked_for_in_vain_becomes_a_persons_matter() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(60);
    stage.is(Standing::Stuck, "asked for in vain");
    assert_eq!(stage.orders.len(), RELIEF_TRIES_MAX as usize);
}

#[test]
fn a_witness_that_begins_anew_gives_no_lease_before_it_has_heard_both_regions() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.answers[STANDBY] = [const { None }; 3];
    stage.rounds(20);
    stage.is(Standing::Watching, "before both regions were heard");
    assert_eq!(stage.leases, [0, 0]);
    let informed = Memory { is_informed: true, ..Memory::default() };
    let mut again = Stage::of(judge_with(Mode::Automatic, informed));
    again.answers[STANDBY] = [const { None }; 3];
    again.rounds(4);
    assert_eq!(again.leases, [3, 0], "one that has heard them before vouches for the one that it hears");
}

#[test]
fn a_restarted_witness_waits_out_what_its_earlier_life_gave() {
    let memory = Memory { is_informed: true, epoch: 1, ..Memory::default() };
    let mut stage = Stage::of(judge_with(Mode::Automatic, memory));
    stage.round();
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(6);
    assert!(stage.orders.is_empty());
    stage.rounds(4);
    assert!(!stage.orders.is_empty());
}

#[test]
fn a_restarted_witness_relieves_nobody_whom_it_has_not_heard() {
    let memory = Memory { is_informed: true, epoch: 1, ..Memory::default() };
    let mut stage = Stage::of(judge_with(Mode::Automatic, memory));
    stage.lose_primary();
    stage.silence(9_000);
    stage.rounds(40);
    stage.is(Standing::Watching, "no region was heard as a whole primary");
    assert!(stage.orders.is_empty());
}

#[test]
fn a_restarted_witness_goes_on_with_a_switch_if_it_may_and_never_vouches_for_the_old_primary() {
    for (mode, orders) in [(Mode::Automatic, true), (Mode::Manual, false)] {
        let relief = Some(Relief { to: "twin-2".into(), epoch: 2 });
        let memory = Memory { is_informed: true, epoch: 2, relief, ..Memory::default() };
        let mut stage = Stage::of(judge_with(mode, memory));
        stage.silence(9_000);
        stage.rounds(12);
        assert_eq!((stage.leases[PRIMARY], !stage.orders.is_empty()), (0, orders), "{mode:?}");
    }
}

#[test]
fn a_planned_switch_and_a_persons_forced_one_are_followed() {
    let mut stage = Stage::new(Mode::Automatic);
    stage.rounds(4);
    // sealed for a while, and heard of
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 0, 0, 1, 0)));
    for report in stage.answers[PRIMARY].iter_mut().flatten() {
        report.others = 1;
    }
    stage.rounds(20);
    stage.is(Standing::Watching, "heard of it");
    stage.answers[STANDBY] = [(); 3].map(|()| Some(report(STANDBY, 1, 0, 2, 0)));
    stage.answers[PRIMARY] = [(); 3].map(|()| Some(report(PRIMARY, 0, 1, 2, 100)));
    stage.rounds(3);
    stage.is(Standing::Watching, "");
    assert_eq!((stage.judge.reign(), stage.leases, stage.orders.len()), (Some(STANDBY), [3, 3], 0));
}

#[test]
fn an_answer_in_the_name_of_another_region_is_none() {
    let mut stage = Stage::new(Mode::Automatic);
    for report in stage.answers[PRIMARY].iter_mut().flatten() {
        report.region = "twin-3".to_owned();
    }
    stage.rounds(4);
    assert_eq!((stage.leases, stage.judge.seen(PRIMARY, ms(stage.now)).answered), ([0, 0], 0));
}
