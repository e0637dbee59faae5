//! Grants from outside: what is asked for is seen before it is agreed to, and honest mistakes cost nobody their grant.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "vault/desk.rs"]
#[allow(dead_code, reason = "shared with the other tests of the vault")]
mod desk;

use std::fs;

use desk::{Desk, VALUES, record};

#[test]
fn who_agrees_sees_what_they_agree_to_and_agrees_to_nothing_else() {
    let desk = Desk::new();
    let tokens = desk.run_job("out.ndjson");
    desk.write("tokens.txt", &format!("{}\n{}\n", tokens[0], tokens[0]));
    desk.write("person.txt", &format!("{}\n{}\n", VALUES[1], VALUES[1].to_lowercase()));
    let grant = desk.request("reidentify", "ada", "--tokens @tokens.txt --people @person.txt");
    let shown = desk.shown("reidentify", &grant, "grace");
    assert_eq!((&shown["tokens"][0], &shown["people"]), (&tokens[0].as_str().into(), &1.into()));
    assert_eq!((&shown["purpose"], &shown["requested_by"]), (&"investigation".into(), &"ada".into()));
    let with = |value: &str| {
        desk.write("list.txt", value);
        let line = format!("reidentify show {grant} @policy.toml --people @list.txt @OPENED @VAULT");
        desk.json(&format!("{line} --operator @grace.key --passphrase-file @pass.txt"))["people_recognised"]
            .clone()
    };
    assert_eq!((with(VALUES[1]), with(VALUES[2])), (1.into(), 0.into()));
    let line = desk.agreed("reidentify", &grant, "grace", &desk.code("grace", 0));
    let hash = shown["request_sha256"].as_str().unwrap();
    let (code, said) = desk.error(&line.replace(hash, &"0".repeat(64)));
    assert!(code == 1 && said.contains("not the request that was shown"), "{said}");
    let (code, _) = desk.error(&line.replace(&format!("--request {hash}"), ""));
    assert_eq!(code, 2, "nobody agrees to what they were not shown");
    desk.json(&line);
    let found = desk.json(&desk.used("reidentify", &grant, "ada", "found.ndjson", 1));
    assert_eq!((&found["found"], &found["unknown"]), (&2.into(), &0.into()));
    let log = String::from_utf8(desk.run("vault log @OPENED @VAULT").stdout).unwrap();
    assert_eq!(log.matches(" shown ").count(), 4, "{log}");
}

#[test]
fn what_cannot_be_a_token_is_refused_before_anybody_agrees() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    for line in [
        "n/a",
        "v1_short",
        "v0_AAAAAAAAAAAAAAAAAAAAAA",
        "v1r_AAAAAAAAAAAAAAAAAAAAAA",
        "v1_AAAAAAAAAAAAAAAAAAAAA\u{1b}",
    ] {
        desk.write("tokens.txt", line);
        let (code, said) = desk.error(&desk.asked("reidentify", "ada", "--tokens @tokens.txt", 0));
        assert!(code == 1 && said.contains("row 1 is no token"), "{line}: {said}");
    }
    desk.write("tokens.txt", "v1_AAAAAAAAAAAAAAAAAAAAAA");
    let line = desk.asked("reidentify", "ada", "--tokens @tokens.txt", 0);
    let (code, said) = desk.error(&line.replace("INC-7", "INC-7\n9"));
    assert!(code == 2 && said.contains("show as themselves"), "{said}");
}

#[test]
fn an_erasure_that_is_killed_leaves_a_vault_that_opens_with_its_person_or_without() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    let folder = desk.path("vault/people");
    let files = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let mut people = VALUES.len();
    for (number, (who, other)) in
        [("ada", "grace"), ("edith", "mary"), ("alan", "kurt")].into_iter().enumerate()
    {
        desk.write("person.txt", VALUES[number]);
        let grant = desk.request("erase", who, "--people @person.txt");
        desk.approve("erase", &grant, other);
        let line = desk.used("erase", &grant, who, &format!("{who}.json"), 1);
        let before = files();
        let mut child = desk.command(&line).spawn().unwrap();
        // from the first bucket that is written anew: the log, both tables and the certificate are still to come
        while child.try_wait().unwrap().is_none() && files() == before {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let checked = desk.json("vault check @OPENED @VAULT");
        let now = usize::try_from(checked["people"].as_u64().unwrap()).unwrap();
        assert!(now == people || now + 1 == people, "{checked}");
        people = now;
        assert!(!files().iter().any(|name| name.to_str().unwrap().ends_with(".staged")));
    }
}

#[test]
fn a_value_that_normalising_makes_longer_than_a_vault_keeps_is_a_fault_and_no_crash() {
    let desk = Desk::new();
    // each of these letters has two bytes, and three as a small one
    let long = format!("{}@example.org", "\u{130}".repeat(30_000));
    desk.write("jobs.ndjson", &record(&long, 1));
    let (code, said) = desk.error("run @policy.toml @jobs.ndjson -o @out.ndjson @OPENED @VAULT");
    assert!(code == 1 && !said.contains("panicked"), "{said}");
    assert!(!desk.path("out.ndjson").exists());
}
