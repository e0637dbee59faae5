//! Records that are rows of CSV under a header. An empty value is null. The number of values of each row is checked.

use std::io::Read;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use policy::{OnUnknown, Policy};

use crate::feed::{Feed, RECORD_BYTES_MAX};
use crate::slots::{Slot, Slots};
use crate::{Fault, PipelineError};

/// Columns of one file: as many as a policy has fields, and as many again without a rule.
const COLUMNS_MAX: usize = 1024;

/// Reads the rows of one file.
pub(crate) struct Rows<R> {
    feed: Feed<R>,
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// The field of each column, if it has one.
    fields: Vec<Option<usize>>,
    /// Bytes before the last row.
    offset: u64,
    unknown: u64,
}

enum Piece {
    Row(usize, usize),
    TooLong,
}

impl<R: Read> Rows<R> {
    /// Reads the header and finds its columns in the policy.
    pub(crate) fn new(reader: R, policy: &Policy, input: u32) -> Result<Self, PipelineError> {
        let header = |problem: &str| PipelineError::Header { input, problem: problem.to_owned() };
        let mut rows = Self {
            feed: Feed::new(reader),
            reader: ReaderBuilder::new().delimiter(policy.source.delimiter).build(),
            text: vec![0; 4096],
            ends: vec![0; COLUMNS_MAX],
            fields: Vec::new(),
            offset: 0,
            unknown: 0,
        };
        let count = match rows.piece()? {
            // an empty file has no rows to lose
            None => return Ok(rows),
            Some(Piece::TooLong) => {
                return Err(header("the header is too long, or has more than 1,024 columns"));
            }
            Some(Piece::Row(count, _)) => count,
        };
        for column in 0..count {
            let from = if column == 0 { 0 } else { rows.ends[column - 1] };
            let name = std::str::from_utf8(&rows.text[from..rows.ends[column]])
                .map_err(|_| header("the header is not UTF-8"))?;
            let name = name.strip_prefix('\u{feff}').filter(|_| column == 0).unwrap_or(name);
            let field = policy.fields.iter().position(|rule| rule.path.column() == name);
            if field.is_some() && rows.fields.contains(&field) {
                return Err(header(&format!("column {} has the name of another", column + 1)));
            }
            if field.is_none() && policy.on_unknown == OnUnknown::Stop {
                return Err(header(&format!("column {} is named by no rule", column + 1)));
            }
            rows.unknown += u64::from(field.is_none());
            rows.fields.push(field);
        }
        Ok(rows)
    }

    /// Columns without a rule, each of which is left out of every row.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Bytes before the row that was read last.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Puts the next row's values into the slots and gives their text; `None` at the end.
    pub(crate) fn next(&mut self, slots: &mut Slots) -> Result<Option<Result<&str, Fault>>, PipelineError> {
        slots.clear();
        let (count, length) = match self.piece()? {
            None => return Ok(None),
            Some(Piece::TooLong) => return Ok(Some(Err(Fault::RecordTooLong))),
            Some(Piece::Row(count, length)) => (count, length),
        };
        if count != self.fields.len() {
            return Ok(Some(Err(Fault::ColumnCount)));
        }
        let Ok(text) = std::str::from_utf8(&self.text[..length]) else {
            return Ok(Some(Err(Fault::NotUtf8)));
        };
        let mut from = 0;
        for (field, end) in self.fields.iter().zip(&self.ends) {
            // a character cut by a delimiter is none
            if !text.is_char_boundary(*end) {
                return Ok(Some(Err(Fault::NotUtf8)));
            }
            let place = |at: usize| u32::try_from(at).expect("a record is shorter than 4 GiB");
            if let Some(field) = field {
                slots.set(
                    *field,
                    if from == *end { Slot::Null } else { Slot::Text(place(from), place(*end)) },
                );
            }
            from = *end;
        }
        Ok(Some(Ok(text)))
    }

    fn piece(&mut self) -> Result<Option<Piece>, PipelineError> {
        let (mut text, mut ends, mut is_long, mut has_begun) = (0, 0, false, false);
        loop {
            if self.feed.window().is_empty() {
                self.feed.more().map_err(PipelineError::io("reading"))?;
            }
            if !has_begun {
                (self.offset, has_begun) = (self.feed.offset(), true);
            }
            let window = self.feed.window();
            let (result, used, text_more, ends_more) =
                self.reader.read_record(window, &mut self.text[text..], &mut self.ends[ends..]);
            self.feed.consume(used);
            text += text_more;
            ends += ends_more;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() < RECORD_BYTES_MAX => {
                    let longer = (2 * self.text.len()).min(RECORD_BYTES_MAX);
                    self.text.resize(longer, 0);
                }
                ReadRecordResult::OutputFull => (text, is_long) = (0, true),
                ReadRecordResult::OutputEndsFull => (ends, is_long) = (0, true),
                ReadRecordResult::Record if is_long => return Ok(Some(Piece::TooLong)),
                ReadRecordResult::Record => return Ok(Some(Piece::Row(ends, text))),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }
}
