//! Alerts and their pages: each has a runbook, each runbook an alert, and no alert asks for a metric that nobody explains.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::path::PathBuf;

fn shipped(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> String {
    text("deploy/prometheus/twinkeep.rules.yaml")
}

fn alerts() -> BTreeSet<String> {
    let rules = rules();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Our metrics' names in a text, without what a histogram appends.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("twinkeep_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let pages = std::fs::read_dir(shipped("docs/runbooks")).unwrap();
    let pages = pages.map(|page| page.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
    let pages: BTreeSet<String> = pages.filter(|page| page != "README").collect();
    assert_eq!(alerts(), pages);
    for alert in alerts() {
        assert!(rules().contains(&format!("runbook_url: docs/runbooks/{alert}.md")), "{alert}");
    }
}

#[test]
fn every_alert_is_tested_to_fire_and_to_stay_silent() {
    let tests = text("deploy/prometheus/twinkeep_test.yaml");
    for alert in alerts() {
        assert!(tests.contains(&format!("name: {alert} fires")), "{alert} is never seen to fire");
        assert!(
            tests.contains(&format!("alertname: {alert}, exp_alerts: []")),
            "{alert} is never seen silent"
        );
    }
}

#[test]
fn every_metric_of_an_alert_is_explained() {
    let explained = metrics(&text("docs/metrics.md"));
    let expressions: String = rules().lines().filter(|line| line.trim().starts_with("expr:")).collect();
    let unexplained: Vec<String> = metrics(&expressions).difference(&explained).cloned().collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn every_exported_metric_is_explained() {
    let explained = metrics(&text("docs/metrics.md"));
    let source = text("store-node/src/metrics.rs");
    let exported = metrics(&source).into_iter().map(|name| {
        let plain = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count"));
        plain.map_or(name.clone(), str::to_owned)
    });
    let unexplained: Vec<String> = exported.filter(|name| !explained.contains(name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}
