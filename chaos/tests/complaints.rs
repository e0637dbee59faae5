//! What operators of other stores complain of when it comes to replication, done to two regions of real processes: the list, with
//! its sources, is in docs/comparison.md.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod apart;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apart::apart;
use bench::pair::link::{Link, Shape};
use chaos::dev::{Dev, is_alive, signal};
use chaos::fault::SmallDisk;
use chaos::ledger::{Ledger, content};
use chaos::pair::{is_fenced, lag, wait_for, wait_synced};
use chaos::run::Run;
use chaos::s3::{S3, first, text};
use rustix::process::Signal;
use serde_json::Value;

const BUCKET: &str = "complaints";
const VERSIONED: &str = "complaints-versioned";

/// How long a client asks again while its region is being started.
const PATIENCE: Duration = Duration::from_secs(120);

/// So little passes to each node of a region in a second: less than one answer, of each of the groups that it leads, holds in ten.
const NARROW: Shape = Shape { one_way: Duration::from_millis(15), bytes_per_second: Some(192 << 10) };

/// A small disk, MiB: some segments, an index, and room for little else.
const SMALL_DISK_MIB: u64 = 768;

fn pair(run: &Run) -> (Dev, S3) {
    let dev = Dev::start_pair(run).unwrap();
    let mut client = dev.client().unwrap();
    client.create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    (dev, client)
}

/// A small disk under every node of a region that is about to be made.
fn small_disks(run: &Run, region: &str) -> Vec<SmallDisk> {
    let disk = |node| {
        let mount = run.path("pair").join(region).join(format!("node-{node}")).join("data");
        std::fs::create_dir_all(&mount).unwrap();
        SmallDisk::mount(&mount, SMALL_DISK_MIB).unwrap()
    };
    (1..=3).map(disk).collect()
}

fn put(client: &mut S3, ledger: &mut Ledger, key: &str) {
    let (serial, body) = ledger.begin_write(key, 20_000);
    let written = client.persist(PATIENCE, |client| client.put(BUCKET, key, &body));
    ledger.end(key, serial, &Ok(written.unwrap_or_else(|trouble| panic!("{key}: {trouble}"))));
}

/// Written at the first try, or the client was refused.
fn put_once(client: &mut S3, ledger: &mut Ledger, key: &str) {
    let (serial, body) = ledger.begin_write(key, 20_000);
    let written = client.put(BUCKET, key, &body);
    ledger.end(key, serial, &written);
    written.unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
}

fn delete(client: &mut S3, ledger: &mut Ledger, key: &str) {
    let serial = ledger.begin_delete(key);
    let deleted = client.delete(BUCKET, key);
    ledger.end(key, serial, &deleted);
    deleted.unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
}

/// Both regions hold what was acknowledged, by what clients read there and by a comparison that does not believe the log.
fn check_both(dev: &Dev, ledger: &Ledger) {
    wait_synced(dev).unwrap();
    for region in [&dev.ready, dev.other.as_ref().unwrap()] {
        let mut client = region.client().unwrap();
        for key in ledger.keys() {
            let seen = client.persist(PATIENCE, |client| client.get(BUCKET, key)).unwrap();
            ledger
                .check_current(key, seen.as_deref())
                .unwrap_or_else(|violation| panic!("{}: {violation}", region.region));
        }
    }
    dev.twinkeep(&["compare"]).unwrap();
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn last_sync_time(report: &Value) -> Option<u64> {
    report["last_sync_time"].as_u64()
}

/// RustFS 4120: a storm of what is behind. Over a slow link all of it would come too late, again and again.
#[test]
fn a_standby_that_is_behind_catches_up_over_a_link_that_is_narrow() {
    let run = Run::new("complaints-narrow").unwrap();
    let (mut dev, mut client) = pair(&run);
    let standby = dev.other.clone().unwrap();
    let (_runtime, links) = apart(&mut dev, NARROW);
    let mut ledger = Ledger::new();
    wait_synced(&dev).unwrap();
    dev.twinkeep(&["dev", "kill", &standby.region]).unwrap();
    for number in 0..20 {
        let key = format!("large-{number}");
        let (serial, body) = ledger.begin_write(&key, 1_000_000);
        let written = client.persist(PATIENCE, |client| client.put(BUCKET, &key, &body));
        ledger.end(&key, serial, &Ok(written.unwrap_or_else(|trouble| panic!("{key}: {trouble}"))));
    }
    let passed = |links: &[Link]| links.iter().map(Link::passed_bytes).sum::<u64>();
    let before = passed(&links);
    dev.twinkeep(&["dev", "start", &standby.region]).unwrap();
    wait_for("the standby", || lag(&dev).is_ok_and(|lag| lag["state"] == "Live"));
    check_both(&dev, &ledger);
    let passed = passed(&links) - before;
    println!("{} MB passed for 20 MB", passed / 1_000_000);
    assert!(passed < 2 * 20_000_000, "{passed} bytes: what came was thrown away and asked for again");
}

/// MinIO 16339, RustFS 5137, SeaweedFS 7230: what was away is never gone on with. MinIO 13352, 18167: deletes are lost meanwhile.
/// MinIO 17939: the status says that all is well. RustFS 6672: a region does not start without its pair.
#[test]
fn a_standby_that_was_away_for_deletes_of_every_kind_and_a_restart_goes_on_by_itself() {
    let run = Run::new("complaints-away").unwrap();
    let (mut dev, mut client) = pair(&run);
    let standby = dev.other.clone().unwrap();
    let mut ledger = Ledger::new();
    let keys: Vec<String> = (0..60).map(|number| format!("object-{number:02}")).collect();
    keys.iter().for_each(|key| put(&mut client, &mut ledger, key));
    client.create_bucket(VERSIONED).unwrap();
    client.enable_versioning(VERSIONED).unwrap();
    let versions: Vec<String> = (0..2)
        .map(|serial| client.put(VERSIONED, "kept", &content("kept", serial, 100)).unwrap().version.unwrap())
        .collect();
    client.create_bucket("complaints-removed").unwrap();
    let upload = client.call("POST", &format!("/{BUCKET}/upload"), &[("uploads", "")], &[], b"").unwrap();
    let upload = first(&text(&upload), "UploadId").unwrap();
    wait_synced(&dev).unwrap();

    dev.twinkeep(&["dev", "kill", &standby.region]).unwrap();
    let left = unix_millis();
    for key in keys.iter().step_by(3) {
        delete(&mut client, &mut ledger, key);
    }
    keys.iter().skip(1).step_by(3).for_each(|key| put(&mut client, &mut ledger, key));
    client.delete(VERSIONED, "kept").unwrap();
    let version = [("versionId", versions[0].as_str())];
    client.call("DELETE", &format!("/{VERSIONED}/kept"), &version, &[], b"").unwrap();
    client.call("DELETE", "/complaints-removed", &[], &[], b"").unwrap();
    client.call("DELETE", &format!("/{BUCKET}/upload"), &[("uploadId", &upload)], &[], b"").unwrap();
    let report = lag(&dev).unwrap();
    assert_eq!(report["state"], "Unavailable", "{report}");
    assert!(last_sync_time(&report).is_none_or(|synced| synced <= left), "{report}");
    assert_eq!(report["unreachable"], Value::from(vec![standby.region.clone()]), "{report}");

    dev.twinkeep(&["dev", "kill", &dev.ready.region]).unwrap();
    dev.twinkeep(&["dev", "start", &dev.ready.region]).unwrap();
    (0..10).for_each(|number| put(&mut client, &mut ledger, &format!("alone-{number}")));

    dev.twinkeep(&["dev", "start", &standby.region]).unwrap();
    wait_for("the standby", || lag(&dev).is_ok_and(|lag| lag["state"] == "Live"));
    check_both(&dev, &ledger);
    let mut there = standby.client().unwrap();
    let listed = there.list_versions(VERSIONED).unwrap();
    assert_eq!(listed.len(), 2, "one version and the mark of the delete: {listed:?}");
    assert_eq!(there.get_version(VERSIONED, "kept", &versions[0]).unwrap(), None);
    assert_eq!(there.get_version(VERSIONED, "kept", &versions[1]).unwrap(), Some(content("kept", 1, 100)));
    assert!(there.list("complaints-removed", "").is_err(), "the bucket is gone");
    let uploads = text(&there.call("GET", &format!("/{BUCKET}"), &[("uploads", "")], &[], b"").unwrap());
    assert!(!uploads.contains(&upload), "{uploads}");
    dev.end().unwrap();
}

/// MinIO 15944: one host of the other side is the only one that is ever asked.
#[test]
fn whichever_node_is_lost_on_either_side_the_standby_follows() {
    let run = Run::new("complaints-nodes").unwrap();
    let (mut dev, mut client) = pair(&run);
    let mut ledger = Ledger::new();
    let sides = [dev.ready.clone(), dev.other.clone().unwrap()];
    for (round, node) in (0..3).flat_map(|place| sides.iter().map(move |side| &side.nodes[place])).enumerate()
    {
        // of a node's number there is one in each region
        let name = format!("{}/{}", sides[round % 2].region, node.id);
        dev.twinkeep(&["dev", "kill", &name]).unwrap();
        (0..8).for_each(|number| put(&mut client, &mut ledger, &format!("round-{round}-{number}")));
        wait_synced(&dev).unwrap_or_else(|trouble| panic!("without {name}: {trouble}"));
        dev.twinkeep(&["dev", "start", &name]).unwrap();
        wait_for("the node's return", || {
            lag(&dev).is_ok_and(|lag| lag["state"] == "Live")
                && dev.twinkeep(&["status", "--json"]).is_ok_and(|status| !status.contains("\"down\""))
        });
    }
    check_both(&dev, &ledger);
    dev.end().unwrap();
}

/// No planned switch comes about while the standby cannot catch up. Given up, by itself or by who asked for it, or taken back after that one died,
/// it leaves a primary that takes writes.
fn check_switches_are_given_up(dev: &Dev, client: &mut S3, ledger: &mut Ledger) {
    let (from, to) = (&dev.ready.region, &dev.other.as_ref().unwrap().region);
    // one that is further behind than writes may wait is not switched to, and nobody is kept waiting to find that out
    let is_far_behind = || lag(dev).unwrap()["lag_ms"].as_u64().is_some_and(|ms| ms > 6_000);
    wait_for("a standby that is far behind", is_far_behind);
    let mut child = dev.twinkeep_begin(&["failover", "--planned", "--to", to]).unwrap();
    let mut number = 0;
    let refused = loop {
        put_once(client, ledger, &format!("while-one-is-asked-for-{number}"));
        number += 1;
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
    };
    assert!(!refused.success(), "a full standby takes no writes");
    println!("{number} writes while a switch was asked for");
    let switch = ["failover", "--planned", "--max-pause", "600", "--to", to];
    let begin = || {
        let mut child = dev.twinkeep_begin(&switch).unwrap();
        wait_for("sealing", || {
            // refused while a group of the full region has no leader
            if child.try_wait().unwrap().is_some() {
                child = dev.twinkeep_begin(&switch).unwrap();
            }
            is_fenced(dev, from)
        });
        child
    };
    let mut child = begin();
    let report = lag(dev).unwrap();
    assert_eq!((&report["state"], &report["primary"]), (&"Fenced".into(), &Value::Null), "{report}");
    let status = dev.twinkeep_of(&dev.ready, &["status"]).expect_err("nobody takes writes").to_string();
    assert!(status.contains("sealed for a switch that has not ended"), "{status}");
    signal(child.id(), Signal::INT);
    assert!(!child.wait().unwrap().success());
    put(client, ledger, "after-one-that-was-interrupted");
    for kind in ["--planned", "--force"] {
        let mut child = begin();
        child.kill().unwrap();
        child.wait().unwrap();
        wait_for("taking it back", || dev.twinkeep(&["failover", kind, "--to", from]).is_ok());
        put(client, ledger, &format!("after-one-taken-back{kind}"));
    }
}

/// RustFS 3421, MinIO 15411: what failed once is never tried again. Ceph 49588: stuck until somebody repairs it, and nobody says
/// where. MinIO mc 4996, RustFS 4120: the clients pay for it.
#[test]
fn a_standby_without_room_is_named_refuses_no_client_of_the_primary_and_goes_on_once_it_has_some() {
    let run = Run::new("complaints-full").unwrap();
    let disks = small_disks(&run, "twin-2");
    let (mut dev, mut client) = pair(&run);
    let fillers: Vec<_> = disks.iter().map(|disk| disk.fill().unwrap()).collect();
    let mut ledger = Ledger::new();
    let mut number = 0;
    wait_for("a standby that says that it is full", || {
        put(&mut client, &mut ledger, &format!("object-{number}"));
        number += 1;
        let report = lag(&dev).unwrap();
        let blocked = report["blocked"].as_array().unwrap();
        blocked.iter().any(|group| group["reason"].as_str().unwrap().contains("disk"))
    });
    let full = unix_millis();
    (0..50).for_each(|number| put_once(&mut client, &mut ledger, &format!("while-full-{number}")));
    check_switches_are_given_up(&dev, &mut client, &mut ledger);
    let mut report = Value::Null;
    // MinIO 17939: the status says that all is well
    wait_for("a state that says so", || {
        report = lag(&dev).unwrap();
        report["state"] == "Unavailable"
    });
    assert!(last_sync_time(&report).is_none_or(|synced| synced <= full), "{report}");
    assert!(report["lag_operations"].as_u64().is_some_and(|operations| operations > 0), "{report}");

    for filler in fillers {
        std::fs::remove_file(filler).unwrap();
    }
    check_both(&dev, &ledger);
    assert_eq!(lag(&dev).unwrap()["blocked"], Value::Array(Vec::new()));
    for node in &dev.other.as_ref().unwrap().nodes {
        assert!(is_alive(node.pid), "node {} was restarted", node.id);
    }
    dev.end().unwrap();
}

/// How many lines of the logs below a folder say this.
fn logged(folder: &Path, words: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| match path.is_dir() {
        true => logged(&path, words),
        false if path.extension().is_some_and(|extension| extension == "log") => {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).matches(words).count()
        }
        false => 0,
    };
    entries.map(count).sum()
}

/// MinIO 14702, RustFS 3421, and a primary that keeps for its standby what its disks have no room for: the standby is lost, clients write over what is
/// there until twice the disks' room has gone through them, and once the standby is back it takes over what it missed without being told.
#[test]
fn a_lost_standby_keeps_no_primary_from_writing_and_takes_over_what_it_missed() {
    let run = Run::new("complaints-lost").unwrap();
    let _disks = small_disks(&run, "twin-1");
    let (mut dev, mut client) = pair(&run);
    let standby = dev.other.as_ref().unwrap().region.clone();
    let mut ledger = Ledger::new();
    put(&mut client, &mut ledger, "before");
    wait_synced(&dev).unwrap();
    let folder = run.path("pair").join(&standby);
    let taken_over = || logged(&folder, "the primary's state is here");
    let before = taken_over();
    dev.twinkeep(&["dev", "kill", &standby]).unwrap();

    let mut refused = 0;
    for number in 0..2 * SMALL_DISK_MIB {
        let key = format!("object-{}", number % 32);
        let (serial, body) = ledger.begin_write(&key, 1 << 20);
        let written = client.persist(PATIENCE, |client| {
            let written = client.put(BUCKET, &key, &body);
            refused += u32::from(written.is_err());
            written
        });
        ledger.end(&key, serial, &Ok(written.unwrap_or_else(|trouble| panic!("{key}: {trouble}"))));
    }
    println!("{refused} writes had to be repeated");

    dev.twinkeep(&["dev", "start", &standby]).unwrap();
    wait_for("a standby in step", || lag(&dev).is_ok_and(|report| report["state"] == "Live"));
    assert!(taken_over() > before, "the primary kept all of it");
    check_both(&dev, &ledger);
    dev.end().unwrap();
}
