//! Two regions of real processes as a pair: nothing acknowledged is lost by a planned switch, and what a forced one may lose
//! is bounded by the recovery point that it names.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod apart;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use apart::apart;
use bench::pair::link::Shape;
use chaos::dev::{Dev, Ready};
use chaos::ledger::{Ledger, content};
use chaos::pair::{is_fenced, lag, unix_millis, wait_for, wait_synced};
use chaos::run::Run;
use chaos::workload::Stopping;
use serde_json::{Value, json};

const BUCKET: &str = "pair";

/// What a region's answer to a HEAD says of how old it may be.
fn told_sync_time(region: &Ready) -> Option<String> {
    let answer = region.client().unwrap().call("HEAD", &format!("/{BUCKET}/fixed"), &[], &[], b"").unwrap();
    answer.header("x-twinkeep-last-sync-time").map(str::to_owned)
}

/// Reads every key of the ledger in one region and holds it against what was acknowledged.
fn check(ledger: &Ledger, region: &Ready) {
    let mut client = region.client().unwrap();
    for key in ledger.keys() {
        let seen = client.get(BUCKET, key).unwrap();
        ledger.check_current(key, seen.as_deref()).unwrap_or_else(|violation| panic!("{key}: {violation:?}"));
    }
}

#[test]
fn a_planned_switch_under_load_loses_nothing_and_reads_never_fail() {
    let run = Run::new("pair-planned").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let mut regions = [dev.ready.clone(), dev.other.clone().unwrap()];
    regions[0].client().unwrap().create_bucket(BUCKET).unwrap();
    let mut ledger = Ledger::new();
    let (serial, body) = ledger.begin_write("fixed", 1000);
    let written = regions[0].client().unwrap().put(BUCKET, "fixed", &body);
    ledger.end("fixed", serial, &written);
    wait_synced(&dev).unwrap();
    wait_for("the last sync time", || told_sync_time(&regions[1]).is_some());
    assert_eq!(told_sync_time(&regions[0]), None, "the primary is behind nothing");
    for switch in 0..3 {
        let ended = AtomicBool::new(false);
        let [primary, standby] = &regions;
        let mut paused = 0;
        std::thread::scope(|scope| {
            let (ended, stopping) = (&ended, Stopping(&ended));
            for region in [primary, standby] {
                let fixed = body.clone();
                scope.spawn(move || {
                    let mut client = region.client().unwrap();
                    while !ended.load(Ordering::Relaxed) {
                        let seen = client.get(BUCKET, "fixed").expect("a read fails during a planned switch");
                        assert_eq!(seen.as_ref(), Some(&fixed), "a read in {}", region.region);
                    }
                });
            }
            let ledger = &mut ledger;
            let writer = scope.spawn(move || {
                let mut client = primary.client().unwrap();
                for number in 0.. {
                    let key = format!("{switch}/{number}");
                    let (serial, body) = ledger.begin_write(&key, 100 + number % 5000);
                    let written = client.put(BUCKET, &key, &body);
                    let refused = written.is_err();
                    ledger.end(&key, serial, &written);
                    // the region takes no more writes
                    if refused || ended.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(500));
            let said = dev.twinkeep(&["failover", "--planned", "--json"]);
            drop(stopping);
            writer.join().unwrap();
            let report: Value = serde_json::from_str(&said.unwrap()).unwrap();
            assert_eq!(report["to"].as_str(), Some(standby.region.as_str()), "{report}");
            paused = report["writes_paused_ms"].as_u64().unwrap();
        });
        println!("switch {switch}: writes paused for {paused} ms");
        check(&ledger, standby);
        let (serial, body) = ledger.begin_write("after", 200);
        let written = standby.client().unwrap().put(BUCKET, "after", &body);
        assert!(written.is_ok(), "the new primary takes writes: {written:?}");
        ledger.end("after", serial, &written);
        wait_synced(&dev).unwrap();
        check(&ledger, primary);
        regions.swap(0, 1);
    }
    dev.end().unwrap();
}

#[test]
fn what_a_forced_switch_lost_is_listed_exactly_and_the_old_primary_is_fenced() {
    let run = Run::new("pair-forced").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let (_runtime, links) = apart(&mut dev, Shape::CONTINENT);
    let (old, new) = (dev.ready.clone(), dev.other.clone().unwrap());
    let mut client = old.client().unwrap();
    client.create_bucket(BUCKET).unwrap();
    client.put(BUCKET, "deleted", b"both regions had it").unwrap();
    wait_synced(&dev).unwrap();
    wait_for("every bucket in the standby", || bucket_lag(&dev) == json!({ "complete": true, "behind": [] }));
    let mut acknowledged = BTreeMap::new();
    let mut write = |number: usize| {
        let (key, bytes) = (format!("{number}"), content("forced", 1, 100 + number * 300));
        client.put(BUCKET, &key, &bytes).unwrap();
        acknowledged.insert(key, (unix_millis(), bytes));
    };
    (0..200).for_each(&mut write);
    let written_by = unix_millis();
    // who leads tells the other replicas every five seconds what the standby has
    std::thread::sleep(Duration::from_secs(6));
    // the standby stands still; the primary goes on without it
    for node in &new.nodes {
        dev.twinkeep_of(&new, &["dev", "stop", &node.id]).unwrap();
    }
    (200..400).for_each(&mut write);
    client.put(BUCKET, "twice", b"first").unwrap();
    client.put(BUCKET, "twice", b"second").unwrap();
    client.delete(BUCKET, "deleted").unwrap();
    let mut behind = Value::Null;
    // a leader that is new learns it from the one before it
    wait_for("what the standby lacks", || {
        behind = lag(&dev).unwrap();
        behind["lag_operations"].is_u64()
    });
    assert!(behind["lag_operations"].as_u64().is_some_and(|operations| operations > 200), "{behind}");
    assert!(behind["lag_bytes"].as_u64().is_some_and(|bytes| bytes > 200 * 60_000), "{behind}");
    check_bucket_lag(&dev);
    dev.twinkeep(&["dev", "kill", &old.region]).unwrap();
    // no process is left that knew how far the standby had everything
    dev.twinkeep(&["dev", "kill", &new.region]).unwrap();
    dev.twinkeep(&["dev", "start", &new.region]).unwrap();
    let mut said = String::new();
    wait_for("the switch", || {
        let switched = dev.twinkeep(&["failover", "--force", "--to", &new.region, "--json"]);
        switched.map(|text| said = text).is_ok()
    });
    let report: Value = serde_json::from_str(&said).unwrap();
    let point = report["recovery_point"].as_u64().expect("it was in step before");
    println!("the recovery point is {} ms after what was in step", point.saturating_sub(written_by));
    assert!(point + 1_000 >= written_by, "{point} is long before {written_by}");
    println!("took {} ms", report["took_ms"]);
    let mut client = new.client().unwrap();
    let mut lost = BTreeSet::new();
    for (key, (at, bytes)) in &acknowledged {
        match client.get(BUCKET, key).unwrap() {
            Some(seen) => assert_eq!(&seen, bytes, "{key}"),
            None => {
                assert!(*at > point, "{key} was acknowledged at {at}, before the recovery point {point}");
                lost.insert(key.clone());
            }
        }
    }
    println!("{} of {} acknowledged are not there", lost.len(), acknowledged.len());
    let passed_bytes: u64 = links.iter().map(|link| link.passed_bytes()).sum();
    assert!(passed_bytes > 200 * 20_000, "{passed_bytes} bytes came over the links");
    assert!(lost.len() > 100, "the standby stood still");
    assert!(client.get(BUCKET, "deleted").unwrap().is_some());
    client.put(BUCKET, "after", b"the new primary takes writes").unwrap();
    dev.twinkeep(&["dev", "start", &old.region]).unwrap();
    wait_for("fencing", || is_fenced(&dev, &old.region));
    assert!(client.get(BUCKET, "after").unwrap().is_some());
    assert_eq!(lag(&dev).unwrap()["state"], "Diverged");
    check_manifest(&dev, &old, &acknowledged, lost);
    rejoin(&dev, &old, &new, acknowledged.keys());
    dev.end().unwrap();
}

fn bucket_lag(dev: &Dev) -> Value {
    let said = dev.twinkeep(&["lag", "--buckets", "--json"]).unwrap();
    serde_json::from_str::<Value>(&said).unwrap()["buckets"].clone()
}

/// The standby stands still since the first half of 400 objects: it lacks the second half, two more and a delete, whoever leads the
/// primary's groups meanwhile.
fn check_bucket_lag(dev: &Dev) {
    let lags = bucket_lag(dev);
    let [lag] = lags["behind"].as_array().unwrap().as_slice() else { panic!("one bucket: {lags}") };
    let second_half: usize = (200..400).map(|number| 100 + number * 300).sum::<usize>() + "firstsecond".len();
    let told = (
        lags["complete"].as_bool(),
        lag["bucket"].as_str(),
        lag["operations"].as_u64(),
        lag["bytes"].as_u64(),
    );
    assert_eq!(told, (Some(true), Some(BUCKET), Some(203), Some(second_half as u64)), "{lags}");
    assert!(lag["lag_ms"].as_u64().is_some_and(|ms| ms > 0), "{lags}");
}

/// The old primary gives up what only it has when it is told to, follows the new one, and can take the writes again.
fn rejoin<'a>(dev: &Dev, old: &Ready, new: &Ready, keys: impl Iterator<Item = &'a String>) {
    let refused = dev.twinkeep(&["failover", "rejoin"]).expect_err("nothing is given up silently");
    assert!(refused.to_string().contains("--discard"), "{refused}");
    let said = dev.twinkeep(&["failover", "rejoin", "--discard", "--json"]).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["region"], old.region.as_str(), "{report}");
    assert!(report["discarded"].as_u64().unwrap() > 100, "{report}");
    let began = Instant::now();
    wait_for("the old primary's return", || lag(dev).unwrap()["state"] == "Live");
    println!("back as a standby after {} ms", began.elapsed().as_millis());
    wait_synced(dev).unwrap();
    let (mut from, mut to) = (new.client().unwrap(), old.client().unwrap());
    for key in keys.map(String::as_str).chain(["deleted", "twice", "after"]) {
        assert_eq!(to.get(BUCKET, key).unwrap(), from.get(BUCKET, key).unwrap(), "{key}");
    }
    let said = dev.twinkeep(&["failover", "manifest", "--json"]).unwrap();
    let manifest: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(manifest["entries"].as_array().map(Vec::len), Some(0), "{manifest}");
    dev.twinkeep(&["failover", "--planned"]).unwrap();
    to.put(BUCKET, "home again", b"the first region takes writes").unwrap();
}

/// The manifest names what is lost, and nothing else.
fn check_manifest(
    dev: &Dev,
    old: &Ready,
    acknowledged: &BTreeMap<String, (u64, Vec<u8>)>,
    mut lost: BTreeSet<String>,
) {
    let said = dev.twinkeep(&["failover", "manifest", "--json"]).unwrap();
    let manifest: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&manifest["from"], &manifest["complete"]), (&old.region.clone().into(), &true.into()));
    let mut others = Vec::new();
    for entry in manifest["entries"].as_array().unwrap() {
        assert_eq!(entry["bucket"], BUCKET, "{entry}");
        assert!(entry["acknowledged_at"].as_u64().is_some() && entry["principal"].is_string(), "{entry}");
        let key = entry["key"].as_str().unwrap();
        if !lost.remove(key) {
            others.push((key, entry["change"].as_str().unwrap(), entry["kept"].as_bool().unwrap()));
            continue;
        }
        let (at, bytes) = &acknowledged[key];
        assert_eq!((&entry["change"], &entry["kept"]), (&"put".into(), &true.into()), "{entry}");
        assert_eq!(entry["size"].as_u64().unwrap() as usize, bytes.len(), "{entry}");
        assert!(entry["acknowledged_at"].as_u64().unwrap() <= *at, "{entry}");
    }
    assert!(lost.is_empty(), "not in the manifest: {lost:?}");
    others.sort_unstable();
    let expected = [("deleted", "delete", false), ("twice", "put", false), ("twice", "put", true)];
    assert_eq!(others, expected);
}
