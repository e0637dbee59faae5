//! The same records through every format, packed and not.

use std::io::Write;

use pipeline::*;
use proptest::prelude::*;

use crate::given::*;

const SOURCE: &str = "[source]\nformat = \"ndjson\"";
const TARGET: &str = "[target]\nformat = \"ndjson\"";
const CSV_SOURCE: (&str, &str) = (SOURCE, "[source]\nformat = \"csv\"");
const CSV_TARGET: (&str, &str) = (TARGET, "[target]\nformat = \"csv\"");
const JSON: &str = "{\"user\":{\"email\":\"Ada@x\",\"name\":\"A\"},\"pages\":3,\"title\":\"a \\\"b\\\", c\",\"colour\":true}\n{\"title\":\"\"}\n";
const CSV: &str = "user.email,user.name,pages,title,colour\nAda@x,A,3,\"a \"\"b\"\", c\",true\n,,,,\n";

#[test]
fn rows_of_csv_are_read_and_written() {
    let (report, from_csv) = run(&policy(&[CSV_SOURCE]), CSV).unwrap();
    let (_, from_json) = run(&policy(&[]), JSON).unwrap();
    // CSV has no empty text
    assert_eq!(from_csv, from_json.replace("\"title\":\"\"", "\"title\":null"));
    assert_eq!((report.records_in, report.records_out), (2, 2));
    let (_, csv) = run(&policy(&[CSV_TARGET]), JSON).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "user.email,pages,title,colour,user.by_record");
    assert!(lines[1].contains(",3,\"a \"\"b\"\", c\",true,v1r_") && lines[1].starts_with("v1_"), "{csv}");
    assert_eq!(lines[2], ",,\"\",,");
}

#[test]
fn a_header_has_to_go_with_the_policy() {
    let refused = |header: &str, says: &str| {
        let error = run(&policy(&[CSV_SOURCE]), &format!("{header}\n")).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("Ada"), "{error}");
    };
    refused("user.email,Ada Lovelace", "column 2 is named by no rule");
    refused("title,pages,title", "column 3 has the name of another");
    refused(&vec!["a"; 1025].join(","), "1,024");
    let dropping = policy(&[CSV_SOURCE, ("unknown_field = \"stop\"", "unknown_field = \"drop\"")]);
    let (report, output) = run(&dropping, "title,Ada\nt,secret\nu,secret\n").unwrap();
    assert_eq!((report.unknown_fields_dropped, output.contains("secret")), (2, false));
    // a mark of byte order is no part of a name
    assert!(run(&policy(&[CSV_SOURCE]), "\u{feff}title\nt\n").is_ok());
    assert!(run(&policy(&[]), "\u{feff}{}\n").is_ok());
}

#[test]
fn a_row_has_as_many_values_as_the_header() {
    for row in ["a", "a,b,c"] {
        let error = run(&policy(&[CSV_SOURCE]), &format!("title,pages\n{row}\n")).map(|_| ()).unwrap_err();
        assert!(matches!(error, PipelineError::Stopped { kind: FaultKind::ColumnCount, .. }), "{row}");
    }
}

#[test]
fn a_quote_that_never_ends_takes_no_more_memory_than_a_record() {
    let policy = policy(&[CSV_SOURCE, ("bad_record = \"stop\"", "bad_record = \"drop\"")]);
    let input = format!("title,pages\n\"{}", "x".repeat(5 * RECORD_BYTES_MAX));
    let (report, _) = run(&policy, &input).unwrap();
    assert_eq!(report.faults.keys().collect::<Vec<_>>(), [&FaultKind::RecordTooLong]);
}

#[test]
fn packed_input_is_unpacked_and_output_packed() {
    let plain = run(&policy(&[]), JSON).unwrap().1;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(JSON.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(JSON.as_bytes(), 3).unwrap();
    for input in [&gzip, &zstd] {
        let (_, output) = run_bytes(&policy(&[]), &[input], SHUFFLE_MEMORY_BYTES).unwrap();
        assert_eq!(output, plain.as_bytes());
        let cut = run_bytes(&policy(&[]), &[&input[..input.len() - 9]], SHUFFLE_MEMORY_BYTES);
        assert!(matches!(cut, Err(PipelineError::Io { .. })), "a file that breaks off is no whole file");
    }
    // two files packed one after the other are one
    let (_, twice) =
        run_bytes(&policy(&[]), &[&[&gzip[..], &gzip[..]].concat()], SHUFFLE_MEMORY_BYTES).unwrap();
    assert_eq!(twice.iter().filter(|byte| **byte == b'\n').count(), 4);
    for (name, unpack) in [("gzip", true), ("zstd", false)] {
        let target = format!("[target]\nformat = \"ndjson\"\ncompression = \"{name}\"");
        let (_, packed) =
            run_bytes(&policy(&[(TARGET, &target)]), &[JSON.as_bytes()], SHUFFLE_MEMORY_BYTES).unwrap();
        let unpacked = if unpack {
            std::io::read_to_string(flate2::read::GzDecoder::new(&packed[..])).unwrap()
        } else {
            String::from_utf8(zstd::stream::decode_all(&packed[..]).unwrap()).unwrap()
        };
        assert_eq!(unpacked, plain);
    }
}

#[test]
fn the_last_line_needs_no_end_and_empty_lines_are_none() {
    let records = |input: &str| run(&policy(&[]), input).unwrap().0.records_in;
    assert_eq!([records(""), records("\n \r\n"), records("{}"), records("{}\r\n\n{}")], [0, 0, 1, 2]);
}

#[test]
fn a_preview_shows_shapes_and_outcomes() {
    let policy = policy(&[]);
    let plan = Plan::new(&policy, &master(&policy), RUN, Rare::default()).unwrap();
    let preview = plan.preview(Input::stream(JSON.as_bytes()), 5).unwrap();
    let first = preview[0].as_ref().unwrap();
    assert_eq!((preview.len(), first.len()), (2, 5));
    assert_eq!(first[0].before, "text of 5 to 8 bytes");
    assert!(first[0].after.as_ref().unwrap().starts_with("v1_"));
    assert!(!format!("{preview:?}").contains("Ada"));
    assert_eq!(plan.preview(Input::stream("{}\nx\n".as_bytes()), 5).unwrap()[1], Err(FaultKind::Malformed));
}

#[test]
fn rare_values_are_left_out_after_a_first_pass() {
    let policy = policy(&[(
        "path = \"$.title\"\ntechnique = \"keep\"",
        "path = \"$.title\"\ntechnique = \"null-if-rare\"\nmin_records = 2",
    )]);
    let (_, output) = run(&policy, "{\"title\":\"a\"}\n{\"title\":\"b\"}\n{\"title\":\"a\"}\n").unwrap();
    assert_eq!((output.matches("\"title\":\"a\"").count(), output.contains("\"b\"")), (2, false));
}

proptest! {
    #[test]
    fn values_survive_csv(titles in prop::collection::vec("[ -~\\n\\r\u{e4}]{1,12}", 1..20)) {
        let mut input = String::from("title\n");
        titles.iter().for_each(|title| input.push_str(&format!("\"{}\"\n", title.replace('"', "\"\""))));
        let only_title = policy(&[CSV_SOURCE, CSV_TARGET]);
        let (report, output) = run(&only_title, &input).unwrap();
        prop_assert_eq!(report.records_out, titles.len() as u64);
        // read again by the same policy, whose other columns are unknown to it
        let again = policy(&[CSV_SOURCE, ("unknown_field = \"stop\"", "unknown_field = \"drop\"")]);
        let (_, json) = run(&again, &output).unwrap();
        let read: Vec<String> = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["title"].as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(read, titles);
    }
}
