//! A pair, its witness and three clocks, with links that break, messages that are lost or late, a primary that is halted
//! and a witness that dies: nobody is promoted while another may still acknowledge.
//!
//! The standby's side follows `wire::lease` as the engine does: it is relieved only if it could not have vouched for its
//! primary, and gives no more leases from then on. Canaries take one rule away each, and the world sees two reigns.

use super::*;
use wire::lease::{CLOCK_RATE_ERROR_MAX_PERCENT, Holder};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[derive(Clone, Copy)]
struct Clock {
    began: u64,
    rate: u64,
}

impl Clock {
    fn new(random: &mut Random, error_percent: u64) -> Self {
        let rate = 100 - error_percent + random.below(2 * error_percent + 1);
        Self { began: random.below(1_000_000), rate }
    }

    fn at(self, true_ms: u64) -> Duration {
        Duration::from_millis(self.began + true_ms * self.rate / 100)
    }
}

/// What is wrong in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Clocks beyond the bound.
    Clocks,
    /// A witness that is started again remembers no switch.
    Forgets,
    /// A switch that promoted nothing is taken back.
    TakesBack,
    /// Leases that were given count for nothing.
    DoesNotWait,
}

/// Nodes of a region, and groups: node N leads group N.
const NODES: usize = 3;
/// A step, true ms.
const STEP: u64 = 20;
/// How long a history lasts, true ms.
const HISTORY: u64 = 60_000;

enum Message {
    Question { region: usize, node: usize, call: u64, epoch: u64, stamp: Option<u64> },
    Answer { region: usize, node: usize, call: u64, report: LeaseReport },
    Relieve { epoch: u64 },
    StandbyAsks { group: usize, stamp: Option<u64> },
    PrimaryAnswers { group: usize, stamp: u64 },
}

/// Links by what they join.
const WITNESS_PRIMARY: usize = 0;
const WITNESS_STANDBY: usize = 1;
const PRIMARY_STANDBY: usize = 2;

struct World {
    random: Random,
    fault: Fault,
    now: u64,
    clocks: [Clock; 3],
    links: [bool; 3],
    is_halted: bool,
    on_way: Vec<(u64, Message)>,
    judge: Judge,
    disk: Memory,
    calls: u64,
    outstanding: [[Option<(u64, u64)>; NODES]; 2],
    /// Of the primary's nodes: leases of the witness, and the newest epoch that it said.
    of_witness: [(Holder, u64); NODES],
    of_standby: [Holder; NODES],
    granters: [Granter; NODES],
    promoted: [Option<u64>; NODES],
}

fn judge_of(memory: Memory, now: Duration) -> Judge {
    let nodes = || (1..).take(NODES).collect();
    Judge::new(Mode::Automatic, [("twin-1".to_owned(), nodes()), ("twin-2".to_owned(), nodes())], memory, now)
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut random = Random(seed);
        let error = if fault == Fault::Clocks { 25 } else { u64::from(CLOCK_RATE_ERROR_MAX_PERCENT) };
        let clocks = [(); 3].map(|()| Clock::new(&mut random, error));
        Self {
            fault,
            now: 0,
            clocks,
            links: [true; 3],
            is_halted: false,
            on_way: Vec::new(),
            judge: judge_of(Memory::default(), clocks[2].at(0)),
            disk: Memory::default(),
            calls: 0,
            outstanding: [[None; NODES]; 2],
            of_witness: [(Holder::default(), 0); NODES],
            of_standby: [Holder::default(); NODES],
            granters: [Granter::new(clocks[1].at(0)); NODES],
            promoted: [None; NODES],
            random,
        }
    }

    fn send(&mut self, link: usize, message: Message) {
        if !self.links[link] || self.random.below(20) == 0 {
            return;
        }
        // a process that is halted with a request to take over carries it out when it goes on
        let one_in = if matches!(message, Message::Relieve { .. }) { 2 } else { 10 };
        let is_late = self.random.below(one_in) == 0;
        let late = self.random.below(if is_late { 15_000 } else { 40 });
        self.on_way.push((self.now + STEP + late, message));
    }

    /// What goes wrong next, and what comes back.
    fn befall(&mut self) {
        if self.now < 4_000 || self.random.below(150) != 0 {
            return;
        }
        match self.random.below(8) {
            link @ 0..=2 => self.links[link as usize] ^= true,
            3 => (self.links[WITNESS_PRIMARY], self.links[PRIMARY_STANDBY]) = (false, false),
            4 => self.links = [true; 3],
            5 => self.is_halted ^= true,
            6 => {
                let memory = match self.fault {
                    Fault::Forgets => Memory { is_informed: true, ..Memory::default() },
                    _ => self.disk.clone(),
                };
                self.judge = judge_of(memory, self.clocks[2].at(self.now));
                self.outstanding = [[None; NODES]; 2];
            }
            _ => {}
        }
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Question { region: 0, node, call, epoch, stamp } => {
                let now = self.clocks[0].at(self.now);
                let stamp_out = self.random.next();
                let (holder, newest) = &mut self.of_witness[node];
                *newest = (*newest).max(epoch);
                if let Some(stamp) = stamp {
                    holder.grant(stamp);
                }
                holder.issue(stamp_out, now);
                let report = self.report(0, node, stamp_out);
                self.send(WITNESS_PRIMARY, Message::Answer { region: 0, node, call, report });
            }
            Message::Question { region, node, call, .. } => {
                let report = self.report(1, node, 0);
                self.send(WITNESS_STANDBY, Message::Answer { region, node, call, report });
            }
            Message::Answer { region, node, call, report } => {
                if self.outstanding[region][node].is_some_and(|(asked, _)| asked == call) {
                    self.outstanding[region][node] = None;
                    self.judge.heard(region, node, report, self.clocks[2].at(self.now));
                }
            }
            Message::Relieve { epoch } => {
                let now = self.clocks[1].at(self.now);
                for group in 0..NODES {
                    if self.promoted[group].is_none() && self.granters[group].is_over(now) {
                        self.promoted[group] = Some(epoch);
                    }
                }
            }
            Message::StandbyAsks { group, stamp } => {
                if let Some(stamp) = stamp {
                    self.of_standby[group].grant(stamp);
                }
                let stamp = self.random.next();
                self.of_standby[group].issue(stamp, self.clocks[0].at(self.now));
                self.send(PRIMARY_STANDBY, Message::PrimaryAnswers { group, stamp });
            }
            Message::PrimaryAnswers { group, stamp } => {
                if self.promoted[group].is_none() {
                    self.granters[group].hear(stamp, self.clocks[1].at(self.now));
                }
            }
        }
    }

    fn report(&self, region: usize, node: usize, stamp: u64) -> LeaseReport {
        let is_primary = region == 0 || self.promoted[node].is_some();
        let epoch = if region == 0 { 1 } else { self.promoted[node].unwrap_or(1) };
        let silence = self.granters[node].silence(self.clocks[1].at(self.now));
        LeaseReport {
            region: ["twin-1", "twin-2"][region].to_owned(),
            stamp,
            is_needed: true,
            groups_total: NODES as u32,
            primaries: u32::from(is_primary),
            standbys: u32::from(!is_primary),
            others: 0,
            epoch,
            unheard_ms: (!is_primary).then(|| u64::try_from(silence.as_millis()).unwrap()),
        }
    }

    fn step(&mut self) {
        self.befall();
        let now = self.now;
        // what comes to a halted primary waits there until it goes on
        let is_halted = self.is_halted;
        let waits = |message: &Message| {
            is_halted && matches!(message, Message::Question { region: 0, .. } | Message::StandbyAsks { .. })
        };
        let (arrived, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.on_way)
            .into_iter()
            .partition(|(at, message)| *at <= now && !waits(message));
        self.on_way = rest;
        for (_, message) in arrived {
            self.arrive(message);
        }
        for node in 0..NODES {
            if now % 500 == (node as u64) * 100 {
                self.ask(node);
            }
        }
        if now.is_multiple_of(100) {
            self.preside();
        }
        self.now += STEP;
    }

    fn ask(&mut self, node: usize) {
        for region in 0..2 {
            if let Some((_, at)) = self.outstanding[region][node] {
                if self.now < at + 1_000 {
                    continue;
                }
                self.judge.unanswered(region, node);
            }
            self.calls += 1;
            self.outstanding[region][node] = Some((self.calls, self.now));
            let (epoch, stamp) = self.judge.question(region, node);
            self.send(region, Message::Question { region, node, call: self.calls, epoch, stamp });
        }
        if self.promoted[node].is_none() {
            let stamp = self.granters[node].grant();
            self.send(PRIMARY_STANDBY, Message::StandbyAsks { group: node, stamp });
        }
    }

    fn preside(&mut self) {
        let now = self.clocks[2].at(self.now);
        if self.fault == Fault::DoesNotWait {
            for node in &mut self.judge.regions[0].nodes {
                node.granter = Granter::new(Duration::ZERO);
            }
        }
        if let Some(relief) = self.judge.judge(now) {
            self.send(WITNESS_STANDBY, Message::Relieve { epoch: relief.epoch });
            self.judge.relief_asked();
        }
        if let Some(memory) = self.judge.to_remember() {
            self.disk = memory.clone();
            self.judge.remembered();
        }
        let seen = [0, 1].map(|region| self.judge.seen(region, now));
        if self.fault == Fault::TakesBack
            && self.judge.memory.relief.is_some()
            && seen[0].is_primary()
            && seen[1].is_standby()
        {
            self.judge.memory.relief = None;
            self.judge.memory.epoch = 1;
            // nodes that were told of the newer epoch would have to forget it too
            self.of_witness.iter_mut().for_each(|(_, newest)| *newest = 1);
        }
    }

    /// Whether a group that was promoted may still be acknowledged by the old primary.
    fn has_two_reigns(&self) -> bool {
        let now = self.clocks[0].at(self.now);
        (0..NODES).any(|group| {
            let (holder, newest) = self.of_witness[group];
            let vouches = (newest <= 1 && holder.holds(now)) || self.of_standby[group].holds(now);
            !self.is_halted && self.promoted[group].is_some() && vouches
        })
    }
}

/// Whether two regions ever reigned, and whether there was a switch.
fn history(seed: u64, fault: Fault) -> (bool, bool) {
    let mut world = World::new(seed, fault);
    while world.now < HISTORY {
        world.step();
        if world.has_two_reigns() {
            return (true, true);
        }
    }
    (false, world.promoted.iter().any(Option::is_some))
}

#[test]
fn whatever_befalls_a_pair_only_one_of_its_regions_reigns() {
    let mut switched = 0;
    for seed in 0..500 {
        let (two, switch) = history(seed, Fault::Nothing);
        assert!(!two, "seed {seed}");
        switched += usize::from(switch);
    }
    assert!(switched > 100, "only {switched} of 500 histories have a switch");
}

#[test]
fn without_any_of_its_rules_two_would_reign() {
    for fault in [Fault::Clocks, Fault::Forgets, Fault::TakesBack, Fault::DoesNotWait] {
        let found = (0..4_000).find(|seed| history(*seed, fault).0);
        assert!(found.is_some(), "{fault:?}");
        eprintln!("{fault:?}: seen with seed {}", found.unwrap_or_default());
    }
}
