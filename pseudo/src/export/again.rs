//! An export that is made again, for another to stand for: of the same sources as they were read, and so of the same records.

use crate::PseudoError;
use crate::manifest::{Counts, Manifest, Replaces, Source};

/// What is made again.
pub(crate) struct Again<'a> {
    pub(crate) replaces: Replaces,
    pub(crate) before: &'a Manifest,
}

impl Again<'_> {
    /// What is read: nothing that has come since.
    pub(crate) fn sources(&self) -> Vec<Source> {
        self.before.sources.clone()
    }

    /// Whether the same was read, and as many records came out: else the two would not be of the same people.
    pub(crate) fn check(&self, read: &[Source], counts: &Counts) -> Result<(), PseudoError> {
        let failed = |problem: String| {
            Err(PseudoError::Store { place: format!("making {} again", self.replaces.export), problem })
        };
        let before = &self.before.sources;
        if let Some(place) = (0..before.len().max(read.len())).find(|at| before.get(*at) != read.get(*at)) {
            return failed(format!("source {} has other content than was read then", place + 1));
        }
        let was = &self.before.counts;
        if counts != was {
            return failed(format!(
                "{} records went in, {} came out and {} were left out; then it was {}, {} and {}",
                counts.records_in,
                counts.records_out,
                counts.records_left_out,
                was.records_in,
                was.records_out,
                was.records_left_out
            ));
        }
        Ok(())
    }
}
