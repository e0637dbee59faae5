//! Exports over S3 whose tokens lead to people through a vault: killed and gone on with, and found again in a report on a person.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "vault/desk.rs"]
#[allow(dead_code, reason = "shared with the other tests of the vault")]
mod desk;

use std::collections::{HashMap, HashSet};
use std::fs;

use chaos::dev::Dev;
use chaos::run::Run;
use serde_json::Value;

use desk::{Desk, POLICY, VALUES, record, tokens_of};

#[test]
fn an_export_that_was_killed_goes_on_with_the_same_people_and_a_report_names_it() {
    let run = Run::new("vault-export").unwrap();
    let dev = Dev::start(&run).unwrap();
    let mut client = dev.client().unwrap();
    for bucket in ["jobs", "drafts"] {
        client.create_bucket(bucket).unwrap();
    }
    let person = |number: usize| match number % 40 {
        place if place < VALUES.len() => VALUES[place].to_owned(),
        place => format!("person{place}@example.net"),
    };
    let jobs: String = (0..2000).map(|number| record(&person(number), number % 4)).collect();
    client.put("jobs", "in/1.ndjson", jobs.as_bytes()).unwrap();
    let mut desk = Desk::new();
    desk.server = vec![
        ("AWS_ACCESS_KEY_ID", dev.ready.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", dev.ready.secret_key.clone()),
        ("AWS_ENDPOINT_URL", dev.ready.endpoint.clone()),
        ("AWS_REGION", dev.ready.region.clone()),
    ];
    let line = "export @policy.toml --to s3://drafts/usage --source s3://jobs/in/ --id jobs --recipient team \
                --part-rows 50 @OPENED @VAULT --operator @ada.key --passphrase-file @pass.txt";
    let mut child = desk.command(line).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && client.list("drafts", "usage/jobs/data/").unwrap().len() < 5
    {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // parts that are there already are compared with what is made now: other tokens would end it
    let done = desk.json(line);
    assert_eq!((&done["resumed"], &done["counts"]["records_out"]), (&true.into(), &2000.into()));
    let mut tokens: HashMap<String, usize> = HashMap::new();
    for part in client.list("drafts", "usage/jobs/data/").unwrap() {
        let part = client.get("drafts", &part.key).unwrap().unwrap();
        for row in String::from_utf8(part).unwrap().lines() {
            let row: Value = serde_json::from_str(row).unwrap();
            *tokens.entry(row["email"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(tokens.len(), 40);
    assert!(tokens.values().all(|rows| *rows == 50), "{tokens:?}");
    assert_eq!(desk.json("vault check @OPENED @VAULT")["people"], 40);
    desk.write("person.txt", VALUES[2]);
    let grant = desk.request("subject-report", "ada", "--people @person.txt");
    desk.approve("subject-report", &grant, "grace");
    let report = desk.used("subject-report", &grant, "ada", "report.json", 1) + " --drafts s3://drafts/usage";
    assert_eq!(desk.json(&report)["subjects"], 1);
    assert_eq!(desk.json(&format!("verify @report.json --key {}", desk.public))["kind"], "report");
    let report: Value = serde_json::from_slice(&fs::read(desk.path("report.json")).unwrap()).unwrap();
    let subject = &report["body"]["subjects"][0];
    assert_eq!(subject["value"], VALUES[2].to_lowercase());
    let export = &subject["exports"][0];
    assert_eq!(
        (&export["export"], &export["purpose"], &export["legal_basis"], &export["recipient"]),
        (&"jobs".into(), &"capacity planning".into(), &"Art. 6(1)(f)".into(), &"team".into())
    );
    let theirs: HashSet<&str> =
        export["tokens"].as_array().unwrap().iter().filter_map(|token| token["token"].as_str()).collect();
    assert_eq!(theirs.iter().filter(|token| tokens.contains_key(**token)).count(), 1, "{theirs:?}");
    assert!(export["delete_on"].as_str().is_some_and(|day| day.len() == 10));
}

#[test]
fn made_up_persons_are_in_no_vault_and_asking_about_them_is_no_guessing() {
    let run = Run::new("vault-honey").unwrap();
    let dev = Dev::start(&run).unwrap();
    let mut client = dev.client().unwrap();
    for bucket in ["jobs", "drafts"] {
        client.create_bucket(bucket).unwrap();
    }
    let jobs: String =
        (0..400).map(|number| record(&format!("person{}@example.net", number % 40), number % 4)).collect();
    client.put("jobs", "in/1.ndjson", jobs.as_bytes()).unwrap();
    let mut desk = Desk::new();
    desk.server = vec![
        ("AWS_ACCESS_KEY_ID", dev.ready.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", dev.ready.secret_key.clone()),
        ("AWS_ENDPOINT_URL", dev.ready.endpoint.clone()),
        ("AWS_REGION", dev.ready.region.clone()),
    ];
    let honey = "[honey]\npersons = 4\nperson = \"email\"\n\n[reidentify]";
    desk.write("policy.toml", &POLICY.replace("[reidentify]", honey));
    let acting = "--operator @ada.key --passphrase-file @pass.txt";
    let line = format!(
        "export @policy.toml --to s3://drafts/usage --source s3://jobs/in/ --id jobs --recipient team @OPENED @VAULT {acting}"
    );
    assert_eq!(desk.json(&line)["planted"]["persons"], 4);
    assert_eq!(desk.json("vault check @OPENED @VAULT")["people"], 40);
    let part = client.get("drafts", "usage/jobs/data/part-00000.ndjson").unwrap().unwrap();
    fs::write(desk.path("leaked.ndjson"), part).unwrap();
    let find =
        format!("honey find @leaked.ndjson --drafts s3://drafts/usage --reason case-7 @OPENED {acting}");
    let said = desk.json(&find);
    assert_eq!(
        (&said["exports"][0]["export"], &said["exports"][0]["persons_met"]),
        (&"jobs".into(), &4.into())
    );
    let tokens: HashSet<String> = tokens_of(&desk.path("leaked.ndjson")).into_iter().collect();
    assert_eq!(tokens.len(), 44);
    desk.write("tokens.txt", &tokens.into_iter().collect::<Vec<_>>().join("\n"));
    let grant = desk.request("reidentify", "ada", "--tokens @tokens.txt");
    desk.approve("reidentify", &grant, "grace");
    let said = desk.json(&desk.used("reidentify", &grant, "ada", "people", 1));
    assert_eq!((&said["found"], &said["unknown"]), (&40.into(), &4.into()), "{said}");
}
