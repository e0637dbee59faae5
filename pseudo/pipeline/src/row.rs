//! One treated record: what became of each column, one after another.

use transform::Kind;

/// The columns of one record. Used again for each.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) bytes: Vec<u8>,
    /// Kind of each column and where its bytes end.
    cells: Vec<(Kind, usize)>,
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// What was appended since the last call is a column.
    pub(crate) fn close(&mut self, kind: Kind) {
        self.cells.push((kind, self.bytes.len()));
    }

    /// Where the column that is being appended begins.
    pub(crate) fn start(&self) -> usize {
        self.cells.last().map_or(0, |(_, end)| *end)
    }

    /// Takes back what was appended to the column.
    pub(crate) fn reopen(&mut self) {
        self.bytes.truncate(self.start());
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.cells.iter().scan(0, |from, (kind, end)| {
            let range = *from..*end;
            *from = *end;
            Some((*kind, &self.bytes[range]))
        })
    }
}
