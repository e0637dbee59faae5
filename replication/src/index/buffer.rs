//! Changes on their way to a group's tree: layers in memory, the newest on top, the oldest leaving first.
//!
//! Writing a tree costs the same for one row as for many that lie together, and most rows of a batch (positions, counts,
//! outcomes) are overwritten by the next one. So batches gather in the open layer, and a closed layer enters the tree as
//! one atomic change: the tree steps from one state that there was to a later one, never in between.

use super::{Batch, Change, Overlay, RowBytes, Rows};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, Range},
    sync::Arc,
};

/// Rows of a layer before it is closed. 1,024: the tree is shut to readers for some ten milliseconds while it takes them.
const LAYER_ROWS: usize = 1_024;

/// The same in bytes of keys and values. 256 KiB: what it may cost in the tree's file fits the reserve (`room`) thrice.
pub(super) const LAYER_BYTES: usize = 256 << 10;

/// What a layer does to the rows below it: sets them, or removes them.
pub(super) type Layer = BTreeMap<RowBytes, Option<RowBytes>>;

/// The layers of one group.
#[derive(Default)]
pub(super) struct Buffer {
    open: Arc<Layer>,
    open_bytes: usize,
    /// Oldest first.
    closed: VecDeque<Arc<Layer>>,
}

impl Buffer {
    /// What the layers say of `key`; `None` when they say nothing.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<RowBytes>> {
        self.layers().find_map(|layer| layer.get(key)).cloned()
    }

    /// Lays a batch over what is there; true when that closed a layer.
    pub(super) fn write(&mut self, batch: Batch) -> bool {
        // a scan that is still open keeps the layer as it was
        let open = Arc::make_mut(&mut self.open);
        for (key, value) in batch.into_changes() {
            self.open_bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            open.insert(key, value);
        }
        let full = open.len() >= LAYER_ROWS || self.open_bytes >= LAYER_BYTES;
        if full {
            self.close();
        }
        full
    }

    /// What is written next goes to another layer.
    pub(super) fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push_back(std::mem::take(&mut self.open));
        }
        self.open_bytes = 0;
    }

    /// How many layers wait to leave.
    pub(super) fn closed(&self) -> usize {
        self.closed.len()
    }

    /// The layer to leave next.
    pub(super) fn oldest(&self) -> Option<Arc<Layer>> {
        self.closed.front().cloned()
    }

    /// The oldest layer is in the tree.
    pub(super) fn forget_oldest(&mut self) {
        self.closed.pop_front();
    }

    /// The rows in `range`: those of `tree` with the layers of this moment laid over them.
    pub(super) fn scan<'a>(&self, tree: Rows<'a>, range: Range<&[u8]>, forward: bool) -> Rows<'a> {
        self.closed.iter().chain([&self.open]).fold(tree, |below, layer| {
            let mut rows = LayerRows::new(Arc::clone(layer), range.clone(), forward).peekable();
            if rows.peek().is_none() { below } else { Box::new(Overlay::new(below, rows, forward)) }
        })
    }

    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        std::iter::once(&self.open).chain(self.closed.iter().rev())
    }
}

/// One layer's changes in a range, in order. Looked up one by one: the layer is shared, not borrowed.
struct LayerRows {
    layer: Arc<Layer>,
    lower: Bound<RowBytes>,
    upper: Bound<RowBytes>,
    forward: bool,
}

impl LayerRows {
    fn new(layer: Arc<Layer>, range: Range<&[u8]>, forward: bool) -> Self {
        let (lower, upper) = (Bound::Included(range.start.into()), Bound::Excluded(range.end.into()));
        Self { layer, lower, upper, forward }
    }
}

impl Iterator for LayerRows {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let mut rest = self.layer.range((self.lower.clone(), self.upper.clone()));
        let (key, value) = if self.forward { rest.next() } else { rest.next_back() }?;
        let end = if self.forward { &mut self.lower } else { &mut self.upper };
        *end = Bound::Excluded(key.clone());
        Some((key.clone(), value.clone()))
    }
}
