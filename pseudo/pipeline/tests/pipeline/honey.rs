//! Made-up persons: their rows look like rows, are none, change none, and are the same whenever a run is made again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::*;
use policy::{HONEY_PEOPLE_MIN, Policy};
use serde_json::Value;
use transform::RunSeed;

use crate::given::*;

const POLICY: &str = r#"
policy = "honey"
version = 1
domain = "team-usage"
purpose = "tests"
legal_basis = "none"
owner = "tests"
unknown_field = "stop"
source = { format = "ndjson" }
target = { format = "ndjson", shuffle = true, compression = "none" }
retention = { anonymise_after = "P1M", delete_after = "P2M" }
gate = { quasi_identifiers = ["site", "department"], k = 2 }
honey = { persons = 5, person = "user.email", shared = ["printer"], together = [["status", "fault"]] }
field = [
  { path = "$.user.email", technique = "prf", class = "person.email" },
  { path = "$.user.phone", technique = "aes-siv", class = "person.phone" },
  { path = "$.badge", technique = "ff1", class = "person.badge", alphabet = "0-9" },
  { path = "$.printer", technique = "prf", class = "device.printer" },
  { path = "$.site", technique = "keep" },
  { path = "$.department", technique = "keep" },
  { path = "$.pages", technique = "keep", type = "integer" },
  { path = "$.bytes", technique = "keep", type = "integer" },
  { path = "$.status", technique = "keep" },
  { path = "$.fault", technique = "keep" },
]
derived = [
  { path = "$.pages", as = "$.pages_about", technique = "bucket", width = 100 },
  { path = "$.user.email", as = "$.row", technique = "prf", class = "person.email", scope = "record" },
]
"#;
const EXPORT: &str = "usage-1";
/// Columns that are taken over, with those that only make sense with them.
const PARTS: [&[&str]; 4] =
    [&["site", "department"], &["pages", "pages_about"], &["bytes"], &["status", "fault"]];

fn policy_of(text: &str) -> Policy {
    Policy::parse(text).unwrap()
}

/// Rows of so many people: each of one department, with one to fifteen rows; pages and bytes are of one row alone.
fn records(people: usize) -> String {
    let mut lines = String::new();
    for row in 0..15 {
        for person in (0..people).filter(|person| row <= person * 7 % 15) {
            let number = row * people + person;
            let fault = if number.is_multiple_of(4) { "\"jam\"" } else { "null" };
            let phone = if person % 3 == 0 { "null".into() } else { format!("\"0170 {person}\"") };
            lines.push_str(&format!(
                "{{\"user\":{{\"email\":\"p{person}@example.org\",\"phone\":{phone}}},\"badge\":\"{:08}\",\"printer\":\"{}\",\
                 \"site\":\"site {}\",\"department\":\"d{}\",\"pages\":{number},\"bytes\":{},\"status\":\"{}\",\"fault\":{fault}}}\n",
                person * 31,
                number % 4,
                number % 3,
                person % 2,
                1_000_000 + number * 17,
                if number.is_multiple_of(4) { "failed" } else { "done" }
            ));
        }
    }
    lines
}

fn export_bytes(
    policy: &Policy,
    input: &str,
    export: Option<&str>,
    memory: usize,
    run: RunSeed,
) -> (Report, Vec<u8>) {
    let master = master(policy);
    let plan = Plan::new(policy, &master, run, Rare::default()).unwrap();
    let plan = match export {
        Some(export) => plan.planted(&master, export),
        None => plan,
    };
    Engine::new(plan, memory).run([Input::stream(input.as_bytes())], Vec::new(), &mut spill).unwrap()
}

/// An export's rows as text; of Parquet what another reader finds in it.
fn export(policy: &Policy, input: &str, export: Option<&str>) -> (Report, Vec<String>) {
    let (report, bytes) = export_bytes(policy, input, export, SHUFFLE_MEMORY_BYTES, RUN);
    if bytes.starts_with(b"PAR1") {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        return (report, rows.map(|(batch, row)| format!("{:?}", batch.slice(row, 1))).collect());
    }
    (report, String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect())
}

/// What is in one list and not in the other, by how often it is there.
fn without(all: &[String], some: &[String]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    some.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let is_more = |row: &&String| match counts.get_mut(row.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    all.iter().filter(is_more).cloned().collect()
}

fn parsed(rows: &[String]) -> Vec<Value> {
    rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
}

fn tokens(rows: &[Value], column: &str) -> BTreeSet<String> {
    rows.iter().filter_map(|row| row.pointer(column)?.as_str().map(str::to_owned)).collect()
}

fn values(row: &Value, columns: &[&str]) -> Vec<Value> {
    columns.iter().map(|column| row[*column].clone()).collect()
}

#[test]
fn real_rows_stay_as_they_are_in_every_format_and_only_planted_ones_come_in() {
    let input = records(60);
    for target in ["ndjson", "csv", "parquet"] {
        let policy = policy_of(
            &POLICY.replace("target = { format = \"ndjson\"", &format!("target = {{ format = \"{target}\"")),
        );
        let (plain, real) = export(&policy, &input, None);
        let (report, all) = export(&policy, &input, Some(EXPORT));
        assert!(without(&real, &all).is_empty(), "{target}: a real row is lost");
        let planted = without(&all, &real);
        assert_eq!((report.persons_planted, report.rows_planted), (5, planted.len() as u64), "{target}");
        assert_eq!((report.records_in, report.records_out), (plain.records_in, plain.records_out));
        assert_eq!((plain.persons_planted, plain.rows_planted), (0, 0), "an offline run plants nobody");
        assert!(report.rows_planted >= 5);
    }
}

#[test]
fn a_planted_row_has_the_form_of_a_row_and_nothing_tells_it_without_a_key() {
    let (input, policy) = (records(60), policy_of(POLICY));
    let (_, real_text) = export(&policy, &input, None);
    let (_, all_text) = export(&policy, &input, Some(EXPORT));
    let (real, planted) = (parsed(&real_text), parsed(&without(&all_text, &real_text)));
    let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(planted.iter().all(|row| keys(row) == keys(&real[0])));

    // no identifier of anybody; those that many have in common are theirs
    for column in ["/user/email", "/user/phone", "/badge", "/row"] {
        let (made_up, known) = (tokens(&planted, column), tokens(&real, column));
        assert!(made_up.is_disjoint(&known), "{column}");
        let form = |token: &String| (token.len(), token.split_once('_').map(|(head, _)| head.to_owned()));
        let forms: BTreeSet<_> = known.iter().map(form).collect();
        assert!(made_up.iter().map(form).all(|form| forms.contains(&form)), "{column}: {made_up:?}");
    }
    assert!(tokens(&planted, "/printer").is_subset(&tokens(&real, "/printer")));
    assert_eq!(tokens(&planted, "/row").len(), planted.len(), "tokens of one record are of one record");

    // as many rows as somebody has, always of one department, with one phone and badge or none
    let mut rows_of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in &planted {
        rows_of.entry(row["user"]["email"].as_str().unwrap()).or_default().push(row);
    }
    assert_eq!(rows_of.len(), 5);
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    real.iter().for_each(|row| *numbers.entry(row["user"]["email"].as_str().unwrap()).or_default() += 1);
    for rows in rows_of.values() {
        assert!(numbers.values().any(|number| *number == rows.len()));
        for column in ["/department", "/user/phone", "/badge"] {
            let found: BTreeSet<String> =
                rows.iter().map(|row| row.pointer(column).unwrap().to_string()).collect();
            assert_eq!(found.len(), 1, "{column}");
        }
    }

    // each part is of a real row, and no two parts of the same one: pages and bytes say which row they were of
    for part in PARTS {
        let known: BTreeSet<String> = real.iter().map(|row| format!("{:?}", values(row, part))).collect();
        assert!(planted.iter().all(|row| known.contains(&format!("{:?}", values(row, part)))), "{part:?}");
    }
    let pairs: BTreeSet<(i64, i64)> =
        real.iter().map(|row| (row["pages"].as_i64().unwrap(), row["bytes"].as_i64().unwrap())).collect();
    assert!(
        planted
            .iter()
            .all(|row| !pairs.contains(&(row["pages"].as_i64().unwrap(), row["bytes"].as_i64().unwrap())))
    );
}

#[test]
fn no_class_is_new_and_none_gets_smaller() {
    let (input, policy) = (records(60), policy_of(POLICY));
    let classes = |rows: &[String]| {
        let mut classes: BTreeMap<String, usize> = BTreeMap::new();
        for row in parsed(rows) {
            *classes.entry(format!("{:?}", values(&row, PARTS[0]))).or_default() += 1;
        }
        classes
    };
    let (real, all) =
        (classes(&export(&policy, &input, None).1), classes(&export(&policy, &input, Some(EXPORT)).1));
    assert_eq!(real.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    assert!(real.iter().all(|(class, size)| all[class] >= *size));
}

#[test]
fn planted_rows_are_not_measured() {
    let (policy, input) = (policy_of(POLICY), records(60));
    let master = master(&policy);
    let plan = Plan::new(&policy, &master, RUN, Rare::default()).unwrap().planted(&master, EXPORT);
    let (mut seen, mut output) = (0, Whole(Vec::new()));
    let engine = Engine::new(plan, SHUFFLE_MEMORY_BYTES);
    let inputs = [Ok(Input::stream(input.as_bytes()))];
    let report = engine.run_parts(inputs, &mut output, &mut spill, &mut |_| {
        seen += 1;
        Ok(true)
    });
    let report = report.unwrap();
    assert_eq!((seen, report.records_out), (report.records_in, report.records_in));
    assert_eq!(output.0, [report.records_out + report.rows_planted]);
}

/// Keeps the numbers of rows of its parts.
struct Whole(Vec<u64>);

impl Parts for Whole {
    type Writer = Vec<u8>;

    fn open(&mut self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn is_full(&self, _: u64) -> bool {
        false
    }

    fn close(&mut self, _: Vec<u8>, rows: u64) -> std::io::Result<()> {
        self.0.push(rows);
        Ok(())
    }
}

#[test]
fn a_run_that_is_made_again_plants_the_same_rows_and_another_export_other_persons() {
    let (input, policy) = (records(60), policy_of(POLICY));
    let (_, whole) = export_bytes(&policy, &input, Some(EXPORT), SHUFFLE_MEMORY_BYTES, RUN);
    let (_, tight) = export_bytes(&policy, &input, Some(EXPORT), 4096, RUN);
    assert!(whole == tight, "also with little memory");
    let real = export(&policy, &input, None).1;
    let people = |name: &str| {
        let rows = parsed(&without(&export(&policy, &input, Some(name)).1, &real));
        tokens(&rows, "/user/email")
    };
    assert!(people(EXPORT).is_disjoint(&people("usage-2")));
    // another seed: the same persons, who look otherwise, so that nothing leads from one run to the other but their tokens
    let seed = RunSeed([1; 16]);
    let plain = String::from_utf8(export_bytes(&policy, &input, None, SHUFFLE_MEMORY_BYTES, seed).1).unwrap();
    let other =
        String::from_utf8(export_bytes(&policy, &input, Some(EXPORT), SHUFFLE_MEMORY_BYTES, seed).1).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let other = parsed(&without(&lines(&other), &lines(&plain)));
    assert_eq!(tokens(&other, "/user/email"), people(EXPORT));
    let pages = |rows: &[Value]| rows.iter().map(|row| row["pages"].as_i64()).collect::<BTreeSet<_>>();
    assert_ne!(pages(&other), pages(&parsed(&without(&export(&policy, &input, Some(EXPORT)).1, &real))));
}

#[test]
fn planted_rows_stand_anywhere() {
    let (input, policy) = (records(400), policy_of(&POLICY.replace("persons = 5", "persons = 32")));
    let real: BTreeSet<String> = export(&policy, &input, None).1.into_iter().collect();
    let (_, all) = export(&policy, &input, Some(EXPORT));
    let places: Vec<usize> = (0..all.len()).filter(|place| !real.contains(&all[*place])).collect();
    assert!(places.len() > 150, "{}", places.len());
    // the mean of so many places is within four standard deviations of the middle, and as many are neighbours as of a random order
    let mean = places.iter().sum::<usize>() as f64 / places.len() as f64 / all.len() as f64;
    assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12.0 / places.len() as f64).sqrt(), "{mean}");
    let neighbours = places.windows(2).filter(|pair| pair[1] - pair[0] == 1).count();
    let expected = (places.len() * places.len()) as f64 / all.len() as f64;
    assert!((neighbours as f64) < expected + 4.0 * expected.sqrt() + 1.0, "{neighbours} of {expected}");
}

#[test]
fn among_few_people_fewer_are_made_up_or_nobody() {
    let policy = policy_of(POLICY);
    for (people, wanted) in [(0, 0), (HONEY_PEOPLE_MIN - 1, 0), (HONEY_PEOPLE_MIN, 1), (35, 3), (70, 5)] {
        let (report, rows) = export(&policy, &records(people), Some(EXPORT));
        assert_eq!(report.persons_planted, wanted, "{people} people");
        assert_eq!(rows.len() as u64, report.records_out + report.rows_planted);
    }
    // records of nobody are nobody's pattern
    let nobody = "{\"site\":\"site 1\",\"pages\":1}\n".repeat(100);
    assert_eq!(export(&policy, &nobody, Some(EXPORT)).0.rows_planted, 0);
}

#[test]
fn who_has_very_many_or_very_long_rows_is_no_burden() {
    let policy = policy_of(&POLICY.replace(
        "{ path = \"$.fault\", technique = \"keep\" }",
        "{ path = \"$.fault\", technique = \"keep\", max_bytes = 65536 }",
    ));
    let record = |person: usize, fault: &str| {
        format!("{{\"user\":{{\"email\":\"p{person}\"}},\"pages\":1,\"bytes\":2,\"fault\":\"{fault}\"}}\n")
    };
    let many: String = (0..10 * 1000).map(|row| record(row % 10, "x")).collect();
    let (report, _) = export(&policy, &many, Some(EXPORT));
    assert_eq!((report.persons_planted, report.rows_planted), (1, 256));
    let long = "x".repeat(60_000);
    let long: String = (0..100).map(|row| record(row % 10, &long)).collect();
    let (report, _) = export(&policy, &long, Some(EXPORT));
    assert_eq!((report.persons_planted, report.rows_planted), (1, 2), "two such rows fit");
}
