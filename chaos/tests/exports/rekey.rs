//! Re-keying: exports of an older key made again under the next, killed on the way, joined as before, and the older ones withdrawn.

use std::process::Command;

use chaos::tools;
use serde_json::Value;

use crate::desk::{Desk, POLICY, records};
use crate::{fill, read};

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";

fn run(more: &str) -> String {
    format!("rekey run s3://drafts/usage --policy @policy.toml {OPENED} --operator @maker.operator{more}")
}

/// Two released exports joined on their tokens.
fn join(desk: &Desk, one: &str, other: &str) -> Value {
    let programs = tools::python_environment("venv-readers", "chaos/clients/readers.txt").unwrap();
    let mut command = Command::new(programs.join("python"));
    command.arg(tools::source_root().join("chaos/clients/join.py"));
    command.args([format!("analytics/usage/{one}"), format!("analytics/usage/{other}")]);
    command
        .env("AWS_ACCESS_KEY_ID", &desk.analyst.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &desk.analyst.secret_key);
    command.env("AWS_ENDPOINT_URL", &desk.dev.ready.endpoint).env("AWS_REGION", &desk.analyst.region);
    command.env("NO_PROXY", "127.0.0.1,localhost").env("AWS_EC2_METADATA_DISABLED", "true");
    let output = tools::expect_success(&mut command, "join exports as an analyst").unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn result<'a>(said: &'a Value, export: &str) -> &'a Value {
    let rows = said["exports"].as_array().unwrap();
    rows.iter().find(|row| row["export"] == export).unwrap_or_else(|| panic!("no {export} in {said}"))
}

#[test]
fn a_key_is_left_behind_whatever_is_killed_and_joins_stay_as_they_were() {
    let desk = Desk::new("export-rekey", true);
    fill(&desk, 3000);
    for (day, name) in ["one", "two", "draft"].into_iter().enumerate() {
        let more = format!(" --part-rows 25 --source s3://jobs/in/day={day}/");
        desk.json(
            &desk.maker,
            &desk.export(name, &format!("{more} --recipient auditors --delete-on 2027-01-31")),
        );
    }
    desk.json(&desk.maker, &desk.export("refused", " --source s3://jobs/in/day=0/"));
    desk.json(&desk.approver, &desk.release("refuse", "refused", "approver"));
    for name in ["one", "two"] {
        desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    }
    let before = join(&desk, "one", "two");
    assert_eq!(before["joined"].as_array().unwrap().len(), 20 * 20 * 50);
    assert_eq!(before["versions"], Value::from(vec!["v1"]));

    // without a newer key there is nothing to do; what sources are now does not matter
    assert_eq!(desk.json(&desk.maker, &run(""))["done"], 0);
    desk.json(&desk.maker, &format!("keys domain team-usage {OPENED}"));
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/day=0/jobs.ndjson", &records(9000..9100)).unwrap();
    let said = desk.refused(&desk.maker, &run(" --export nothing"));
    assert!(said.contains("no export nothing"), "{said}");

    for (round, (name, parts)) in
        [("draft.v2", 7), ("one.v2", 0), ("one.v2", 25), ("two.v2", 5)].into_iter().enumerate()
    {
        let mut child = desk.spawn(&desk.maker, &run(""));
        let folder = format!("usage/{name}");
        while desk.names("drafts", &format!("{folder}/order.json")).is_empty()
            || desk.names("drafts", &format!("{folder}/data/")).len() < parts
        {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {parts} parts of {name} were seen");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(desk.names("drafts", &format!("{folder}/manifest.json")).is_empty(), "{name}, {parts} parts");
        if round == 2 {
            // the older key is not needed any more
            desk.json(&desk.maker, "keys destroy team-usage --version 1 --keys @keys --yes");
        }
    }
    let said = desk.json(&desk.maker, &run(""));
    assert_eq!((&said["done"], &said["failed"]), (&1.into(), &0.into()), "{said}");
    let two = result(&said, "two");
    assert_eq!(
        (&two["by"], &two["resumed"], &two["parts"], &two["records"]),
        (&"two.v2".into(), &true.into(), &40.into(), &1000.into())
    );
    assert_eq!(
        (&result(&said, "one")["by"], &result(&said, "refused")["result"]),
        (&"one.v2".into(), &"refused".into())
    );
    assert_eq!(desk.json(&desk.maker, &run(""))["done"], 0, "it is done once");

    // it goes through the gate like any other, and lives no longer
    let said = desk.refused(&desk.approver, &desk.release("approve", "one.v2", "maker"));
    assert!(said.contains("maker made this export"), "{said}");
    let status = desk.json(&desk.approver, &desk.release("status", "one.v2", ""));
    assert_eq!(
        (&status["state"], &status["replaces"], &status["key_version"], &status["records"]),
        (&"draft".into(), &"one".into(), &2.into(), &1000.into())
    );
    assert_eq!((&status["recipient"], &status["delete_on"]), (&"auditors".into(), &"2027-01-31".into()));
    for name in ["one.v2", "two.v2"] {
        desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    }
    let after = join(&desk, "one.v2", "two.v2");
    assert_eq!(after["joined"], before["joined"]);
    assert_eq!(after["versions"], Value::from(vec!["v2"]));
    assert_ne!(
        after["order"], before["order"],
        "rows in the same places would lead from old tokens to new ones"
    );
    for (old, new) in [("one", "one.v2"), ("one", "two.v2"), ("two", "one.v2")] {
        assert_eq!(join(&desk, old, new)["joined"], Value::from(Vec::<Value>::new()), "{old} and {new}");
    }
    assert_eq!(read(&desk, "analytics/usage/one.v2")["pages"], read(&desk, "analytics/usage/one")["pages"]);

    withdraw(&desk);
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// What is replaced where readers are goes, with a record; what is not stays.
fn withdraw(desk: &Desk) {
    let status = format!("rekey status s3://drafts/usage --key {}", desk.public_key);
    let said = desk.json(&desk.approver, &status);
    assert_eq!((&said["keys"][0]["version"], &said["keys"][0]["replaced"]), (&1.into(), &2.into()), "{said}");
    let line = format!("rekey withdraw s3://drafts/usage {OPENED}");
    assert!(desk.refused(&desk.service, &line).contains("--yes"));
    let line = format!("{line} --yes");
    // who makes exports may not look where readers are, and so sees nothing that could go
    assert_eq!(desk.json(&desk.maker, &line)["done"], 0);
    let mut child = desk.spawn(&desk.service, &line);
    while desk.names("drafts", "usage/one/deletion.json").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said = desk.json(&desk.service, &line);
    assert_eq!((&result(&said, "draft")["result"], &said["failed"]), (&"stays".into(), &0.into()), "{said}");
    for name in ["one", "two"] {
        assert!(desk.names("analytics", &format!("usage/{name}/")).is_empty());
        assert_eq!(desk.names("drafts", &format!("usage/{name}/")), [format!("usage/{name}/deletion.json")]);
    }
    let register =
        desk.json(&desk.approver, &format!("register s3://drafts/usage --key {}", desk.public_key));
    assert_eq!(
        (&register["deleted"][0]["export"], &register["deleted"][0]["replaced_by"]),
        (&"one".into(), &"one.v2".into())
    );
    desk.download("drafts", "usage/one", "said/record");
    desk.download("analytics", "usage/one.v2", "said/rekeyed");
    let key = format!("--key {}", desk.public_key);
    let said = desk.json(&desk.analyst, &format!("verify @said/record/deletion.json {key}"));
    assert_eq!(said["record"]["replaced_by"], "one.v2");
    let line = format!("verify @said/rekeyed/release.json {key} --folder @said/rekeyed");
    assert_eq!(desk.json(&desk.analyst, &line)["files_checked"], true);
}

#[test]
fn what_cannot_be_made_again_stays_and_is_said() {
    // without versions a source that changes is gone
    let desk = Desk::new("export-rekey-gone", false);
    fill(&desk, 600);
    desk.json(&desk.maker, &desk.export("gone", " --source s3://jobs/in/day=0/"));
    desk.json(&desk.maker, &desk.export("there", " --source s3://jobs/in/day=1/"));
    desk.json(&desk.maker, &format!("keys domain team-usage {OPENED}"));
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/day=0/jobs.ndjson", &records(9000..9100)).unwrap();
    std::fs::write(desk.path("policy.toml"), POLICY.replace("version = 1", "version = 2")).unwrap();
    let said = desk.refused(&desk.maker, &run(""));
    assert!(said.contains("2 exports could not be made again"), "{said}");
    let said = failing(&desk, &run(""));
    let problem = result(&said, "there")["problem"].as_str().unwrap();
    assert!(
        problem.contains("its policy is none of those that are named: jobs-usage version 1"),
        "{problem}"
    );
    std::fs::write(desk.path("policy.toml"), POLICY).unwrap();
    let said = failing(&desk, &run(""));
    assert_eq!((&said["done"], &said["failed"]), (&1.into(), &1.into()), "{said}");
    let problem = result(&said, "gone")["problem"].as_str().unwrap();
    assert!(problem.contains("a source is not there any more"), "{problem}");
    assert!(desk.names("drafts", "usage/gone.v2/").is_empty());
    assert_eq!(desk.names("drafts", "usage/there.v2/manifest.json").len(), 1);
}

/// What a command says that fails with something to say of each export.
fn failing(desk: &Desk, line: &str) -> Value {
    let output = desk.pseudo(&desk.maker, &format!("{line} --json"));
    assert!(!output.status.success(), "{line} did not fail");
    serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

#[test]
fn neither_a_refused_successor_nor_a_policy_that_cannot_be_used_blocks_anything_else() {
    let desk = Desk::new("export-rekey-refused", true);
    fill(&desk, 60);
    let second = POLICY.replace("domain = \"team-usage\"", "domain = \"second\"");
    std::fs::write(desk.path("second.toml"), second).unwrap();
    std::fs::write(desk.path("refused.toml"), POLICY.replace("k = 10", "k = 1")).unwrap();
    desk.json(&desk.maker, &format!("keys domain second {OPENED}"));
    desk.json(&desk.maker, &desk.export("one", " --source s3://jobs/in/day=0/"));
    desk.json(&desk.maker, &desk.export("two", "").replace("@policy", "@second"));
    desk.json(&desk.maker, "keys destroy second --version 1 --keys @keys --yes");
    desk.json(&desk.maker, &format!("keys domain team-usage {OPENED}"));

    let line = run(" --policy @refused.toml --policy @second.toml");
    let said = failing(&desk, &line);
    assert_eq!(
        (&said["done"], &said["failed"], &result(&said, "one")["by"]),
        (&1.into(), &1.into(), &"one.v2".into())
    );
    let problem = result(&said, "two")["problem"].as_str().unwrap();
    assert!(problem.contains("no such key of domain second"), "{problem}");
    let policies = said["policies_refused"].as_array().unwrap();
    assert!(policies[0]["policy"].as_str().unwrap().ends_with("refused.toml"), "{said}");
    assert!(policies[0]["problem"].as_str().unwrap().contains("1 errors"), "{said}");
    assert_eq!(policies.len(), 2);

    // refused, it is left until somebody asks for another one; what is void was refused by nobody
    for (refused, next) in [("one.v2", "one.v2-2"), ("one.v2-2", "one.v2-3")] {
        desk.json(&desk.approver, &desk.release("refuse", refused, "approver"));
        let said = desk.json(&desk.maker, &run(""));
        assert_eq!(
            (&said["done"], &result(&said, "one")["result"]),
            (&0.into(), &"successor-refused".into())
        );
        assert_eq!(result(&said, "one")["by"], refused);
        let said = desk.json(&desk.maker, &run(" --export one"));
        assert_eq!((&said["done"], &result(&said, "one")["by"]), (&1.into(), &next.into()), "{said}");
    }
    desk.json(&desk.approver, &desk.release("approve", "one.v2-3", "approver"));
    let status =
        desk.json(&desk.approver, &format!("rekey status s3://drafts/usage --key {}", desk.public_key));
    assert_eq!(result(&status, "one")["replaced_by"], "one.v2-3");
    // the next key's is called by that key again
    desk.json(&desk.maker, &format!("keys domain team-usage {OPENED}"));
    let said = desk.json(&desk.maker, &run(" --export one.v2-3"));
    assert_eq!(result(&said, "one.v2-3")["by"], "one.v3");
}
