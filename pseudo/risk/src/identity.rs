//! Who is who: figures that follow from the sizes of the classes alone.

use std::collections::BTreeMap;

/// How many classes there are of each size: all that re-identification risk depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSizes {
    classes_by_size: BTreeMap<u64, u64>,
    suppressed: u64,
}

/// Re-identification risk of a table. Records that are suppressed are not counted, except where it says so.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityFigures {
    /// Records that were measured.
    pub records: u64,
    /// Classes.
    pub classes: u64,
    /// k of k-anonymity (Sweeney 2002): the size of the smallest class.
    pub k: u64,
    /// The size of the largest class.
    pub largest_class: u64,
    /// Share of records that are alone in their class: sample uniqueness.
    pub unique_share: f64,
    /// Chance that a record is re-identified by who knows that its person is in the table, on average over records:
    /// classes / records (Dankar and El Emam: marketer risk of a whole table; ARX: average prosecutor risk).
    pub average_risk: f64,
    /// The same for the record most at risk: 1 / k (prosecutor risk).
    pub highest_risk: f64,
    /// Discernibility (Bayardo and Agrawal 2005): sum of squares of class sizes, and for every suppressed record the
    /// number of all records, suppressed ones included.
    pub discernibility: u128,
    /// Records left out because their class was too small.
    pub suppressed: u64,
}

impl ClassSizes {
    /// Counts a class of this size; a class of no records is a bug of the caller.
    pub fn add(&mut self, size: u64) {
        assert!(size > 0, "a class has records");
        *self.classes_by_size.entry(size).or_default() += 1;
    }

    /// Counts records as left out.
    pub fn suppress(&mut self, records: u64) {
        self.suppressed += records;
    }

    /// Sizes in ascending order, each with its number of classes.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.classes_by_size.iter().map(|(size, classes)| (*size, *classes))
    }

    /// Records in all classes.
    pub fn records(&self) -> u64 {
        self.iter().map(|(size, classes)| size * classes).sum()
    }

    /// How many classes there are.
    pub fn classes(&self) -> u64 {
        self.classes_by_size.values().sum()
    }

    /// Classes of one size.
    pub fn classes_of(&self, size: u64) -> u64 {
        self.classes_by_size.get(&size).copied().unwrap_or(0)
    }

    /// Records in classes smaller than `k`: what has to be suppressed to reach k-anonymity.
    pub fn records_below(&self, k: u64) -> u64 {
        self.classes_by_size.range(..k).map(|(size, classes)| size * classes).sum()
    }

    /// The same table with classes smaller than `k` left out.
    #[must_use]
    pub fn without_below(&self, k: u64) -> Self {
        let classes_by_size =
            self.classes_by_size.range(k..).map(|(size, classes)| (*size, *classes)).collect();
        Self { classes_by_size, suppressed: self.suppressed + self.records_below(k) }
    }

    /// The figures; `None` for a table without a record, which has no risk to speak of.
    pub fn figures(&self) -> Option<IdentityFigures> {
        let (k, _) = self.classes_by_size.first_key_value()?;
        let (largest_class, _) = self.classes_by_size.last_key_value()?;
        let (records, classes) = (self.records(), self.classes());
        let squares: u128 = self
            .iter()
            .map(|(size, classes)| u128::from(size) * u128::from(size) * u128::from(classes))
            .sum();
        let all = u128::from(records) + u128::from(self.suppressed);
        Some(IdentityFigures {
            records,
            classes,
            k: *k,
            largest_class: *largest_class,
            unique_share: ratio(self.classes_of(1), records),
            average_risk: ratio(classes, records),
            highest_risk: 1.0 / *k as f64,
            discernibility: squares + u128::from(self.suppressed) * all,
            suppressed: self.suppressed,
        })
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(list: &[u64]) -> ClassSizes {
        let mut sizes = ClassSizes::default();
        list.iter().for_each(|size| sizes.add(*size));
        sizes
    }

    #[test]
    fn figures_follow_from_class_sizes() {
        let figures = sizes(&[1, 1, 3, 5]).figures().unwrap();
        assert_eq!((figures.records, figures.classes, figures.k, figures.largest_class), (10, 4, 1, 5));
        assert_eq!((figures.unique_share, figures.average_risk, figures.highest_risk), (0.2, 0.4, 1.0));
        assert_eq!((figures.discernibility, figures.suppressed), (1 + 1 + 9 + 25, 0));
    }

    #[test]
    fn suppressed_records_cost_as_much_as_if_they_could_be_anyone() {
        let all = sizes(&[1, 1, 3, 5]);
        assert_eq!((all.records_below(3), all.records_below(4), all.records_below(1)), (2, 5, 0));
        let figures = all.without_below(3).figures().unwrap();
        assert_eq!((figures.records, figures.k, figures.suppressed), (8, 3, 2));
        assert_eq!(figures.discernibility, 9 + 25 + 2 * 10);
    }

    #[test]
    fn a_table_without_records_has_no_figures() {
        assert_eq!(ClassSizes::default().figures(), None);
        assert_eq!(sizes(&[1, 2]).without_below(3).figures(), None);
    }
}
