//! Places of the epoch table that are stale, missing, named twice or full of what was left: nobody is lost and nobody comes back.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "vault/desk.rs"]
#[allow(dead_code, reason = "shared with the other tests of the vault")]
mod desk;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use desk::{Desk, VALUES, copy};

/// Names of files below a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn table(folder: &Path) -> PathBuf {
    let name = names(folder).into_iter().find(|name| name.ends_with(".table")).unwrap();
    folder.join(name)
}

/// A vault in which a person was asked to be erased, and another agreed.
fn agreed(desk: &Desk) -> String {
    desk.write("person.txt", VALUES[1]);
    let grant = desk.request("erase", "ada", "--people @person.txt");
    desk.approve("erase", &grant, "grace");
    grant
}

#[test]
fn a_place_from_before_an_erasure_removes_nobody_and_is_refused_by_itself() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    copy(&desk.path("epoch-2"), &desk.path("old"));
    let grant = agreed(&desk);
    desk.json(&desk.used("erase", &grant, "ada", "certificate.json", 1));
    let before = names(&desk.path("vault/people"));
    fs::rename(desk.path("epoch-2"), desk.path("newer")).unwrap();
    copy(&desk.path("old"), &desk.path("epoch-2"));
    for line in ["vault check", "vault repair --yes", "run @policy.toml @jobs.ndjson -o @late.ndjson"] {
        let (code, said) = desk.error(&format!("{line} @OPENED --vault @vault --epoch @epoch-2"));
        assert!(code != 0 && said.contains("older than the log"), "{line}: {said}");
        assert_eq!(names(&desk.path("vault/people")), before, "{line}");
    }
    // with the other place beside it, it is put right
    let checked = desk.json("vault check @OPENED @VAULT");
    assert_eq!((&checked["people"], &checked["epoch"]), (&(VALUES.len() - 1).into(), &2.into()));
    assert!(table(&desk.path("epoch-2")).to_str().unwrap().ends_with(".2.table"));
}

#[test]
fn an_erasure_is_refused_unless_every_place_answers_and_the_grant_is_kept() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    let grant = agreed(&desk);
    let refused = |places: &str, says: &str| {
        let line = desk.used("erase", &grant, "ada", "certificate.json", 1);
        let line = line.replace("@VAULT", &format!("--vault @vault {places}"));
        let (code, said) = desk.error(&line);
        assert!(code != 0 && said.contains(says), "{places}: {said}");
        assert!(!desk.path("certificate.json").exists());
    };
    refused("--epoch @epoch-1", "1 of 2 places");
    refused("--epoch @epoch-1 --epoch @epoch-1", "named twice");
    symlink(desk.path("epoch-1"), desk.path("link")).unwrap();
    refused("--epoch @epoch-1 --epoch @link", "named twice");
    copy(&desk.path("epoch-1"), &desk.path("copy"));
    refused("--epoch @epoch-1 --epoch @copy", "the same place");
    // a disk that is not mounted
    fs::rename(desk.path("epoch-2"), desk.path("away")).unwrap();
    refused("--epoch @epoch-1 --epoch @epoch-2", "1 of 2 places");
    assert!(!desk.path("epoch-2").exists(), "nothing is made where a place was");
    fs::create_dir(desk.path("epoch-2")).unwrap();
    refused("--epoch @epoch-1 --epoch @epoch-2", "1 of 2 places");
    assert!(names(&desk.path("epoch-2")).is_empty());
    // what is read only goes on
    desk.json("vault log @OPENED --vault @vault --epoch @epoch-1 --epoch @epoch-2");
    desk.run_job("again.ndjson");
    fs::remove_dir(desk.path("epoch-2")).unwrap();
    fs::rename(desk.path("away"), desk.path("epoch-2")).unwrap();
    let done = desk.json(&desk.used("erase", &grant, "ada", "certificate.json", 1));
    assert_eq!((&done["erased"], &done["tables_destroyed"]), (&1.into(), &2.into()));
    // a place with a file that may be a copy of the table
    fs::copy(table(&desk.path("epoch-1")), desk.path("kept")).unwrap();
    let saved = table(&desk.path("epoch-1")).with_extension("table.saved");
    fs::rename(desk.path("kept"), &saved).unwrap();
    desk.write("person.txt", VALUES[2]);
    let grant = desk.request("erase", "edith", "--people @person.txt");
    desk.approve("erase", &grant, "mary");
    let (_, said) = desk.error(&desk.used("erase", &grant, "edith", "second.json", 1));
    assert!(said.contains("may be a copy of the table"), "{said}");
    fs::remove_file(&saved).unwrap();
    // a table that is a link could not be destroyed
    let (here, there) = (table(&desk.path("epoch-1")), desk.path("elsewhere"));
    fs::rename(&here, &there).unwrap();
    symlink(&there, &here).unwrap();
    let (_, said) = desk.error(&desk.used("erase", &grant, "edith", "second.json", 1));
    assert!(said.contains("a link or no file"), "{said}");
    fs::rename(&there, &here).unwrap();
    desk.json(&desk.used("erase", &grant, "edith", "second.json", 1));
}

#[test]
fn what_a_killed_program_left_of_a_table_is_destroyed_and_stops_nobody() {
    let desk = Desk::new();
    desk.run_job("out.ndjson");
    let old = table(&desk.path("epoch-1"));
    let content = fs::read(&old).unwrap();
    let grant = agreed(&desk);
    desk.json(&desk.used("erase", &grant, "ada", "certificate.json", 1));
    for name in ["table.77.partial", "table.gone", "table.next"] {
        fs::write(old.with_extension(name), &content).unwrap();
    }
    // overwritten and not yet removed
    fs::write(&old, vec![0; content.len()]).unwrap();
    desk.json("vault check @OPENED @VAULT");
    let left = names(&desk.path("epoch-1"));
    let tables: Vec<_> = left.iter().filter(|name| name.contains("table")).collect();
    assert!(tables.len() == 1 && tables[0].ends_with(".2.table"), "{left:?}");
}

#[test]
fn a_place_within_the_vault_is_refused_also_through_links() {
    let desk = Desk::new();
    fs::create_dir(desk.path("second")).unwrap();
    symlink(desk.path("second"), desk.path("door")).unwrap();
    for (vault, place) in [("second", "door/epoch"), ("door/vault", "second"), ("third", "third/epoch")] {
        let line = format!("vault create @OPENED --vault @{vault} --epoch @{place}");
        let (code, said) = desk.error(&line);
        assert!(code == 2 && said.contains("in the vault's own folder"), "{line}: {said}");
    }
}

#[test]
fn a_place_with_the_keys_is_refused_whichever_is_in_the_other_also_through_links() {
    let desk = Desk::new();
    symlink(desk.path("keys"), desk.path("door")).unwrap();
    let refused = |line: &str, says: &str| {
        let (code, said) = desk.error(line);
        assert!(code == 2 && said.contains(says), "{line}: {said}");
    };
    for place in ["keys", "keys/epoch", "door/epoch"] {
        refused(&format!("vault create @OPENED --vault @new --epoch @{place}"), "one folder with the keys");
        refused(&format!("vault place --add @{place} @OPENED @VAULT"), "one folder with the keys");
    }
    // the keys within the place
    desk.json("keys create --keys @outer/keys --shares @parts --count 2 --threshold 2");
    let opened = "--keys @outer/keys --share @parts/share-1.txt --share @parts/share-2.txt";
    desk.json(&format!("keys signing {opened}"));
    for place in ["outer", "link"] {
        if place == "link" {
            symlink(desk.path("outer"), desk.path("link")).unwrap();
        }
        refused(&format!("vault create {opened} --vault @new --epoch @{place}"), "one folder with the keys");
    }
    // what leads there over a folder that is not there yet
    refused("vault create @OPENED --vault @new --epoch @none/../keys/epoch", "not there");
    refused("vault create @OPENED --vault @new --epoch @none/../new/epoch", "not there");
    assert!(names(&desk.path("keys")).iter().all(|name| !name.contains("epoch") && !name.contains("place")));
    assert!(!desk.path("new").exists());
}
