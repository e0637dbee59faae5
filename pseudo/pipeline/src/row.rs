//! One treated record: what became of each column, one after another.

use transform::Kind;

/// The columns of one record. Used again for each.
#[derive(Default, Clone)]
pub(crate) struct Row {
    pub(crate) bytes: Vec<u8>,
    cells: Vec<End>,
}

/// What a column is, and where its bytes end.
#[derive(Clone, Copy)]
struct End {
    kind: Kind,
    /// Whether it is known to have nothing that JSON escapes.
    is_plain: bool,
    at: usize,
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// What was appended since the last call is a column.
    pub(crate) fn close(&mut self, kind: Kind, is_plain: bool) {
        self.cells.push(End { kind, is_plain, at: self.bytes.len() });
    }

    /// A column: what it is, whether it is known to have nothing that JSON escapes, and its bytes.
    pub(crate) fn cell(&self, column: usize) -> (Kind, bool, &[u8]) {
        let from = column.checked_sub(1).map_or(0, |before| self.cells[before].at);
        let end = self.cells[column];
        (end.kind, end.is_plain, &self.bytes[from..end.at])
    }

    /// What a copy of it takes, bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<End>() + size_of::<Self>()
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.cells_known().map(|(kind, _, bytes)| (kind, bytes))
    }

    /// The same, and of each cell whether it is known to have nothing that JSON escapes.
    pub(crate) fn cells_known(&self) -> impl Iterator<Item = (Kind, bool, &[u8])> {
        self.cells.iter().scan(0, |from, end| {
            let range = *from..end.at;
            *from = end.at;
            Some((end.kind, end.is_plain, &self.bytes[range]))
        })
    }
}

/// Kind and length before each cell of a packed row, bytes.
const CELL_HEAD_BYTES: usize = 5;

/// Appends a row so that [`cells`] finds its cells again: for formats that are not written row by row.
pub(crate) fn pack(row: &Row, out: &mut Vec<u8>) {
    for (kind, bytes) in row.cells() {
        out.push(u8::from(kind != Kind::Null));
        let length = u32::try_from(bytes.len()).expect("a cell is far shorter than 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// The cells of a packed row; `None` for null.
pub(crate) fn cells(mut packed: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let (head, rest) = packed.split_first_chunk::<CELL_HEAD_BYTES>()?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let (cell, rest) = rest.split_at(length as usize);
        packed = rest;
        Some((head[0] != 0).then_some(cell))
    })
}
