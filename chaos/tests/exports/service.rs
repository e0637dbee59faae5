//! The running service: exports by schedule and incremental ones, each row once whatever is killed; keys that people bring; deletions.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chaos::dev::signal;
use chaos::http::{Answer, Connection};
use rustix::process::Signal;
use serde_json::Value;

use crate::desk::{Desk, PASSPHRASE, POLICY, day_in, records};
use crate::{fill, read};

/// Longer than anything here takes on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where a service says how it is, within the ports of the test's region.
const PORT_OFFSET: u16 = 60;

/// A service that runs, and ends with the test.
struct Service<'a> {
    desk: &'a Desk,
    child: Child,
}

impl<'a> Service<'a> {
    /// Starts one that nobody has opened.
    fn start(desk: &'a Desk) -> Self {
        let service = Self { desk, child: desk.serve("service.toml", "said/service.log") };
        wait("the service answers", || {
            service.ask("/health/live").is_some_and(|answer| answer.status == 200)
        });
        service
    }

    /// Starts one, and brings the shares.
    fn open(desk: &'a Desk) -> Self {
        let service = Self::start(desk);
        for share in [1, 2] {
            service.unlock(share);
        }
        service
    }

    fn unlock(&self, share: u8) -> Value {
        self.desk
            .json(&self.desk.analyst, &format!("unlock --control @control --share @shares/share-{share}.txt"))
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.desk.dev.ports().port(PORT_OFFSET)).into()
    }

    fn ask(&self, path: &str) -> Option<Answer> {
        ask(self.address(), path)
    }

    fn metric(&self, name: &str) -> f64 {
        metric(self.address(), name)
    }

    fn exports(&self, result: &str) -> f64 {
        self.metric(&format!("twinkeep_pseudo_exports_total{{export_job=\"usage\",result=\"{result}\"}}"))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator does.
    fn end(mut self) {
        signal(self.child.id(), Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a service how it is.
pub(crate) fn ask(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut connection = Connection::new(address, Duration::from_secs(5));
    connection.request("GET", path, &[("host".to_owned(), "here".to_owned())], b"").ok()
}

/// What a service counts under this name.
pub(crate) fn metric(address: SocketAddr, name: &str) -> f64 {
    let answer = ask(address, "/metrics").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Writes the configuration of a service with one job.
pub(crate) fn configure(desk: &Desk, job: &str, more: &str) {
    let secret = |name: &str, text: &str| {
        fs::write(desk.path(name), text).unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let who = &desk.service;
    let credentials =
        format!("AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n", who.access_key, who.secret_key);
    secret("s3.credentials", &credentials);
    secret("passphrase", &format!("{PASSPHRASE}\n"));
    let (endpoint, region) = (&desk.dev.ready.endpoint, &who.region);
    let port = desk.dev.ports().port(PORT_OFFSET);
    let config = format!(
        "[service]\nlisten = \"127.0.0.1:{port}\"\ncontrol = \"control\"\n\
         [keys]\nfolder = \"keys\"\n\
         [operator]\nfile = \"maker.operator\"\npassphrase_file = \"passphrase\"\n\
         [s3]\nendpoint = \"{endpoint}\"\nregion = \"{region}\"\ncredentials_file = \"s3.credentials\"\n\
         {more}\n\
         [[job]]\nname = \"usage\"\npolicy = \"policy.toml\"\ndrafts = \"s3://drafts/usage\"\n{job}\n"
    );
    fs::write(desk.path("service.toml"), config).unwrap();
}

/// A time of day half a day from now: the newest time of its schedule is half a day ago, and stays that while a test runs.
fn far_from_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = (now + 12 * 3600) % 86_400;
    format!("{:02}:{:02}", time / 3600, time / 60 % 60)
}

/// Names of the job's exports that have a manifest.
fn finished(desk: &Desk) -> Vec<String> {
    let names = desk.names("drafts", "usage/");
    let name = |key: &String| key.strip_prefix("usage/")?.strip_suffix("/manifest.json").map(str::to_owned);
    names.iter().filter_map(name).collect()
}

/// What stands in the way of a service is said before it is started.
fn check_trouble(desk: &Desk) {
    for (file, from, to, says) in [
        ("maker.operator.certificate", "", "", "operator.file"),
        ("service.toml", "s3://drafts/usage", "s3://nowhere/usage", "job.drafts of usage"),
        ("service.toml", "folder = \"keys\"", "folder = \"elsewhere\"", "keys.folder"),
    ] {
        let path = desk.path(file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, if to.is_empty() { String::new() } else { whole.replace(from, to) }).unwrap();
        let output = desk.pseudo(&desk.analyst, "serve --config @service.toml --check");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("not ok  {says}")), "{said}");
        fs::write(&path, whole).unwrap();
    }
}

fn pages(desk: &Desk, exports: &[String]) -> Vec<u64> {
    let mut pages: Vec<u64> = Vec::new();
    for name in exports {
        let found = read(desk, &format!("analytics/usage/{name}"));
        pages.extend(found["pages"].as_array().unwrap().iter().map(|page| page.as_u64().unwrap()));
    }
    pages.sort_unstable();
    pages
}

#[test]
fn a_schedule_makes_each_export_once_whatever_is_killed() {
    let desk = Desk::new("service-kill", true);
    fill(&desk, 3000);
    configure(&desk, &format!("daily_at = \"{}\"\npart_rows = 25", far_from_now()), "");
    let ready = desk.json(&desk.analyst, "serve --config @service.toml --check");
    let found = ready["checked"].as_array().unwrap();
    assert!(found.len() >= 6 && found.iter().all(|one| one["problem"].is_null()), "{ready}");
    check_trouble(&desk);

    // nobody opens it alone, and it says so
    let service = Service::start(&desk);
    let ready = service.ask("/health/ready").unwrap();
    let body = String::from_utf8(ready.body).unwrap();
    assert!(ready.status == 503 && body.contains("\"locked\""), "{body}");
    // who connects and says nothing keeps nobody waiting
    let idle: Vec<_> = (0..64).map(|_| UnixStream::connect(desk.path("control")).unwrap()).collect();
    let brought = service.unlock(1);
    assert_eq!(
        (&brought["open"], &brought["given"], &brought["needed"]),
        (&false.into(), &1.into(), &2.into())
    );
    let said = desk.refused(&desk.analyst, "unlock --control @control --share @shares/share-1.txt");
    assert!(said.contains("1") && !said.contains("open"), "{said}");
    let said = desk.refused(&desk.analyst, "unlock --control @control --share @passphrase");
    assert!(said.contains("share"), "{said}");
    assert!(desk.names("drafts", "").is_empty(), "nothing is made while it is locked");
    let said = desk.refused(&desk.analyst, "serve --config @service.toml");
    assert!(said.contains("a service runs with this socket"), "{said}");
    assert_eq!(service.unlock(2)["open"], true);
    drop(idle);

    let mut service = Some(service);
    let parts = || desk.names("drafts", "usage/").iter().filter(|name| name.contains("/data/")).count();
    for (round, seen) in [0, 1, 7, 20, 41].into_iter().enumerate() {
        let running = service.take().unwrap_or_else(|| Service::open(&desk));
        wait("it goes on", || {
            assert!(finished(&desk).is_empty(), "it ended before {seen} parts were seen");
            let has_begun = desk.names("drafts", "usage/").iter().any(|name| name.ends_with("/order.json"));
            has_begun && parts() >= seen
        });
        // in the middle of an export it ends as it is told, too
        if round == 1 {
            running.end()
        } else {
            running.kill()
        }
        assert!(finished(&desk).is_empty(), "no manifest after {seen} parts");
    }
    let running = Service::open(&desk);
    wait("the export is made", || running.exports("made") == 1.0);
    assert_eq!(running.metric("twinkeep_pseudo_job_records_total{export_job=\"usage\"}"), 3000.0);
    assert_eq!(running.ask("/health/ready").unwrap().status, 200);
    running.end();
    let exports = finished(&desk);
    assert_eq!((exports.len(), parts()), (1, 120));

    // another start finds it made
    let running = Service::open(&desk);
    wait("it has looked", || {
        running.metric("twinkeep_pseudo_job_well_timestamp_seconds{export_job=\"usage\"}") > 0.0
    });
    assert_eq!((running.exports("made"), finished(&desk) == exports), (0.0, true));
    running.end();

    // who made it is the service's operator, so a second person has to release it
    let name = &exports[0];
    let said = desk.refused(&desk.approver, &desk.release("approve", name, "maker"));
    assert!(said.contains("maker made this export"), "{said}");
    desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    assert_eq!(pages(&desk, &exports), (0..3000).collect::<Vec<_>>());

    let log = fs::read_to_string(desk.path("said/service.log")).unwrap();
    let made = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["message"] == "an export is a draft"
            && line["export"] == name.as_str()
            && line["resumed"] == true
    };
    assert_eq!(log.lines().filter(|line| made(line)).count(), 1, "{log}");
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn an_export_that_cannot_be_gone_on_with_is_begun_anew() {
    // without versions a source that changes is gone
    let desk = Desk::new("service-anew", false);
    fill(&desk, 3000);
    configure(&desk, &format!("daily_at = \"{}\"\npart_rows = 50", far_from_now()), "");
    let half_made =
        || desk.names("drafts", "usage/").iter().filter(|name| name.contains("/data/")).count() >= 3;
    let service = Service::open(&desk);
    wait("some parts are there", half_made);
    service.kill();
    assert!(finished(&desk).is_empty());
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/day=2/jobs.ndjson", &records(5000..5900)).unwrap();
    let service = Service::open(&desk);
    wait("some parts are there", half_made);
    service.kill();

    // and so is one whose policy is another now
    fs::write(desk.path("policy.toml"), POLICY.replace("version = 1", "version = 2")).unwrap();
    let service = Service::open(&desk);
    wait("the export is made", || service.exports("made") == 1.0);
    service.end();
    let exports = finished(&desk);
    desk.json(&desk.approver, &desk.release("approve", &exports[0], "approver"));
    assert_eq!(pages(&desk, &exports), (0..2000).chain(5000..5900).collect::<Vec<_>>());
    assert_eq!(exports.len(), 1);
}

#[test]
fn incremental_exports_hold_every_source_once() {
    let desk = Desk::new("service-incremental", true);
    fill(&desk, 600);
    configure(&desk, "every = \"PT10S\"\nincremental = true\npart_rows = 50", "");
    let service = Service::open(&desk);
    wait("all there is is exported", || finished(&desk).len() == 1);
    wait("a time had nothing new", || service.exports("empty") >= 1.0);
    assert_eq!(finished(&desk).len(), 1);

    // new objects and a new version of one that is held; killed while they are exported
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/day=3/jobs.ndjson", &records(1000..3000)).unwrap();
    client.put("jobs", "in/day=0/jobs.ndjson", &records(3000..4000)).unwrap();
    let data =
        |desk: &Desk| desk.names("drafts", "usage/").iter().filter(|name| name.contains("/data/")).count();
    let before = data(&desk);
    wait("the next one is under way", || data(&desk) > before);
    service.kill();
    // what comes meanwhile waits for the one after
    client.put("jobs", "in/day=4/jobs.ndjson", &records(4000..4100)).unwrap();
    let service = Service::open(&desk);
    let taken = |desk: &Desk| -> u64 {
        let mut client = desk.dev.client().unwrap();
        let records = |name: &String| {
            let bytes = client.get("drafts", &format!("usage/{name}/manifest.json")).unwrap().unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap();
            manifest["body"]["counts"]["records_out"].as_u64().unwrap()
        };
        finished(desk).iter().map(records).sum()
    };
    wait("everything is exported", || taken(&desk) >= 600 + 3100);
    let exports = finished(&desk);
    assert_eq!(taken(&desk), 600 + 3100);

    // the same bytes put again are nothing new; what was refused is exported again
    client.put("jobs", "in/day=4/jobs.ndjson", &records(4000..4100)).unwrap();
    let refused = exports.last().unwrap();
    desk.json(&desk.approver, &desk.release("refuse", refused, "approver"));
    wait("what was refused is exported again", || finished(&desk).len() > exports.len());
    service.end();
    let all = finished(&desk);
    let good: Vec<String> = all.iter().filter(|name| *name != refused).cloned().collect();
    for name in &good {
        desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    }
    assert_eq!(pages(&desk, &good), (0..600).chain(1000..4100).collect::<Vec<_>>());

    // a manifest that was changed stops the job, since nobody knows what it holds
    let key = format!("usage/{}/manifest.json", good[0]);
    let mut manifest = client.get("drafts", &key).unwrap().unwrap();
    let at = manifest.len() / 2;
    manifest[at] ^= 1;
    client.put("drafts", &key, &manifest).unwrap();
    client.put("jobs", "in/day=5/jobs.ndjson", &records(5000..5100)).unwrap();
    let service = Service::open(&desk);
    wait("the job fails", || service.exports("failed") >= 1.0);
    let ready = String::from_utf8(service.ask("/health/ready").unwrap().body).unwrap();
    assert!(ready.contains("job_failing") && ready.contains("signature"), "{ready}");
    assert_eq!(finished(&desk).len(), all.len());
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_refusal_that_does_not_count_is_void_for_the_register_and_for_jobs_alike() {
    let desk = Desk::new("service-void", true);
    fill(&desk, 60);
    let due = format!(" --delete-on {}", day_in(0));
    let (refused, due_export) = ("usage-20260101t000000z", "usage-20260102t000000z");
    desk.json(
        &desk.maker,
        &desk.export(refused, " --source s3://jobs/in/day=0/ --source s3://jobs/in/day=1/"),
    );
    desk.json(&desk.maker, &desk.export(due_export, &format!("{due} --source s3://jobs/in/day=2/")));
    // nobody told the program of who is revoked
    let opened = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
    desk.json(&desk.maker, &format!("keys revoke approver --reason left --nothing-stands {opened}"));
    for name in [refused, due_export] {
        desk.json(&desk.approver, &desk.release("refuse", name, "approver"));
    }
    let register =
        format!("register s3://drafts/usage --key {} --revoked @keys/revoked.json", desk.public_key);
    let said = desk.json(&desk.maker, &register);
    assert_eq!(
        (&said["exports"][0]["state"], &said["exports"][1]["state"]),
        (&"void".into(), &"void".into())
    );

    // what they hold is held: nothing of it is exported again, neither before nor after its day has come
    let job = format!("daily_at = \"{}\"\nincremental = true", far_from_now());
    configure(&desk, &job, "[retention]\nevery = \"P1D\"");
    for _ in 0..2 {
        let service = Service::open(&desk);
        wait("the job has looked", || service.exports("empty") + service.exports("made") == 1.0);
        assert_eq!(service.exports("made"), 0.0);
        wait("what is due is deleted", || {
            service.metric("twinkeep_pseudo_retention_well_timestamp_seconds") > 0.0
        });
        service.end();
    }
    let record = desk.download("drafts", &format!("usage/{due_export}"), "said/record").join("deletion.json");
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    assert_eq!(record["body"]["verdict"], Value::Null);
}

#[test]
fn exports_whose_day_has_come_are_deleted_and_what_they_held_stays_known() {
    let desk = Desk::new("service-retention", true);
    fill(&desk, 600);
    let mut client = desk.dev.client().unwrap();
    // where a bucket keeps versions, nothing of an export may stay as one
    client.enable_versioning("drafts").unwrap();
    client.enable_versioning("analytics").unwrap();
    let due = format!(" --delete-on {}", day_in(0));
    let old = "usage-20260101t000000z";
    for (name, more) in [(old, due.as_str()), ("by-hand", due.as_str()), ("stays", "")] {
        desk.json(&desk.maker, &desk.export(name, more));
        desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    }
    let list = format!("retention s3://drafts/usage --dry-run --key {}", desk.public_key);
    let said = desk.json(&desk.maker, &list);
    let names = |said: &Value| -> Vec<String> {
        let rows = said["exports"].as_array().unwrap();
        rows.iter().map(|row| row["export"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&said), ["by-hand", old]);
    assert_eq!((&said["dry_run"], &said["exports"][0]["result"]), (&true.into(), &"due".into()));
    assert_eq!(desk.names("analytics", "usage/").iter().filter(|name| name.contains("/data/")).count(), 3);

    // without shares nobody deletes, and not with rights that do not reach
    let said = desk.refused(&desk.service, "retention s3://drafts/usage --yes");
    assert!(said.contains("--keys") || said.contains("--share"), "{said}");
    let opened = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
    let line = format!("retention s3://drafts/usage --yes {opened}");
    let said = desk.refused(&desk.maker, &line);
    assert!(said.contains("2 of 2 exports stay"), "{said}");
    // that had begun, and says so: nobody can approve or take it for whole
    let register = format!("register s3://drafts/usage --key {}", desk.public_key);
    let found = desk.json(&desk.service, &register);
    assert_eq!(found["deleted"][0]["state"], "being deleted");
    let said = desk.refused(&desk.approver, &desk.release("approve", old, "approver"));
    assert!(said.contains("is deleted"), "{said}");

    let done = desk.json(&desk.service, &line);
    assert_eq!(names(&done), ["by-hand", old]);
    for bucket in ["drafts", "analytics"] {
        let mut left: Vec<String> =
            client.list_versions(bucket).unwrap().into_iter().map(|entry| entry.key).collect();
        left.retain(|key| !key.starts_with("usage/stays/"));
        left.dedup();
        let records: &[String] =
            &["usage/by-hand/deletion.json".to_owned(), format!("usage/{old}/deletion.json")];
        assert_eq!(left, if bucket == "drafts" { records } else { &[] }, "{bucket}");
    }
    let found = desk.json(&desk.service, &register);
    assert_eq!(
        (&found["deleted"][1]["state"], &found["exports"][0]["export"]),
        (&"deleted".into(), &"stays".into())
    );
    let table = String::from_utf8(desk.pseudo(&desk.service, &register).stdout).unwrap();
    assert!(table.contains("deleted"), "{table}");
    let folder = desk.download("drafts", &format!("usage/{old}"), "said/record");
    let record = fs::read_to_string(folder.join("deletion.json")).unwrap();
    assert!(!record.contains("day=0"), "the record names a source");
    let said =
        desk.json(&desk.analyst, &format!("verify @said/record/deletion.json --key {}", desk.public_key));
    assert_eq!((&said["kind"], &said["record"]["records"]), (&"deletion".into(), &600.into()));
    assert!(names(&desk.json(&desk.service, &line)).is_empty());

    // the service does the same, and does not export again what a deleted export of its job had
    desk.json(&desk.maker, &desk.export("by-schedule", &due));
    client.put("jobs", "in/day=7/jobs.ndjson", &records(7000..7100)).unwrap();
    let job = format!("daily_at = \"{}\"\nincremental = true", far_from_now());
    configure(&desk, &job, "[retention]\nevery = \"P1D\"");
    let service = Service::open(&desk);
    wait("what is new is exported", || service.exports("made") == 1.0);
    wait("what is due is deleted", || service.metric("twinkeep_pseudo_retention_deleted_total") == 1.0);
    assert_eq!(service.metric("twinkeep_pseudo_job_records_total{export_job=\"usage\"}"), 100.0);
    service.end();
    let left = desk.names("drafts", "usage/by-schedule/");
    assert_eq!(left, ["usage/by-schedule/deletion.json"]);
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
}
