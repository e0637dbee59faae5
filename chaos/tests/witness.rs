//! The witness of a pair, on real processes: losing one of three stops nobody, and a region that nobody vouches for
//! acknowledges nothing, so that the other may take over with nobody's command.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chaos::dev::{Dev, Ready};
use chaos::ledger::content;
use chaos::pair::{is_fenced, lag, manifest, wait_for, wait_synced};
use chaos::run::Run;
use chaos::s3::{Failure, S3, Written};
use chaos::workload::Stopping;
use serde_json::Value;

const BUCKET: &str = "watched";

/// Past the longest lease, 3 s, on a crowded machine.
const LEASE_OVER: Duration = Duration::from_secs(5);

/// For how long a fenced region is asked to take writes.
const TRIED: Duration = Duration::from_secs(8);

/// A client that does not wait for a halted process for long.
fn hasty(region: &Ready) -> S3 {
    region.client_waiting(Duration::from_secs(3)).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What the witness says of itself.
fn witness(dev: &Dev) -> Value {
    let folder = dev.data().join("witness");
    let (_, said) = dev.twinkeep_code(&["witness", "status", folder.to_str().unwrap(), "--json"]).unwrap();
    json(&said)
}

/// A pair with a bucket in which the witness is at work, and both regions.
fn pair(run: &Run, arguments: &[&str]) -> (Dev, Ready, Ready) {
    let dev = Dev::start_pair_with(run, arguments).unwrap();
    let (one, two) = (dev.ready.clone(), dev.other.clone().unwrap());
    one.client().unwrap().create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    wait_for("the witness", || {
        let status = witness(&dev);
        let regions = status["regions"].as_array().unwrap();
        let roles: Vec<&str> = regions.iter().map(|region| region["role"].as_str().unwrap()).collect();
        status["state"] == "watching" && status["reason"].is_null() && roles == ["primary", "standby"]
    });
    (dev, one, two)
}

/// Writes until the region takes one, and says under which key.
fn wait_for_writes(region: &Ready, key: &str) {
    let mut client = hasty(region);
    wait_for("a region that takes writes", || client.put(BUCKET, key, b"taken").is_ok());
}

fn epoch(dev: &Dev, region: &Ready) -> u64 {
    let regions = lag(dev).unwrap()["regions"].as_array().cloned().unwrap();
    let found = regions.into_iter().find(|found| found["region"] == region.region).expect("it answers");
    found["groups"].as_array().unwrap().iter().map(|group| group["epoch"].as_u64().unwrap()).max().unwrap()
}

#[test]
fn a_lost_region_is_relieved_with_nobodys_command_and_what_is_missing_is_listed() {
    let run = Run::new("witness-automatic").unwrap();
    let (mut dev, old, new) = pair(&run, &["--automatic-failover"]);
    let before = epoch(&dev, &old);
    let mut client = old.client().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut write = |number: usize| {
        let (key, bytes) = (format!("{number}"), content("witness", 1, 100 + number * 100));
        client.put(BUCKET, &key, &bytes).unwrap();
        acknowledged.insert(key, bytes);
    };
    (0..100).for_each(&mut write);
    // the standby stands still: the witness's word is enough, and what comes now is not there
    dev.twinkeep(&["dev", "stop", &new.region]).unwrap();
    (100..150).for_each(&mut write);
    dev.twinkeep(&["dev", "kill", &old.region]).unwrap();
    let killed = Instant::now();
    dev.twinkeep(&["dev", "start", &new.region]).unwrap();
    wait_for_writes(&new, "after");
    println!("writes go on {} ms after the loss", killed.elapsed().as_millis());
    assert!(epoch(&dev, &new) > before, "a newer epoch");
    wait_for("the witness's word", || witness(&dev)["state"] == "switched");
    let mut client = new.client().unwrap();
    let mut lost = BTreeSet::new();
    for (key, bytes) in &acknowledged {
        match client.get(BUCKET, key).unwrap() {
            Some(seen) => assert_eq!(&seen, bytes, "{key}"),
            None => drop(lost.insert(key.clone())),
        }
    }
    println!("{} of {} acknowledged are not there", lost.len(), acknowledged.len());
    // what was on its way to each group when it was halted came in when it went on
    assert!(lost.len() > 20, "the standby stood still");
    dev.twinkeep(&["dev", "start", &old.region]).unwrap();
    wait_for("fencing", || is_fenced(&dev, &old.region));
    assert_eq!(manifest(&dev), lost);
    assert!(client.get(BUCKET, "after").unwrap().is_some());
    dev.twinkeep(&["failover", "rejoin", "--discard"]).unwrap();
    wait_for("the pair", || lag(&dev).unwrap()["state"] == "Live");
    wait_for("the witness", || witness(&dev)["state"] == "watching");
    dev.end().unwrap();
}

#[test]
fn one_of_witness_and_standby_is_enough_and_without_both_nothing_is_acknowledged() {
    let run = Run::new("witness-vouchers").unwrap();
    let (mut dev, one, two) = pair(&run, &[]);
    let mut client = hasty(&one);
    let writes_for = |client: &mut S3, what: &str, time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            client.put(BUCKET, "goes on", b"1").unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    dev.twinkeep(&["dev", "kill", "witness"]).unwrap();
    writes_for(&mut client, "without a witness", LEASE_OVER);
    dev.twinkeep(&["dev", "start", "witness"]).unwrap();
    wait_for("the witness", || {
        witness(&dev)["regions"][0]["leases"].as_u64().is_some_and(|leases| leases > 9)
    });
    dev.twinkeep(&["dev", "stop", &two.region]).unwrap();
    writes_for(&mut client, "without a standby", LEASE_OVER);
    dev.twinkeep(&["dev", "stop", "witness"]).unwrap();
    std::thread::sleep(LEASE_OVER);
    // the gateway holds it for a while, as during a leader change
    match one.client().unwrap().put(BUCKET, "refused", b"1") {
        Err(Failure::Unknown { reason }) if reason.starts_with("503") => {}
        other => panic!("nobody vouches for it: {other:?}"),
    }
    assert!(client.get(BUCKET, "goes on").unwrap().is_some(), "reads go on");
    let report = lag(&dev).unwrap();
    assert_eq!(
        (&report["state"], &report["primary"]),
        (&"Fenced".into(), &one.region.clone().into()),
        "{report}"
    );
    let status = dev.twinkeep_of(&one, &["status"]).expect_err("it takes no writes").to_string();
    assert!(status.contains("neither the witness nor the standby vouches"), "{status}");
    dev.twinkeep(&["dev", "start", "witness"]).unwrap();
    wait_for_writes(&one, "vouched for again");
    dev.twinkeep(&["dev", "stop", "witness"]).unwrap();
    std::thread::sleep(LEASE_OVER);
    assert!(client.put(BUCKET, "refused", b"1").is_err());
    dev.twinkeep(&["dev", "start", &two.region]).unwrap();
    wait_for_writes(&one, "vouched for by the standby");
    dev.twinkeep(&["dev", "start", "witness"]).unwrap();
    dev.end().unwrap();
}

#[test]
fn a_manual_witness_says_that_a_switch_is_due_and_switches_nothing() {
    let run = Run::new("witness-manual").unwrap();
    let (mut dev, one, two) = pair(&run, &[]);
    dev.twinkeep(&["dev", "stop", "witness"]).unwrap();
    dev.twinkeep(&["dev", "kill", &one.region]).unwrap();
    std::thread::sleep(LEASE_OVER);
    dev.twinkeep(&["dev", "start", "witness"]).unwrap();
    wait_for("the witness's word", || witness(&dev)["state"] == "due");
    let status = witness(&dev);
    assert!(
        status["reason"].as_str().is_some_and(|reason| reason.contains("failover --force --to twin-2")),
        "{status}"
    );
    std::thread::sleep(LEASE_OVER);
    assert!(hasty(&two).put(BUCKET, "early", b"1").is_err(), "nobody let it take over");
    // an election in the standby begins the wait anew
    wait_for("the same word", || witness(&dev)["state"] == "due");
    dev.twinkeep(&["failover", "--force", "--to", &two.region]).unwrap();
    wait_for_writes(&two, "after");
    wait_for("the witness", || witness(&dev)["regions"][1]["role"] == "primary");
    dev.end().unwrap();
}

/// A write as a client saw it.
struct Attempt {
    region: String,
    key: String,
    began: Instant,
    result: Result<Written, Failure>,
}

/// The first write that `old` acknowledged although it was asked after `new` had begun to.
fn two_reigns<'a>(history: &'a [Attempt], old: &str, new: &str) -> Option<&'a Attempt> {
    let acknowledged = |region: &str| {
        let region = region.to_owned();
        history.iter().filter(move |attempt| attempt.region == region && attempt.result.is_ok())
    };
    let first = acknowledged(new).map(|attempt| attempt.began).min()?;
    acknowledged(old).find(|attempt| attempt.began > first)
}

#[test]
fn a_write_acknowledged_by_both_regions_in_turn_is_found() {
    let began = Instant::now();
    let at = |region: &str, after_ms: u64, is_ok: bool| Attempt {
        region: region.to_owned(),
        key: String::new(),
        began: began + Duration::from_millis(after_ms),
        result: if is_ok { Ok(Written::default()) } else { Err(Failure::Unknown { reason: "503".into() }) },
    };
    let well = [at("old", 1, true), at("new", 5, false), at("new", 9, true), at("old", 12, false)];
    assert!(two_reigns(&well, "old", "new").is_none());
    let bad = [at("old", 1, true), at("new", 9, true), at("old", 12, true)];
    assert!(two_reigns(&bad, "old", "new").is_some());
}

#[test]
fn a_region_that_was_halted_and_relieved_acknowledges_nothing_when_it_goes_on() {
    let run = Run::new("witness-halted").unwrap();
    let (mut dev, old, new) = pair(&run, &["--automatic-failover"]);
    let ended = AtomicBool::new(false);
    let history = std::thread::scope(|scope| {
        let (ended, stopping) = (&ended, Stopping(&ended));
        let clients = |region: &Ready| {
            let region = region.clone();
            (0..4).map(move |number| (number, region.clone())).collect::<Vec<_>>()
        };
        let writers: Vec<_> = [&old, &new]
            .into_iter()
            .flat_map(clients)
            .map(|(number, region)| {
                scope.spawn(move || {
                    let mut attempts = Vec::new();
                    while !ended.load(Ordering::Relaxed) {
                        // a connection that is waited for no longer is not used again
                        let mut client = hasty(&region);
                        let key = format!("{}-{number}-{}", region.region, attempts.len());
                        let began = Instant::now();
                        let result = client.put(BUCKET, &key, key.as_bytes());
                        attempts.push(Attempt { region: region.region.clone(), key, began, result });
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    attempts
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        dev.twinkeep(&["dev", "stop", &old.region]).unwrap();
        wait_for_writes(&new, "after");
        dev.twinkeep(&["dev", "start", &old.region]).unwrap();
        std::thread::sleep(TRIED);
        drop(stopping);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let of = |region: &Ready| {
        let found = history.iter().filter(|attempt| attempt.region == region.region);
        found.filter(|attempt| attempt.result.is_ok()).collect::<Vec<_>>()
    };
    println!("{} acknowledged by the old primary, {} by the new one", of(&old).len(), of(&new).len());
    assert!(!of(&old).is_empty() && !of(&new).is_empty());
    let two = two_reigns(&history, &old.region, &new.region);
    assert!(
        two.is_none(),
        "{:?} was acknowledged by a region that was relieved",
        two.map(|attempt| &attempt.key)
    );
    wait_for("fencing", || is_fenced(&dev, &old.region));
    let listed = manifest(&dev);
    let mut client = new.client().unwrap();
    for attempt in of(&old).into_iter().chain(of(&new)) {
        let is_there = client.get(BUCKET, &attempt.key).unwrap().is_some();
        assert!(is_there || listed.contains(&attempt.key), "{} is nowhere", attempt.key);
    }
    dev.end().unwrap();
}
