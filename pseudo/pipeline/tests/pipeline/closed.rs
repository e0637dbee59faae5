//! Whatever is wrong with a record, what it holds gets nowhere: not into the output, not into the report, not into an error.

use pipeline::*;
use proptest::prelude::*;

use crate::given::*;

const SECRET: &str = "Ada-Lovelace-1815";

/// Records that are wrong in one way each, with a value that must not come out.
fn bad_records() -> Vec<(String, FaultKind)> {
    let s = SECRET;
    let long = "x".repeat(80);
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    vec![
        (format!(r#"{{"user":{{"email":"{s}"}},"user":{{"email":"{s}"}}}}"#), FaultKind::DuplicateField),
        (format!(r#"{{"user":{{"email":"a@b","email":"{s}"}}}}"#), FaultKind::DuplicateField),
        (format!(r#"{{"title":"a","title":"{s}"}}"#), FaultKind::DuplicateField),
        (format!(r#"{{"{s}":1}}"#), FaultKind::UnknownField),
        (format!(r#"{{"user":{{"e-mail":"{s}"}}}}"#), FaultKind::UnknownField),
        (format!(r#"{{"Title":"{s}"}}"#), FaultKind::UnknownField),
        (format!(r#"{{"t\u0069tle":"{s}"}}"#), FaultKind::EscapedName),
        (format!(r#"{{"title":{{"inner":"{s}"}}}}"#), FaultKind::Type),
        (format!(r#"{{"title":["{s}"]}}"#), FaultKind::Type),
        (format!(r#"{{"user":"{s}"}}"#), FaultKind::Malformed),
        (format!(r#"{{"user":["{s}"]}}"#), FaultKind::Malformed),
        (r#"{"user":{"email":true}}"#.to_owned(), FaultKind::Type),
        (format!(r#"{{"user":{{"email":"{s}{long}"}}}}"#), FaultKind::ValueTooLong),
        (format!(r#"{{"colour":"{s}"}}"#), FaultKind::Value),
        (format!(r#"{{"user":{{"name":{deep}}}}}"#), FaultKind::TooDeep),
        (format!(r#"{{"title":"{s}""#), FaultKind::Malformed),
        (format!(r#"{{"title":"{s}"}} trailing"#), FaultKind::Malformed),
        (format!(r#"{{"title":"{s}"}},{{"title":"{s}"}}"#), FaultKind::Malformed),
        (format!(r#"{{"title":'{s}'}}"#), FaultKind::Malformed),
        (format!("{{\"title\":\"{s}\u{1}\"}}"), FaultKind::Malformed),
        (format!(r#"{{"title":"{s}\ud800"}}"#), FaultKind::Malformed),
        (format!(r#"{{"title":"{s}\x"}}"#), FaultKind::Malformed),
        (format!(r#"{{"pages":01,"title":"{s}"}}"#), FaultKind::Malformed),
        (format!(r#"["{s}"]"#), FaultKind::Malformed),
        (format!(r#""{s}""#), FaultKind::Malformed),
        (s.to_owned(), FaultKind::Malformed),
        (format!(r#"{{"title":"{s}",}}"#), FaultKind::Malformed),
        (format!(r#"{{"title":"{}"}}"#, s.repeat(RECORD_BYTES_MAX / s.len() + 1)), FaultKind::RecordTooLong),
    ]
}

#[test]
fn a_bad_record_stops_the_run_without_a_word_of_it() {
    for (record, kind) in bad_records() {
        let shown: String = record.chars().take(80).collect();
        match run(&policy(&[]), &record) {
            Err(error @ PipelineError::Stopped { kind: found, .. }) => {
                let text = format!("{error} {error:?}");
                assert_eq!(found, kind, "{shown}");
                assert!(!text.contains("Ada") && !text.contains("1815"), "{text}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}

#[test]
fn bad_records_are_left_out_and_counted_by_position() {
    let policy = policy(&[("bad_record = \"stop\"", "bad_record = \"drop\"")]);
    let good = r#"{"user":{"email":"x@y"},"pages":3}"#;
    let bad = bad_records();
    let mut input = String::new();
    for (record, _) in &bad {
        input.push_str(&format!("{good}\n{record}\n"));
    }
    let (report, output) = run(&policy, &input).unwrap();
    assert_eq!((report.records_in, report.records_out), (2 * bad.len() as u64, bad.len() as u64));
    assert_eq!(report.records_dropped, bad.len() as u64);
    assert!(!format!("{report:?}{output}").contains("Ada"));
    let (count, positions) = &report.faults[&FaultKind::DuplicateField];
    let first = positions[0];
    assert_eq!((*count, first.input, first.record, first.offset), (3, 1, 2, good.len() as u64 + 1));
}

#[test]
fn there_can_be_too_many_bad_records() {
    let policy = policy(&[("bad_record = \"stop\"", "bad_record = \"drop\"\nbad_records_max = 2")]);
    assert!(run(&policy, "x\nx\n").is_ok());
    assert!(matches!(run(&policy, "x\nx\nx\n"), Err(PipelineError::TooManyBadRecords { most: 2 })));
}

#[test]
fn fields_without_a_rule_can_be_left_out() {
    let policy = policy(&[("unknown_field = \"stop\"", "unknown_field = \"drop\"")]);
    let record = format!(r#"{{"a":{{"b":["{SECRET}",{{"c":null}}]}},"title":"t","{SECRET}":1.5e3,"d":[]}}"#);
    let (report, output) = run(&policy, &record).unwrap();
    assert_eq!((report.unknown_fields_dropped, output.contains("Ada")), (3, false));
    for wrong in [r#"{"a":[1,]}"#, r#"{"a":{"b"}}"#, r#"{"a":{"b":01}}"#, r#"{"a":tru}"#, "{\"a\":[\"\t\"]}"]
    {
        assert!(run(&policy, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_rule_can_want_its_field() {
    let policy = policy(&[("max_bytes = 64", "max_bytes = 64\nnull = \"refuse\"")]);
    for record in ["{}", r#"{"user":null}"#, r#"{"user":{"email":null}}"#] {
        assert!(matches!(run(&policy, record), Err(PipelineError::Stopped { kind: FaultKind::Null, .. })));
    }
}

#[test]
fn a_value_that_does_not_fit_can_become_null() {
    let (report, output) = run(&policy(&[]), r#"{"pages":"many"}"#).unwrap();
    assert_eq!(report.values_nulled, 1);
    assert!(output.contains(r#""pages":null"#));
}

#[test]
fn a_dropped_field_is_nowhere() {
    let record = format!(r#"{{"user":{{"name":{{"first":"{SECRET}"}},"email":"a@b"}}}}"#);
    assert!(!run(&policy(&[]), &record).unwrap().1.contains("Ada"));
}

#[test]
fn bytes_that_are_not_text_are_a_fault() {
    let input = b"{\"title\":\"\xff\xfe\"}\n";
    let error = run_bytes(&policy(&[]), &[input], SHUFFLE_MEMORY_BYTES).map(|_| ()).unwrap_err();
    assert!(matches!(error, PipelineError::Stopped { kind: FaultKind::NotUtf8, .. }));
}

#[test]
fn an_array_that_breaks_off_ends_the_run_whatever_the_policy_says() {
    let policy = policy(&[
        ("[source]\nformat = \"ndjson\"", "[source]\nformat = \"json\""),
        ("bad_record = \"stop\"", "bad_record = \"drop\""),
    ]);
    for input in ["", "{}", "[", "[{}", "[{},", "[{}]]", "[{}] x", "[}]", "[\"", "[{}{}"] {
        let done = run(&policy, input);
        assert!(matches!(done, Err(PipelineError::Stopped { .. })) || input == "[{}{}", "{input}: {done:?}");
    }
    assert_eq!(run(&policy, " [ ] ").unwrap().0.records_in, 0);
    assert_eq!(run(&policy, "[{},,{}]").unwrap().0.records_dropped, 1);
    assert_eq!(run(&policy, "[1,{}]").unwrap().0.records_out, 1);
    let long = format!("[{{\"title\":\"{}\"}},{{}}]", "x".repeat(RECORD_BYTES_MAX));
    assert_eq!(run(&policy, &long).unwrap().0.records_out, 1);
}

proptest! {
    #[test]
    fn any_bytes_are_treated_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in ["ndjson", "json", "csv"] {
            let source = format!("[source]\nformat = \"{format}\"");
            let policy = policy(&[("[source]\nformat = \"ndjson\"", &source), ("bad_record = \"stop\"", "bad_record = \"drop\"")]);
            if let Ok((report, output)) = run_bytes(&policy, &[&bytes], SHUFFLE_MEMORY_BYTES) {
                prop_assert_eq!(report.records_in, report.records_out + report.records_dropped);
                prop_assert_eq!(output.iter().filter(|byte| **byte == b'\n').count() as u64, report.records_out);
            }
            let format = match format { "json" => policy::Format::JsonArray, "csv" => policy::Format::Csv, _ => policy::Format::Ndjson };
            let _ = profile(&bytes[..], format, b',', 100).is_ok();
        }
    }
}
