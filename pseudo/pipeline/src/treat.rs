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
            let person = column.person.as_ref().map_or(Clear::Null, |(field, _)| slots.value(*field, text));
            let place = Place { run: &plan.run, record, person };
            let kind = column.treat(slots.value(column.field, text), place, self, &mut row.bytes)?;
            report.values_nulled += u64::from(kind.is_none());
            row.close(kind.unwrap_or(Kind::Null), is_plain(column, slots));
        }
        Ok(())
    }
}

impl Treatment {
    /// Appends what becomes of a value in its place, whose person is as it came in. `None`: the value is not as it should be, and
    /// the rule makes null of such.
    #[inline]
    pub(crate) fn treat(
        &self,
        value: Clear<'_>,
        place: Place<'_>,
        room: &mut Bench,
        out: &mut Vec<u8>,
    ) -> Result<Option<Kind>, Fault> {
        let field = self.field;
        if value.is_null() && self.on_null == OnNull::Refuse {
            return Err(Fault::Null { field });
        }
        if length(&value) > self.bytes_max {
            return Err(Fault::ValueTooLong { field });
        }
        let start = out.len();
        match self.turned(value, place, room, out) {
            Ok(kind) => Ok(Some(kind)),
            // a vault that fails is no fault of the value: without it nothing may come out
            Err(error @ TransformError::Vault { .. }) => Err(fault(field, error)),
            Err(error) if self.on_invalid == OnInvalid::Refuse => Err(fault(field, error)),
            Err(_) => {
                out.truncate(start);
                Ok(None)
            }
        }
    }

    #[inline]
    fn turned(
        &self,
        value: Clear<'_>,
        place: Place<'_>,
        room: &mut Bench,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        let value = if self.normalisers.is_empty() {
            value
        } else {
            normalised(&self.normalisers, value, &mut room.value, &mut room.other)?
        };
        let person = match &self.person {
            Some((_, normalisers)) => {
                normalised(normalisers, place.person, &mut room.person, &mut room.other)?
            }
            None => Clear::Null,
        };
        let start = out.len();
        let kind = self.technique.apply(&value, &Place { person, ..place }, out)?;
        brought_to(self.column, kind, out, start)
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

/// The value after its normalisers. A number is normalised as its digits are, so that one identifier is one whether it is stored as a number or
/// as text; one that is not whole is no identifier.
pub(crate) fn normalised<'a>(
    normalisers: &[Normaliser],
    value: Clear<'a>,
    room: &'a mut String,
    other: &mut String,
) -> Result<Clear<'a>, TransformError> {
    let Some((first, rest)) = normalisers.split_first() else { return Ok(value) };
    match value {
        Clear::Text(text) => first.apply(text, room)?,
        Clear::Number(text) => {
            let wanted = "a whole number, or a text, where a normaliser stands";
            first.apply(number::whole(text, other).ok_or(TransformError::Form { wanted })?, room)?;
        }
        Clear::Null | Clear::Boolean(_) => return Ok(value),
    }
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
