//! Parquet files of every flat type, written by the crate's own writer: values as text, nulls, damage.

use super::*;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

const SCHEMA: &str = "message table {
    required int32 number; optional binary text (UTF8); required int32 day (DATE); required int64 price (DECIMAL(12, 2));
    required boolean yes; optional double share; required int32 count (UINT_32);
    optional group list (LIST) { repeated group list { optional int32 element; } }
}";

/// Two row groups of three records.
fn write(path: &Path) {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        macro_rules! column {
            ($kind:ty, $values:expr, $levels:expr) => {
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<$kind>().write_batch($values, $levels, None).unwrap();
                column.close().unwrap();
            };
        }
        column!(Int32Type, &[1, -2, 3], None);
        column!(ByteArrayType, &[ByteArray::from("a;\"b"), ByteArray::from("")], Some(&[1, 0, 1]));
        column!(Int32Type, &[0, -1, 20_513], None);
        column!(Int64Type, &[5, -1234, 100], None);
        column!(BoolType, &[true, false, true], None);
        column!(DoubleType, &[0.5, -0.0], Some(&[1, 1, 0]));
        column!(Int32Type, &[-1, 0, 7], None);
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[], Some(&[0, 0, 0]), Some(&[0, 0, 0])).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn rows(path: &Path, wanted: &[&str]) -> Result<Vec<Vec<Option<String>>>, PseudoError> {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let mut rows = Vec::new();
    read(File::open(path).unwrap(), path, &wanted, &mut |number, cells| {
        assert_eq!(number, rows.len() as u64 + 1);
        rows.push(
            cells.iter().map(|cell| cell.map(|cell| String::from_utf8(cell.to_vec()).unwrap())).collect(),
        );
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn values_come_as_the_text_that_csv_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path);
    let found = rows(&path, &["text", "number", "day", "price", "yes", "share", "count"]).unwrap();
    let row = |cells: [Option<&str>; 7]| cells.map(|cell| cell.map(str::to_owned)).to_vec();
    let expected = [
        row([
            Some("a;\"b"),
            Some("1"),
            Some("1970-01-01"),
            Some("0.05"),
            Some("true"),
            Some("0.5"),
            Some("4294967295"),
        ]),
        row([None, Some("-2"), Some("1969-12-31"), Some("-12.34"), Some("false"), Some("0"), Some("0")]),
        row([Some(""), Some("3"), Some("2026-03-01"), Some("1.00"), Some("true"), None, Some("7")]),
    ];
    assert_eq!(found, [expected.clone(), expected].concat());
}

#[test]
fn lists_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path);
    let error = rows(&path, &["list.list.element"]).unwrap_err();
    assert!(matches!(error, PseudoError::Table { .. }) && error.to_string().contains("flat"), "{error}");
    assert_eq!(rows(&path, &["list"]).unwrap_err().exit_code(), 2);
}

#[test]
fn damage_anywhere_is_an_error_or_other_values_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path);
    let whole = std::fs::read(&path).unwrap();
    for index in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[index] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            let done = catch_unwind(|| {
                let wanted = ["number".to_owned(), "text".to_owned(), "share".to_owned()];
                let file = File::open(&path).unwrap();
                drop(read(file, &path, &wanted, &mut |_, _| Ok(())));
            });
            assert!(done.is_ok(), "byte {index} changed by {flip:#x}");
        }
    }
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(rows(&path, &["number"]).is_err(), "{length} of {} bytes", whole.len());
    }
}
