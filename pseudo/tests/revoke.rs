//! Operators who are revoked, and the custody log that says so: done, done again after an interruption, tampered with.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod here;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use here::pseudo;
use serde_json::Value;

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";

struct Here {
    folder: tempfile::TempDir,
    public_key: String,
}

impl Here {
    /// Keys, and ada and grace who are enrolled.
    fn new() -> Self {
        let mut here = Self { folder: tempfile::tempdir().unwrap(), public_key: String::new() };
        here.json("keys create --keys @keys --shares @shares --count 3 --threshold 2");
        here.json(&format!("keys domain early {OPENED}"));
        let made = here.json(&format!("keys signing {OPENED}"));
        here.public_key = made["public_key"].as_str().unwrap().to_owned();
        for name in ["ada", "grace"] {
            here.json(&format!("keys operator {name} -o @{name}.operator"));
            here.json(&format!("keys enrol @{name}.operator {OPENED}"));
        }
        here
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let mut command = pseudo(self.folder.path(), line);
        command.env("PSEUDO_PASSPHRASE", "a passphrase of all");
        command.env("AWS_ACCESS_KEY_ID", "nobody").env("AWS_SECRET_ACCESS_KEY", "nothing");
        for name in ["PSEUDO_KEYS", "PSEUDO_PUBLIC_KEY", "PSEUDO_REVOKED", "AWS_ENDPOINT_URL"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    fn revoke(&self, name: &str) -> String {
        format!("keys revoke {name} --reason left --nothing-stands {OPENED}")
    }

    fn log(&self) -> String {
        format!("keys log --keys @keys --key {}", self.public_key)
    }

    /// A decision about nothing that is there: who may decide is looked at first.
    fn approve(&self, name: &str, more: &str) -> String {
        format!(
            "release approve s3://drafts/x --endpoint http://127.0.0.1:9 --key {} --operator @{name}.operator{more}",
            self.public_key
        )
    }
}

fn events(log: &Value) -> Vec<(String, String)> {
    let entries = log["entries"].as_array().unwrap();
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    entries.iter().map(|entry| (word(entry, "event"), word(entry, "subject"))).collect()
}

#[test]
fn a_revoked_key_is_neither_taken_nor_enrolled_again_and_another_of_its_owner_is() {
    let here = Here::new();
    let certificate = fs::read(here.path("ada.operator.certificate")).unwrap();
    let said = here.refused(&format!("keys revoke ada --reason left {OPENED}"));
    assert!(said.contains("--drafts"), "{said}");
    let said = here.refused(&here.revoke("nobody"));
    assert!(said.contains("knows no key of nobody"), "{said}");
    let done = here.json(&here.revoke("ada"));
    assert_eq!((&done["operator"], &done["revoked"][0]["decisions_that_stand"]), (&"ada".into(), &0.into()));

    // who checks has the list, and everybody else on it is as before
    let said = here.refused(&here.approve("ada", " --revoked @keys/revoked.json"));
    assert!(said.contains("this key of ada was revoked at"), "{said}");
    for (name, more) in [("grace", " --revoked @keys/revoked.json"), ("ada", "")] {
        let said = here.refused(&here.approve(name, more));
        assert!(!said.contains("revoked"), "{name}: {said}");
    }
    fs::remove_file(here.path("ada.operator.certificate")).unwrap();
    let said = here.refused(&format!("keys enrol @ada.operator {OPENED}"));
    assert!(said.contains("this key of ada was revoked"), "{said}");
    fs::write(here.path("ada.operator.certificate"), certificate).unwrap();
    here.json("keys operator ada -o @again.operator");
    here.json(&format!("keys enrol @again.operator {OPENED}"));
    let said = here.refused(&here.approve("again", " --revoked @keys/revoked.json"));
    assert!(!said.contains("revoked"), "{said}");
}

#[test]
fn the_custody_log_says_what_happened_and_what_happened_beside_it() {
    let here = Here::new();
    here.json(&format!("keys domain team-usage {OPENED}"));
    here.json("keys destroy early --version 1 --keys @keys --yes");
    here.json(&here.revoke("grace"));
    let log = here.json(&here.log());
    let said = events(&log);
    let said: Vec<(&str, &str)> = said.iter().map(|(event, subject)| (&**event, &**subject)).collect();
    let wanted = [
        ("found", "early.1"),
        ("signing", "service"),
        ("enrolled", "ada"),
        ("enrolled", "grace"),
        ("domain-key", "team-usage.1"),
        ("gone", "early.1"),
        ("revoked", "grace"),
    ];
    assert_eq!(said, wanted);
    assert_eq!(log["entries"][6]["reason"], "left");

    // an end that nobody finished is no entry; all else that is not as it was written is refused
    let path = here.path("keys/custody.log");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"body\":"].concat()).unwrap();
    assert_eq!(here.json(&here.log())["log_head"], log["log_head"]);
    for at in (0..whole.len()).step_by(131) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(!here.run(&here.log()).status.success(), "byte {at}");
    }
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&path, &whole[second..]).unwrap();
    assert!(here.refused(&here.log()).contains("does not follow"), "its beginning was cut off");
}

#[test]
fn who_was_enrolled_before_there_was_a_log_is_in_it_from_their_next_ceremony_on() {
    let here = Here::new();
    let log = here.path("keys/custody.log");
    fs::remove_file(&log).unwrap();
    assert!(here.refused(&here.revoke("ada")).contains("knows no key of ada"));
    // their certificate stays as it is, and enrolling again says no more than that
    let certificate = fs::read(here.path("ada.operator.certificate")).unwrap();
    for _ in 0..2 {
        here.json(&format!("keys enrol @ada.operator {OPENED}"));
        assert_eq!(fs::read(here.path("ada.operator.certificate")).unwrap(), certificate);
    }
    // acting with enough shares is enough, whatever comes of it
    fs::write(here.path("policy.toml"), include_str!("../policy/tests/fixtures/printjobs.toml")).unwrap();
    let export = "export @policy.toml --to s3://drafts/x --source s3://jobs/in/ --recipient team";
    here.refused(&format!("{export} --endpoint http://127.0.0.1:9 --operator @grace.operator {OPENED}"));
    let said = events(&here.json(&here.log()));
    let adopted: Vec<&str> =
        said.iter().filter(|(event, _)| event == "adopted").map(|(_, subject)| &**subject).collect();
    assert_eq!(adopted, ["ada", "grace"]);
    for name in ["ada", "grace"] {
        here.json(&here.revoke(name));
    }
    // a certificate of another service is left alone, and nobody is enrolled beside it
    here.json("keys operator third -o @third.operator");
    fs::write(here.path("third.operator.certificate"), "somebody else's").unwrap();
    assert!(here.refused(&format!("keys enrol @third.operator {OPENED}")).contains("exists"));
    assert!(!events(&here.json(&here.log())).iter().any(|(_, subject)| subject == "third"));
}

#[test]
fn a_list_that_the_log_does_not_name_stops_everything_until_it_is_the_newest_again() {
    let here = Here::new();
    here.json(&here.revoke("ada"));
    let (list, older) = (here.path("keys/revoked.json"), here.path("older.json"));
    fs::copy(&list, &older).unwrap();
    here.json(&here.revoke("grace"));
    let newest = fs::read(&list).unwrap();
    let enrol = format!("keys enrol @third.operator {OPENED}");
    here.json("keys operator third -o @third.operator");

    // an older list would have grace act again
    fs::copy(&older, &list).unwrap();
    assert!(here.refused(&enrol).contains("not the list of revoked operators"));
    fs::remove_file(&list).unwrap();
    assert!(here.refused(&enrol).contains("not the list of revoked operators"));
    let said = here.refused(&here.revoke("grace"));
    assert!(said.contains("it lacks somebody"), "ada would be forgotten: {said}");
    // what was interrupted between log and list is done again
    fs::copy(&older, &list).unwrap();
    here.json(&here.revoke("grace"));
    here.json(&enrol);
    fs::write(here.path("changed.json"), &newest[1..]).unwrap();
    let said = here.refused(&here.approve("third", " --revoked @changed.json"));
    assert!(said.contains("not a signed revocation"), "{said}");
}
