//! Rows with changes laid over them, in key order or against it.

use super::{IndexError, Row, RowBytes, Rows};
use std::{cmp::Ordering, iter::Peekable};

/// A key, and what becomes of it: a value, or nothing.
pub(crate) type Change = (RowBytes, Option<RowBytes>);

/// Rows of `base`, with `changes` in the same order laid over them.
pub(crate) struct Overlay<'a, C: Iterator<Item = Change>> {
    base: Peekable<Rows<'a>>,
    changes: Peekable<C>,
    forward: bool,
}

impl<'a, C: Iterator<Item = Change>> Overlay<'a, C> {
    pub(crate) fn new(base: Rows<'a>, changes: Peekable<C>, forward: bool) -> Self {
        Self { base: base.peekable(), changes, forward }
    }
}

impl<C: Iterator<Item = Change>> Iterator for Overlay<'_, C> {
    type Item = Result<Row, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.changes.peek()) {
                (_, None) | (Some(Err(_)), _) => return self.base.next(),
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((changed, _))) if self.forward => base.cmp(changed),
                (Some(Ok((base, _))), Some((changed, _))) => changed.cmp(base),
            };
            if order == Ordering::Less {
                return self.base.next();
            }
            if order == Ordering::Equal {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.changes.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}
