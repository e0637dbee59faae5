//! What a forced switch lost is put back: on two regions of real processes, with clients that wrote to the new primary since, and
//! with a command that is killed in the middle.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use chaos::dev::{Dev, Ready};
use chaos::ledger::content;
use chaos::pair::{is_fenced, lag, wait_for, wait_synced};
use chaos::run::Run;
use chaos::s3::{S3, first};
use serde_json::Value;

/// Never versioned.
const PLAIN: &str = "plain";
/// Versioned from the beginning.
const KEPT: &str = "kept";
/// Made on the old primary alone, versioned.
const LATE: &str = "late";
/// For what a person decides.
const HAND: &str = "hand";

/// Keys that only the old primary has, so many that a run can be killed among them.
const MANY: usize = 400;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs `failover reconcile`: its report.
fn reconcile(dev: &Dev, arguments: &[&str]) -> Value {
    json(&dev.twinkeep(&[&["failover", "reconcile", "--json"], arguments].concat()).unwrap())
}

/// What a report says of a key: each change of it and what became of it, in order.
fn outcomes(report: &Value, bucket: &str, key: &str) -> Vec<(String, String)> {
    let entries = report["entries"].as_array().unwrap().iter();
    let of_key = entries.filter(|entry| entry["write"]["bucket"] == bucket && entry["write"]["key"] == key);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_key.map(|entry| (text(&entry["write"]["change"]), text(&entry["action"]))).collect()
}

/// The name under which the only lost put of a key is kept.
fn kept_as(report: &Value, bucket: &str, key: &str) -> String {
    let entries = report["entries"].as_array().unwrap().iter();
    let found = entries.into_iter().find(|entry| {
        entry["write"]["bucket"] == bucket && entry["write"]["key"] == key && entry["write"]["kept"] == true
    });
    found.unwrap()["name"].as_str().unwrap().to_owned()
}

/// Everything that clients can see of a region: every version of every bucket.
fn everything(client: &mut S3) -> BTreeMap<String, Vec<String>> {
    let buckets = [PLAIN, KEPT, LATE, HAND].into_iter();
    buckets
        .filter_map(|bucket| {
            let versions = client.list_versions(bucket).ok()?;
            let shown = versions.iter().map(|entry| format!("{entry:?}")).collect();
            Some((bucket.to_owned(), shown))
        })
        .collect()
}

/// The headers of an object that are to be the same after it was put back.
fn stored_headers(client: &mut S3, bucket: &str, key: &str) -> BTreeMap<String, String> {
    let headers = [("x-amz-checksum-mode", "ENABLED")];
    let answer = client.call("HEAD", &format!("/{bucket}/{key}"), &[], &headers, b"").unwrap();
    let is_stored = |name: &str| {
        let stored = ["etag", "content-type", "content-length", "cache-control"].contains(&name);
        let mark = name == "x-amz-meta-twinkeep-reconciled";
        stored || name.starts_with("x-amz-checksum") || (name.starts_with("x-amz-meta-") && !mark)
    };
    answer.headers.into_iter().filter(|(name, _)| is_stored(name)).collect()
}

/// A pair after a forced switch: what both had, what only the old primary has, what the new one wrote since.
struct World {
    dev: Dev,
    old: Ready,
    new: Ready,
    /// The version of `removed` that was removed for good on the old primary alone.
    removed: String,
    /// Bytes of the large objects.
    large: Vec<u8>,
    parts: Vec<Vec<u8>>,
}

impl World {
    fn make(run: &Run) -> Self {
        let dev = Dev::start_pair(run).unwrap();
        let (old, new) = (dev.ready.clone(), dev.other.clone().unwrap());
        let mut client = old.client().unwrap();
        for bucket in [PLAIN, KEPT, HAND] {
            client.create_bucket(bucket).unwrap();
        }
        client.enable_versioning(KEPT).unwrap();
        for bucket in [PLAIN, KEPT] {
            for key in
                ["shared", "newer", "half-moved", "gone", "gone-newer", "deleted-there", "put-and-gone"]
            {
                client.put(bucket, key, format!("both regions have {key}").as_bytes()).unwrap();
            }
        }
        let removed = client.put(KEPT, "removed", b"a version to be removed").unwrap().version.unwrap();
        client.put(KEPT, "removed", b"the one above it").unwrap();
        wait_synced(&dev).unwrap();
        for node in &new.nodes {
            dev.twinkeep_of(&new, &["dev", "stop", &node.id]).unwrap();
        }
        let (large, parts) =
            (content("large", 1, 9 << 20), vec![content("part", 1, 5 << 20), b"end".to_vec()]);
        let world = Self { dev, old, new, removed, large, parts };
        world.write_alone(&mut client);
        world.switch();
        world.write_since();
        world.dev.twinkeep(&["dev", "start", &world.old.region]).unwrap();
        wait_for("fencing", || is_fenced(&world.dev, &world.old.region));
        world
    }

    /// What the new primary never hears of.
    fn write_alone(&self, client: &mut S3) {
        // the first of each group may be on their way to the standby already: these are many
        for number in 0..MANY {
            client.put(PLAIN, &format!("many/{number:03}"), &content("many", 1, 10 + number)).unwrap();
        }
        let headers = [
            ("content-type", "text/plain"),
            ("cache-control", "no-cache"),
            ("x-amz-meta-colour", "blue"),
            ("x-amz-checksum-algorithm", "SHA256"),
        ];
        for bucket in [PLAIN, KEPT] {
            client.put_with(bucket, "new", &headers, b"only the old primary has it").unwrap();
            client.put(bucket, "shared", b"second").unwrap();
            client.put(bucket, "newer", b"lost").unwrap();
            client.put(bucket, "deleted-there", b"lost").unwrap();
            client.put(bucket, "half-moved", b"lost").unwrap();
            client.put(bucket, "twice", b"first").unwrap();
            client.put(bucket, "twice", b"second").unwrap();
            client.delete(bucket, "gone").unwrap();
            client.delete(bucket, "gone-newer").unwrap();
            client.put(bucket, "put-and-gone", b"lost before it was deleted").unwrap();
            client.delete(bucket, "put-and-gone").unwrap();
        }
        let path = format!("/{KEPT}/removed");
        client.call("DELETE", &path, &[("versionId", &self.removed)], &[], b"").unwrap();
        client.put(PLAIN, "large", &self.large).unwrap();
        client.put_multipart(PLAIN, "in parts", &self.parts).unwrap();
        client.call("POST", &format!("/{PLAIN}/never ended"), &[("uploads", "")], &[], b"").unwrap();
        client.create_bucket(LATE).unwrap();
        client.enable_versioning(LATE).unwrap();
        client.put(LATE, "one", b"in a bucket that is lost").unwrap();
        for key in ["keep", "beside", "discard"] {
            client.put(HAND, key, key.as_bytes()).unwrap();
        }
        self.dev.twinkeep_of(&self.old, &["user", "add", "mara"]).unwrap();
    }

    fn switch(&self) {
        self.dev.twinkeep(&["dev", "kill", &self.old.region]).unwrap();
        for node in &self.new.nodes {
            self.dev.twinkeep_of(&self.new, &["dev", "start", &node.id]).unwrap();
        }
        self.dev.twinkeep(&["failover", "--force", "--to", &self.new.region]).unwrap();
    }

    /// What clients did on the new primary before the old one came back.
    fn write_since(&self) {
        let mut client = self.client();
        for bucket in [PLAIN, KEPT] {
            client.put(bucket, "newer", b"since").unwrap();
            client.put(bucket, "half-moved", b"since").unwrap();
            client.put(bucket, "gone-newer", b"since").unwrap();
            client.delete(bucket, "deleted-there").unwrap();
        }
    }

    fn client(&self) -> S3 {
        self.new.client().unwrap()
    }

    /// Leaves `half-moved` as a run does that put it back above a newer write, began to move it beside, and was killed.
    fn move_half(&self, preview: &Value) {
        let entries = preview["entries"].as_array().unwrap();
        let of_key =
            |entry: &&Value| entry["write"]["bucket"] == KEPT && entry["write"]["key"] == "half-moved";
        let entry = entries.iter().find(of_key).unwrap();
        let (from, epoch, write) = (preview["from"].as_str().unwrap(), &preview["epoch"], &entry["write"]);
        let mark = format!("{from}/{epoch}/{}/{}", write["group"], write["sequence"]);
        let mut client = self.client();
        for (name, mark) in
            [("half-moved", mark.clone()), (entry["name"].as_str().unwrap(), format!("{mark}/beside"))]
        {
            client.put_with(KEPT, name, &[("x-amz-meta-twinkeep-reconciled", &mark)], b"lost").unwrap();
        }
    }

    /// A person takes the lost object of `newer` after all, with its metadata; gives what is there then.
    fn take_back_by_hand(&self, report: &Value) {
        let source = format!("/{KEPT}/{}", kept_as(report, KEPT, "newer"));
        let mut client = self.client();
        let headers = [("x-amz-copy-source", source.as_str())];
        client.call("PUT", &format!("/{KEPT}/newer"), &[], &headers, b"").unwrap();
        assert_eq!(client.get(KEPT, "newer").unwrap().unwrap(), b"lost");
    }

    /// Begins to put everything back and kills the command once some of it is there.
    fn kill_in_the_middle(&self) {
        let mut command = self.dev.twinkeep_begin(&["failover", "reconcile", "--yes", "--json"]).unwrap();
        let mut client = self.client();
        wait_for("the first keys", || {
            let is_over = command.try_wait().unwrap().is_some();
            is_over || client.list(PLAIN, "many/").unwrap().len() > MANY / 10
        });
        command.kill().unwrap();
        let said = command.wait_with_output().unwrap();
        assert!(!said.status.success(), "the run was over before it could be killed");
        println!("{}", String::from_utf8_lossy(&said.stderr));
        let there = client.list(PLAIN, "many/").unwrap().len();
        println!("killed with {there} of {MANY} keys put back");
        assert!(there < MANY, "the run was over before it could be killed");
    }

    /// A person chooses for each of three writes.
    fn decide_by_hand(&self, plan: &PathBuf) {
        let file = plan.to_str().unwrap();
        let arguments = ["--policy", "manual", "--bucket", HAND, "--plan", file];
        assert_eq!(reconcile(&self.dev, &arguments)["entries"], 3);
        let mut choices = json(&std::fs::read_to_string(plan).unwrap());
        for entry in choices["entries"].as_array_mut().unwrap() {
            entry["choice"] = entry["key"].clone();
        }
        self.refuse_wrong_plans(&arguments, &choices, plan);
        std::fs::write(plan, choices.to_string()).unwrap();
        let report = reconcile(&self.dev, &[&arguments[..], &["--yes"]].concat());
        let became = |key| outcomes(&report, HAND, key)[0].1.clone();
        assert_eq!(
            [became("keep"), became("beside"), became("discard")],
            ["put_back", "kept_beside", "given_up"]
        );
        let mut client = self.client();
        assert_eq!(client.get(HAND, "keep").unwrap().unwrap(), b"keep");
        assert_eq!(client.get(HAND, "beside").unwrap(), None);
        assert_eq!(client.get(HAND, &kept_as(&report, HAND, "beside")).unwrap().unwrap(), b"beside");
        assert_eq!(client.list(HAND, "").unwrap().len(), 2, "what was given up is nowhere");
    }

    /// A plan that names a write twice, or one that was not lost, is refused before anything is done.
    fn refuse_wrong_plans(&self, arguments: &[&str], choices: &Value, plan: &PathBuf) {
        let first = choices["entries"][0].clone();
        let mut unknown = first.clone();
        unknown["key"] = "never lost".into();
        for (added, said) in [(first, "it chooses twice for write"), (unknown, "never lost")] {
            let mut choices = choices.clone();
            choices["entries"].as_array_mut().unwrap().push(added);
            std::fs::write(plan, choices.to_string()).unwrap();
            let all = [&["failover", "reconcile"], arguments, &["--yes"]].concat();
            let refused = self.dev.twinkeep(&all).expect_err("it is not the plan that was made");
            assert!(refused.to_string().contains(said), "{refused}");
        }
    }

    /// What a key is now, in both kinds of bucket.
    fn check_both_buckets(&self, report: &Value) {
        let mut client = self.client();
        let mut get = |bucket: &str, key: &str| client.get(bucket, key).unwrap();
        for bucket in [PLAIN, KEPT] {
            assert_eq!(get(bucket, "new").unwrap(), b"only the old primary has it", "{bucket}");
            assert_eq!(get(bucket, "shared").unwrap(), b"second", "{bucket}");
            assert_eq!(get(bucket, "twice").unwrap(), b"second", "{bucket}");
            assert_eq!(get(bucket, "newer").unwrap(), b"since", "{bucket}: what was written since stays");
            assert_eq!(get(bucket, "deleted-there"), None, "{bucket}: what was deleted since stays so");
            assert_eq!(get(bucket, "half-moved").unwrap(), b"since", "{bucket}: it is moved beside");
            for key in ["newer", "half-moved", "deleted-there"] {
                assert_eq!(get(bucket, &kept_as(report, bucket, key)).unwrap(), b"lost", "{bucket}/{key}");
            }
            assert_eq!(get(bucket, "gone"), None, "{bucket}: the delete is repeated");
            assert_eq!(get(bucket, "gone-newer").unwrap(), b"since", "{bucket}: the delete is not repeated");
        }
        assert_eq!(get(PLAIN, "put-and-gone").unwrap(), b"both regions have put-and-gone");
        assert_eq!(get(KEPT, "put-and-gone"), None, "the version that was deleted is there to be deleted");
        for bucket in [PLAIN, KEPT] {
            let expected = stored_headers(&mut self.old.client().unwrap(), bucket, "new");
            assert_eq!(stored_headers(&mut client, bucket, "new"), expected, "{bucket}");
            assert!(
                expected.contains_key("x-amz-checksum-sha256") && expected["x-amz-meta-colour"] == "blue"
            );
        }
    }

    fn check_the_rest(&self) {
        let (mut from, mut client) = (self.old.client().unwrap(), self.client());
        for number in 0..MANY {
            let bytes = client.get(PLAIN, &format!("many/{number:03}")).unwrap();
            assert_eq!(bytes, Some(content("many", 1, 10 + number)), "many/{number:03}");
        }
        assert_eq!(client.get(PLAIN, "large").unwrap().as_ref(), Some(&self.large));
        assert_eq!(client.get(PLAIN, "in parts").unwrap(), Some(self.parts.concat()));
        for key in ["large", "in parts"] {
            let expected = stored_headers(&mut from, PLAIN, key);
            assert_eq!(stored_headers(&mut client, PLAIN, key), expected, "{key}");
        }
        assert!(stored_headers(&mut client, PLAIN, "in parts")["etag"].contains("-2"));
        assert_eq!(client.get(LATE, "one").unwrap().unwrap(), b"in a bucket that is lost");
        let versioning = client.call("GET", &format!("/{LATE}"), &[("versioning", "")], &[], b"").unwrap();
        let status = first(&String::from_utf8_lossy(&versioning.body), "Status");
        assert_eq!(status.as_deref(), Some("Enabled"));
        // versions, then markers
        let versions = client.list_versions(KEPT).unwrap();
        let of = |key: &str| -> Vec<bool> {
            versions.iter().filter(|entry| entry.key == key).map(|entry| entry.is_delete_marker).collect()
        };
        assert_eq!((of("shared"), of("twice"), of("new")), (vec![false; 2], vec![false; 2], vec![false]));
        assert_eq!((of("gone"), of("newer")), (vec![false, true], vec![false; 2]));
        assert_eq!(of("half-moved"), vec![false; 2], "the version above the newer one is gone");
        assert_eq!((of("put-and-gone"), of("removed")), (vec![false, false, true], vec![false]));
        assert_eq!(client.get_version(KEPT, "removed", &self.removed).unwrap(), None);
    }
}

#[test]
fn lost_writes_are_put_back_without_hiding_newer_ones_also_by_a_run_that_was_killed() {
    let run = Run::new("reconcile").unwrap();
    let mut world = World::make(&run);
    let refused = world.dev.twinkeep(&["failover", "rejoin"]).expect_err("nothing is given up silently");
    assert!(refused.to_string().contains("reconcile"), "{refused}");
    let refused = world.dev.twinkeep(&["failover", "reconcile"]).expect_err("it changes what clients see");
    assert!(refused.to_string().contains("--preview"), "{refused}");
    let before = everything(&mut world.client());
    let preview = reconcile(&world.dev, &["--preview"]);
    assert_eq!(everything(&mut world.client()), before, "a preview changes nothing");
    println!("preview: {}", preview["totals"]);
    let subjects: Vec<&Value> =
        preview["entries"].as_array().unwrap().iter().map(|entry| &entry["write"]["subject"]).collect();
    assert!(subjects.contains(&&"user mara".into()), "{subjects:?}");
    world.move_half(&preview);
    world.decide_by_hand(&run.path("choices.json"));
    world.kill_in_the_middle();
    let report = reconcile(&world.dev, &["--yes"]);
    println!("totals: {}", report["totals"]);
    assert_eq!((&report["verdict"], &report["complete"]), (&"settled".into(), &true.into()), "{report}");
    world.check_both_buckets(&report);
    world.check_the_rest();
    let became = |key| outcomes(&report, KEPT, key).pop().unwrap().1;
    assert_eq!(became("gone-newer"), "delete_not_repeated");
    assert_eq!(outcomes(&report, PLAIN, "never ended")[0].1, "unfinished");
    assert!(report["totals"]["by_hand"].as_u64().is_some_and(|count| count >= 1), "{}", report["totals"]);
    assert!(report["totals"]["already_there"].as_u64().is_some_and(|count| count >= MANY as u64 / 10));
    world.take_back_by_hand(&report);
    let after = everything(&mut world.client());
    let again = reconcile(&world.dev, &["--yes"]);
    assert_eq!(everything(&mut world.client()), after, "a further run changes nothing");
    for action in ["put_back", "kept_beside", "delete_repeated", "bucket_created", "failed"] {
        assert_eq!(again["totals"][action], Value::Null, "{}", again["totals"]);
    }
    let folder = report["folder"].as_str().unwrap();
    let verified = json(&world.dev.twinkeep(&["drill", "verify", folder, "--json"]).unwrap());
    assert_eq!((&verified["kind"], &verified["verdict"]), (&"reconciliation".into(), &"settled".into()));
    let rejoined = json(&world.dev.twinkeep(&["failover", "rejoin", "--json"]).unwrap());
    assert_eq!((&rejoined["discarded"], &rejoined["region"]), (&0.into(), &world.old.region.clone().into()));
    wait_for("the old primary's return", || lag(&world.dev).unwrap()["state"] == "Live");
    wait_synced(&world.dev).unwrap();
    assert_eq!(everything(&mut world.old.client().unwrap()), after, "both regions have the same");
    world.dev.end().unwrap();
}

#[test]
fn what_is_given_up_by_policy_is_recorded_and_nothing_is_changed() {
    let run = Run::new("reconcile-discard").unwrap();
    let mut dev = Dev::start_pair(&run).unwrap();
    let (old, new) = (dev.ready.clone(), dev.other.clone().unwrap());
    let mut client = old.client().unwrap();
    for bucket in [PLAIN, KEPT] {
        client.create_bucket(bucket).unwrap();
    }
    wait_synced(&dev).unwrap();
    for node in &new.nodes {
        dev.twinkeep_of(&new, &["dev", "stop", &node.id]).unwrap();
    }
    // the first of each group may be on its way to the standby already
    for key in (0..100).map(|number| number.to_string()) {
        for bucket in [PLAIN, KEPT] {
            client.put(bucket, &key, b"only the old primary has it").unwrap();
        }
    }
    dev.twinkeep(&["dev", "kill", &old.region]).unwrap();
    for node in &new.nodes {
        dev.twinkeep_of(&new, &["dev", "start", &node.id]).unwrap();
    }
    dev.twinkeep(&["failover", "--force", "--to", &new.region]).unwrap();
    dev.twinkeep(&["dev", "start", &old.region]).unwrap();
    wait_for("fencing", || is_fenced(&dev, &old.region));
    let mut client = new.client().unwrap();
    let before = everything(&mut client);
    let all = reconcile(&dev, &["--preview"])["entries"].as_array().unwrap().len();
    let report = reconcile(&dev, &["--policy", "discard", "--bucket", PLAIN, "--yes"]);
    let entries = report["entries"].as_array().unwrap();
    println!("{} of {all} are of {PLAIN}", entries.len());
    assert!((20..all).contains(&entries.len()), "only those of one bucket");
    assert_eq!(report["left_alone"].as_u64().unwrap() as usize, all - entries.len());
    assert!(entries.iter().all(|entry| entry["write"]["bucket"] == PLAIN && entry["action"] == "given_up"));
    let refused = dev.twinkeep(&["failover", "rejoin"]).expect_err("one bucket is not decided about");
    assert!(refused.to_string().contains("--discard"), "{refused}");
    reconcile(&dev, &["--policy", "discard", "--yes"]);
    assert_eq!(everything(&mut client), before, "nothing is changed");
    let folder = run.path("elsewhere");
    let elsewhere = dev.twinkeep(&["failover", "rejoin", "--output", folder.to_str().unwrap()]);
    elsewhere.expect_err("there are no reports elsewhere");
    let rejoined = json(&dev.twinkeep(&["failover", "rejoin", "--json"]).unwrap());
    assert_eq!((&rejoined["discarded"], &rejoined["settled"]), (&0.into(), &all.into()), "{rejoined}");
    wait_for("the old primary's return", || lag(&dev).unwrap()["state"] == "Live");
    dev.end().unwrap();
}
