//! Forced switches, one after another, while clients write: what was acknowledged and is gone is exactly what the loss
//! manifest lists. Several pairs at once, each in a network namespace of its own. Between the regions of every other pair the link is
//! long and loses packets: they are lost on the way to a proxy that holds what passes for half the round trip.
//!
//! `CHAOS_ROUNDS` says how many switches in all; CI makes two hundred. `CHAOS_SEED` is the seed, which is printed.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod apart;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use apart::apart;
use bench::pair::link::Shape;
use chaos::dev::{Dev, Ready};
use chaos::network::Loopback;
use chaos::pair::{is_fenced, lag, manifest, wait_for, wait_synced};
use chaos::random::Random;
use chaos::run::Run;
use chaos::workload::Stopping;

const BUCKET: &str = "forced";
const WRITERS: usize = 4;
/// Switches of all pairs, unless `CHAOS_ROUNDS` says otherwise.
const ROUNDS_DEFAULT: u64 = 200;
/// Pairs that switch at the same time: most of a switch is waiting.
const PAIRS: u64 = 4;
/// Of so many packets of a thousand, those on a long link are lost.
const LOST_PER_MILLE: u32 = 10;

/// Keys that clients wrote once each.
#[derive(Default)]
struct Written {
    acknowledged: BTreeSet<String>,
    /// Nobody knows what became of these.
    unknown: BTreeSet<String>,
}

/// What keeps a manifest from being exact: acknowledged keys that are gone and not listed, listed keys that are there, and
/// listed keys that nobody wrote.
fn inexact(written: &Written, gone: &BTreeSet<String>, listed: &BTreeSet<String>) -> Vec<String> {
    let unlisted = gone.difference(listed).filter(|key| written.acknowledged.contains(*key));
    let unlisted = unlisted.map(|key| format!("{key} was acknowledged, is gone, and is not listed"));
    let present = listed.difference(gone).map(|key| format!("{key} is listed, and is there"));
    let all = || written.acknowledged.union(&written.unknown).cloned().collect::<BTreeSet<_>>();
    let strange = listed
        .difference(&all())
        .map(|key| format!("{key} is listed, and nobody wrote it"))
        .collect::<Vec<_>>();
    unlisted.chain(present).chain(strange).collect()
}

#[test]
fn a_manifest_that_leaves_a_key_out_or_adds_one_is_found() {
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let written = Written { acknowledged: keys(&["a", "b", "c"]), unknown: keys(&["u"]) };
    assert_eq!(inexact(&written, &keys(&["b", "u"]), &keys(&["b"])), Vec::<String>::new());
    assert_eq!(inexact(&written, &keys(&["b", "u"]), &keys(&["b", "u"])), Vec::<String>::new());
    assert!(inexact(&written, &keys(&["b"]), &keys(&[]))[0].contains("not listed"));
    assert!(inexact(&written, &keys(&[]), &keys(&["b"]))[0].contains("is there"));
    assert!(inexact(&written, &keys(&["x"]), &keys(&["x"]))[0].contains("nobody"));
}

/// Writes one key after another until told to end; a request is never repeated.
fn write(region: &Ready, prefix: &str, ended: &AtomicBool) -> Written {
    let connect = || region.client_waiting(Duration::from_secs(2)).unwrap();
    let (mut written, mut client) = (Written::default(), connect());
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{prefix}-{number}");
        if client.put(BUCKET, &key, key.as_bytes()).is_ok() {
            written.acknowledged.insert(key);
        } else {
            written.unknown.insert(key);
            client = connect();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    written
}

/// One forced switch from the first region to the second under load, with what the seed breaks around it. How many writes it
/// lost.
fn switch(name: &str, dev: &Dev, [old, new]: &[Ready; 2], number: u64, random: &mut Random) -> usize {
    let ended = AtomicBool::new(false);
    let (stalls, kills) = (random.chance(60), random.chance(40));
    let (before, stalled) = (100 + random.below(400), 50 + random.below(300));
    let after = 50 + random.below(200);
    let mut written = std::thread::scope(|scope| {
        let (ended, stopping) = (&ended, Stopping(&ended));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(old, &format!("{number}-{writer}"), ended)))
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
        let mut all = Written::default();
        for writer in writers {
            let part = writer.join().unwrap();
            all.acknowledged.extend(part.acknowledged);
            all.unknown.extend(part.unknown);
        }
        all
    });
    if kills {
        dev.twinkeep(&["dev", "start", &old.region]).unwrap();
    }
    wait_for("fencing", || is_fenced(dev, &old.region));
    let listed = manifest(dev);
    let mut client = new.client().unwrap();
    let there: BTreeSet<String> =
        client.list(BUCKET, &format!("{number}-")).unwrap().into_iter().map(|entry| entry.key).collect();
    let all: BTreeSet<String> = written.acknowledged.union(&written.unknown).cloned().collect();
    let gone = all.difference(&there).cloned().collect();
    let inexact = inexact(&written, &gone, &listed);
    assert!(inexact.is_empty(), "{name}, switch {number}: {inexact:#?}");
    written.acknowledged.retain(|key| !there.contains(key));
    println!(
        "{name}, switch {number}{}{}: {} listed, {} of them acknowledged",
        if stalls { ", the standby stood still" } else { "" },
        if kills { ", the primary was killed" } else { "" },
        listed.len(),
        written.acknowledged.len()
    );
    written.acknowledged.len()
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
