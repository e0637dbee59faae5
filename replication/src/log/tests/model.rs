//! Random operations on random groups, with restarts, kills and power cuts, against a model.

use super::support::*;
use crate::{
    disk::fault::FaultDisk,
    log::{EntryId, FindingKind, GroupLog, LogEntry, SegmentLog, Vote},
};
use std::collections::BTreeMap;

const GROUPS: u32 = 4;
const OPERATIONS: usize = 250;

/// SplitMix64: enough for a test, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[derive(Default)]
struct Model {
    vote: Option<Vote>,
    purged: Option<EntryId>,
    entries: BTreeMap<u64, LogEntry>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<EntryId> {
        self.entries.values().next_back().map(|entry| entry.id).or(self.purged)
    }

    fn new_entries(&mut self, random: &mut Random) -> Vec<LogEntry> {
        self.term += random.below(2);
        let next = self.last().map_or(0, |last| last.index + 1);
        let count = 1 + random.below(4);
        (next..next + count).map(|index| entry(self.term, index, random.below(6000) as usize)).collect()
    }
}

struct Run {
    random: Random,
    disk: FaultDisk,
    log: SegmentLog,
    models: BTreeMap<u32, Model>,
}

impl Run {
    async fn step(&mut self) {
        let number = 1 + self.random.below(u64::from(GROUPS)) as u32;
        let one = group(&self.log, number);
        let model = self.models.entry(number).or_default();
        match self.random.below(100) {
            0..50 => {
                let entries = model.new_entries(&mut self.random);
                append(&one, entries.clone()).await.unwrap();
                model.entries.extend(entries.into_iter().map(|entry| (entry.id.index, entry)));
            }
            50..60 => {
                model.vote = Some(vote(self.random.below(1000)));
                one.save_vote(model.vote.unwrap()).await.unwrap();
            }
            60..68 => truncate(&mut self.random, model, &one).await,
            68..76 => purge(&mut self.random, model, &one).await,
            76..80 => one.save_committed(model.last()).unwrap(),
            80..82 => {
                one.drop_group().await.unwrap();
                self.models.remove(&number);
            }
            82..88 => self.collect().await,
            88..92 => self.reopen(self.disk.clone()).await,
            92..96 => self.reopen(self.disk.after_kill()).await,
            _ => self.power_cut(number).await,
        }
    }

    async fn collect(&mut self) {
        let segments: Vec<_> = self.log.segments().into_iter().filter(|segment| segment.sealed).collect();
        let Some(oldest) = segments.first() else { return };
        for number in self.models.keys() {
            let one = group(&self.log, *number);
            for index in self.models[number].entries.keys() {
                let place = one.flushed(*index).await.unwrap();
                if place.segment == oldest.id {
                    self.log.move_entry(one.id(), &place).await.unwrap();
                }
            }
        }
        for segment in self.log.segments().into_iter().filter(|s| s.sealed && s.entries_unpurged == 0) {
            self.log.remove_segment(segment.id).unwrap();
        }
    }

    /// Cuts the power while a batch is under way: any of its blocks may be there.
    async fn power_cut(&mut self, number: u32) {
        let one = group(&self.log, number);
        let entries = self.models.get_mut(&number).unwrap().new_entries(&mut self.random);
        self.disk.hold_syncs();
        let pending = append_later(&one, entries.clone()).await.unwrap();
        self.disk.wait_for_held_sync();
        let odds = self.random.below(5);
        let random = &mut self.random;
        let image = self.disk.after_power_cut(&mut || random.below(4) < odds);
        self.disk.release_syncs();
        drop(pending.await);
        drop(one);
        (self.log, _) = open(&image);
        self.disk = image;
        let recovered = all(&group(&self.log, number)).await;
        let model = self.models.get_mut(&number).unwrap();
        let acknowledged = model.entries.len();
        assert!(recovered.len() >= acknowledged && recovered.len() <= acknowledged + entries.len());
        for (entry, expected) in recovered[acknowledged..].iter().zip(entries) {
            assert_eq!(*entry, expected);
            model.entries.insert(expected.id.index, expected);
        }
        self.check().await;
    }

    async fn reopen(&mut self, disk: FaultDisk) {
        let (log, recovery) = {
            // the old log may still be open on another image
            if self.random.below(2) == 0 {
                self.log.close();
            }
            let image = disk.after_kill();
            let opened = open(&image);
            self.disk = image;
            opened
        };
        assert!(
            recovery.findings.iter().all(|finding| finding.kind == FindingKind::TornTail),
            "{recovery:?}"
        );
        self.log = log;
        self.check().await;
    }

    async fn check(&self) {
        for (number, model) in &self.models {
            let one = group(&self.log, *number);
            let state = one.state();
            assert_eq!((state.vote, state.purged), (model.vote, model.purged), "group {number}");
            assert_eq!((state.damage, state.last), (None, model.last()), "group {number}");
            assert_eq!(all(&one).await, model.entries.values().cloned().collect::<Vec<_>>());
        }
        let unpurged: u64 = self.log.segments().iter().map(|segment| segment.entries_unpurged).sum();
        assert_eq!(unpurged, self.models.values().map(|model| model.entries.len() as u64).sum::<u64>());
    }
}

async fn truncate(random: &mut Random, model: &mut Model, one: &GroupLog) {
    let Some((first, last)) = model.entries.keys().next().zip(model.entries.keys().next_back()) else {
        return;
    };
    let from = first + random.below(last - first + 1);
    let after = model.entries.range(..from).next_back().map(|(_, entry)| entry.id).or(model.purged);
    one.truncate_after(after).await.unwrap();
    model.entries.split_off(&from);
}

async fn purge(random: &mut Random, model: &mut Model, one: &GroupLog) {
    let next = model.last().map_or(0, |last| last.index + 1);
    let first = model.purged.map_or(0, |purged| purged.index + 1);
    let upto =
        if random.below(8) == 0 { next + random.below(10) } else { first + random.below(next - first + 1) };
    let upto = model.entries.get(&upto).map_or(id(model.term, upto), |entry| entry.id);
    one.purge(upto).await.unwrap();
    model.purged = Some(upto);
    model.entries = model.entries.split_off(&(upto.index + 1));
}

#[tokio::test]
async fn random_histories_with_crashes_match_the_model() {
    for seed in 0..25 {
        println!("seed {seed}");
        let disk = disk();
        let (log, _) = open_uncached(&disk);
        let mut run = Run { random: Random(seed), disk, log, models: BTreeMap::new() };
        for _ in 0..OPERATIONS {
            run.step().await;
        }
        run.check().await;
    }
}
