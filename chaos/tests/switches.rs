//! Switches in the middle of everything else: what was begun in one region is ended in the other, and whatever becomes of who asked
//! for a switch, and however often and of whichever side it was asked for, asking once more finishes it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chaos::dev::{Dev, Ready};
use chaos::ledger::{Ledger, content};
use chaos::pair::{is_fenced, lag, manifest, wait_for, wait_synced};
use chaos::random::Random;
use chaos::run::Run;
use chaos::s3::{Failure, S3, elements, first, text};
use chaos::workload::Stopping;

const BUCKET: &str = "switches";

/// Objects in the list that is gone on with in the other region.
const LISTED: usize = 240;

/// S3's smallest part but the last, bytes.
const PART_BYTES: usize = 5 << 20;

/// Planned switches whose command is killed; forced ones, and returns after them.
const KILLED: [u64; 2] = [8, 3];

/// By when a planned switch, and a return, is mostly over, ms after its command was begun.
const COMMAND_MS: u64 = 150;

/// How long a write may be answered with 503 while a switch is unfinished.
const PATIENCE: Duration = Duration::from_secs(90);

fn pair(run: &Run) -> (Dev, [Ready; 2]) {
    let dev = Dev::start_pair_with(run, &["--forward", "all"]).unwrap();
    let regions = [dev.ready.clone(), dev.other.clone().unwrap()];
    regions[0].client().unwrap().create_bucket(BUCKET).unwrap();
    wait_synced(&dev).unwrap();
    (dev, regions)
}

/// Asks until it is done: who was elected a moment ago, or is behind, refuses.
fn finish(dev: &Dev, arguments: &[&str]) {
    wait_for(&arguments.join(" "), || dev.twinkeep(arguments).is_ok());
}

/// Lets the other region of a forced switch follow again.
fn rejoin(dev: &Dev, old: &Ready) {
    wait_for("fencing", || is_fenced(dev, &old.region));
    finish(dev, &["failover", "rejoin", "--discard"]);
    wait_for("the old primary's return", || lag(dev).unwrap()["state"] == "Live");
    wait_synced(dev).unwrap();
}

fn check(ledger: &Ledger, region: &Ready) {
    let mut client = region.client().unwrap();
    for key in ledger.keys() {
        let seen = client.get(BUCKET, key).unwrap();
        ledger.check_current(key, seen.as_deref()).unwrap_or_else(|violation| panic!("{key}: {violation:?}"));
    }
}

/// An upload that is not complete.
struct Upload {
    path: String,
    id: String,
    etags: Vec<String>,
    body: Vec<u8>,
}

impl Upload {
    fn begin(client: &mut S3, key: &str) -> Self {
        let path = format!("/{BUCKET}/{key}");
        let answer = client.call("POST", &path, &[("uploads", "")], &[], b"").unwrap();
        Self { path, id: first(&text(&answer), "UploadId").unwrap(), etags: Vec::new(), body: Vec::new() }
    }

    fn put(&mut self, client: &mut S3, length: usize) {
        let part = content(&self.path, self.etags.len() as u64, length);
        let number = (self.etags.len() + 1).to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", self.id.as_str())];
        let answer = client.persist(PATIENCE, |client| client.call("PUT", &self.path, &query, &[], &part));
        self.etags.push(answer.unwrap().header("etag").unwrap().to_owned());
        self.body.extend(part);
    }

    fn complete(&self, client: &mut S3) {
        let part = |(place, etag): (usize, &String)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", place + 1)
        };
        let parts: String = self.etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let answer = client.call("POST", &self.path, &[("uploadId", &self.id)], &[], body.as_bytes());
        assert!(first(&text(&answer.unwrap()), "ETag").is_some());
    }
}

/// A page of the list, and where the next one begins.
fn page(client: &mut S3, token: Option<&str>) -> (Vec<String>, Option<String>) {
    let mut query = vec![("list-type", "2"), ("prefix", "listed/"), ("max-keys", "100")];
    query.extend(token.map(|token| ("continuation-token", token)));
    let page = text(&client.call("GET", &format!("/{BUCKET}"), &query, &[], b"").unwrap());
    let keys = elements(&page, "Key").into_iter().map(str::to_owned).collect();
    (keys, first(&page, "NextContinuationToken"))
}

#[test]
fn what_was_begun_before_a_switch_is_ended_after_it() {
    let run = Run::new("switches-amid").unwrap();
    let (mut dev, mut regions) = pair(&run);
    let mut client = regions[0].client().unwrap();
    for number in 0..LISTED {
        let key = format!("listed/{number:03}");
        client.put(BUCKET, &key, &content(&key, 1, 100 + number * 40)).unwrap();
    }
    for kind in ["--planned", "--force"] {
        let [old, new] = &regions;
        let mut client = old.client().unwrap();
        let mut upload = Upload::begin(&mut client, &format!("upload{kind}"));
        upload.put(&mut client, PART_BYTES);
        let (mut listed, token) = page(&mut client, None);
        dev.twinkeep_of(old, &["key", "rotate-tenant"]).unwrap();
        dev.twinkeep_of(old, &["gc"]).unwrap();
        wait_synced(&dev).unwrap();
        dev.twinkeep_of(old, &["key", "rewrap"]).unwrap();

        finish(&dev, &["failover", kind, "--to", &new.region]);

        let mut client = new.client().unwrap();
        upload.put(&mut client, 100_000);
        upload.complete(&mut client);
        let mut next = token;
        while let Some(token) = next {
            let (keys, more) = page(&mut client, Some(&token));
            listed.extend(keys);
            next = more;
        }
        let unique: BTreeSet<&String> = listed.iter().collect();
        assert_eq!((listed.len(), unique.len()), (LISTED, LISTED), "the list {kind}");
        if kind == "--force" {
            rejoin(&dev, old);
        }
        wait_for("every object under the new key", || {
            dev.twinkeep_of(new, &["key", "rewrap", "--wait"]).is_ok()
        });
        wait_synced(&dev).unwrap();
        for region in [new, old] {
            let mut client = region.client().unwrap();
            let key = &upload.path[BUCKET.len() + 2..];
            let seen = client.get(BUCKET, key).unwrap();
            let length = seen.as_ref().map(Vec::len);
            assert!(seen.as_ref() == Some(&upload.body), "{key} in {}: {length:?}", region.region);
            for key in &listed {
                let number: usize = key[7..].parse().unwrap();
                let expected = content(key, 1, 100 + number * 40);
                assert_eq!(client.get(BUCKET, key).unwrap(), Some(expected), "{key} {kind}");
            }
        }
        regions.swap(0, 1);
    }
    dev.end().unwrap();
}

#[test]
fn a_switch_while_a_node_is_filled_again_loses_nothing() {
    let run = Run::new("switches-refill").unwrap();
    let (mut dev, [old, new]) = pair(&run);
    let (mut client, mut ledger) = (old.client().unwrap(), Ledger::new());
    let mut write = |client: &mut S3, name: &str| {
        for number in 0..30 {
            let key = format!("{name}/{number}");
            let (serial, body) = ledger.begin_write(&key, 200_000);
            let written = client.persist(PATIENCE, |client| client.put(BUCKET, &key, &body));
            ledger.end(&key, serial, &Ok(written.unwrap()));
        }
    };
    write(&mut client, "before");
    wait_synced(&dev).unwrap();
    // one of the region that is to take the writes, and then one of the region that gives them back
    for (to, from) in [(&new, &old), (&old, &new)] {
        let lost = &new.nodes[1];
        dev.twinkeep_of(&new, &["dev", "kill", &lost.id]).unwrap();
        std::fs::remove_dir_all(&lost.data).unwrap();
        let filled = std::thread::scope(|scope| {
            let filling = scope.spawn(|| {
                dev.twinkeep_of(&new, &["node", "replace", &lost.id, "--wait", "--timeout", "120"])
            });
            finish(&dev, &["failover", "--planned", "--to", &to.region]);
            write(&mut to.client().unwrap(), &format!("to-{}", to.region));
            filling.join().unwrap()
        });
        filled.unwrap();
        wait_synced(&dev).unwrap();
        println!("{} took over from {} meanwhile", to.region, from.region);
    }
    // what was filled again is half of a majority
    dev.twinkeep_of(&new, &["dev", "kill", &new.nodes[0].id]).unwrap();
    for region in [&old, &new] {
        check(&ledger, region);
    }
    dev.twinkeep_of(&new, &["dev", "start", &new.nodes[0].id]).unwrap();
    dev.end().unwrap();
}

/// Writes through one endpoint until told to end: done, or answered with 503.
fn write(region: &Ready, ended: &AtomicBool) -> Ledger {
    let (mut client, mut ledger) = (region.client().unwrap(), Ledger::new());
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{}/{number}", region.region);
        let (serial, body) = ledger.begin_write(&key, 100 + number % 5000);
        let written = client.put(BUCKET, &key, &body);
        ledger.end(&key, serial, &written);
        if let Err(failure) = written {
            let is_retryable = matches!(&failure, Failure::Unknown { reason } if reason.starts_with("503 "));
            assert!(is_retryable, "{key}: {failure:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    ledger
}

/// Begins a command and kills it at a moment of the seed's choice.
fn killed(dev: &Dev, arguments: &[&str], random: &mut Random) {
    let mut child = dev.twinkeep_begin(arguments).unwrap();
    std::thread::sleep(Duration::from_millis(random.below(COMMAND_MS)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn whoever_asks_for_a_switch_may_die_anywhere() {
    let mut random = Random::from_seed(Random::seed_of_run("switches-killed"));
    let run = Run::new("switches-killed").unwrap();
    let (mut dev, mut regions) = pair(&run);
    let ended = AtomicBool::new(false);
    let ledgers = std::thread::scope(|scope| {
        let stopping = Stopping(&ended);
        let writers = regions.clone().map(|region| {
            let ended = &ended;
            scope.spawn(move || write(&region, ended))
        });
        for _ in 0..KILLED[0] {
            let to = regions[1].region.clone();
            let command = ["failover", "--planned", "--to", &to];
            killed(&dev, &command, &mut random);
            finish(&dev, &command);
            assert_eq!(lag(&dev).unwrap()["primary"], to.as_str());
            wait_synced(&dev).unwrap();
            regions.swap(0, 1);
        }
        drop(stopping);
        writers.map(|writer| writer.join().unwrap())
    });
    wait_synced(&dev).unwrap();
    for _ in 0..KILLED[1] {
        let [old, new] = &regions;
        let command = ["failover", "--force", "--to", &new.region];
        killed(&dev, &command, &mut random);
        finish(&dev, &command);
        assert_eq!(lag(&dev).unwrap()["primary"], new.region.as_str());
        wait_for("fencing", || is_fenced(&dev, &old.region));
        killed(&dev, &["failover", "rejoin", "--discard"], &mut random);
        // what it had begun goes on
        wait_for("the old primary's return", || {
            let _refused_when_nothing_is_left = dev.twinkeep(&["failover", "rejoin", "--discard"]).is_err();
            lag(&dev).unwrap()["state"] == "Live"
        });
        wait_synced(&dev).unwrap();
        regions.swap(0, 1);
    }
    let acknowledged: usize = ledgers.iter().map(|ledger| ledger.counts().0 as usize).sum();
    println!("{acknowledged} acknowledged writes are in both regions");
    assert!(acknowledged > 20, "too few to show anything");
    for ledger in &ledgers {
        regions.iter().for_each(|region| check(ledger, region));
    }
    dev.end().unwrap();
}

/// What `failover` says when it refuses, which it must.
fn refused(dev: &Dev, arguments: &[&str]) -> String {
    match dev.twinkeep(arguments) {
        Ok(said) => panic!("{} was done: {said}", arguments.join(" ")),
        Err(trouble) => trouble.to_string(),
    }
}

/// A planned switch gives nothing up, whatever was begun by force before it and whichever region it names.
#[test]
fn a_planned_switch_finishes_no_forced_one_that_lost_something_and_goes_to_no_relieved_region() {
    let run = Run::new("switches-mixed").unwrap();
    let (mut dev, [old, new]) = pair(&run);
    let mut client = old.client().unwrap();
    // nothing more comes to the standby
    for node in &new.nodes {
        dev.twinkeep_of(&new, &["dev", "stop", &node.id]).unwrap();
    }
    let written: BTreeSet<String> = (0..40).map(|number| format!("alone-{number:02}")).collect();
    for key in &written {
        client.put(BUCKET, key, b"in the old primary").unwrap();
    }
    for node in &old.nodes {
        dev.twinkeep_of(&old, &["dev", "kill", &node.id]).unwrap();
    }
    for node in &new.nodes {
        dev.twinkeep_of(&new, &["dev", "start", &node.id]).unwrap();
    }
    finish(&dev, &["failover", "--force", "--to", &new.region]);
    for node in &old.nodes {
        dev.twinkeep_of(&old, &["dev", "start", &node.id]).unwrap();
    }
    wait_for("fencing", || is_fenced(&dev, &old.region));
    // what was on its way when the standby was halted has come
    let alone = manifest(&dev);
    assert!(!alone.is_empty() && alone.is_subset(&written), "{alone:?}");

    let said = refused(&dev, &["failover", "--planned", "--to", &new.region]);
    let count = format!("has {} writes", alone.len());
    assert!(said.contains(&count) && said.contains("failover manifest"), "{said}");
    let said = refused(&dev, &["failover", "--planned", "--to", &old.region]);
    assert!(said.contains("was promoted over it") && said.contains("failover rejoin"), "{said}");
    assert_eq!(manifest(&dev), alone, "nothing was given up");
    new.client().unwrap().put(BUCKET, "meanwhile", b"the new primary takes writes").unwrap();

    rejoin(&dev, &old);
    finish(&dev, &["failover", "--planned", "--to", &old.region]);
    let said = dev.twinkeep(&["failover", "--planned", "--to", &old.region, "--json"]).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["switched"], &said["writes_paused_ms"]), (&false.into(), &serde_json::Value::Null));
    dev.end().unwrap();
}

#[test]
fn a_switch_that_is_asked_for_twice_or_of_both_sides_leaves_one_primary() {
    let run = Run::new("switches-twice").unwrap();
    let (mut dev, [one, two]) = pair(&run);
    let ask = |kind: &str, regions: [&Ready; 2]| {
        let begun = regions.map(|region| dev.twinkeep_begin(&["failover", kind, "--to", &region.region]));
        begun.map(|child| child.unwrap().wait_with_output().unwrap().status.success())
    };
    let ended = AtomicBool::new(false);
    let ledger = std::thread::scope(|scope| {
        let stopping = Stopping(&ended);
        let writer = scope.spawn(|| write(&one, &ended));
        for to in [&two, &one] {
            let done = ask("--planned", [to, to]);
            println!("asked for twice: {done:?}");
            finish(&dev, &["failover", "--planned", "--to", &to.region]);
            assert_eq!(lag(&dev).unwrap()["primary"], to.region.as_str());
            wait_synced(&dev).unwrap();
        }
        for to in [&two, &one] {
            let done = ask("--planned", [&two, &one]);
            println!("asked for of both sides: {done:?}");
            finish(&dev, &["failover", "--planned", "--to", &to.region]);
            assert_eq!(lag(&dev).unwrap()["primary"], to.region.as_str());
            wait_synced(&dev).unwrap();
        }
        drop(stopping);
        writer.join().unwrap()
    });
    wait_synced(&dev).unwrap();
    let done = ask("--force", [&two, &one]);
    println!("forced from both sides: {done:?}");
    finish(&dev, &["failover", "--force", "--to", &two.region]);
    assert_eq!(lag(&dev).unwrap()["primary"], two.region.as_str());
    rejoin(&dev, &one);
    for region in [&one, &two] {
        check(&ledger, region);
    }
    two.client().unwrap().put(BUCKET, "after", b"one region takes writes").unwrap();
    dev.end().unwrap();
}
