//! The identity vault from outside: tokens that lead to people under two people's consent, and to nobody once they are erased.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "vault/desk.rs"]
mod desk;

use std::fs;
use std::path::Path;

use desk::{Desk, POLICY, VALUES, copy, tokens_of};

#[test]
fn a_token_leads_to_its_person_once_another_person_agrees() {
    let desk = Desk::new();
    let tokens = desk.run_job("out.ndjson");
    assert_eq!(tokens.len(), VALUES.len());
    // the same people get the same tokens in the next run
    assert_eq!(desk.run_job("again.ndjson"), tokens);
    assert_eq!(desk.json("vault check @OPENED @VAULT")["people"], VALUES.len());
    desk.write("tokens.txt", &format!("{}\n{}\n", tokens[0], tokens[2]));
    let grant = desk.request("reidentify", "ada", "--tokens @tokens.txt");
    let agreed = desk.approve("reidentify", &grant, "grace");
    assert_eq!((&agreed["requested_by"], &agreed["approved_by"][0]), (&"ada".into(), &"grace".into()));
    let found = desk.json(&desk.used("reidentify", &grant, "ada", "found.ndjson", 1));
    assert_eq!((&found["found"], &found["unknown"]), (&2.into(), &0.into()));
    let lines = fs::read_to_string(desk.path("found.ndjson")).unwrap();
    let mut values: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["value"].as_str().unwrap().to_owned())
        .collect();
    values.sort();
    let mut expected: Vec<String> = [0, 2].iter().map(|place| VALUES[*place].to_lowercase()).collect();
    expected.sort();
    assert_eq!(values, expected);
    // once
    let (code, said) = desk.error(&desk.used("reidentify", &grant, "ada", "twice.ndjson", 1));
    assert!(code == 1 && said.contains("each opens once"), "{said}");
    assert!(!desk.path("twice.ndjson").exists());
    let log = desk.run("vault log @OPENED @VAULT");
    let log = String::from_utf8(log.stdout).unwrap();
    for event in ["made", "grown", "requested", "approved", "used", "identified", "refused"] {
        assert!(log.contains(event), "{event}: {log}");
    }
}

#[test]
fn nobody_agrees_with_themselves_and_no_code_counts_twice() {
    let desk = Desk::new();
    let tokens = desk.run_job("out.ndjson");
    desk.write("tokens.txt", &tokens[0]);
    let asked = desk.asked("reidentify", "ada", "--tokens @tokens.txt", 0);
    let used = asked.split(' ').skip_while(|word| *word != "--code").nth(1).unwrap().to_owned();
    let grant = desk.json(&asked)["grant"].as_str().unwrap().to_owned();
    let approve = |who: &str, code: &str| desk.error(&desk.agreed("reidentify", &grant, who, code));
    let (code, said) = approve("ada", &desk.code("ada", 1));
    assert!(code == 1 && said.contains("a second person has to"), "{said}");
    let (_, said) = desk.error(&desk.used("reidentify", &grant, "ada", "found.ndjson", 1));
    assert!(said.contains("0 have agreed, 1 are needed"), "{said}");
    let (_, said) = approve("grace", "000000");
    assert!(said.contains("the code is wrong"), "{said}");
    desk.approve("reidentify", &grant, "grace");
    let (_, said) = desk.error(&desk.used("reidentify", &grant, "grace", "found.ndjson", 1));
    assert!(said.contains("this grant is ada's"), "{said}");
    // the code that the request took
    let fresh = desk.used("reidentify", &grant, "ada", "found.ndjson", 0);
    let code = fresh.split(' ').skip_while(|word| *word != "--code").nth(1).unwrap();
    let (_, said) = desk.error(&fresh.replacen(code, &used, 1));
    assert!(said.contains("was used before"), "{said}");
    let (_, said) = desk.error(&desk.used("erase", &grant, "ada", "found.ndjson", 1));
    assert!(said.contains("for something else"), "{said}");
    desk.json(&desk.used("reidentify", &grant, "ada", "found.ndjson", 1));
    let log = String::from_utf8(desk.run("vault log @OPENED @VAULT").stdout).unwrap();
    assert_eq!(log.matches(" refused ").count(), 6, "{log}");
}

#[test]
fn guessing_freezes_the_grant_and_whoever_guesses() {
    let desk = Desk::new();
    let tokens = desk.run_job("out.ndjson");
    let guesses: String = (0..4).map(|guess| format!("v1_{guess}AAAAAAAAAAAAAAAAAAAAA\n")).collect();
    desk.write("tokens.txt", &format!("{guesses}{}", tokens[0]));
    let grant = desk.request("reidentify", "ada", "--tokens @tokens.txt");
    desk.approve("reidentify", &grant, "grace");
    let (code, said) = desk.error(&desk.used("reidentify", &grant, "ada", "found.ndjson", 1));
    assert!(code == 1 && said.contains("the grant is frozen") && said.contains("nothing is shown"), "{said}");
    assert!(!desk.path("found.ndjson").exists());
    let (_, said) = desk.error(&desk.asked("reidentify", "ada", "--tokens @tokens.txt", 1));
    assert!(said.contains("frozen within the last day"), "{said}");
    let many: String = (0..60).map(|row| format!("v1_{row:022}\n")).collect();
    desk.write("many.txt", &many);
    let (_, said) = desk.error(&desk.asked("reidentify", "grace", "--tokens @many.txt", 1));
    assert!(said.contains("60 rows are asked for, from 1 to 50 are allowed"), "{said}");
}

#[test]
fn an_erased_person_is_nobody_in_the_vault_and_in_every_older_copy() {
    let desk = Desk::new();
    let tokens = desk.run_job("out.ndjson");
    copy(&desk.path("vault"), &desk.path("backup"));
    copy(&desk.path("keys"), &desk.path("backup-keys"));
    desk.write("person.txt", VALUES[1]);
    let grant = desk.request("erase", "ada", "--people @person.txt");
    desk.approve("erase", &grant, "grace");
    let done = desk.json(&desk.used("erase", &grant, "ada", "certificate.json", 1));
    assert_eq!(
        (&done["erased"], &done["epoch"], &done["tables_destroyed"]),
        (&1.into(), &2.into(), &2.into())
    );
    let verified = desk.json(&format!("verify @certificate.json --key {}", desk.public));
    assert_eq!(
        (&verified["certificate"]["erased"], &verified["certificate"]["approvers"][0]),
        (&1.into(), &"grace".into())
    );
    let certificate = fs::read_to_string(desk.path("certificate.json")).unwrap();
    fs::write(desk.path("certificate.json"), certificate.replacen("\"erased\":1", "\"erased\":2", 1))
        .unwrap();
    assert_eq!(desk.error(&format!("verify @certificate.json --key {}", desk.public)).0, 1);
    // every token, before and after the older copy is put back
    desk.write("tokens.txt", &tokens.join("\n"));
    let look = |who: &str, other: &str, output: &str| {
        let grant = desk.request("reidentify", who, "--tokens @tokens.txt");
        desk.approve("reidentify", &grant, other);
        desk.json(&desk.used("reidentify", &grant, who, output, 1))["found"].as_u64().unwrap() as usize
    };
    assert_eq!(look("edith", "mary", "after.ndjson"), VALUES.len() - 1);
    fs::remove_dir_all(desk.path("vault")).unwrap();
    copy(&desk.path("backup"), &desk.path("vault"));
    fs::remove_dir_all(desk.path("keys")).unwrap();
    copy(&desk.path("backup-keys"), &desk.path("keys"));
    // the places tell the older copy what happened since, and that is in the log
    let (_, said) = desk.error("vault check @OPENED @VAULT");
    assert!(said.contains("it was cut, or is an older copy"), "{said}");
    assert!(String::from_utf8(desk.run("vault log @OPENED @VAULT").stdout).unwrap().contains(" restored "));
    // a grant is not used up on a vault of which a part cannot be read
    let grant = desk.request("reidentify", "alan", "--tokens @tokens.txt");
    desk.approve("reidentify", &grant, "kurt");
    let (_, said) = desk.error(&desk.used("reidentify", &grant, "alan", "restored.ndjson", 1));
    assert!(said.contains("from before an erasure"), "{said}");
    let (code, said) = desk.error("run @policy.toml @jobs.ndjson -o @late.ndjson @OPENED @VAULT");
    assert!(code == 2 && said.contains("from before an erasure"), "{said}");
    desk.json("vault repair --yes @OPENED @VAULT");
    let found = desk.json(&desk.used("reidentify", &grant, "alan", "restored.ndjson", 1));
    assert!(found["found"].as_u64().unwrap() < VALUES.len() as u64, "the erased person is in no copy");
    for output in ["after.ndjson", "restored.ndjson"] {
        let found = fs::read_to_string(desk.path(output)).unwrap();
        assert!(
            !found.contains(&VALUES[1].to_lowercase()) && !found.contains(&tokens[1]),
            "{output}: {found}"
        );
    }
    // whoever comes back gets a token that nothing links with the old one
    let late = desk.run_job("late.ndjson");
    assert!(!late.contains(&tokens[1]));
}

#[test]
fn one_place_of_the_epoch_table_that_was_restored_is_corrected_by_the_other() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    copy(&desk.path("epoch-1"), &desk.path("snapshot"));
    copy(&desk.path("vault"), &desk.path("backup"));
    desk.write("person.txt", VALUES[1]);
    let grant = desk.request("erase", "ada", "--people @person.txt");
    desk.approve("erase", &grant, "grace");
    desk.json(&desk.used("erase", &grant, "ada", "certificate.json", 1));
    let log = fs::read(desk.path("vault/log")).unwrap();
    for (from, to) in [("snapshot", "epoch-1"), ("backup", "vault")] {
        fs::remove_dir_all(desk.path(to)).unwrap();
        copy(&desk.path(from), &desk.path(to));
    }
    fs::write(desk.path("vault/log"), log).unwrap();
    let (code, said) = desk.error("vault check @OPENED @VAULT");
    assert!(code == 1 && said.contains("it was cut, or is an older copy"), "{said}");
    let tables = |place: &str| {
        let names = fs::read_dir(desk.path(place)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".table"));
        names
    };
    assert_eq!(tables("epoch-1"), tables("epoch-2"));
    assert_eq!(tables("epoch-1").len(), 1);
}

#[test]
fn a_changed_or_cut_vault_and_a_changed_log_are_found_out() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    let check = |what: &str, says: &str| {
        let (code, said) = desk.error("vault check @OPENED @VAULT");
        assert!(code == 1 && said.contains(says), "{what}: {said}");
    };
    let bucket = fs::read_dir(desk.path("vault/people")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&bucket).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&bucket, &changed).unwrap();
        let (code, said) = desk.error("vault check @OPENED @VAULT");
        assert!(
            code == 1 && (said.contains("damaged at byte") || said.contains("not the bucket")),
            "byte {at}: {said}"
        );
    }
    fs::write(&bucket, &whole[..whole.len() - 1]).unwrap();
    check("a cut bucket", "damaged at byte");
    let (_, said) = desk.error("run @policy.toml @jobs.ndjson -o @late.ndjson @OPENED @VAULT");
    assert!(said.contains("damaged at byte"), "{said}");
    fs::write(&bucket, &whole).unwrap();
    desk.write("tokens.txt", "v1_0000000000000000000000");
    desk.request("reidentify", "ada", "--tokens @tokens.txt");
    let path = desk.path("vault/log");
    let log = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    for (what, text) in [
        ("an entry left out", [lines[0], lines[2]].concat()),
        ("a changed word", log.replace("\"ada\"", "\"eve\"")),
        ("an entry too many", [&log, lines[2]].concat()),
    ] {
        fs::write(&path, text).unwrap();
        check(what, if what == "an entry too many" { "does not follow" } else { "an entry was changed" });
    }
    // what a kill leaves of an entry was never one
    fs::write(&path, format!("{log}{{\"body\":{{\"ver")).unwrap();
    assert_eq!(desk.json("vault check @OPENED @VAULT")["log_entries"], 3);
    // an end that is cut off is put back from the places, and the log says so
    for (entries, text) in [(4, lines[..2].concat()), (5, String::new())] {
        fs::write(&path, text).unwrap();
        assert_eq!(desk.json("vault check @OPENED @VAULT")["log_entries"], entries);
    }
    let copies = fs::read_dir(desk.path("epoch-1")).unwrap().map(|entry| entry.unwrap().path());
    let copy = copies.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "log")).unwrap();
    assert_eq!(fs::read(copy).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn nothing_runs_without_the_vault_or_with_its_table_beside_it() {
    let desk = Desk::new();
    let (code, said) = desk.error("run @policy.toml @jobs.ndjson -o @out.ndjson @OPENED");
    assert!(code == 2 && said.contains("needs the identity vault"), "{said}");
    let beside = "vault create @OPENED --vault @other --epoch @other/epoch";
    let (code, said) = desk.error(beside);
    assert!(code == 2 && said.contains("in the vault's own folder"), "{said}");
    let (code, said) = desk.error("vault check @OPENED --vault @vault --epoch @nowhere");
    assert!(code == 2 && said.contains("in none of these places"), "{said}");
    let without = POLICY.split("[reidentify]").next().unwrap().to_owned()
        + "[[field]]"
        + POLICY.split_once("[[field]]").unwrap().1;
    desk.write("without.toml", &without);
    let (code, said) = desk.error("lint @without.toml");
    assert_eq!(code, 1, "{said}");
    let shown = desk.json("run @policy.toml @jobs.ndjson --dry-run");
    assert!(shown["records"][0]["columns"][0]["after"].as_str().unwrap().starts_with("v1_"));
}

#[test]
fn a_run_that_is_killed_leaves_a_vault_that_works_and_tokens_that_stay() {
    let desk = Desk::new();
    let jobs: String =
        (0..20_000).map(|number| desk::record(&format!("p{number}@example.org"), number)).collect();
    desk.write("jobs.ndjson", &jobs);
    let mut killed = 0;
    for attempt in 0..4 {
        let output = format!("killed-{attempt}.ndjson");
        let line = format!("run @policy.toml @jobs.ndjson -o @{output} @OPENED @VAULT");
        let mut child = desk.command(&line).spawn().unwrap();
        // as soon as something is in the vault that was not there
        let before = size(&desk.path("vault/people"));
        while child.try_wait().unwrap().is_none() && size(&desk.path("vault/people")) == before {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "no run was killed in its middle");
    desk.json("vault check @OPENED @VAULT");
    desk.json("run @policy.toml @jobs.ndjson -o @whole.ndjson @OPENED @VAULT");
    desk.json("run @policy.toml @jobs.ndjson -o @again.ndjson @OPENED @VAULT");
    assert_eq!(desk.json("vault check @OPENED @VAULT")["people"], 20_000);
    assert_eq!(tokens_of(&desk.path("whole.ndjson")), tokens_of(&desk.path("again.ndjson")));
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len())).sum()
}
