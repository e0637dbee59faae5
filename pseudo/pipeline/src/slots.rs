//! One record's values by the policy's fields, as places in the record's own text. Used again for each record.

use transform::Clear;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Absent,
    Null,
    True,
    False,
    /// Text in the record that has nothing JSON escapes.
    Plain(u32, u32),
    /// Text or a number in the record.
    Text(u32, u32),
    Number(u32, u32),
    /// Text that had escapes, in the arena.
    Unescaped(u32, u32),
}

/// The values of one record.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    pub(crate) arena: String,
}

impl Slots {
    pub(crate) fn new(fields: usize) -> Self {
        Self { slots: vec![Slot::Absent; fields], arena: String::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.slots.fill(Slot::Absent);
        self.arena.clear();
    }

    #[inline]
    pub(crate) fn set(&mut self, field: usize, slot: Slot) {
        self.slots[field] = slot;
    }

    /// Whether the field is text that has nothing JSON escapes, as far as its reader knows.
    pub(crate) fn is_plain(&self, field: usize) -> bool {
        matches!(self.slots[field], Slot::Plain(..))
    }

    /// The value of a field; what is absent is null.
    #[inline]
    pub(crate) fn value<'a>(&'a self, field: usize, record: &'a str) -> Clear<'a> {
        self.slots[field].value(record, &self.arena)
    }
}

impl Slot {
    /// The value in its place.
    #[inline]
    pub(crate) fn value<'a>(self, record: &'a str, arena: &'a str) -> Clear<'a> {
        let range = |from: u32, to: u32| from as usize..to as usize;
        match self {
            Self::Absent | Self::Null => Clear::Null,
            Self::True => Clear::Boolean(true),
            Self::False => Clear::Boolean(false),
            Self::Plain(from, to) | Self::Text(from, to) => Clear::Text(&record[range(from, to)]),
            Self::Number(from, to) => Clear::Number(&record[range(from, to)]),
            Self::Unescaped(from, to) => Clear::Text(&arena[range(from, to)]),
        }
    }
}
