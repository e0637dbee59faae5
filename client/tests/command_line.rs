//! The command line from outside: exit codes, JSON on standard output, words on standard error.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn twinkeep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinkeep"));
    for name in ["TWINKEEP_DATA", "TWINKEEP_ADMIN", "TWINKEEP_IDENTITY", "TWINKEEP_ROOT_PASSPHRASE"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    twinkeep(arguments).output().expect("the program runs")
}

fn json(output: &Output) -> serde_json::Value {
    let text = std::str::from_utf8(&output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).expect("one JSON object")
}

fn init(folder: &Path) -> Output {
    let folder = folder.to_str().expect("a folder named in UTF-8");
    let nodes = ["--node", "1=127.0.0.1:39401", "--node", "2=127.0.0.1:39402", "--node", "3=127.0.0.1:39403"];
    run(&[&["init", folder, "--environment", "test", "--jurisdiction", "eu", "--json"][..], &nodes].concat())
}

#[test]
fn a_region_is_made_and_said_in_one_object() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("region");
    let output = init(&folder);
    assert_eq!(output.status.code(), Some(0));
    let made = json(&output);
    assert_eq!((&made["schema_version"], &made["region"]), (&1.into(), &"twin-1".into()));
    let tokens = made["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| Path::new(token["file"].as_str().unwrap()).exists()));
    let again = init(&folder);
    assert_eq!((again.status.code(), &json(&again)["error"]["kind"]), (Some(1), &"state".into()));
}

#[test]
fn a_region_that_does_not_answer_is_exit_code_4_for_questions_and_1_for_check() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("region");
    init(&folder);
    let data = folder.to_str().unwrap();
    let status = run(&["status", "--data", data, "--json"]);
    assert_eq!((status.status.code(), &json(&status)["error"]["exit_code"]), (Some(4), &4.into()));
    let check = run(&["check", "--data", data, "--json"]);
    assert_eq!((check.status.code(), &json(&check)["level"]), (Some(1), &"failure".into()));
    let files = run(&["check", "--data", data, "--only", "files"]);
    // the generated passphrase lies beside the key
    assert_eq!(files.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&files.stdout).contains("[TK-C004]"));
    assert_eq!(run(&["check", "--data", data, "--only", "certificates"]).status.code(), Some(0));
}

#[test]
fn what_is_not_understood_is_exit_code_2() {
    for arguments in [
        &["frobnicate"][..],
        &["init", "/tmp/x"],
        &["explain", "TK-C999"],
        &["status", "--admin", "10.0.0.1:1"],
        &["check", "--only", "weather"],
        &["drill", "planned"],
        &["drill", "node", "--dry-run", "--yes"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child =
        twinkeep(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn without_a_terminal_there_are_no_colours() {
    let base = tempfile::tempdir().unwrap();
    let output = run(&["check", "--data", base.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stdout.contains(&0x1b));
}

/// Two regions in folders below `base`, the second a standby of the first.
fn standby(base: &Path, name: &str) -> Output {
    let folder = |name: &str| base.join(name).to_str().expect("a folder named in UTF-8").to_owned();
    let nodes = ["--node", "1=127.0.0.1:39411", "--node", "2=127.0.0.1:39412", "--node", "3=127.0.0.1:39413"];
    let (made, primary) = (folder(name), folder("one"));
    run(&[&["init", &made, "--standby-of", &primary, "--region", "twin-2", "--json"][..], &nodes].concat())
}

#[test]
fn a_standby_without_its_primarys_authority_is_refused_before_anything_is_made() {
    let base = tempfile::tempdir().unwrap();
    init(&base.path().join("one"));
    let (authority, kept) = (base.path().join("one/ca"), base.path().join("kept-offline"));
    std::fs::rename(&authority, &kept).unwrap();
    let refused = standby(base.path(), "two");
    let said = json(&refused);
    assert_eq!((refused.status.code(), &said["error"]["kind"]), (Some(1), &"state".into()), "{said}");
    assert!(said["error"]["advice"].as_str().unwrap().contains("`ca`"), "{said}");
    assert!(!base.path().join("two").exists() && !base.path().join("one/pair").exists());
    std::fs::rename(&kept, &authority).unwrap();
    assert_eq!(standby(base.path(), "two").status.code(), Some(0));
}

#[test]
fn a_pair_descriptor_that_is_held_against_nothing_is_not_verified() {
    let base = tempfile::tempdir().unwrap();
    init(&base.path().join("one"));
    standby(base.path(), "two");
    let path = |name: &str| base.path().join(name).to_str().unwrap().to_owned();
    let (file, one, two) = (path("one/pair/pair.descriptor"), path("one/ca/ca.pem"), path("two/ca/ca.pem"));
    let alone = run(&["pair", "verify", &file]);
    assert_eq!(alone.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&alone.stdout).contains("NOT VERIFIED"));
    let alone = run(&["pair", "verify", &file, "--json"]);
    assert_eq!((alone.status.code(), &json(&alone)["authorities_known"]), (Some(6), &false.into()));
    let known = run(&["pair", "verify", &file, "--ca-file", &one, "--ca-file", &two, "--json"]);
    assert_eq!((known.status.code(), &json(&known)["authorities_known"]), (Some(0), &true.into()));

    // made again, with one region's certificates made worthless
    let (data, other) = (path("one"), path("two"));
    let make = |since: &str| {
        run(&["pair", "make", "--data", &data, "--other", &other, "--members-since", since, "--json"])
    };
    assert_eq!(make("twin-1=yesterday").status.code(), Some(2));
    assert_eq!(make("twin-3").status.code(), Some(2));
    let made = json(&make("twin-1=2026-01-02T03:04:05Z"));
    let since = |made: &serde_json::Value, side: usize| made["regions"][side]["members_since"].clone();
    assert_eq!((&made["serial"], since(&made, 0)), (&2.into(), 1_767_323_045_000_u64.into()), "{made}");
    assert!(since(&made, 1).is_null());
    let now = json(&make("twin-2"));
    assert_eq!(since(&now, 0), since(&made, 0));
    assert!(since(&now, 1).as_u64().unwrap() > 1_767_323_045_000, "{now}");
}
