//! What generalisation costs: how much a table says after a column was made coarser, against before.
//!
//! - Entropy loss (non-uniform entropy; De Waal and Willenborg 1999, Gionis and Tassa 2009): the bits that are lost per cell,
//!   log2(records with the coarse value / records with the value), summed over all cells. It depends on levels alone and
//!   never falls from a level to a coarser one. Suppressed records are counted as if they were released at these levels,
//!   which keeps it so (ARX calls this its monotonic variant).
//! - Precision (Sweeney 2002): 1 less the mean over quasi-identifiers of level / height of the hierarchy.

use crate::hierarchy::Hierarchy;

/// The loss of one column by level.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnLoss {
    bits: Vec<f64>,
}

impl ColumnLoss {
    /// From how many records have each row of the hierarchy as their value.
    pub fn new(hierarchy: &Hierarchy, records: &[u64]) -> Self {
        let bits = (0..=hierarchy.height()).map(|level| {
            let codes = hierarchy.codes(level);
            assert_eq!(codes.len(), records.len(), "one count per row");
            let mut coarse = vec![0_u64; hierarchy.cardinality(level) as usize];
            codes.iter().zip(records).for_each(|(code, count)| coarse[*code as usize] += count);
            let lost = |(code, count): (&u32, &u64)| {
                *count as f64 * (coarse[*code as usize] as f64 / *count as f64).log2()
            };
            codes.iter().zip(records).filter(|(_, count)| **count > 0).map(lost).sum()
        });
        Self { bits: bits.collect() }
    }

    /// Bits lost in all cells of the column at a level.
    pub fn bits(&self, level: usize) -> f64 {
        self.bits[level]
    }
}

/// Precision of these levels under hierarchies of these heights; a column that cannot be made coarser has height 0.
pub fn precision(levels: &[usize], heights: &[usize]) -> f64 {
    assert_eq!(levels.len(), heights.len(), "one height per level");
    let shares = levels.iter().zip(heights).filter(|(_, height)| **height > 0);
    let lost: f64 = shares.map(|(level, height)| *level as f64 / *height as f64).sum();
    1.0 - lost / levels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_loses_the_bits_that_told_its_values_apart() {
        let rows = [["a", "x", "*"], ["b", "x", "*"], ["c", "y", "*"]];
        let hierarchy = Hierarchy::new(rows).unwrap();
        let loss = ColumnLoss::new(&hierarchy, &[2, 2, 4]);
        assert_eq!([0, 1, 2].map(|level| loss.bits(level)), [0.0, 4.0, 8.0 + 4.0]);
    }

    #[test]
    fn values_that_no_record_has_lose_nothing() {
        let hierarchy = Hierarchy::new([["a", "x"], ["b", "x"]]).unwrap();
        let loss = ColumnLoss::new(&hierarchy, &[3, 0]);
        assert_eq!(loss.bits(1), 0.0);
    }

    /// The example of Sweeney's paper: two columns of heights 1 and 2.
    #[test]
    fn precision_is_how_far_from_the_top_the_levels_are() {
        assert_eq!(precision(&[0, 0], &[1, 2]), 1.0);
        assert_eq!(precision(&[1, 0], &[1, 2]), 0.5);
        assert_eq!(precision(&[0, 1], &[1, 2]), 0.75);
        assert_eq!(precision(&[1, 2], &[1, 2]), 0.0);
        assert_eq!(precision(&[0, 0], &[0, 2]), 1.0);
    }
}
