//! What a gateway asks a group's leader about what it holds, and the answers.

use bytes::Bytes;
use wire::{
    COMPARE_LEAVES, COMPARED_ENTRIES_MAX, COMPARED_ROWS_MAX, COMPARED_TREES_MAX, CompareCursor,
    ComparePosition, CompareTree, ComparedEntry, DecodeError, Decoder, Encoder, GroupId, LeafSum, RowKey,
};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareRequest {
    /// Sums of what the group holds.
    Sums {
        /// Where the page before ended.
        after: Option<CompareCursor>,
        /// Only of this bucket.
        bucket: Option<u64>,
    },
    /// Entries of some leaves.
    Leaves {
        /// The tree.
        tree: CompareTree,
        /// The leaves, in order.
        leaves: Vec<u16>,
        /// After which row; empty: from the start.
        after: RowKey,
    },
    /// These entries, if they are there.
    Rows {
        /// Their rows.
        rows: Vec<RowKey>,
    },
}

/// Sums of some trees, or of parts of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumsPage {
    /// Between which entries of the pair it was read.
    pub position: ComparePosition,
    /// In order; the last may go on in the next page.
    pub trees: Vec<(CompareTree, Vec<LeafSum>)>,
    /// Where the next page begins.
    pub next: Option<CompareCursor>,
}

/// Entries one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntriesPage {
    /// Between which entries of the pair they were read.
    pub position: ComparePosition,
    /// In the order of their rows.
    pub entries: Vec<ComparedEntry>,
    /// After which row the next page begins.
    pub next: Option<RowKey>,
}

impl CompareRequest {
    pub(crate) fn encode(&self, group: GroupId) -> Bytes {
        let mut e = Encoder::with_capacity(256);
        e.u32(group.0);
        match self {
            Self::Sums { after, bucket } => {
                e.u8(0);
                e.option(after.as_ref(), |e, after| after.encode(e));
                e.option(bucket.as_ref(), |e, bucket| e.u64(*bucket));
            }
            Self::Leaves { tree, leaves, after } => {
                e.u8(1);
                tree.encode(&mut e);
                e.list(leaves, |e, leaf| e.u16(*leaf));
                after.encode(&mut e);
            }
            Self::Rows { rows } => {
                e.u8(2);
                e.list(rows, |e, row| row.encode(e));
            }
        }
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<(GroupId, Self), DecodeError> {
        let mut d = Decoder::new("comparison request", head);
        let group = GroupId(d.u32()?);
        let request = match d.u8()? {
            0 => Self::Sums { after: d.option(CompareCursor::decode)?, bucket: d.option(Decoder::u64)? },
            1 => Self::Leaves {
                tree: CompareTree::decode(&mut d)?,
                leaves: d.list(usize::from(COMPARE_LEAVES), Decoder::u16)?,
                after: RowKey::decode(&mut d)?,
            },
            2 => Self::Rows { rows: d.list(COMPARED_ROWS_MAX, RowKey::decode)? },
            found => return Err(d.unknown(u64::from(found))),
        };
        d.finish()?;
        Ok((group, request))
    }
}

impl SumsPage {
    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(4 << 10);
        self.position.encode(&mut e);
        e.list(&self.trees, |e, (tree, leaves)| {
            tree.encode(e);
            e.list(leaves, |e, leaf| leaf.encode(e));
        });
        e.option(self.next.as_ref(), |e, next| next.encode(e));
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("comparison sums", head);
        let page = Self {
            position: ComparePosition::decode(&mut d)?,
            trees: d.list(COMPARED_TREES_MAX, |d| {
                Ok((CompareTree::decode(d)?, d.list(usize::from(COMPARE_LEAVES), LeafSum::decode)?))
            })?,
            next: d.option(CompareCursor::decode)?,
        };
        d.finish()?;
        Ok(page)
    }
}

impl EntriesPage {
    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(4 << 10);
        self.position.encode(&mut e);
        e.list(&self.entries, |e, entry| entry.encode(e));
        e.option(self.next.as_ref(), |e, next| next.encode(e));
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("compared entries", head);
        let page = Self {
            position: ComparePosition::decode(&mut d)?,
            entries: d.list(COMPARED_ENTRIES_MAX, ComparedEntry::decode)?,
            next: d.option(RowKey::decode)?,
        };
        d.finish()?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{ComparedKind, Digest, PairRole};

    #[test]
    fn requests_and_pages_come_back_as_sent_and_every_cut_is_an_error() {
        let (tree, after) = (CompareTree::Bucket { bucket: 7 }, RowKey(Bytes::from_static(b"row")));
        let cursor = CompareCursor { tree, after: after.clone() };
        for request in [
            CompareRequest::Sums { after: Some(cursor.clone()), bucket: None },
            CompareRequest::Sums { after: None, bucket: Some(7) },
            CompareRequest::Leaves { tree, leaves: vec![1, 4_095], after: after.clone() },
            CompareRequest::Rows { rows: vec![after.clone()] },
        ] {
            let sent = request.encode(GroupId(9));
            assert_eq!(CompareRequest::decode(sent.clone()), Ok((GroupId(9), request)));
            for cut in 0..sent.len() {
                assert!(CompareRequest::decode(sent.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
        let position = ComparePosition { node: 1, role: PairRole::Primary, epoch: 2, from: 3, to: 4 };
        let leaf = LeafSum { leaf: 5, entries: 6, bytes: 7, sum: Digest([8; 32]) };
        let trees = vec![(tree, vec![leaf, leaf]), (CompareTree::Streams, vec![leaf])];
        let sums = SumsPage { position, trees, next: Some(cursor) };
        assert_eq!(SumsPage::decode(sums.encode()), Ok(sums.clone()));
        for cut in 0..sums.encode().len() {
            assert!(SumsPage::decode(sums.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
        let entry = ComparedEntry {
            row: after.clone(),
            kind: ComparedKind::Upload,
            name: "name".into(),
            version: None,
            size: None,
            etag: None,
            modified: None,
            record: Digest([1; 32]),
            content: Digest([2; 32]),
        };
        let page = EntriesPage { position, entries: vec![entry.clone(), entry], next: Some(after) };
        assert_eq!(EntriesPage::decode(page.encode()), Ok(page.clone()));
        for cut in 0..page.encode().len() {
            assert!(EntriesPage::decode(page.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
