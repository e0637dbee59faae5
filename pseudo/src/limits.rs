//! What a class must be to stay in a table, and which classes are not.

use crate::PseudoError;
use crate::tally::Sorted;
use risk::Distribution;

/// Limits on classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Records of a class, at least; 1 is no limit.
    pub(crate) k: u64,
    /// Different values of every sensitive attribute in a class, at least; 1 is no limit.
    pub(crate) l: u64,
    /// Distance of a class from the table in every sensitive attribute, at most; 1 is no limit.
    pub(crate) t: f64,
}

impl Limits {
    /// No limit at all.
    pub(crate) const NONE: Self = Self { k: 1, l: 1, t: 1.0 };
}

/// For each class, in order, whether it is over a limit; empty when there is no limit. All tallies have the same classes;
/// `whole` has the distribution of each tally's attribute, and is asked only when `t` is a limit.
pub(crate) fn failing(
    tallies: &[Sorted],
    limits: &Limits,
    whole: &[Distribution],
) -> Result<Vec<bool>, PseudoError> {
    let mut failing: Vec<bool> = Vec::new();
    if *limits == Limits::NONE {
        return Ok(failing);
    }
    for (index, tally) in tallies.iter().enumerate() {
        let mut class = 0;
        tally.classes(|_, values| {
            let records: u64 = values.iter().map(|value| value.count).sum();
            let fails = records < limits.k
                || (values.len() as u64) < limits.l
                || (limits.t < 1.0 && whole[index].equal_distance(values) > limits.t);
            if index == 0 {
                failing.push(fails);
            } else {
                failing[class] |= fails;
            }
            class += 1;
            Ok(())
        })?;
    }
    Ok(failing)
}
