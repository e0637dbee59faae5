//! Asking one region what a group of it holds: sums tree by tree, entries of some leaves, single entries.

use crate::ClientError;
use crate::failover::Side;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use wire::admin::{
    AdminErrorCode, AdminRequest, AdminResponse, CompareBucket, CompareEntriesPage, CompareSums,
    CompareSumsPage, CompareWanted,
};
use wire::{COMPARE_LEAVES, CompareCursor, ComparePosition, CompareTree, LeafSum};

/// How long a region is asked again that has no leader or too much to do just now.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// A region as a comparison asks it.
pub(super) trait Holder {
    /// A page of what a group holds, as sums.
    fn sums(
        &self,
        group: u32,
        after: Option<CompareCursor>,
        bucket: Option<CompareBucket>,
    ) -> Result<CompareSumsPage, ClientError>;

    /// Entries of a group.
    fn entries(&self, group: u32, wanted: CompareWanted) -> Result<CompareEntriesPage, ClientError>;
}

impl Holder for Side {
    fn sums(
        &self,
        group: u32,
        after: Option<CompareCursor>,
        bucket: Option<CompareBucket>,
    ) -> Result<CompareSumsPage, ClientError> {
        match ask(self, &AdminRequest::CompareSums { group, after, bucket })? {
            AdminResponse::CompareSums(page) => Ok(page),
            other => Err(self.client().unexpected(&other)),
        }
    }

    fn entries(&self, group: u32, wanted: CompareWanted) -> Result<CompareEntriesPage, ClientError> {
        match ask(self, &AdminRequest::CompareEntries { group, wanted })? {
            AdminResponse::CompareEntries(page) => Ok(page),
            other => Err(self.client().unexpected(&other)),
        }
    }
}

/// Asks until it is answered, or not for want of a leader or of time.
fn ask(side: &Side, request: &AdminRequest) -> Result<AdminResponse, ClientError> {
    let began = Instant::now();
    loop {
        match side.client().ask(request) {
            Err(ClientError::Refused { error })
                if matches!(error.code, AdminErrorCode::Busy | AdminErrorCode::Unavailable)
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            answered => return answered,
        }
    }
}

/// The trees of a group, one after another: of all that it holds, no more than one tree and one page is in memory.
pub(super) struct Trees<'a> {
    holder: &'a dyn Holder,
    group: u32,
    bucket: Option<CompareBucket>,
    pieces: VecDeque<CompareSums>,
    next: Option<CompareCursor>,
    begun: bool,
    /// Where the pages were read so far.
    position: Option<ComparePosition>,
}

/// One tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeSums {
    pub(super) tree: CompareTree,
    /// Of a bucket: its name, if it has one.
    pub(super) name: Option<String>,
    pub(super) leaves: BTreeMap<u16, LeafSum>,
}

/// An answer that no release gives.
pub(super) fn stuck() -> ClientError {
    ClientError::state(
        "a walk does not go on, or tells what cannot be",
        "use a `twinkeep` of the region's own release",
    )
}

impl<'a> Trees<'a> {
    pub(super) fn new(holder: &'a dyn Holder, group: u32, bucket: Option<CompareBucket>) -> Self {
        Self { holder, group, bucket, pieces: VecDeque::new(), next: None, begun: false, position: None }
    }

    /// The next tree, in order.
    pub(super) fn next(&mut self) -> Result<Option<TreeSums>, ClientError> {
        let mut found: Option<TreeSums> = None;
        loop {
            while let Some(piece) = self.pieces.pop_front() {
                match &mut found {
                    Some(found) if found.tree != piece.tree => {
                        self.pieces.push_front(piece);
                        return Ok(Some(found.clone()));
                    }
                    Some(found) => found.add(piece),
                    None => found = Some(piece.into()),
                }
            }
            // the last piece of a page may go on in the next one
            if self.begun && self.next.is_none() {
                return Ok(found);
            }
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), ClientError> {
        let after = self.next.take();
        let page = self.holder.sums(self.group, after.clone(), self.bucket.clone())?;
        let goes_on = |next: &CompareCursor| {
            after.as_ref().is_none_or(|after| next.tree != after.tree || next.after > after.after)
        };
        let goes_on = page.next.as_ref().is_none_or(goes_on);
        let leaves = page.trees.iter().flat_map(|piece| &piece.leaves);
        if !goes_on || leaves.into_iter().any(|leaf| leaf.leaf >= COMPARE_LEAVES) {
            return Err(stuck());
        }
        let from = self.position.map_or(page.position.from, |position| position.from);
        self.position = Some(ComparePosition { from, ..page.position });
        if let Some(number) = page.bucket {
            self.bucket = Some(CompareBucket::Number { number });
        }
        (self.pieces, self.next, self.begun) = (page.trees.into(), page.next, true);
        Ok(())
    }

    /// Where the first page was read; asks for it if that is still to be done.
    pub(super) fn begin(&mut self) -> Result<ComparePosition, ClientError> {
        if self.position.is_none() {
            self.fetch()?;
        }
        Ok(self.position.expect("a page has a position"))
    }

    /// Where all pages so far were read.
    pub(super) fn position(&self) -> Option<ComparePosition> {
        self.position
    }

    /// The only bucket of interest, by its number once that is known.
    pub(super) fn bucket(&self) -> Option<CompareBucket> {
        self.bucket.clone()
    }
}

impl TreeSums {
    fn add(&mut self, piece: CompareSums) {
        for leaf in piece.leaves {
            let start = LeafSum { leaf: leaf.leaf, ..LeafSum::default() };
            self.leaves.entry(leaf.leaf).or_insert(start).add(&leaf);
        }
    }
}

impl From<CompareSums> for TreeSums {
    fn from(piece: CompareSums) -> Self {
        let mut sums = Self { tree: piece.tree, name: piece.name.clone(), leaves: BTreeMap::new() };
        sums.add(piece);
        sums
    }
}
