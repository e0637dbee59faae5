//! Forced switches, one after another, while clients write, write over and delete: what was acknowledged and is gone is exactly what the loss
//! manifest lists, change by change. Several pairs at once, each in a network namespace of its own. Between the regions of every other pair the link is
//! long and loses packets: they are lost on the way to a proxy that holds what passes for half the round trip.
//!
//! `CHAOS_ROUNDS` says how many switches in all; CI makes two hundred. `CHAOS_SEED` is the seed, which is printed.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod apart;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use apart::apart;
use bench::pair::link::Shape;
use chaos::dev::{Dev, Ready};
use chaos::network::Loopback;
use chaos::pair::{is_fenced, lag, wait_for, wait_synced};
use chaos::random::Random;
use chaos::run::Run;
use chaos::workload::Stopping;
use serde_json::Value;

const BUCKET: &str = "forced";
const WRITERS: usize = 4;
/// Switches of all pairs, unless `CHAOS_ROUNDS` says otherwise.
const ROUNDS_DEFAULT: u64 = 200;
/// Pairs that switch at the same time: most of a switch is waiting.
const PAIRS: u64 = 4;
/// Of so many packets of a thousand, those on a long link are lost.
const LOST_PER_MILLE: u32 = 10;

/// What a client did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Wrote so many bytes, which no other write of this key did.
    Put(u64),
    Delete,
}

/// What clients did, key by key and in order; whether it was acknowledged. Nobody knows what became of what was not: it is its key's last.
type Written = BTreeMap<String, Vec<(Change, bool)>>;

/// What a manifest lists, key by key.
type Listed = BTreeMap<String, Vec<Change>>;

/// Whether these, and nothing but these, are listed; those that were not acknowledged may be.
fn is_listed(lost: &[(Change, bool)], listed: &[Change]) -> bool {
    let changes: BTreeSet<Change> =
        lost.iter().map(|(change, _)| *change).chain(listed.iter().copied()).collect();
    changes.into_iter().all(|change| {
        let lost = || lost.iter().filter(|(other, _)| *other == change);
        let certain = lost().filter(|(_, is_acknowledged)| *is_acknowledged).count();
        let listed = listed.iter().filter(|other| **other == change).count();
        (certain..=lost().count()).contains(&listed)
    })
}

/// Of what was done to a key, what the new primary may lack: the key is as it was before that, and the manifest lists just that.
fn lost<'a>(
    done: &'a [(Change, bool)],
    there: Option<u64>,
    listed: &[Change],
) -> Option<&'a [(Change, bool)]> {
    let after = |kept: &[(Change, bool)]| match kept.last() {
        Some((Change::Put(size), _)) => Some(*size),
        Some((Change::Delete, _)) | None => None,
    };
    // what was not acknowledged may never have been done
    let certain = done.iter().take_while(|(_, is_acknowledged)| *is_acknowledged).count();
    [done.len(), certain].into_iter().find_map(|count| {
        (0..=count).rev().find_map(|kept| {
            let (kept, lost) = done[..count].split_at(kept);
            (after(kept) == there && is_listed(lost, listed)).then_some(lost)
        })
    })
}

/// What keeps a manifest from being exact: keys of which it does not list what is gone and nothing else, and keys that nobody wrote.
fn inexact(written: &Written, there: &BTreeMap<String, u64>, listed: &Listed) -> Vec<String> {
    let is_exact = |key: &String, done: &[(Change, bool)]| {
        lost(done, there.get(key).copied(), listed.get(key).map_or(&[], Vec::as_slice)).is_some()
    };
    let wrong = written.iter().filter(|(key, done)| !is_exact(key, done)).map(|(key, done)| {
        format!("{key}: {done:?} was done, {:?} is there, {:?} is listed", there.get(key), listed.get(key))
    });
    let strange = listed.keys().filter(|key| !written.contains_key(*key));
    wrong.chain(strange.map(|key| format!("{key} is listed, and nobody wrote it"))).collect()
}

#[test]
fn a_manifest_that_leaves_a_change_out_or_adds_one_is_found() {
    use Change::{Delete, Put};
    let of = |done: &[(Change, bool)], there: Option<u64>, listed: &[Change]| {
        let key = || "a".to_owned();
        let written = Written::from([(key(), done.to_vec())]);
        let there = there.map(|size| (key(), size)).into_iter().collect();
        let listed =
            [(key(), listed.to_vec())].into_iter().filter(|(_, listed)| !listed.is_empty()).collect();
        inexact(&written, &there, &listed).is_empty()
    };
    let done = [(Put(1), true), (Put(2), true), (Delete, true), (Put(3), true)];
    assert!(of(&done, Some(3), &[]));
    assert!(of(&done, None, &[Put(3)]) && of(&done, None, &[Put(1), Put(2), Delete, Put(3)]));
    assert!(of(&done, Some(1), &[Put(2), Delete, Put(3)]));
    assert!(!of(&done, Some(2), &[Put(3)]), "the delete is gone and not listed");
    assert!(!of(&done, None, &[]), "the last write is gone and not listed");
    assert!(!of(&done, Some(3), &[Put(3)]), "it is there and listed");
    assert!(!of(&done, Some(2), &[Delete, Delete, Put(3)]), "it was deleted once");
    assert!(!of(&done, Some(4), &[]), "nobody wrote that");
    // what was not acknowledged: not done, done, or done and lost
    let done = [(Put(1), true), (Put(2), false)];
    assert!(of(&done, Some(1), &[]) && of(&done, Some(2), &[]) && of(&done, Some(1), &[Put(2)]));
    assert!(of(&done, None, &[Put(1)]) && of(&done, None, &[Put(1), Put(2)]));
    assert!(!of(&done, None, &[Put(2)]));
    let strange = Listed::from([("x".to_owned(), vec![Put(1)])]);
    assert!(inexact(&Written::new(), &BTreeMap::new(), &strange)[0].contains("nobody"));
}

/// Writes, overwrites and deletes until told to end; a request is never repeated, and a key of which nobody knows how it is is left alone.
fn write(region: &Ready, prefix: &str, mut random: Random, ended: &AtomicBool) -> Written {
    let connect = || region.client_waiting(Duration::from_secs(2)).unwrap();
    let (mut written, mut client) = (Written::new(), connect());
    let mut known: Vec<String> = Vec::new();
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let is_new = known.is_empty() || random.chance(50);
        let key = match is_new {
            true => format!("{prefix}-{number}"),
            false => known.swap_remove(random.below(known.len() as u64) as usize),
        };
        let last = written.get(&key).and_then(|done| done.last());
        let change = match () {
            () if matches!(last, Some((Change::Put(_), _))) && random.chance(30) => Change::Delete,
            // more than is kept in the row of the object
            () if random.chance(5) => Change::Put(70_000 + number),
            () => Change::Put(1 + number),
        };
        let done = match change {
            Change::Put(size) => client.put(BUCKET, &key, &vec![b'x'; size as usize]),
            Change::Delete => client.delete(BUCKET, &key),
        };
        written.entry(key.clone()).or_default().push((change, done.is_ok()));
        if done.is_ok() {
            known.push(key);
        } else {
            client = connect();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    written
}

/// What the manifest lists; panics unless the list is whole.
fn listed(dev: &Dev) -> Listed {
    let said = dev.twinkeep(&["failover", "manifest", "--json"]).unwrap();
    let manifest: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(manifest["complete"], true, "{manifest}");
    let mut listed = Listed::new();
    for entry in manifest["entries"].as_array().unwrap() {
        let change = match entry["change"].as_str() {
            Some("put") => Change::Put(entry["size"].as_u64().unwrap()),
            Some("delete") => Change::Delete,
            _ => panic!("nobody did that: {entry}"),
        };
        listed.entry(entry["key"].as_str().unwrap().to_owned()).or_default().push(change);
    }
    listed
}

/// One forced switch from the first region to the second under load, with what the seed breaks around it. How many writes it
/// lost.
fn switch(name: &str, dev: &Dev, [old, new]: &[Ready; 2], number: u64, random: &mut Random) -> usize {
    let ended = AtomicBool::new(false);
    let (stalls, kills) = (random.chance(60), random.chance(40));
    let (before, stalled) = (100 + random.below(400), 50 + random.below(300));
    let after = 50 + random.below(200);
    let written = std::thread::scope(|scope| {
        let (ended, stopping) = (&ended, Stopping(&ended));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let random = Random::from_seed(random.next_u64());
                scope.spawn(move || write(old, &format!("{number}-{writer}"), random, ended))
            })
            .collect();
        let pause = |ms| std::thread::sleep(Duration::from_millis(ms));
        pause(before);
        if stalls {
            dev.twinkeep(&["dev", "stop", &new.region]).unwrap();
            pause(stalled);
        }
        if kills {
            dev.twinkeep(&["dev", "kill", &old.region]).unwrap();
        }
        if stalls {
            dev.twinkeep(&["dev", "start", &new.region]).unwrap();
        }
        // a region that went on a moment ago may be electing
        wait_for("the switch", || {
            dev.twinkeep(&["failover", "--force", "--to", &new.region, "--json"]).is_ok()
        });
        pause(after);
        drop(stopping);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Written>()
    });
    if kills {
        dev.twinkeep(&["dev", "start", &old.region]).unwrap();
    }
    wait_for("fencing", || is_fenced(dev, &old.region));
    let listed = listed(dev);
    let mut client = new.client().unwrap();
    let there = client.list(BUCKET, &format!("{number}-")).unwrap();
    let there: BTreeMap<String, u64> =
        there.into_iter().map(|entry| (entry.key, entry.size.unwrap())).collect();
    let inexact = inexact(&written, &there, &listed);
    assert!(inexact.is_empty(), "{name}, switch {number}: {inexact:#?}");
    let of_key = |(key, done): (&String, &Vec<(Change, bool)>)| {
        let listed = listed.get(key).map_or(&[][..], Vec::as_slice);
        let lost = lost(done, there.get(key).copied(), listed).unwrap_or_default();
        lost.iter().filter(|(_, is_acknowledged)| *is_acknowledged).count()
    };
    let acknowledged = written.iter().map(of_key).sum();
    println!(
        "{name}, switch {number}{}{}: {} changes, {} listed, {acknowledged} of them acknowledged",
        if stalls { ", the standby stood still" } else { "" },
        if kills { ", the primary was killed" } else { "" },
        written.values().map(Vec::len).sum::<usize>(),
        listed.values().map(Vec::len).sum::<usize>(),
    );
    acknowledged
}

/// Tells the other pairs to end when its own fails.
struct Failing<'a>(&'a AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Switches a pair there and back as long as there are switches left for any, and none failed. How many acknowledged writes that
/// lost.
fn switch_there_and_back(
    name: &str,
    seed: u64,
    left: &AtomicU64,
    lossy: Option<&Loopback>,
    failed: &AtomicBool,
) -> usize {
    let _failing = Failing(failed);
    let (mut random, run) = (Random::from_seed(seed), Run::new(name).unwrap());
    let mut dev = Dev::start_pair(&run).unwrap();
    let link = lossy.map(|network| {
        let (runtime, links) = apart(&mut dev, Shape::CONTINENT);
        let ports: Vec<u16> = links.iter().map(|link| link.address().port()).collect();
        network.lose(&ports, LOST_PER_MILLE).unwrap();
        (runtime, links)
    });
    let mut regions = [dev.ready.clone(), dev.other.clone().unwrap()];
    regions[0].client().unwrap().create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    let mut lost = 0;
    for number in 0.. {
        let is_left =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if !is_left || failed.load(Ordering::Relaxed) {
            break;
        }
        lost += switch(name, &dev, &regions, number, &mut random);
        dev.twinkeep(&["failover", "rejoin", "--discard"]).unwrap();
        wait_for("the pair", || lag(&dev).unwrap()["state"] == "Live");
        wait_synced(&dev).unwrap();
        regions.swap(0, 1);
    }
    dev.end().unwrap();
    drop(link);
    lost
}

#[test]
fn what_forced_switches_lose_is_what_their_manifests_list() {
    let mut random = Random::from_seed(Random::seed_of_run("forced-switches"));
    let rounds = std::env::var("CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok());
    let switches = rounds.unwrap_or(ROUNDS_DEFAULT);
    let left = AtomicU64::new(switches);
    let pairs: Vec<_> = (0..PAIRS).map(|pair| (pair, random.next_u64(), Loopback::new().unwrap())).collect();
    let failed = AtomicBool::new(false);
    let lost: Vec<usize> = std::thread::scope(|scope| {
        let switching: Vec<_> = pairs
            .iter()
            .map(|(pair, seed, network)| {
                let lossy = pair.is_multiple_of(2).then_some(network);
                let (name, left, failed) = (format!("forced-switches-{pair}"), &left, &failed);
                let task = move || switch_there_and_back(&name, *seed, left, lossy, failed);
                scope.spawn(move || network.within(task).unwrap())
            })
            .collect();
        switching.into_iter().map(|pair| pair.join().unwrap()).collect()
    });
    println!(
        "acknowledged writes lost by each pair in {switches} switches of all: {lost:?}, and all were listed"
    );
    let of_half = |lossy: u64| lost.iter().skip(usize::from(lossy == 0)).step_by(2).sum::<usize>();
    assert!(of_half(1) > 0 && of_half(0) > 0, "switches that never lose anything show nothing");
    for (pair, _, network) in pairs.iter().filter(|(pair, ..)| pair.is_multiple_of(2)) {
        let dropped = network.lost().unwrap();
        println!("{dropped} packets between the regions of pair {pair} were lost");
        assert!(dropped > 0, "the link of pair {pair} loses nothing");
    }
}
