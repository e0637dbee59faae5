//! `twinkeep compare`, on two regions of real processes: under load it says that they are the same, and of a standby that was
//! changed behind its log's back it names what differs, exactly, and makes it equal again.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod plant;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use chaos::dev::Dev;
use chaos::ledger::content;
use chaos::pair::wait_synced;
use chaos::random::Random;
use chaos::run::Run;
use chaos::workload::{Buckets, Stopping, write_until};
use plant::Planter;
use serde_json::Value;

const BUCKET: &str = "compared";

/// Numbers of the system group's tables.
const PRINCIPAL: u8 = 2;

/// Runs `compare`: what it ended with, and its report.
fn compare(dev: &Dev, arguments: &[&str]) -> (i32, Value) {
    let (code, text) = dev.twinkeep_code(&[&["compare", "--json"], arguments].concat()).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(report["exit_code"], code, "{report}");
    (code, report)
}

fn assert_same((code, report): (i32, Value)) -> Value {
    assert_eq!((code, report["verdict"].as_str()), (0, Some("same")), "{report}");
    assert_eq!((&report["differing"], &report["undecided"]), (&0.into(), &0.into()), "{report}");
    report
}

/// Bucket or table, key, and how it differs.
fn differences(report: &Value) -> BTreeSet<[String; 3]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = report["differences"].as_array().unwrap().iter().map(|found| {
        let place = if found["bucket"].is_null() { &found["table"] } else { &found["bucket"] };
        [text(place), text(&found["key"]), text(&found["difference"])]
    });
    found.collect()
}

#[test]
fn two_regions_are_the_same_while_they_are_written_to() {
    let run = Run::new("compare-load").unwrap();
    let dev = Dev::start_pair(&run).unwrap();
    let mut client = dev.client().unwrap();
    let buckets = Buckets::create(&mut client, "load").unwrap();
    wait_synced(&dev).unwrap();
    let ended = AtomicBool::new(false);
    let settled = std::thread::scope(|scope| {
        let _stopping = Stopping(&ended);
        for writer in 0..3 {
            let (ended, buckets, mut client) = (&ended, &buckets, dev.client().unwrap());
            let mut random = Random::from_seed(writer as u64 + 1);
            scope.spawn(move || write_until(ended, &mut client, buckets, writer, &mut random));
        }
        let mut settled = 0;
        for _ in 0..6 {
            let report = assert_same(compare(&dev, &[]));
            settled += report["settled"].as_u64().unwrap();
        }
        settled
    });
    println!("{settled} entries were on their way");
    wait_synced(&dev).unwrap();
    let report = assert_same(compare(&dev, &[]));
    assert!(report["entries"].as_u64().unwrap() > 20, "{report}");
    for tree in report["trees"].as_array().unwrap() {
        assert_eq!(tree["primary"], tree["standby"], "{tree}");
    }
    let folder = report["folder"].as_str().unwrap();
    let verified = dev.twinkeep(&["drill", "verify", folder, "--json"]).unwrap();
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!((&verified["kind"], &verified["verdict"]), (&"comparison".into(), &"same".into()));
}

#[test]
fn what_a_standby_has_otherwise_is_named_exactly_and_made_equal_again() {
    let run = Run::new("compare-planted").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let mut client = dev.client().unwrap();
    for bucket in [BUCKET, "untouched"] {
        client.create_bucket(bucket).unwrap();
        client.put(bucket, "beside", b"nobody changes this one").unwrap();
    }
    let mut written = BTreeMap::new();
    for number in 0..40 {
        let (key, bytes) = (format!("object-{number:02}"), content("planted", number, 700 + number as usize));
        client.put(BUCKET, &key, &bytes).unwrap();
        written.insert(key, bytes);
    }
    let large = content("large", 1, 3 << 20);
    client.put(BUCKET, "large", &large).unwrap();
    written.insert("large".to_owned(), large);
    dev.twinkeep(&["user", "add", "mara"]).unwrap();
    wait_synced(&dev).unwrap();
    assert_same(compare(&dev, &[]));

    let standby = dev.other.clone().unwrap();
    let plant = || {
        let planter = Planter::open(&standby);
        planter.remove("object-03");
        planter.add("object-05", "object-05-copy");
        planter.swap_body("object-07", "object-08");
        planter.change_etag("object-11");
        planter.change_chunk();
        planter.remove_record(PRINCIPAL, "mara");
    };
    dev.restart_after(plant).unwrap();
    wait_synced(&dev).unwrap();

    let (code, report) = compare(&dev, &[]);
    assert_eq!((code, report["verdict"].as_str()), (7, Some("differing")), "{report}");
    let expected = [
        [BUCKET, "object-03", "missing"],
        [BUCKET, "object-05-copy", "surplus"],
        [BUCKET, "object-07", "content"],
        [BUCKET, "object-11", "metadata"],
        [BUCKET, "large", "content"],
        ["user", "mara", "missing"],
    ];
    let expected: BTreeSet<[String; 3]> =
        expected.into_iter().map(|words| words.map(str::to_owned)).collect();
    assert_eq!(differences(&report), expected, "{report}");
    assert_eq!(report["undecided"], 0, "{report}");
    assert_same(compare(&dev, &["--bucket", "untouched"]));
    let (code, of_bucket) = compare(&dev, &["--bucket", BUCKET]);
    assert_eq!((code, &of_bucket["differing"]), (7, &5.into()), "{of_bucket}");

    let (code, plan) = compare(&dev, &["--repair"]);
    assert_eq!((code, &plan["repair"]["carried_out"]), (7, &false.into()), "{plan}");
    assert_eq!(differences(&plan), expected, "nothing was changed");
    let report = assert_same(compare(&dev, &["--repair", "--yes"]));
    assert_eq!(report["repair"]["before"]["differing"], 6, "{report}");
    println!("repaired: {}", report["repair"]["groups"]);
    assert_same(compare(&dev, &[]));

    wait_synced(&dev).unwrap();
    let mut reader = dev.other.as_ref().unwrap().client().unwrap();
    for (key, bytes) in &written {
        assert_eq!(reader.get(BUCKET, key).unwrap().as_ref(), Some(bytes), "{key} in the standby");
    }
    let listed = reader.list(BUCKET, "").unwrap();
    assert_eq!(listed.len(), written.len() + 1, "{listed:?}");
    client = dev.client().unwrap();
    client.put(BUCKET, "after", b"the standby follows again").unwrap();
    wait_synced(&dev).unwrap();
    assert_eq!(reader.get(BUCKET, "after").unwrap().as_deref(), Some(&b"the standby follows again"[..]));
    dev.end().unwrap();
}
