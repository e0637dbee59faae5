//! Drills on two regions of real processes: what a report says is what happened, and the pair is as it was before.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use chaos::dev::{Dev, signal};
use chaos::pair::{comes_true, lag, wait_for};
use chaos::run::Run;
use chaos::workload::Stopping;
use rustix::process::Signal;
use serde_json::Value;

/// What a run ends with.
const NOT_READY: i32 = 6;
const ABORTED: i32 = 8;

/// Limits that a crowded machine keeps: how fast a switch is, is measured elsewhere.
const EASY: [&str; 6] = ["--rto-max-ms", "60000", "--rpo-max-ms", "60000", "--lag-max-ms", "60000"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A pair whose standby follows, and whose other region is ready for anything.
fn pair(run: &Run) -> Dev {
    let dev = Dev::start_pair(run).unwrap();
    wait_for("the standby", || lag(&dev).unwrap()["state"] == "Live");
    let mut found = Value::Null;
    let ready = comes_true(|| {
        let (code, readiness) = dry_run(&dev, "planned");
        found = readiness;
        code == 0
    });
    assert!(ready, "not ready: {found}");
    dev
}

/// Exit code and readiness.
fn dry_run(dev: &Dev, kind: &str) -> (i32, Value) {
    dry_run_of(dev, &[kind])
}

fn dry_run_of(dev: &Dev, arguments: &[&str]) -> (i32, Value) {
    let all = [&["drill"], arguments, &["--dry-run", "--lag-max-ms", "60000", "--json"]].concat();
    let (code, text) = dev.twinkeep_code(&all).unwrap();
    (code, json(&text))
}

/// Carries a drill out that is to pass: its report.
fn drill(dev: &Dev, arguments: &[&str]) -> Value {
    let all = [&["drill"], arguments, &["--yes", "--json"], &EASY].concat();
    let (code, text) = dev.twinkeep_code(&all).unwrap();
    let report = json(&text);
    assert_eq!((code, &report["verdict"]), (0, &"passed".into()), "{}", without_probes(&report));
    println!("{}: {} {}", report["run"], report["measured"], report["compared"]);
    report
}

fn without_probes(report: &Value) -> Value {
    let mut report = report.clone();
    if let Some(fields) = report.as_object_mut() {
        for name in ["probes", "before", "after"] {
            fields.remove(name);
        }
    }
    report
}

fn folder(report: &Value) -> PathBuf {
    PathBuf::from(report["folder"].as_str().unwrap())
}

fn verify(dev: &Dev, folder: &Path) -> i32 {
    dev.twinkeep_code(&["drill", "verify", folder.to_str().unwrap(), "--json"]).unwrap().0
}

/// What every run that passed says.
fn check(dev: &Dev, report: &Value) {
    let measured = &report["measured"];
    for figure in ["rto_ms", "rpo_ms", "longest_pause_ms", "slowest_write_ms"] {
        assert!(measured[figure].is_u64(), "{figure}: {measured}");
    }
    assert!(measured["probes_acknowledged"].as_u64().unwrap() > 10, "{measured}");
    let steps = report["timeline"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["error"].is_null()), "{steps:?}");
    let of_both = |step: &Value| step["region_times"].as_array().is_some_and(|times| times.len() == 2);
    assert!(steps.iter().all(of_both), "{steps:?}");
    assert_eq!(lag(dev).unwrap()["primary"], dev.ready.region.as_str());
    if report["kind"] == "planned" || report["kind"] == "forced" {
        let compared = &report["compared"];
        assert_eq!(compared["verdict"], "same", "{compared}");
        assert_eq!(compared["primary"], compared["standby"], "{compared}");
        assert!(compared["primary"]["entries"].as_u64().is_some_and(|entries| entries > 10), "{compared}");
    }
    assert_eq!(verify(dev, &folder(report)), 0);
    let page = std::fs::read_to_string(folder(report).join("report.md")).unwrap();
    assert!(page.contains("passed") && page.contains("recovery time (RTO)"), "{page}");
    let mut client = dev.ready.client().unwrap();
    assert_eq!(client.list("twinkeep-drill", "").unwrap(), [], "probes are removed");
}

#[test]
fn every_kind_of_drill_passes_on_a_healthy_pair_and_leaves_it_as_it_was() {
    let run = Run::new("drill-kinds").unwrap();
    let mut dev = pair(&run);
    let (code, readiness) = dry_run(&dev, "forced");
    assert_eq!((code, &readiness["ready"]), (0, &true.into()), "{readiness}");
    let (code, readiness) = dry_run_of(&dev, &["node", "--node", "9"]);
    let missing = "twin-1 has no node 9";
    assert_eq!(code, NOT_READY, "{readiness}");
    assert!(
        readiness["items"].as_array().unwrap().iter().any(|item| item["found"] == missing),
        "{readiness}"
    );
    let history = || json(&dev.twinkeep(&["drill", "history", "--json"]).unwrap());
    assert_eq!(history()["runs"], Value::Array(Vec::new()), "a dry run writes nothing");
    let planned = drill(&dev, &["planned"]);
    check(&dev, &planned);
    assert_eq!((&planned["measured"]["rpo_ms"], &planned["measured"]["probes_lost"]), (&0.into(), &0.into()));
    assert_eq!(planned["measured"]["switch_paused_ms"].as_array().unwrap().len(), 2);
    let forced = drill(&dev, &["forced"]);
    check(&dev, &forced);
    check_losses(&forced);
    let node = drill(&dev, &["node"]);
    check(&dev, &node);
    assert!(node["measured"]["first_write_ms"].is_u64());
    let other = drill(&dev, &["node", "--node", "twin-2/1"]);
    check(&dev, &other);
    let steps = other["timeline"].to_string();
    assert!(steps.contains("kill node 1 of twin-2") && !steps.contains("of twin-1\""), "{steps}");
    let restore = drill(&dev, &["restore"]);
    check(&dev, &restore);
    assert!(restore["measured"]["restored_ms"].is_u64(), "{}", restore["measured"]);
    let kinds: Vec<Value> =
        history()["runs"].as_array().unwrap().iter().map(|run| run["kind"].clone()).collect();
    assert_eq!(kinds, ["planned", "forced", "node", "node", "restore"]);
    check_tampering(&dev, &folder(&planned));
    dev.end().unwrap();
}

/// The list of lost writes names the probes that are gone; another may be in it only if it was written once more.
fn check_losses(report: &Value) {
    let run = report["run"].as_str().unwrap();
    assert_eq!(report["losses"]["complete"], true);
    let entries = report["losses"]["entries"].as_array().unwrap();
    let listed: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["key"].as_str().unwrap().strip_prefix(run).unwrap().trim_start_matches('/'))
        .collect();
    let probes = report["probes"].as_array().unwrap();
    let id = |probe: &'_ Value| probe["id"].as_str().unwrap().to_owned();
    let lost: BTreeSet<String> = probes.iter().filter(|probe| probe["lost"] == true).map(id).collect();
    let again = |probe: &&Value| probe["attempts"].as_u64() > Some(1) || probe["acknowledged_at"].is_null();
    let again: BTreeSet<String> = probes.iter().filter(again).map(id).collect();
    println!("{} listed, {} lost", listed.len(), lost.len());
    assert!(lost.iter().all(|id| listed.contains(id.as_str())), "lost and not listed: {lost:?} {listed:?}");
    assert!(
        listed.iter().all(|id| lost.contains(*id) || again.contains(*id)),
        "listed and there: {listed:?}"
    );
    assert_eq!(report["measured"]["probes_lost"].as_u64().unwrap() as usize, lost.len());
}

/// A report in which a figure was bettered is refused.
fn check_tampering(dev: &Dev, folder: &Path) {
    for name in ["report.json", "report.md", "report.sig"] {
        let path = folder.join(name);
        let signed = std::fs::read(&path).unwrap();
        let mut changed = signed.clone();
        let digit = changed.iter().rposition(u8::is_ascii_digit).unwrap();
        changed[digit] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_eq!(verify(dev, folder), 1, "a digit of {name} was changed");
        std::fs::write(&path, &signed).unwrap();
    }
    assert_eq!(verify(dev, folder), 0);
}

#[test]
fn a_drill_is_refused_while_the_standby_is_away_and_nothing_is_changed() {
    let run = Run::new("drill-refused").unwrap();
    let mut dev = pair(&run);
    let standby = dev.other.clone().unwrap();
    for node in &standby.nodes {
        dev.twinkeep_of(&standby, &["dev", "kill", &node.id]).unwrap();
    }
    let (code, readiness) = dry_run(&dev, "planned");
    assert_eq!((code, &readiness["ready"]), (NOT_READY, &false.into()), "{readiness}");
    let items = readiness["items"].as_array().unwrap();
    let not_ok: Vec<&Value> = items.iter().filter(|item| item["state"] == "not_ok").collect();
    assert!(not_ok.iter().all(|item| !item["advice"].as_str().unwrap().is_empty()), "{not_ok:?}");
    assert!(not_ok.iter().any(|item| item["region"] == standby.region.as_str()), "{not_ok:?}");
    let (code, text) = dev.twinkeep_code(&["drill", "forced", "--yes", "--json"]).unwrap();
    let report = json(&text);
    assert_eq!((code, &report["verdict"]), (NOT_READY, &"not_ready".into()), "{report}");
    assert_eq!(report["timeline"], Value::Array(Vec::new()));
    assert_eq!(verify(&dev, &folder(&report)), 0, "a refusal is evidence too");
    assert_eq!(lag(&dev).unwrap()["primary"], dev.ready.region.as_str());
    dev.ready.client().unwrap().create_bucket("still-writable").unwrap();
    let (code, _) = dev.twinkeep_code(&["drill", "planned"]).unwrap();
    assert_eq!(code, 2, "neither --dry-run nor --yes");
    dev.end().unwrap();
}

/// Interrupts a drill once it begins the step: exit code and report.
fn interrupted(dev: &Dev, kind: &str, step: &str) -> (i32, Value) {
    let mut drill = dev.twinkeep_begin(&["drill", kind, "--yes", "--json", "--lag-max-ms", "60000"]).unwrap();
    let said = BufReader::new(drill.stderr.take().unwrap());
    for line in said.lines().map_while(Result::ok) {
        println!("{line}");
        if line.contains(step) {
            signal(drill.id(), Signal::INT);
        }
    }
    let mut text = String::new();
    drill.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (drill.wait().unwrap().code().unwrap(), json(&text))
}

#[test]
fn a_drill_that_is_interrupted_undoes_what_it_did() {
    // each right after the failure was brought about
    const STEPS: [(&str, &str); 3] = [
        ("planned", "read probes back from twin-2"),
        ("forced", "wait until twin-1 takes no more writes"),
        ("node", "wait until the region goes on"),
    ];
    let run = Run::new("drill-interrupted").unwrap();
    let mut dev = pair(&run);
    for (kind, step) in STEPS {
        let (code, report) = interrupted(&dev, kind, step);
        assert_eq!((code, &report["verdict"]), (ABORTED, &"aborted".into()), "{}", without_probes(&report));
        assert!(!report["undone"].as_array().unwrap().is_empty(), "{}", without_probes(&report));
        assert_eq!(report["left_to_do"], Value::Array(Vec::new()), "{}", without_probes(&report));
        wait_for("the pair", || {
            let lag = lag(&dev).unwrap();
            lag["primary"] == dev.ready.region.as_str() && lag["state"] == "Live"
        });
        assert_eq!(verify(&dev, &folder(&report)), 0);
        wait_for("readiness", || dry_run(&dev, "planned").0 == 0);
    }
    dev.end().unwrap();
}

#[test]
fn a_forced_drill_gives_up_nobody_elses_writes_and_says_what_is_left_to_do() {
    let run = Run::new("drill-others").unwrap();
    let mut dev = pair(&run);
    let (old, new) = (dev.ready.clone(), dev.other.clone().unwrap());
    old.client().unwrap().create_bucket("others").unwrap();
    // a write of others is lost nearly every time; a run in which none is passes
    let report = (0..5).find_map(|_| {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stopping = Stopping(&ended);
            scope.spawn(|| {
                let mut client = old.client().unwrap();
                for number in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    // refused once the other region takes the writes
                    let _ = client.put("others", &number.to_string(), b"a customer's");
                }
            });
            let all = [&["drill", "forced", "--yes", "--json"][..], &EASY].concat();
            let (code, text) = dev.twinkeep_code(&all).unwrap();
            (code == ABORTED).then(|| json(&text))
        })
    });
    let report = report.expect("a region under load loses something when the other takes over");
    let entries = report["losses"]["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["bucket"] == "others"), "{entries:?}");
    let left = report["left_to_do"].as_array().unwrap();
    assert!(left.iter().any(|step| step.as_str().unwrap().contains("rejoin --discard")), "{left:?}");
    assert_eq!(lag(&dev).unwrap()["primary"], new.region.as_str(), "nothing was decided for a person");
    dev.twinkeep(&["failover", "rejoin", "--discard"]).unwrap();
    wait_for("the old primary", || lag(&dev).unwrap()["state"] == "Live");
    dev.twinkeep(&["failover", "--planned", "--to", &old.region]).unwrap();
    dev.end().unwrap();
}
