//! Exports over a real region: the gate, narrow rights, kills, changed sources, tampering, readers, and nothing clear anywhere.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agreed;
mod demo;
mod desk;
mod fit;
mod honey;
mod rekey;
mod revoke;
mod service;

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use chaos::s3::Failure;
use chaos::tools;
use desk::{CLEAR, Desk, POLICY, day_in, records};
use serde_json::Value;

const RECORDS: usize = 600;

/// Three objects with all records, and one record that no rule allows.
fn fill(desk: &Desk, count: usize) {
    let mut client = desk.dev.client().unwrap();
    for third in 0..3 {
        let mut body = records(third * count / 3..(third + 1) * count / 3);
        if third == 1 {
            body.extend_from_slice(b"{\"unknown\":\"secret-of-an-unknown-field\"}\n");
        }
        client.put("jobs", &format!("in/day={third}/jobs.ndjson"), &body).unwrap();
    }
    client.put("jobs", "other/secret", b"not to be read").unwrap();
}

#[test]
fn an_export_goes_through_the_gate_to_its_readers_and_shows_nothing_clear() {
    let desk = Desk::new("export-gate", true);
    fill(&desk, RECORDS);
    let made = desk.json(&desk.maker, &desk.export("first", " --part-rows 250"));
    assert_eq!(
        (&made["state"], &made["parts"], &made["counts"]["records_out"]),
        (&"draft".into(), &3.into(), &RECORDS.into())
    );
    assert_eq!(
        (&made["counts"]["faults"]["field without a rule"], &made["gate_misses"]),
        (&1.into(), &Value::Array(vec![]))
    );
    assert_eq!((&made["figures"]["k"], &made["figures"]["l_distinct"]), (&200.into(), &2.into()));
    let first = serde_json::json!({ "bucket": "jobs", "key": "in/day=1/jobs.ndjson", "record": 201 });
    assert_eq!(made["left_out"], serde_json::json!([{ "reason": "field without a rule", "first": first }]));

    // a draft is nothing that its readers could see
    let mut analyst = desk.client(&desk.analyst);
    for attempt in
        [analyst.get("drafts", "usage/first/manifest.json"), analyst.get("jobs", "in/day=0/jobs.ndjson")]
    {
        assert!(matches!(attempt, Err(Failure::Refused { status: 403, .. })), "{attempt:?}");
    }
    assert!(desk.names("analytics", "").is_empty());
    let status = desk.json(&desk.maker, &desk.release("status", "first", ""));
    assert_eq!((&status["state"], &status["made_by"]), (&"draft".into(), &"maker".into()));
    // who decides sees what is in it
    let columns = status["columns"].as_array().unwrap();
    assert_eq!((&columns[0]["column"], &columns[0]["technique"]), (&"user.email".into(), &"prf".into()));
    let said =
        String::from_utf8(desk.pseudo(&desk.maker, &desk.release("status", "first", "")).stdout).unwrap();
    assert!(said.contains("column site (quasi-identifier): keep: the value as it was"), "{said}");
    assert!(said.contains("1 of 601 records are left out: field without a rule 1"), "{said}");

    // who made it cannot let it go, nor can anybody unknown
    let said = desk.refused(&desk.approver, &desk.release("approve", "first", "maker"));
    assert!(said.contains("maker made this export"), "{said}");
    desk.json(&desk.maker, "keys operator stranger -o @stranger.operator");
    let said = desk.refused(&desk.approver, &desk.release("approve", "first", "stranger"));
    assert!(said.contains("certificate"), "{said}");
    fs::copy(desk.path("approver.operator.certificate"), desk.path("stranger.operator.certificate")).unwrap();
    let said = desk.refused(&desk.approver, &desk.release("approve", "first", "stranger"));
    assert!(said.contains("another operator's key"), "{said}");
    let said = desk.refused(&desk.maker, &desk.release("approve", "first", "approver"));
    assert!(said.contains("may not"), "the maker's own rights reach no reader: {said}");
    // a decision is taken once, and so not by an attempt that reaches nobody
    assert!(said.contains("nothing was decided") && said.contains("analytics/usage"), "{said}");
    assert!(desk.names("drafts", "usage/first/decision.json").is_empty());
    assert_eq!(desk.json(&desk.maker, &desk.release("status", "first", ""))["state"], "draft");
    let released = desk.json(&desk.approver, &desk.release("approve", "first", "approver"));
    assert_eq!((&released["state"], &released["decision"]["by"]), (&"released".into(), &"approver".into()));
    let said = desk.refused(&desk.approver, &desk.release("refuse", "first", "approver"));
    assert!(said.contains("taken once"), "{said}");
    let said = desk.refused(&desk.maker, &desk.export("first", ""));
    assert!(said.contains("there already"), "{said}");

    // readers have all of it, and no name of a source
    let place = "analytics/usage/first";
    assert_eq!(desk.names("analytics", "usage/first/release.json").len(), 1);
    assert!(
        desk.names("analytics", "").iter().all(|name| !name.contains("manifest") && !name.contains("order"))
    );
    let read = read(&desk, place);
    assert_eq!(read["pages"], Value::from((0..RECORDS).collect::<Vec<_>>()));
    assert_eq!((&read["in_order"], &read["duckdb_rows"]), (&false.into(), &RECORDS.into()));
    assert_eq!(read["tokens"].as_array().unwrap().len(), 50);

    check_signatures(&desk);
    check_leaks(&desk);
}

/// What a reader's own tools say about a released export.
fn read(desk: &Desk, place: &str) -> Value {
    let programs = tools::python_environment("venv-readers", "chaos/clients/readers.txt").unwrap();
    let mut command = Command::new(programs.join("python"));
    command.arg(tools::source_root().join("chaos/clients/export.py")).arg(place);
    command
        .env("AWS_ACCESS_KEY_ID", &desk.analyst.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &desk.analyst.secret_key);
    command.env("AWS_ENDPOINT_URL", &desk.dev.ready.endpoint).env("AWS_REGION", &desk.analyst.region);
    command.env("NO_PROXY", "127.0.0.1,localhost").env("AWS_EC2_METADATA_DISABLED", "true");
    let output = tools::expect_success(&mut command, "read the export as an analyst").unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check_signatures(desk: &Desk) {
    let draft = desk.download("drafts", "usage/first", "said/draft");
    let released = desk.download("analytics", "usage/first", "said/released");
    let nobody = &desk.analyst;
    let key = format!("--key {}", desk.public_key);
    let there = desk
        .json(&desk.maker, &format!("verify @said/draft/manifest.json {key} --at s3://drafts/usage/first"));
    assert_eq!(
        (&there["kind"], &there["files"], &there["files_checked"]),
        (&"manifest".into(), &6.into(), &true.into())
    );
    let here =
        desk.json(nobody, &format!("verify @said/released/release.json {key} --folder @said/released"));
    assert_eq!(
        (&here["kind"], &here["approved_by"], &here["files_checked"]),
        (&"decision".into(), &"approver".into(), &true.into())
    );
    let manifest: Value = serde_json::from_slice(&fs::read(draft.join("manifest.json")).unwrap()).unwrap();
    let sources = manifest["body"]["sources"].as_array().unwrap();
    assert!(
        sources.len() == 3
            && sources
                .iter()
                .all(|source| source["pin"]["version_id"].is_string() && source["sha256"].is_string())
    );

    // bytes of the signed files: the program refuses each; that no byte at all can change is a test of `pseudo`
    for name in ["manifest.json", "release.json"] {
        let bytes =
            fs::read(if name == "manifest.json" { draft.join(name) } else { released.join(name) }).unwrap();
        for at in (0..bytes.len()).step_by(97).chain(bytes.len() - 3..bytes.len()) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(desk.path("changed.json"), &changed).unwrap();
            let said = desk.refused(nobody, &format!("verify @changed.json {key}"));
            assert!(said.contains("signature") || said.contains("signed"), "{name}, byte {at}: {said}");
        }
    }
    let other = format!("--key {}", "01".repeat(32));
    let said = desk.refused(nobody, &format!("verify @said/draft/manifest.json {other}"));
    assert!(said.contains("another key"), "{said}");

    // every way in which files can be wrong
    let part = released.join("data/part-00001.parquet");
    let whole = fs::read(&part).unwrap();
    let verify = |says: &str| {
        let said = desk
            .refused(nobody, &format!("verify @said/released/release.json {key} --folder @said/released"));
        assert!(said.contains(says), "{says}: {said}");
    };
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&part, &changed).unwrap();
    verify("part-00001.parquet has other content");
    fs::write(&part, &whole[1..]).unwrap();
    verify("bytes, signed were");
    fs::remove_file(&part).unwrap();
    verify("part-00001.parquet is missing");
    fs::write(&part, &whole).unwrap();
    fs::write(released.join("data/part-00009.parquet"), &whole).unwrap();
    verify("nobody signed");
    fs::remove_file(released.join("data/part-00009.parquet")).unwrap();
}

/// Nothing clear is in what was written or said; and the search finds what a planted mistake lets through.
fn check_leaks(desk: &Desk) {
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
    let leaky = POLICY
        .replace(
            "path = \"$.user.name\"\ntechnique = \"drop\"",
            "path = \"$.user.name\"\ntechnique = \"keep\"\nbecause = \"a mistake\"",
        )
        .replace("compression = \"zstd\"\n", "");
    assert_ne!(leaky, POLICY);
    fs::write(desk.path("policy.toml"), leaky).unwrap();
    desk.json(&desk.maker, &desk.export("leaky", ""));
    desk.download("drafts", "usage/leaky/data", "canary");
    let found = desk.leaks("canary");
    assert!(found.iter().any(|leak| leak.needle == CLEAR[1]), "the search is blind: {found:?}");
    fs::write(desk.path("policy.toml"), POLICY).unwrap();
}

#[test]
fn what_is_below_the_limits_is_held_and_the_register_says_what_became_of_each() {
    let desk = Desk::new("export-register", false);
    fill(&desk, 60);
    // 60 records of three sites are 20 to a class
    fs::write(desk.path("policy.toml"), POLICY.replace("k = 10", "k = 21")).unwrap();
    let made = desk.json(&desk.maker, &desk.export("held", ""));
    assert_eq!(made["gate_misses"][0], "k is 20, demanded 21");
    let said = desk.refused(&desk.approver, &desk.release("approve", "held", "approver"));
    assert!(said.contains("the gate holds this export: k is 20, demanded 21"), "{said}");
    let refused = desk.json(&desk.approver, &desk.release("refuse", "held", "approver"));
    assert_eq!(refused["state"], "refused");
    let said = desk.refused(&desk.approver, &desk.release("approve", "held", "approver"));
    assert!(said.contains("decided otherwise"), "{said}");
    assert!(desk.names("analytics", "").is_empty());

    fs::write(desk.path("policy.toml"), POLICY).unwrap();
    let later = day_in(40);
    desk.json(&desk.maker, &desk.export("draft", &format!(" --recipient auditors --delete-on {later}")));
    desk.json(&desk.maker, &desk.export("gone", ""));
    desk.json(&desk.approver, &desk.release("approve", "gone", "approver"));
    for (to, problem) in
        [("jobs/in/drafts", "among the sources"), ("analytics/other", "drafts would lie in the bucket")]
    {
        let line = desk.export("elsewhere", "").replace("s3://drafts/usage", &format!("s3://{to}"));
        assert!(desk.refused(&desk.maker, &line).contains(problem), "{to}");
    }
    let over = desk.refused(&desk.maker, &desk.export("over", " --delete-on 2020-01-01"));
    assert!(over.contains("is over"), "{over}");
    let list = format!("register s3://drafts/usage --key {}", desk.public_key);
    let register = desk.json(&desk.maker, &list);
    let entries = register["exports"].as_array().unwrap();
    let states: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry["export"].as_str().unwrap(), entry["state"].as_str().unwrap()))
        .collect();
    // the maker may not look where readers are
    assert_eq!(states[..2], [("draft", "draft"), ("gone", "approved")], "{register}");
    let seen = desk.json(&desk.approver, &list);
    assert_eq!(
        (&seen["exports"][1]["state"], &seen["exports"][2]["state"]),
        (&"released".into(), &"refused".into())
    );
    assert_eq!((&entries[0]["recipient"], &entries[0]["delete_on"]), (&"auditors".into(), &later.into()));
    let table = String::from_utf8(desk.pseudo(&desk.approver, &list).stdout).unwrap();
    assert!(table.contains("legal basis") && table.contains("Art. 6(1)(f)"), "{table}");

    let record_line =
        format!("processing-record @policy.toml --drafts s3://drafts/usage --key {}", desk.public_key);
    let record = desk.json(&desk.approver, &record_line);
    assert_eq!(record["d_recipients"], serde_json::json!(["team usage"]), "auditors have a draft alone");
    let listed: Vec<_> =
        record["exports"].as_array().unwrap().iter().map(|export| &export["state"]).collect();
    assert_eq!(listed, ["draft", "released", "refused"]);

    // what was tampered with is said, and all else is still listed
    let mut client = desk.dev.client().unwrap();
    let mut manifest = client.get("drafts", "usage/draft/manifest.json").unwrap().unwrap();
    let at = manifest.len() / 2;
    manifest[at] ^= 1;
    client.put("drafts", "usage/draft/manifest.json", &manifest).unwrap();
    let output = desk.pseudo(&desk.approver, &format!("{list} --json"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && said.contains("damaged") && said.contains("released"), "{said}");
    let output = desk.pseudo(&desk.approver, &record_line);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && said.contains("- draft: damaged; "), "{said}");
    let said = desk.refused(&desk.approver, &desk.release("approve", "draft", "approver"));
    assert!(said.contains("signature"), "{said}");
    let leaks = desk.leaks("said");
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn an_export_that_is_killed_anywhere_goes_on_without_a_lost_or_doubled_row() {
    let desk = Desk::new("export-kill", true);
    fill(&desk, 3000);
    // what is too rare is found anew by every run, and is always the same
    let gate = "k = 10\non_fail = \"suppress\"\nmax_suppressed = 0.01";
    fs::write(desk.path("policy.toml"), POLICY.replace("k = 10", gate)).unwrap();
    let few = String::from_utf8(records(0..6)).unwrap();
    let few = ["berlin", "lyon", "oslo"].iter().fold(few, |few, site| few.replace(site, "bergen"));
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/few.ndjson", few.as_bytes()).unwrap();
    let line = desk.export("killed", " --part-rows 50");
    let mut changed = false;
    for parts in [0, 1, 7, 20, 41] {
        let mut child = desk.spawn(&desk.maker, &line);
        // what it has put so far says where it is
        let has_begun = || !desk.names("drafts", "usage/killed/order.json").is_empty();
        while !has_begun() || desk.names("drafts", "usage/killed/data/").len() < parts {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {parts} parts were seen");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            desk.names("drafts", "usage/killed/manifest.json").is_empty(),
            "no manifest after {parts} parts"
        );
        let said = desk.refused(&desk.approver, &desk.release("approve", "killed", "approver"));
        assert!(said.contains("no manifest"), "{said}");
        if !std::mem::replace(&mut changed, true) {
            // a source gets a new version meanwhile: the export goes on with the one that it began with
            client.put("jobs", "in/day=0/jobs.ndjson", &records(9000..9100)).unwrap();
            client.put("jobs", "in/day=9/jobs.ndjson", &records(9100..9200)).unwrap();
        }
    }
    let said = desk.refused(&desk.maker, &line.replace("--operator @maker", "--operator @approver"));
    assert!(said.contains("another key"), "somebody else goes on with it: {said}");
    for (option, other) in [
        ("--part-rows", line.replace("--part-rows 50", "--part-rows 7")),
        ("--delete-on", format!("{line} --delete-on {}", day_in(40))),
        ("--key-version", format!("{line} --key-version 2")),
        ("--source", format!("{line} --source s3://jobs/in/day=0/")),
    ] {
        let said = desk.refused(&desk.maker, &other);
        assert!(said.contains(&format!("begun with another {option}")), "{said}");
    }
    let done = desk.json(&desk.maker, &line);
    assert_eq!(
        (&done["resumed"], &done["parts"], &done["counts"]["records_out"]),
        (&true.into(), &60.into(), &3000.into())
    );
    assert_eq!(done["fitted"]["records_left_out"], 6, "{done}");
    // so is a release: until its last object is there, nobody takes it for one
    let approve = desk.release("approve", "killed", "approver");
    for parts in [1, 20] {
        let mut child = desk.spawn(&desk.approver, &approve);
        while desk.names("analytics", "usage/killed/data/").len() < parts {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {parts} parts were seen");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(desk.names("analytics", "usage/killed/release.json").is_empty());
        let status = desk.json(&desk.approver, &desk.release("status", "killed", ""));
        assert_eq!(status["state"], "approved");
    }
    desk.json(&desk.approver, &approve);
    let read = read(&desk, "analytics/usage/killed");
    assert_eq!(read["pages"], Value::from((0..3000).collect::<Vec<_>>()));
    let parts: HashSet<String> = desk.names("analytics", "usage/killed/data/").into_iter().collect();
    assert_eq!(parts.len(), 60);
}

#[test]
fn a_source_without_versions_that_changes_stops_the_export_that_began_with_it() {
    let desk = Desk::new("export-changed", false);
    fill(&desk, 3000);
    let line = desk.export("changed", " --part-rows 50");
    let mut child = desk.spawn(&desk.maker, &line);
    while desk.names("drafts", "usage/changed/data/").len() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/day=2/jobs.ndjson", &records(0..1000)).unwrap();
    let said = desk.refused(&desk.maker, &line);
    assert!(said.contains("source 3") && said.contains("changed since"), "{said}");
    assert!(!said.contains("day=2"), "a message names an object: {said}");
    assert!(desk.names("drafts", "usage/changed/manifest.json").is_empty());
    // a part that somebody else wrote is never taken for one's own, nor overwritten
    let source = records(2000..3000);
    client.put("jobs", "in/day=2/jobs.ndjson", &source).unwrap();
    client.put("drafts", "usage/changed/data/part-00001.parquet", b"something else").unwrap();
    let said = desk.refused(&desk.maker, &line);
    assert!(said.contains("not what this run makes"), "{said}");
    assert_eq!(
        client.get("drafts", "usage/changed/data/part-00001.parquet").unwrap().unwrap(),
        b"something else"
    );
}

#[test]
fn parquet_is_read_over_tls_and_written_as_packed_csv() {
    let desk = Desk::new("export-parquet", true);
    fill(&desk, RECORDS);
    desk.json(&desk.maker, &desk.export("first", " --part-rows 250"));
    let mut client = desk.dev.client().unwrap();
    for key in desk.names("drafts", "usage/first/data/") {
        let part = client.get("drafts", &key).unwrap().unwrap();
        client.put("jobs", &format!("parquet/{}", key.rsplit('/').next().unwrap()), &part).unwrap();
    }
    let policy = POLICY
        .replace("bucket = \"jobs\"\nprefix = \"in/\"\nformat = \"ndjson\"", "format = \"parquet\"")
        .replace("format = \"parquet\"\ncompression = \"zstd\"", "format = \"csv\"\ncompression = \"gzip\"")
        .replace("normalise = [\"nfc\", \"email\"]", "")
        .replace(
            "\"$.department\"\ntechnique = \"keep\"",
            "\"$.department\"\ntechnique = \"null-if-rare\"\nmin_records = 5",
        );
    fs::write(desk.path("policy.toml"), policy).unwrap();
    let tls = desk.dev.ready.endpoint_tls.clone().unwrap();
    let authority = desk.dev.ready.ca_file.clone().unwrap();
    let more = format!(" --source s3://jobs/parquet/ --endpoint {tls}");
    let said = desk.refused(&desk.maker, &desk.export("second", &more));
    assert!(said.contains("TLS") || said.contains("certificate"), "an unknown authority: {said}");
    // one object named by itself, and all of a folder
    let one = " --source s3://jobs/parquet/part-00002.parquet";
    let made = desk.json(&desk.maker, &desk.export("one", one));
    assert_eq!(made["counts"]["records_out"], 100);
    let made = desk.json(&desk.maker, &desk.export("second", &format!("{more} --ca-file {authority}")));
    assert_eq!((&made["sources"], &made["counts"]["records_out"]), (&3.into(), &RECORDS.into()));
    let folder = desk.download("drafts", "usage/second", "second");
    let mut unpack = Command::new("gzip");
    let output =
        tools::expect_success(unpack.arg("-dc").arg(folder.join("data/part-00000.csv.gz")), "unpack")
            .unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (rows.lines().next(), rows.lines().count()),
        (Some("user.email,site,department,pages"), RECORDS + 1)
    );
    let said = desk.refused(&desk.maker, &desk.export("third", " --source s3://jobs/nothing/"));
    assert!(said.contains("no object below s3://jobs/nothing/"), "{said}");
    // rights reach no further than what they were given for
    let said = desk.refused(&desk.approver, &desk.export("fourth", one));
    assert!(said.contains("may not"), "{said}");
    fs::write(desk.path("policy.toml"), POLICY).unwrap();
    let said = desk.refused(&desk.maker, &desk.export("fifth", " --source s3://jobs/other/"));
    assert!(said.contains("the policy is for objects below s3://jobs/in"), "{said}");
}

#[test]
fn an_export_without_objects_or_rows_is_made_only_if_it_was_asked_for() {
    let desk = Desk::new("export-empty", true);
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/quiet/none.ndjson", b"\n").unwrap();
    client.put("jobs", "in/strange/all.ndjson", b"{\"unknown\":1}\n{\"unknown\":2}\n").unwrap();
    client.put("jobs", "in/busy/some.ndjson", &records(0..60)).unwrap();
    let refused = [
        ("mistyped", " --source s3://jobs/in/busi/", "no object below s3://jobs/in/busi/"),
        ("one-mistyped", " --source s3://jobs/in/busy/ --source s3://jobs/in/busi/", "s3://jobs/in/busi/"),
        ("quiet", " --source s3://jobs/in/quiet/", "the sources have no records"),
        ("strange", " --source s3://jobs/in/strange/", "all 2 records were left out"),
    ];
    for (id, more, says) in refused {
        let said = desk.refused(&desk.maker, &desk.export(id, more));
        assert!(said.contains(says) && said.contains("--allow-empty"), "{id}: {said}");
        assert!(desk.names("drafts", &format!("usage/{id}/manifest.json")).is_empty(), "{id}");
    }
    for (id, more, _) in refused {
        let made = desk.json(&desk.maker, &desk.export(id, &format!("{more} --allow-empty")));
        let rows = if id == "one-mistyped" { 60 } else { 0 };
        assert_eq!(made["counts"]["records_out"], rows, "{id}");
        // what was begun is gone on with
        assert_eq!(made["resumed"], id == "quiet" || id == "strange", "{id}");
        let manifest = desk.download("drafts", &format!("usage/{id}"), &format!("said/{id}"));
        let line = format!("verify @said/{id}/manifest.json --key {} --folder @said/{id}", desk.public_key);
        assert_eq!(desk.json(&desk.maker, &line)["files_checked"], true, "{manifest:?}");
    }
}
