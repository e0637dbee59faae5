//! What a sample of a file says about its fields, for the linter and for a first policy.

use std::io::{self, Read};

use csv_core::{ReadRecordResult, ReaderBuilder};
use policy::{Format, PROFILE_LEAVES_MAX, Path, Profile};
use serde_json::Value;
use transform::Clear;

use crate::PipelineError;
use crate::array::Elements;
use crate::feed::{Feed, RECORD_BYTES_MAX};
use crate::lines::{Lines, Piece};
use crate::packed::Unpacked;

/// Looks at the first records of a file, whatever they hold. Records that cannot be read are passed over.
pub fn profile<R: Read>(
    reader: R,
    format: Format,
    delimiter: u8,
    records: u64,
) -> Result<Profile, PipelineError> {
    let failed = || PipelineError::io("reading");
    let reader = Unpacked::new(reader, None).map_err(failed())?;
    let mut profile = Profile::default();
    match format {
        Format::Ndjson => {
            let mut lines = Lines::new(reader);
            while profile.records() < records
                && let Some(piece) = lines.next().map_err(failed())?
            {
                if let Piece::Record(length) = piece {
                    object(&lines.feed.window()[..length], &mut profile);
                }
            }
        }
        Format::JsonArray => {
            let mut elements = Elements::new(reader);
            while profile.records() < records
                && let Ok(Some(piece)) = elements.next().map_err(failed())?
            {
                if let Piece::Record(length) = piece {
                    object(&elements.feed.window()[..length], &mut profile);
                }
            }
        }
        Format::Csv => rows(reader, delimiter, records, &mut profile).map_err(failed())?,
        Format::Parquet => {
            return Err(PipelineError::Header {
                input: 1,
                problem: "Parquet is not read as a stream".to_owned(),
            });
        }
    }
    Ok(profile)
}

fn object(record: &[u8], profile: &mut Profile) {
    if let Ok(value @ Value::Object(_)) = serde_json::from_slice(record) {
        profile.begin_record();
        leaves(&value, &mut Vec::new(), profile);
    }
}

fn leaves(value: &Value, names: &mut Vec<String>, profile: &mut Profile) {
    if let Value::Object(members) = value
        && (!members.is_empty() || names.is_empty())
    {
        for (name, inner) in members {
            names.push(name.clone());
            leaves(inner, names, profile);
            names.pop();
        }
        return;
    }
    // names that no policy can write are not looked at; a run refuses them
    let Ok(path) = Path::new(names.clone()) else { return };
    match value {
        Value::String(text) => profile.observe(&path, &Clear::Text(text)),
        Value::Number(number) => profile.observe(&path, &Clear::Number(&number.to_string())),
        Value::Bool(value) => profile.observe(&path, &Clear::Boolean(*value)),
        Value::Null | Value::Array(_) | Value::Object(_) => profile.observe(&path, &Clear::Null),
    }
}

fn rows<R: Read>(reader: R, delimiter: u8, records: u64, profile: &mut Profile) -> io::Result<()> {
    let mut feed = Feed::new(reader);
    let mut parser = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut text, mut ends) = (vec![0; RECORD_BYTES_MAX], vec![0; PROFILE_LEAVES_MAX]);
    let mut header: Option<Vec<Option<Path>>> = None;
    let (mut length, mut count) = (0, 0);
    loop {
        if feed.window().is_empty() {
            feed.more()?;
        }
        let (result, used, length_more, count_more) =
            parser.read_record(feed.window(), &mut text[length..], &mut ends[count..]);
        feed.consume(used);
        length += length_more;
        count += count_more;
        match result {
            ReadRecordResult::InputEmpty => continue,
            ReadRecordResult::Record => {}
            // what is too long for a sample ends it
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull | ReadRecordResult::End => {
                return Ok(());
            }
        }
        let value = |column: usize| {
            let from = if column == 0 { 0 } else { ends[column - 1] };
            std::str::from_utf8(&text[from..ends[column]]).ok()
        };
        match &header {
            None => {
                let path = |column| {
                    Path::new(
                        value(column)?.trim_start_matches('\u{feff}').split('.').map(str::to_owned).collect(),
                    )
                    .ok()
                };
                header = Some((0..count).map(path).collect());
            }
            Some(paths) => {
                profile.begin_record();
                for (column, path) in paths.iter().enumerate().take(count) {
                    let (Some(path), Some(text)) = (path, value(column)) else { continue };
                    let is_number = crate::number::is_number(text.as_bytes());
                    let clear = match text {
                        "" => Clear::Null,
                        "true" | "false" => Clear::Boolean(text == "true"),
                        _ if is_number => Clear::Number(text),
                        _ => Clear::Text(text),
                    };
                    profile.observe(path, &clear);
                }
                if profile.records() >= records {
                    return Ok(());
                }
            }
        }
        (length, count) = (0, 0);
    }
}
