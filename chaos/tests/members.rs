//! Nodes that come and go on a live region: nothing acknowledged is lost, and the region ends with three good copies.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use chaos::dev::Dev;
use chaos::ledger::Ledger;
use chaos::random::Random;
use chaos::run::Run;
use chaos::s3::S3;

/// How long a read may take while leaders change, on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest a change of a region with this little data may take, s.
const CHANGE_SECONDS: &str = "120";

/// The region and what was written to it.
struct Scene {
    dev: Dev,
    client: S3,
    ledger: Ledger,
    random: Random,
}

impl Scene {
    fn write(&mut self, prefix: &str) {
        for number in 0..20 {
            let key = format!("{prefix}/{number}");
            let (serial, body) = self.ledger.begin_write(&key, self.random.below(256 << 10) as usize);
            let result = self.client.put("bucket", &key, &body);
            self.ledger.end(&key, serial, &result);
            result.unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
        }
    }

    fn check(&mut self) {
        for key in self.ledger.keys() {
            let seen = self.client.persist(PATIENCE, |client| client.get("bucket", key)).unwrap();
            self.ledger.check_current(key, seen.as_deref()).unwrap_or_else(|violation| panic!("{violation}"));
        }
    }

    /// Runs `twinkeep node`, waits until it is done, and checks and writes on.
    fn change(&mut self, what: &[&str]) {
        let mut arguments = vec!["node"];
        arguments.extend(what);
        if what[0] != "remove" {
            arguments.extend(["--wait", "--timeout", CHANGE_SECONDS]);
        }
        self.dev.twinkeep(&arguments).unwrap();
        self.check();
        self.write(&what.join("-"));
    }
}

#[test]
fn a_region_outlives_its_founders() {
    let (random, run) = (Random::from_seed(Random::seed_of_run("members")), Run::new("members").unwrap());
    let dev = Dev::start(&run).unwrap();
    let client = dev.client().unwrap();
    let mut scene = Scene { dev, client, ledger: Ledger::new(), random };
    scene.client.create_bucket("bucket").unwrap();
    scene.write("before");
    for change in [
        &["add", "4"][..],
        &["drain", "1"],
        &["remove", "1"],
        // whoever comes now is told of a region that one of its founders has left
        &["add", "5"],
        &["replace", "3"],
        &["drain", "2"],
        &["remove", "2"],
    ] {
        eprintln!("members: node {}", change.join(" "));
        scene.change(change);
    }
    let status = scene.dev.status().unwrap();
    assert_eq!(
        (status["under_replicated_groups"].as_u64(), status["writable"].as_bool()),
        (Some(0), Some(true)),
        "{status}"
    );
    scene.check();
    scene.dev.end().unwrap();
}
