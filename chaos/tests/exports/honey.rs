//! Made-up persons: a piece of an export that turns up names the export it is of, whatever was killed, re-keyed or deleted meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::desk::{Desk, POLICY};
use crate::fill;

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";
const HONEY: &str = "[honey]\npersons = 4\nperson = \"user.email\"\n\n[gate]";
/// Of 50 people with 12 rows each, four are modelled on.
const PLANTED: u64 = 4 * 12;

fn policy(format: &str) -> String {
    let target = format!("format = \"{format}\"\ncompression = \"none\"\n");
    let text = POLICY.replace("format = \"parquet\"\ncompression = \"zstd\"\n", &target);
    assert_ne!(text, POLICY);
    text.replace("[gate]", HONEY)
}

fn find(desk: &Desk, file: &str) -> Value {
    desk.json(&desk.maker, &finding(file))
}

fn finding(file: &str) -> String {
    format!(
        "honey find {file} --drafts s3://drafts/usage --reason case-7 {OPENED} --operator @maker.operator"
    )
}

/// The exports that were named.
fn named(said: &Value) -> Vec<&str> {
    said["exports"].as_array().unwrap().iter().map(|export| export["export"].as_str().unwrap()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_piece_of_an_export_names_that_export_among_several_and_no_other() {
    let desk = Desk::new("export-honey", true);
    fill(&desk, 600);
    desk.json(&desk.maker, &desk.export("plain", " --part-rows 1000"));
    for (name, format) in [("csv", "csv"), ("ndjson", "ndjson"), ("parquet", "parquet"), ("other", "ndjson")]
    {
        fs::write(desk.path("policy.toml"), policy(format)).unwrap();
        let made = desk.json(&desk.maker, &desk.export(name, " --part-rows 1000"));
        assert_eq!(
            (&made["planted"]["persons"], &made["planted"]["rows"]),
            (&4.into(), &PLANTED.into()),
            "{made}"
        );
        // nothing is counted or measured of them but how many they are
        assert_eq!((&made["counts"]["records_out"], &made["figures"]["records"]), (&600.into(), &600.into()));
        assert_eq!((&made["figures"]["k"], &made["gate_misses"]), (&200.into(), &Value::Array(vec![])));
        let folder = desk.download("drafts", &format!("usage/{name}"), &format!("said/{name}"));
        let manifest: Value =
            serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["body"]["version"], 3);
        assert_eq!(manifest["body"]["outputs"][0]["rows"], 600 + PLANTED);
    }
    desk.download("drafts", "usage/plain", "said/plain");
    assert_eq!(named(&find(&desk, "@said/parquet/data/part-00000.parquet")), ["parquet"]);
    assert_eq!(named(&find(&desk, "@said/plain/data/part-00000.parquet")), Vec::<&str>::new());

    // a third of the rows, in another order; the column of tokens alone; saved by a spreadsheet
    let mut rows = lines(&desk.path("said/ndjson/data/part-00000.ndjson"));
    assert_eq!(rows.len() as u64, 600 + PLANTED);
    rows.truncate(rows.len() / 3);
    rows.sort();
    fs::write(desk.path("slice"), rows.join("\n")).unwrap();
    let said = find(&desk, "@slice");
    assert_eq!(named(&said), ["ndjson"]);
    assert_eq!(
        (&said["exports_looked_at"], &said["exports_planted"], &said["exports"][0]["persons_planted"]),
        (&5.into(), &4.into(), &4.into())
    );
    let rows = lines(&desk.path("said/csv/data/part-00000.csv"));
    let tokens: Vec<&str> = rows.iter().skip(1).filter_map(|row| row.split(',').next()).collect();
    fs::write(desk.path("column"), format!("seen on a page: '{}'", tokens.join("'; '"))).unwrap();
    assert_eq!(named(&find(&desk, "@column")), ["csv"]);
    let wide: Vec<u8> = rows.join("\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(desk.path("wide"), wide).unwrap();
    let said = find(&desk, "@wide");
    assert_eq!((named(&said), &said["exports"][0]["persons_met"]), (vec!["csv"], &4.into()));
    // two leaks in one file are two exports
    let both = [rows.join("\n"), lines(&desk.path("said/other/data/part-00000.ndjson")).join("\n")].concat();
    fs::write(desk.path("both"), both).unwrap();
    assert_eq!(named(&find(&desk, "@both")), ["csv", "other"]);

    let sum =
        Command::new("sha256sum").arg(desk.path("said/parquet/data/part-00000.parquet")).output().unwrap();
    let said = find(&desk, "@said/parquet/data/part-00000.parquet");
    assert!(sum.stdout.starts_with(said["sha256"].as_str().unwrap().as_bytes()), "{said}");

    // what is said names no token, and the log has who looked, why and what came of it
    let text = String::from_utf8(desk.pseudo(&desk.maker, &finding("@both")).stdout).unwrap();
    assert!(
        text.contains("csv: 4 of its 4 made-up persons are in the file; draft, for team usage\n"),
        "{text}"
    );
    assert!(!text.contains("v1_"), "{text}");
    let log = desk.json(&desk.maker, &format!("keys log --keys @keys --key {}", desk.public_key));
    let entry = log["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&entry["event"], &entry["subject"]), (&"traced".into(), &"maker".into()), "{entry}");
    let reason = entry["reason"].as_str().unwrap();
    assert!(reason.starts_with("case-7; file ") && reason.ends_with(": csv, other"), "{reason}");
    refuse(&desk);
    readers(&desk);
}

/// What cannot be looked through, and who may not look.
fn refuse(desk: &Desk) {
    fs::write(desk.path("packed"), b"\x1f\x8b\x08\0").unwrap();
    let said = desk.refused(&desk.maker, &finding("@packed"));
    assert!(said.contains("packed with gzip: unpack it first"), "{said}");
    fs::write(desk.path("broken"), b"PAR1 and nothing else PAR1").unwrap();
    assert!(desk.refused(&desk.maker, &finding("@broken")).contains("damaged"));
    let said = desk.refused(&desk.maker, &finding("@slice").replace(" --share @shares/share-2.txt", ""));
    assert!(said.contains("share"), "{said}");
    desk.json(&desk.maker, "keys operator stranger -o @stranger.operator");
    let said = desk.refused(&desk.maker, &finding("@slice").replace("@maker", "@stranger"));
    assert!(said.contains("certificate"), "{said}");
    let tokens = "technique = \"prf\"\nclass = \"person.email\"\nnormalise = [\"nfc\", \"email\"]";
    let text = POLICY.replace(tokens, "technique = \"drop\"");
    assert_ne!(text, POLICY);
    fs::write(desk.path("policy.toml"), text.replace("[gate]", HONEY)).unwrap();
    let said = desk.refused(&desk.maker, &desk.export("nobody", ""));
    assert!(said.contains("nobody can be made up"), "{said}");
}

/// Readers learn how many rows are of nobody, and nothing else of them.
fn readers(desk: &Desk) {
    fs::write(desk.path("policy.toml"), policy("parquet")).unwrap();
    desk.json(&desk.approver, &desk.release("approve", "parquet", "approver"));
    let read = crate::read(desk, "analytics/usage/parquet");
    assert_eq!(read["duckdb_rows"], 600 + PLANTED);
    assert_eq!(read["tokens"].as_array().unwrap().len(), 54);
    let folder = desk.download("analytics", "usage/parquet", "said/released");
    let release: Value = serde_json::from_slice(&fs::read(folder.join("release.json")).unwrap()).unwrap();
    let planted = &release["body"]["planted"];
    assert_eq!((&release["body"]["records"], &planted["rows"]), (&600.into(), &PLANTED.into()));
    let dictionary = fs::read_to_string(folder.join("dictionary.json")).unwrap();
    assert!(dictionary.contains("up to 4 made-up persons"), "{dictionary}");
    let line =
        format!("verify @said/released/release.json --key {} --folder @said/released", desk.public_key);
    assert_eq!(desk.json(&desk.analyst, &line)["files_checked"], true);
}

#[test]
fn planted_rows_are_the_same_after_a_kill_and_found_after_re_keying_until_the_key_is_destroyed() {
    let desk = Desk::new("export-honey-kill", true);
    fill(&desk, 3000);
    fs::write(desk.path("policy.toml"), policy("ndjson")).unwrap();
    let line = desk.export("one", " --part-rows 50");
    for parts in [0, 7, 41] {
        let mut child = desk.spawn(&desk.maker, &line);
        while desk.names("drafts", "usage/one/order.json").is_empty()
            || desk.names("drafts", "usage/one/data/").len() < parts
        {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {parts} parts were seen");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            desk.names("drafts", "usage/one/manifest.json").is_empty(),
            "no manifest after {parts} parts"
        );
    }
    // parts that are there are compared with what is made now: another planted row anywhere would end it
    let done = desk.json(&desk.maker, &line);
    assert_eq!((&done["resumed"], &done["planted"]["rows"]), (&true.into(), &240.into()), "{done}");
    let count = |folder: &Path| -> usize {
        fs::read_dir(folder.join("data")).unwrap().map(|part| lines(&part.unwrap().path()).len()).sum()
    };
    let folder = desk.download("drafts", "usage/one", "one");
    assert_eq!(count(&folder), 3240);

    desk.json(&desk.maker, &format!("keys domain team-usage {OPENED}"));
    let rekey =
        format!("rekey run s3://drafts/usage --policy @policy.toml {OPENED} --operator @maker.operator");
    assert_eq!(desk.json(&desk.maker, &rekey)["done"], 1);
    let folder = desk.download("drafts", "usage/one.v2", "two");
    assert_eq!(count(&folder), 3240);
    for folder in ["one", "two"] {
        let parts = fs::read_dir(desk.path(folder).join("data")).unwrap();
        let all: String = parts.map(|part| fs::read_to_string(part.unwrap().path()).unwrap()).collect();
        fs::write(desk.path(&format!("{folder}-leaked")), all).unwrap();
    }
    let states = |file: &str| -> Vec<(String, String)> {
        let said = find(&desk, file);
        let word = |export: &Value, name: &str| export[name].as_str().unwrap().to_owned();
        let exports = said["exports"].as_array().unwrap();
        exports.iter().map(|export| (word(export, "export"), word(export, "state"))).collect()
    };
    let is = |name: &str, state: &str| vec![(name.to_owned(), state.to_owned())];
    assert_eq!(states("@one-leaked"), is("one", "draft"));
    assert_eq!(states("@two-leaked"), is("one.v2", "draft"));

    // a leak comes to light after the export is gone
    for name in ["one", "one.v2"] {
        desk.json(&desk.approver, &desk.release("approve", name, "approver"));
    }
    let withdraw = format!("rekey withdraw s3://drafts/usage --yes {OPENED}");
    assert_eq!(desk.json(&desk.service, &withdraw)["done"], 1);
    assert_eq!(states("@one-leaked"), is("one", "deleted"));
    let key = format!("--key {}", desk.public_key);
    desk.download("drafts", "usage/one", "record");
    let record = desk.json(&desk.maker, &format!("verify @record/deletion.json {key}"));
    assert_eq!(record["kind"], "deletion", "{record}");
    desk.json(&desk.maker, "keys destroy team-usage --version 1 --keys @keys --yes");
    let said = find(&desk, "@one-leaked");
    assert_eq!((named(&said), &said["without_key"]), (Vec::new(), &Value::from(vec!["one"])), "{said}");
    assert_eq!(states("@two-leaked"), is("one.v2", "approved"));
    assert_eq!(said["not_to_be_relied_on"], Value::Array(vec![]));
    let rows = |folder: &str| lines(&desk.path(&format!("{folder}-leaked")));
    let (one, two) = (rows("one"), rows("two"));
    assert!(one.iter().all(|row| !two.contains(row)));
}
