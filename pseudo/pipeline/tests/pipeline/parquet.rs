//! Parquet: what goes in comes out, groups included; and files that are damaged or hold something else.

use std::fs::File;
use std::io::{Seek, Write};

use pipeline::*;
use policy::Policy;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::given::*;

/// Keeps everything, in groups, of every type that a column has.
const KEEP: &str = r#"
policy = "keep"
version = 1
domain = "team-usage"
purpose = "tests"
legal_basis = "none"
owner = "tests"
unknown_field = "stop"
source = { format = "SOURCE" }
target = { format = "TARGET", shuffle = false, compression = "none" }
retention = { anonymise_after = "P1M", delete_after = "P2M" }
field = [
  { path = "$.a.text", technique = "keep" },
  { path = "$.number", technique = "keep", type = "number" },
  { path = "$.a.b.whole", technique = "keep", type = "integer" },
  { path = "$.a.b.flag", technique = "keep", type = "boolean" },
]
"#;

fn keep(source: &str, target: &str) -> Policy {
    Policy::parse(&KEEP.replace("SOURCE", source).replace("TARGET", target)).unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn read(policy: &Policy, bytes: &[u8]) -> Result<(Report, String), PipelineError> {
    let plan = Plan::new(policy, &master(policy), RUN, Rare::default())?;
    let engine = Engine::new(plan, SHUFFLE_MEMORY_BYTES);
    let (report, output) = engine.run([Input::File(file(bytes))], Vec::new(), &mut spill)?;
    Ok((report, String::from_utf8(output).unwrap()))
}

fn written(records: &[Value]) -> Vec<u8> {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    run_bytes(&keep("ndjson", "parquet"), &[lines.as_bytes()], SHUFFLE_MEMORY_BYTES).unwrap().1
}

fn record() -> impl Strategy<Value = Value> {
    let option = |value: BoxedStrategy<Value>| prop_oneof![3 => value, 1 => Just(Value::Null)];
    (
        option("\\PC{0,20}".prop_map(Value::from).boxed()),
        option(any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)).boxed()),
        option(any::<i64>().prop_map(Value::from).boxed()),
        option(any::<bool>().prop_map(Value::from).boxed()),
    )
        .prop_map(|(text, number, whole, flag)| {
            json!({ "a": { "text": text, "b": { "whole": whole, "flag": flag } }, "number": number })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_goes_into_parquet_comes_out_of_it(records in prop::collection::vec(record(), 0..60)) {
        let bytes = written(&records);
        prop_assert_eq!(&bytes[..4], b"PAR1");
        let (report, lines) = read(&keep("parquet", "ndjson"), &bytes).unwrap();
        let read: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(read, records.clone());
        prop_assert_eq!(report.records_out, records.len() as u64);
    }

    #[test]
    fn damage_anywhere_is_an_error_or_other_values_and_never_a_panic(at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<bool>()) {
        let records: Vec<Value> = (0..50).map(|number| json!({ "a": { "text": format!("text {number}"), "b": { "whole": number, "flag": true } }, "number": 1.5 })).collect();
        let mut bytes = written(&records);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        if let Err(error) = read(&keep("parquet", "ndjson"), &bytes) {
            prop_assert!(!error.to_string().contains("text 1"));
        }
    }
}

#[test]
fn many_rows_are_read_and_written_in_batches() {
    let lines: String =
        (0..30_000).map(|number| format!("{{\"a\":{{\"b\":{{\"whole\":{number}}}}}}}\n")).collect();
    let (report, bytes) =
        run_bytes(&keep("ndjson", "parquet"), &[lines.as_bytes()], SHUFFLE_MEMORY_BYTES).unwrap();
    assert_eq!((report.records_out, report.bytes_out), (30_000, bytes.len() as u64));
    let (_, read) = read(&keep("parquet", "csv"), &bytes).unwrap();
    let wholes: Vec<&str> = read.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(wholes, (0..30_000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_shuffled_file_has_every_row_in_another_order() {
    let text = KEEP
        .replace("SOURCE", "ndjson")
        .replace("TARGET", "parquet")
        .replace("shuffle = false", "shuffle = true");
    let lines: String = (0..500).map(|number| format!("{{\"number\":{number}}}\n")).collect();
    let (report, bytes) = run_bytes(&Policy::parse(&text).unwrap(), &[lines.as_bytes()], 4000).unwrap();
    assert!(report.spilled);
    let (_, csv) = read(&keep("parquet", "csv"), &bytes).unwrap();
    let mut numbers: Vec<f64> =
        csv.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(!numbers.is_sorted());
    numbers.sort_by(f64::total_cmp);
    assert_eq!(numbers, (0..500).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn columns_have_to_go_with_the_policy() {
    let bytes = written(&[json!({ "a": { "text": "Ada Lovelace" } })]);
    let without =
        KEEP.replace("SOURCE", "parquet").replace("TARGET", "ndjson").replace("$.a.text", "$.a.other");
    let error = read(&Policy::parse(&without).unwrap(), &bytes).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "input 1: column 1 is named by no rule");
    let dropping = without.replace("unknown_field = \"stop\"", "unknown_field = \"drop\"");
    let (report, lines) = read(&Policy::parse(&dropping).unwrap(), &bytes).unwrap();
    assert_eq!((report.unknown_fields_dropped, lines.contains("Ada")), (1, false));
    // a rule that drops stands for a whole group
    let group = KEEP.replace("SOURCE", "parquet").replace("TARGET", "ndjson");
    let start = group.find("  { path = \"$.a.text\"").unwrap();
    let group = format!(
        "{}  {{ path = \"$.a\", technique = \"drop\" }},\n  {{ path = \"$.number\", technique = \"keep\" }},\n]\n",
        &group[..start]
    );
    assert_eq!(read(&Policy::parse(&group).unwrap(), &bytes).unwrap().1, "{\"number\":null}\n");
}

#[test]
fn what_is_no_parquet_is_refused() {
    let policy = keep("parquet", "ndjson");
    for bytes in [&b""[..], b"PAR1", b"PAR1PAR1", b"{\"a\":1}\n", &[0xff; 100]] {
        assert!(matches!(read(&policy, bytes), Err(PipelineError::Header { .. })));
    }
    let error = run(&policy, "{}").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("from a file"), "{error}");
}

/// Identifiers under normalisers, one person each.
const NUMBERS: &str = r#"
policy = "numbers"
version = 1
domain = "team-usage"
purpose = "tests"
legal_basis = "none"
owner = "tests"
unknown_field = "stop"
bad_record = "BAD"
source = { format = "SOURCE" }
target = { format = "ndjson", shuffle = false }
retention = { anonymise_after = "P1M", delete_after = "P2M" }
field = [
  { path = "$.phone", technique = "prf", class = "person.phone", normalise = ["e164:49"] },
  { path = "$.account", technique = "prf", class = "person.account", normalise = ["digits"] },
  { path = "$.score", technique = "keep", type = "number", because = "no normaliser, no change" },
]
"#;

#[test]
fn an_identifier_is_one_whether_it_is_stored_as_a_number_or_as_text() {
    let numbers =
        |source: &str| Policy::parse(&NUMBERS.replace("SOURCE", source).replace("BAD", "drop")).unwrap();
    let as_text = r#"{"phone":"030 123456","account":"12-345","score":0.5}"#;
    let lines = [
        as_text,
        r#"{"phone":30123456,"account":12345,"score":0.5}"#,
        r#"{"phone":30123456.0,"account":1.2345e4,"score":0.5}"#,
    ];
    let (_, output) = run(&numbers("ndjson"), &lines.join("\n")).unwrap();
    let rows: Vec<&str> = output.lines().collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| *row == rows[0] && row.ends_with("\"score\":0.5}")), "{output}");

    // whole numbers and floating ones of Parquet
    for kind in ["integer", "number"] {
        let kept = format!("technique = \"keep\", type = \"{kind}\"");
        let policy = NUMBERS
            .replace("SOURCE", "ndjson")
            .replace("BAD", "stop")
            .replace("\"ndjson\", sh", "\"parquet\", sh");
        let policy = policy.replace("technique = \"prf\"", &kept).replace(", normalise = [\"e164:49\"]", "");
        let policy = Policy::parse(&policy.replace(", normalise = [\"digits\"]", "")).unwrap();
        let table = run_bytes(&policy, &[lines[1].as_bytes()], SHUFFLE_MEMORY_BYTES).unwrap().1;
        assert_eq!(read(&numbers("parquet"), &table).unwrap().1.trim(), rows[0], "{kind}");
    }

    // what is no identifier any more is refused, not made a token that meets none
    for line in [r#"{"phone":30123456.5}"#, r#"{"phone":3.0123456e20}"#, r#"{"account":0.25}"#] {
        let (report, output) = run(&numbers("ndjson"), line).unwrap();
        assert_eq!(
            (output.as_str(), report.faults.keys().collect::<Vec<_>>()),
            ("", vec![&FaultKind::Value]),
            "{line}"
        );
    }
}
