//! `twinkeep dev --pseudo`: the demo of the pseudonymisation service, from its first draft to its readers, by the commands that
//! are shown, and what is left of it when it is killed or the region ends.

use std::path::PathBuf;
use std::process::{Command, Output};

use chaos::dev::{Dev, is_alive, signal};
use chaos::run::Run;
use chaos::s3::{Failure, S3};
use chaos::sign::Credentials;
use chaos::tools;
use rustix::process::Signal;
use serde_json::Value;

use crate::service::{ask, metric, wait};

/// Records of the demo.
const RECORDS: usize = 3000;

/// A region with the service beside it.
struct Demo {
    run: Run,
    dev: Dev,
}

impl Demo {
    fn start(test: &str, further: &[&str]) -> Self {
        let run = Run::new(test).unwrap();
        let dev = Dev::start_asked(&run, &[], further).unwrap();
        Self { run, dev }
    }

    fn said(&self, key: &str) -> String {
        let said = self.dev.ready.pseudo.as_ref().expect("the ready line has the service");
        said[key].as_str().unwrap_or_else(|| panic!("no {key} in {said}")).to_owned()
    }

    fn pid(&self) -> u32 {
        self.dev.ready.pseudo.as_ref().unwrap()["pid"].as_u64().unwrap() as u32
    }

    /// A line as it is shown, run by a shell as somebody.
    fn shell(&self, who: &str, line: &str) -> Output {
        let programs = tools::binaries().unwrap().twinkeep.parent().unwrap().to_owned();
        let mut path = vec![programs];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("(. '{}'; {line})", self.said(who)));
        command.env("PATH", std::env::join_paths(path).unwrap()).env("NO_PROXY", "127.0.0.1,localhost");
        command.output().unwrap()
    }

    fn json(&self, who: &str, line: &str) -> Value {
        let output = self.shell(who, &format!("twinkeep pseudo --json {line}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A client with the access key of somebody.
    fn client(&self, name: &str) -> S3 {
        let path = PathBuf::from(self.said("data")).join(format!("{name}.credentials"));
        let text = std::fs::read_to_string(path).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap().to_owned()
        };
        let (access_key, secret_key) = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"));
        let region = self.dev.ready.region.clone();
        S3::new(self.dev.address().unwrap(), Credentials { access_key, secret_key, region })
    }

    fn exports(&self) -> Vec<Value> {
        let register = self.json("second_person", &format!("register {}", self.said("drafts")));
        register["exports"].as_array().unwrap().clone()
    }

    /// The service in the list of processes.
    fn listed(&self) -> Value {
        let list = self.dev.twinkeep(&["dev", "list", "--json"]).unwrap();
        serde_json::from_str::<Value>(&list).unwrap()["pseudo"].clone()
    }

    fn is_live(&self) -> bool {
        let address = self.said("health_address").parse().unwrap();
        ask(address, "/health/live").is_some_and(|answer| answer.status == 200)
    }
}

/// Bucket and prefix of `s3://BUCKET/PREFIX`.
fn place(text: &str) -> (String, String) {
    let (bucket, prefix) = text.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    (bucket.to_owned(), prefix.to_owned())
}

#[test]
fn the_demo_goes_from_its_draft_to_its_reader_by_the_commands_that_are_shown() {
    let mut demo = Demo::start("dev-pseudo", &["--pseudo"]);
    let (drafts, released, export) = (demo.said("drafts"), demo.said("released"), demo.said("export"));
    let (source_bucket, source_prefix) = place(&demo.said("source"));
    let (drafts_bucket, drafts_prefix) = place(&drafts);
    let (released_bucket, released_prefix) = place(&released);

    // a policy without findings, by itself and for these data
    let sample = demo.run.path("sample.ndjson");
    let mut client = demo.dev.client().unwrap();
    let body = client.get(&source_bucket, &format!("{source_prefix}part-0.ndjson")).unwrap().unwrap();
    std::fs::write(&sample, &body).unwrap();
    let policy = demo.said("policy");
    for more in [String::new(), format!(" --sample '{}'", sample.display())] {
        let found = demo.json("analyst", &format!("lint '{policy}'{more}"));
        assert_eq!(found["findings"], Value::Array(vec![]));
    }

    // the draft is there when the region says that it serves, whole, signed, and within the gate's limits
    let exports = demo.exports();
    assert_eq!((exports.len(), exports[0]["export"].as_str()), (1, Some(export.as_str())));
    assert_eq!((&exports[0]["state"], &exports[0]["records"]), (&"draft".into(), &RECORDS.into()));
    let status = demo.json("second_person", &format!("release status {drafts}/{export}"));
    assert_eq!(status["gate_misses"], Value::Array(vec![]));
    let manifest = client.get(&drafts_bucket, &format!("{drafts_prefix}/{export}/manifest.json")).unwrap();
    let path = demo.run.path("manifest.json");
    std::fs::write(&path, manifest.unwrap()).unwrap();
    let line = format!("verify '{}' --at {drafts}/{export}", path.display());
    assert_eq!(demo.json("second_person", &line)["files_checked"], true);

    // everybody may do what is theirs and nothing else
    let part = format!("{released_prefix}/{export}/data/part-00000.csv");
    let refused = |done: Result<Option<Vec<u8>>, Failure>| {
        assert!(matches!(done, Err(Failure::Refused { status: 403, .. })), "{done:?}");
    };
    let mut analyst = demo.client("analyst");
    refused(analyst.get(&drafts_bucket, &format!("{drafts_prefix}/{export}/manifest.json")));
    refused(analyst.get(&source_bucket, &format!("{source_prefix}part-0.ndjson")));
    refused(demo.client("second-person").get(&source_bucket, &format!("{source_prefix}part-0.ndjson")));
    let mut service = demo.client("service");
    refused(service.get(&released_bucket, &part));
    let put = service.put(&source_bucket, &format!("{source_prefix}more.ndjson"), b"{}\n");
    assert!(matches!(put, Err(Failure::Refused { status: 403, .. })), "{put:?}");

    // released by the second person, read by the analyst, with nothing clear in it
    let line = format!("release approve {drafts}/{export}");
    let released = demo.json("second_person", &line);
    assert_eq!((&released["state"], &released["made_by"]), (&"released".into(), &"service".into()));
    assert_eq!(released["decision"]["by"], "second-person");
    let read = String::from_utf8(analyst.get(&released_bucket, &part).unwrap().unwrap()).unwrap();
    assert_eq!(read.lines().count(), RECORDS + 1);
    let clear = String::from_utf8(body).unwrap();
    let first: Value = serde_json::from_str(clear.lines().next().unwrap()).unwrap();
    for hidden in [&first["user"]["email"], &first["user"]["name"], &first["document"]["title"]] {
        assert!(clear.contains(hidden.as_str().unwrap()) && !read.contains(hidden.as_str().unwrap()));
    }

    // killed, it comes back, and the region does not notice
    let nodes: Vec<u32> = demo.dev.ready.nodes.iter().map(|node| node.pid).collect();
    let pid = demo.pid();
    signal(pid, Signal::KILL);
    wait("the service is started again", || {
        demo.listed()["pid"].as_u64().is_some_and(|found| found != u64::from(pid)) && demo.is_live()
    });
    assert!(nodes.iter().all(|pid| is_alive(*pid)));
    assert_eq!(demo.exports().len(), 1);
    // by hand it stays ended
    demo.dev.twinkeep(&["dev", "kill", "pseudo"]).unwrap();
    assert_eq!((demo.listed()["now"].as_str(), demo.is_live()), (Some("ended"), false));
    demo.dev.twinkeep(&["dev", "start", "pseudo"]).unwrap();
    wait("the service answers", || demo.is_live());
    demo.dev.twinkeep(&["dev", "stop", "pseudo"]).unwrap();
    assert_eq!(demo.listed()["now"], "stopped");

    // halted as it is, it ends with the region; the next start finds it, and exports nothing twice
    let pid = demo.listed()["pid"].as_u64().unwrap() as u32;
    demo.dev.restart(false).unwrap();
    assert!(!is_alive(pid));
    assert_eq!(demo.said("export"), export);
    let address = demo.said("health_address").parse().unwrap();
    let count = |result: &str| {
        let name = format!(
            "twinkeep_pseudo_exports_total{{export_job=\"{}\",result=\"{result}\"}}",
            demo.said("job")
        );
        metric(address, &name)
    };
    wait("the job has looked", || {
        let name =
            format!("twinkeep_pseudo_job_well_timestamp_seconds{{export_job=\"{}\"}}", demo.said("job"));
        metric(address, &name) > 0.0
    });
    assert_eq!((count("made"), count("failed")), (0.0, 0.0));
    assert_eq!((demo.exports().len(), &demo.exports()[0]["state"]), (1, &"released".into()));

    // whoever kills the supervisor is left with no service either
    let pid = demo.pid();
    let record = std::fs::read_to_string(demo.dev.data().join("run/supervisor.json")).unwrap();
    let supervisor: Value = serde_json::from_str(&record).unwrap();
    signal(supervisor["pid"].as_u64().unwrap() as u32, Signal::KILL);
    wait("the service ends with its supervisor", || !is_alive(pid));
}

#[test]
fn a_pair_has_one_demo_beside_both_regions() {
    let mut demo = Demo::start("dev-pseudo-pair", &["--pair", "--pseudo"]);
    let exports = demo.exports();
    assert_eq!((exports.len(), &exports[0]["records"]), (1, &RECORDS.into()));
    assert_eq!(demo.listed()["now"], "running");
    let pid = demo.pid();
    demo.dev.end().unwrap();
    assert!(!is_alive(pid));
}
