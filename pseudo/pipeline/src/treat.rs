//! A record's values, one column after another: normalised, turned by their technique, brought to the column's type.

use policy::{Column, OnInvalid, OnNull};
use transform::{Clear, Kind, Normaliser, Place, Technique, TransformError};

use crate::number;
use crate::plan::{Plan, Treatment};
use crate::row::Row;
use crate::slots::Slots;
use crate::{Fault, Report};

/// Room to work in, used again for each value.
#[derive(Default)]
pub(crate) struct Bench {
    value: String,
    person: String,
    other: String,
}

impl Bench {
    /// Puts what becomes of a record into `row`.
    pub(crate) fn treat(
        &mut self,
        plan: &Plan<'_>,
        (slots, text): (&Slots, &str),
        record: u64,
        row: &mut Row,
        report: &mut Report,
    ) -> Result<(), Fault> {
        row.clear();
        for column in &plan.columns {
            let field = column.field;
            let value = slots.value(field, text);
            if value.is_null() && column.on_null == OnNull::Refuse {
                return Err(Fault::Null { field });
            }
            if length(&value) > column.bytes_max {
                return Err(Fault::ValueTooLong { field });
            }
            let done = self.value(plan, column, value, (slots, text), record, row);
            let kind = match done {
                Ok(kind) => kind,
                // a vault that fails is no fault of the value: without it nothing may come out
                Err(error @ TransformError::Vault { .. }) => return Err(fault(field, error)),
                Err(error) if column.on_invalid == OnInvalid::Refuse => return Err(fault(field, error)),
                Err(_) => {
                    row.reopen();
                    report.values_nulled += 1;
                    Kind::Null
                }
            };
            row.close(kind, is_plain(column, slots));
        }
        Ok(())
    }

    #[inline]
    fn value(
        &mut self,
        plan: &Plan<'_>,
        column: &Treatment,
        value: Clear<'_>,
        (slots, text): (&Slots, &str),
        record: u64,
        row: &mut Row,
    ) -> Result<Kind, TransformError> {
        let value = if column.normalisers.is_empty() {
            value
        } else {
            normalised(&column.normalisers, value, &mut self.value, &mut self.other)?
        };
        let person = match &column.person {
            Some((field, normalisers)) => {
                normalised(normalisers, slots.value(*field, text), &mut self.person, &mut self.other)?
            }
            None => Clear::Null,
        };
        let place = Place { run: &plan.run, record, person };
        let start = row.start();
        let kind = column.technique.apply(&value, &place, &mut row.bytes)?;
        brought_to(column.column, kind, &mut row.bytes, start)
    }
}

/// Whether what a column writes is known to have nothing that JSON escapes. Normalisers may turn what has nothing of it into what has.
fn is_plain(column: &Treatment, slots: &Slots) -> bool {
    match column.technique {
        Technique::Token(_) | Technique::Vault(_) => true,
        Technique::Keep => column.normalisers.is_empty() && slots.is_plain(column.field),
        _ => false,
    }
}

fn fault(field: usize, error: TransformError) -> Fault {
    match error {
        TransformError::Type { .. } => Fault::Type { field },
        error => Fault::Value { field, error },
    }
}

fn length(value: &Clear<'_>) -> usize {
    match value {
        Clear::Text(text) | Clear::Number(text) => text.len(),
        Clear::Null | Clear::Boolean(_) => 0,
    }
}

/// The value after its normalisers, which work on text alone.
pub(crate) fn normalised<'a>(
    normalisers: &[Normaliser],
    value: Clear<'a>,
    room: &'a mut String,
    other: &mut String,
) -> Result<Clear<'a>, TransformError> {
    let (Clear::Text(text), Some((first, rest))) = (value, normalisers.split_first()) else {
        return Ok(value);
    };
    first.apply(text, room)?;
    for normaliser in rest {
        std::mem::swap(room, other);
        normaliser.apply(other, room)?;
    }
    // what is nothing once it is normal is nothing
    Ok(if room.is_empty() { Clear::Null } else { Clear::Text(room) })
}

/// Checks that a value is what its column holds, and writes it the one way that this type is written.
#[inline]
fn brought_to(column: Column, kind: Kind, bytes: &mut Vec<u8>, start: usize) -> Result<Kind, TransformError> {
    if kind == Kind::Null || column == Column::Text {
        return Ok(kind);
    }
    typed(column, bytes, start)
}

/// The same for columns of which only some texts are values.
fn typed(column: Column, bytes: &mut Vec<u8>, start: usize) -> Result<Kind, TransformError> {
    let text = std::str::from_utf8(&bytes[start..]).ok();
    match column {
        Column::Text => Ok(Kind::Text),
        Column::Boolean => match text {
            Some("true" | "false") => Ok(Kind::Boolean),
            _ => Err(TransformError::Form { wanted: "true or false" }),
        },
        Column::Integer => {
            let wrong = TransformError::Form { wanted: "a whole number of 64 bits" };
            let number: i64 = text.and_then(|text| text.parse().ok()).ok_or(wrong)?;
            // most come as they are written here
            if !number::is_canonical(&bytes[start..]) {
                bytes.truncate(start);
                bytes.extend_from_slice(number.to_string().as_bytes());
            }
            Ok(Kind::Number)
        }
        Column::Number => {
            let wrong = TransformError::Form { wanted: "a number" };
            if number::is_number(&bytes[start..]) { Ok(Kind::Number) } else { Err(wrong) }
        }
    }
}
