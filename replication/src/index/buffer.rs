//! Changes on their way to a group's tree: layers in memory, the newest on top, the oldest leaving first.
//!
//! Writing a tree costs the same for one row as for many that lie together, and most rows of a batch (positions, counts,
//! outcomes) are overwritten by the next one. So batches gather in the open layer, and a closed layer enters the tree as
//! one atomic change: the tree steps from one state that there was to a later one, never in between.

use super::{Batch, IndexError, Row, RowBytes, Rows};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    iter::Peekable,
    ops::{Bound, Range},
    sync::Arc,
};

/// Rows of a layer before it is closed. 1,024: the tree is shut to readers for some ten milliseconds while it takes them.
const LAYER_ROWS: usize = 1_024;

/// The same in bytes of keys and values. 256 KiB: what it may cost in the tree's file fits the reserve (`room`) thrice.
const LAYER_BYTES: usize = 256 << 10;

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
        let layers: Vec<_> = self
            .layers()
            .filter(|layer| !layer.is_empty())
            .map(|layer| LayerRows::new(Arc::clone(layer), range.clone(), forward))
            .filter(|rows| rows.head.is_some())
            .collect();
        if layers.is_empty() { tree } else { Box::new(Layered { tree: tree.peekable(), layers, forward }) }
    }

    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        std::iter::once(&self.open).chain(self.closed.iter().rev())
    }
}

/// One layer's rows in a range, in order.
struct LayerRows {
    layer: Arc<Layer>,
    lower: Bound<RowBytes>,
    upper: Bound<RowBytes>,
    forward: bool,
    head: Option<(RowBytes, Option<RowBytes>)>,
}

impl LayerRows {
    fn new(layer: Arc<Layer>, range: Range<&[u8]>, forward: bool) -> Self {
        let (lower, upper) = (Bound::Included(range.start.into()), Bound::Excluded(range.end.into()));
        let mut rows = Self { layer, lower, upper, forward, head: None };
        rows.advance();
        rows
    }

    fn advance(&mut self) {
        let mut rest = self.layer.range((self.lower.clone(), self.upper.clone()));
        let head = if self.forward { rest.next() } else { rest.next_back() };
        self.head = head.map(|(key, value)| (key.clone(), value.clone()));
        if let Some((key, _)) = &self.head {
            let end = if self.forward { &mut self.lower } else { &mut self.upper };
            *end = Bound::Excluded(key.clone());
        }
    }
}

/// Rows of a tree with layers laid over them.
struct Layered<'a> {
    tree: Peekable<Rows<'a>>,
    /// Newest first.
    layers: Vec<LayerRows>,
    forward: bool,
}

impl Layered<'_> {
    /// The newest layer with the next key of all layers.
    fn first_layer(&self) -> Option<usize> {
        let heads =
            self.layers.iter().enumerate().filter_map(|(at, rows)| Some((at, &rows.head.as_ref()?.0)));
        // of equal keys the first, which is the newest
        heads.min_by(|(_, one), (_, other)| order(one, other, self.forward)).map(|(at, _)| at)
    }
}

impl Iterator for Layered<'_> {
    type Item = Result<Row, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(first) = self.first_layer() else { return self.tree.next() };
            let Some((key, value)) = self.layers[first].head.clone() else { return self.tree.next() };
            let tree_first = self.tree.peek().map(|row| match row {
                Ok((found, _)) => order(found, &key, self.forward),
                Err(_) => Ordering::Less,
            });
            match tree_first {
                Some(Ordering::Less) => return self.tree.next(),
                Some(Ordering::Equal) => drop(self.tree.next()),
                Some(Ordering::Greater) | None => {}
            }
            for rows in &mut self.layers {
                if rows.head.as_ref().is_some_and(|(head, _)| *head == key) {
                    rows.advance();
                }
            }
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}

fn order(one: &RowBytes, other: &RowBytes, forward: bool) -> Ordering {
    if forward { one.cmp(other) } else { other.cmp(one) }
}
