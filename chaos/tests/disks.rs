//! Disks that fill up, rot or vanish: nothing acknowledged is lost, nothing wrong is served, and all is made good again.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chaos::dev::{Dev, Node, is_alive};
use chaos::fault::{Place, SmallDisk, flip_bit, segments};
use chaos::ledger::Ledger;
use chaos::random::Random;
use chaos::run::Run;
use chaos::s3::{Failure, S3};
use chaos::trouble::{Outcome, Trouble};

/// How long a repair or recovery of these few megabytes may take on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// A small disk, in mebibytes: a few preallocated segments of 64 MiB, an index, and room for some of the test's data.
const SMALL_DISK_MIB: u64 = 768;

/// Writes objects of up to a mebibyte and checks that each was acknowledged.
fn write_all(client: &mut S3, ledger: &mut Ledger, prefix: &str, count: u64, random: &mut Random) {
    for number in 0..count {
        let key = format!("{prefix}/{number}");
        let (serial, body) = ledger.begin_write(&key, random.below(1 << 20) as usize);
        let result = client.put("bucket", &key, &body);
        ledger.end(&key, serial, &result);
        result.unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
    }
}

fn check_all(client: &mut S3, ledger: &Ledger) {
    for key in ledger.keys() {
        let seen = client.persist(PATIENCE, |client| client.get("bucket", key)).unwrap();
        ledger.check_current(key, seen.as_deref()).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

/// Repeats a step until it succeeds or the patience is at its end.
fn eventually<T>(what: &str, mut step: impl FnMut() -> Outcome<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match step() {
            Ok(value) => return value,
            Err(trouble) if Instant::now() > deadline => panic!("{what}: {trouble}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn flip_segments(test: &str, place: Place) {
    let (mut random, run) = (Random::from_seed(Random::seed_of_run(test)), Run::new(test).unwrap());
    let mut dev = Dev::start(&run).unwrap();
    let mut client = dev.client().unwrap();
    client.create_bucket("bucket").unwrap();
    let mut ledger = Ledger::new();
    write_all(&mut client, &mut ledger, "before", 60, &mut random);
    for node in dev.ready.nodes.clone() {
        dev.kill(&node).unwrap();
        let segment =
            segments(&node.data).unwrap().into_iter().next().expect("the node has written a segment");
        let flip = flip_bit(&segment, place, &mut random).unwrap();
        eprintln!("{test}: flipped {flip:?} of node {}", node.id);
        dev.resume(&node).unwrap();
        check_all(&mut client, &ledger);
        write_all(&mut client, &mut ledger, &format!("after-{}", node.id), 5, &mut random);
        eventually("the copies are made good again", || dev.twinkeep(&["scrub", "--wait"]));
        check_all(&mut client, &ledger);
    }
    // Each node in turn is missing: what the other two hold must be good by now.
    for node in &dev.ready.nodes {
        dev.kill(node).unwrap();
        check_all(&mut client, &ledger);
        dev.resume(node).unwrap();
    }
    dev.end().unwrap();
}

#[test]
fn a_flipped_bit_in_the_middle_of_a_segment_is_found_and_repaired() {
    flip_segments("flip-middle", Place::Middle);
}

#[test]
fn a_flipped_bit_at_the_tail_of_a_segment_loses_nothing() {
    flip_segments("flip-tail", Place::Tail);
}

#[test]
fn a_lost_data_folder_is_replaced_and_filled_again() {
    let (mut random, run) = (Random::from_seed(Random::seed_of_run("lost")), Run::new("lost").unwrap());
    let mut dev = Dev::start(&run).unwrap();
    let mut client = dev.client().unwrap();
    client.create_bucket("bucket").unwrap();
    let mut ledger = Ledger::new();
    write_all(&mut client, &mut ledger, "before", 40, &mut random);
    let lost: Node = dev.ready.nodes[1].clone();
    dev.kill(&lost).unwrap();
    std::fs::remove_dir_all(&lost.data).unwrap();
    write_all(&mut client, &mut ledger, "without", 10, &mut random);
    dev.twinkeep(&["node", "replace", &lost.id, "--wait", "--timeout", "120"]).unwrap();
    check_all(&mut client, &ledger);
    // The replaced copy must carry its weight: with another node gone, it is half of the majority.
    dev.kill(&dev.ready.nodes[0]).unwrap();
    check_all(&mut client, &ledger);
    write_all(&mut client, &mut ledger, "with-the-new-one", 10, &mut random);
    dev.resume(&dev.ready.nodes[0]).unwrap();
    check_all(&mut client, &ledger);
    dev.end().unwrap();
}

#[test]
fn full_disks_refuse_writes_take_deletes_and_recover() {
    let (mut random, run) = (Random::from_seed(Random::seed_of_run("full")), Run::new("full").unwrap());
    let disks: Vec<SmallDisk> = (1..=3)
        .map(|number| {
            let mount: PathBuf = run.path("region").join(format!("node-{number}")).join("data");
            std::fs::create_dir_all(&mount).unwrap();
            SmallDisk::mount(&mount, SMALL_DISK_MIB).unwrap()
        })
        .collect();
    let mut dev = Dev::start(&run).unwrap();
    let mut client = dev.client().unwrap();
    client.create_bucket("bucket").unwrap();
    let mut ledger = Ledger::new();
    write_all(&mut client, &mut ledger, "before", 240, &mut random);

    let first = disks[0].fill().unwrap();
    write_all(&mut client, &mut ledger, "one-disk-full", 20, &mut random);
    check_all(&mut client, &ledger);

    let fillers: Vec<PathBuf> = disks[1..].iter().map(|disk| disk.fill().unwrap()).chain([first]).collect();
    let refusal = write_until_refused(&mut client, &mut ledger);
    eprintln!("full: refused with {refusal:?}");
    check_all(&mut client, &ledger);
    client.list("bucket", "before/").expect("lists go on when the disks are full");
    for number in (0..240).filter(|number| number % 8 != 0) {
        let key = format!("before/{number}");
        let serial = ledger.begin_delete(&key);
        let deleted = client.delete("bucket", &key);
        ledger.end(&key, serial, &deleted);
        deleted.expect("deletes go on when the disks are full");
    }
    check_all(&mut client, &ledger);
    // what was deleted makes room though others still take all the rest
    eventually("writes are taken once garbage is collected", || {
        dev.twinkeep(&["gc"])?;
        write_one(&mut client, &mut ledger, "collected")
    });
    check_all(&mut client, &ledger);

    for filler in &fillers {
        std::fs::remove_file(filler).unwrap();
    }
    eventually("writes are taken again", || write_one(&mut client, &mut ledger, "after"));
    write_all(&mut client, &mut ledger, "after", 20, &mut random);
    check_all(&mut client, &ledger);
    // all of that healed by itself
    for node in &dev.ready.nodes {
        assert!(is_alive(node.pid), "node {} was restarted", node.id);
    }
    let said = std::fs::read_to_string(dev.log()).unwrap();
    assert!(!said.contains("replica stopped"), "a replica stopped for want of room");
    dev.restart(true).unwrap();
    check_all(&mut dev.client().unwrap(), &ledger);
    dev.end().unwrap();
}

fn write_one(client: &mut S3, ledger: &mut Ledger, key: &str) -> Outcome<()> {
    let (serial, body) = ledger.begin_write(key, 300_000);
    let result = client.put("bucket", key, &body);
    ledger.end(key, serial, &result);
    result.map(drop).map_err(|failure| Trouble::new(format!("{failure:?}")))
}

/// Writes until the region says no, and returns how: a clear S3 error, not silence.
fn write_until_refused(client: &mut S3, ledger: &mut Ledger) -> Failure {
    for number in 0..2000 {
        let key = format!("filling/{number}");
        let (serial, body) = ledger.begin_write(&key, 1 << 20);
        let result = client.put("bucket", &key, &body);
        ledger.end(&key, serial, &result);
        if let Err(failure) = result {
            let text = format!("{failure:?}");
            assert!(text.contains("<Code>StorageFull") || text.contains("<Code>SlowDown"), "{text}");
            return failure;
        }
    }
    panic!("two gigabytes were taken by disks of {SMALL_DISK_MIB} MiB");
}
