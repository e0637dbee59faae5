//! What stands for what, how successors are called, what is left alone, and what has to be the same.

use super::*;
use crate::manifest::{Counts, Source};
use serde_json::json;

/// The manifest of an export, under this version of its domain's key.
fn manifest(export: &str, version: u32, replaces: Option<(&str, u32)>) -> Manifest {
    let key = |version: u32| json!({ "domain": "team", "version": version, "id": "00" });
    let replaces = replaces.map(|(export, version)| json!({ "export": export, "manifest_sha256": format!("of {export}"), "key": key(version) }));
    let mut body = json!({
        "version": if replaces.is_some() { 2 } else { 1 },
        "export": export,
        "created": "2026-11-22T06:00:00Z",
        "completed": "2026-11-22T06:00:01Z",
        "terms": {
            "policy": "p", "policy_version": 1, "policy_sha256": "00", "domain": "team", "dataset": "p",
            "purpose": "p", "legal_basis": "p", "owner": "p", "recipient": "p",
            "anonymise_on": "2027-01-01", "delete_on": "2027-06-01", "released_to": null,
        },
        "keys": [key(version)],
        "normalisers": {},
        "run": "00",
        "maker": "",
        "build": "",
        "sources": [
            { "bucket": "b", "key": "one", "pin": { "version_id": null, "etag": "\"1\"", "bytes": 7 }, "sha256": "aa" },
        ],
        "counts": {
            "records_in": 10, "records_out": 9, "records_left_out": 1, "faults": { "field without a rule": 1 },
            "unknown_fields_left_out": 0, "values_made_null": 0,
        },
        "figures": null,
        "gate": null,
        "format": "csv",
        "outputs": [
            { "name": "data/part-00000.csv", "bytes": 1, "sha256": "", "rows": 5 },
            { "name": "data/part-00001.csv", "bytes": 1, "sha256": "", "rows": 4 },
        ],
        "documents": [],
    });
    if let Some(replaces) = replaces {
        body["replaces"] = replaces;
    }
    serde_json::from_value(body).unwrap()
}

#[test]
fn a_successor_is_called_by_its_origin_and_its_key() {
    let none = BTreeSet::new();
    let name = |manifest: &Manifest, version| successor_name(manifest, version, &none).unwrap();
    assert_eq!(name(&manifest("usage", 1, None), 2), "usage.v2");
    assert_eq!(name(&manifest("usage.v2", 2, Some(("usage", 1))), 3), "usage.v3");
    // somebody called it so, and it replaces nothing
    assert_eq!(name(&manifest("usage.v1", 1, None), 2), "usage.v1.v2");
    let longest = "a".repeat(125);
    assert_eq!(name(&manifest(&longest, 1, None), 2).len(), 128);
    assert!(successor_name(&manifest(&"a".repeat(126), 1, None), 2, &none).is_err());
}

#[test]
fn what_is_made_once_more_is_called_by_its_attempt_and_what_comes_of_that_by_its_key_again() {
    let taken = BTreeSet::from(["usage.v2".to_owned(), "usage.v2-2".to_owned()]);
    let name = |manifest: &Manifest, version| successor_name(manifest, version, &taken).unwrap();
    assert_eq!(name(&manifest("usage", 1, None), 2), "usage.v2-3");
    assert_eq!(name(&manifest("usage.v2-2", 2, Some(("usage", 1))), 3), "usage.v3");
    assert_eq!(
        (before("usage.v2-2"), before("usage.v2"), before("usage")),
        (Some("usage"), Some("usage"), None)
    );
    for other in ["usage.v", "usage.v2-", "usage.v-2", "usage.v2-x", "usage.vx"] {
        assert_eq!(before(other), None, "{other}");
    }
    let all: BTreeSet<String> = (2..=ATTEMPTS_MAX).map(|attempt| format!("x.v2-{attempt}")).collect();
    assert_eq!(successor_name(&manifest("x", 1, None), 2, &all).unwrap(), "x.v2");
    let all = all.into_iter().chain(["x.v2".to_owned()]).collect();
    assert!(successor_name(&manifest("x", 1, None), 2, &all).is_err());
}

#[test]
fn of_what_was_made_of_an_export_and_refused_the_last_is_known() {
    let made = [
        ("x.v2", manifest("x.v2", 2, Some(("x", 1))), State::Refused),
        ("x.v2-10", manifest("x.v2-10", 2, Some(("x", 1))), State::Refused),
        ("x.v2-9", manifest("x.v2-9", 2, Some(("x", 1))), State::Refused),
        ("y.v2", manifest("y.v2", 2, Some(("y", 1))), State::Void),
        ("z.v2", manifest("z.v2", 2, Some(("z", 1))), State::Draft),
    ];
    let found = refused(made.iter().map(|(name, manifest, state)| (*name, manifest, *state)));
    assert_eq!((found.len(), &found["of x"]), (1, &("x.v2-10".to_owned(), 2)));
}

#[test]
fn an_export_is_replaced_by_what_may_reach_readers_and_rather_by_what_has() {
    let made = [
        ("x.v2", manifest("x.v2", 2, Some(("x", 1))), State::Draft),
        ("x.v3", manifest("x.v3", 3, Some(("x", 1))), State::Released),
        ("x.v4", manifest("x.v4", 4, Some(("x", 1))), State::Approved),
        ("y.v2", manifest("y.v2", 2, Some(("y", 1))), State::Refused),
        ("z", manifest("z", 1, None), State::Released),
    ];
    let found = successors(made.iter().map(|(name, manifest, state)| (*name, manifest, *state)));
    assert_eq!(found.len(), 1);
    assert_eq!(found["of x"], ("x.v3".to_owned(), State::Released));
}

#[test]
fn what_is_current_replaced_refused_or_over_is_left_alone() {
    let (old, today) = (manifest("x", 1, None), "2026-11-23");
    assert_eq!(left(&old, State::Released, None, 2, today), None);
    assert_eq!(left(&old, State::Draft, None, 2, today), None);
    let is_left = |state, by, to, today| left(&old, state, by, to, today).unwrap();
    assert_eq!(is_left(State::Released, None, 1, today), Left::Current);
    assert_eq!(is_left(State::Released, Some("x.v2"), 3, today), Left::Replaced("x.v2".into()));
    assert_eq!(is_left(State::Refused, None, 2, today), Left::Refused);
    assert_eq!(is_left(State::Void, None, 2, today), Left::Refused);
    assert_eq!(is_left(State::Released, None, 2, "2027-06-02"), Left::Over);
}

#[test]
fn what_is_made_again_has_the_same_sources_and_counts() {
    let before = manifest("x", 1, None);
    let replaces = manifest("x.v2", 2, Some(("x", 1))).replaces.unwrap();
    let again = Again { replaces, before: &before };
    assert_eq!(again.sources(), before.sources);
    again.check(&before.sources, &before.counts).unwrap();
    let other = Source { sha256: Some("bb".into()), ..before.sources[0].clone() };
    for read in [vec![other], vec![], [&before.sources[..], &before.sources[..]].concat()] {
        assert!(again.check(&read, &before.counts).is_err(), "{read:?}");
    }
    let fewer = Counts { records_out: 8, records_left_out: 2, ..before.counts.clone() };
    let said = again.check(&before.sources, &fewer).unwrap_err().to_string();
    assert!(said.contains("8 came out and 2 were left out; then it was 10, 9 and 1"), "{said}");
    assert_eq!(part_rows(&before), 5);
}

#[test]
fn a_form_without_a_predecessor_is_written_as_it_was_before() {
    let (plain, rekeyed) = (manifest("x", 1, None), manifest("x.v2", 2, Some(("x", 1))));
    assert!(!serde_json::to_string(&plain).unwrap().contains("replaces"));
    assert!(serde_json::to_string(&rekeyed).unwrap().contains("\"replaces\":{\"export\":\"x\""));
    assert_eq!((crate::manifest::version_of(&plain.replaces, &None, &None), plain.version), (1, 1));
    assert_eq!((crate::manifest::version_of(&rekeyed.replaces, &None, &None), rekeyed.version), (2, 2));
}
