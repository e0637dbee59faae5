//! Exports that would hold nothing. A prefix with a mistake in it has no objects, and an export of them looks like any other to its readers: so
//! one is made only if somebody said that it may be empty.

use crate::PseudoError;
use crate::s3::Place;

/// What an export may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MayLack {
    /// Objects in each place of sources.
    pub(crate) objects: bool,
    /// Rows.
    pub(crate) rows: bool,
}

impl MayLack {
    /// Either, or neither.
    pub(crate) fn all(is_allowed: bool) -> Self {
        Self { objects: is_allowed, rows: is_allowed }
    }

    /// Refuses a place of sources where so many objects were found, if there have to be some.
    pub(crate) fn objects(self, place: &Place, found: usize) -> Result<(), PseudoError> {
        if self.objects || found > 0 {
            return Ok(());
        }
        Err(PseudoError::Empty {
            problem: format!("there is no object below {place}/"),
            advice: format!(
                "see whether the prefix is meant so (a place that ends with a slash is everything below it, without one a single object); {ALLOW}"
            ),
        })
    }

    /// Refuses an export of so many records that went in and came out, if there have to be some.
    pub(crate) fn rows(self, records_in: u64, records_out: u64) -> Result<(), PseudoError> {
        if self.rows || records_out > 0 {
            return Ok(());
        }
        let problem = match records_in {
            0 => "the sources have no records: the export would have no row, and has no manifest".to_owned(),
            count => format!(
                "all {count} records were left out: the export would have no row, and has no manifest"
            ),
        };
        Err(PseudoError::Empty {
            problem,
            advice: format!("see whether these are the sources that were meant; {ALLOW}"),
        })
    }
}

/// How an empty export is asked for.
const ALLOW: &str = "if it may be empty, say --allow-empty, or allow_empty = true for a job";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_refused_unless_it_was_asked_for() {
        let place = Place::parse("s3://jobs/imn/").unwrap();
        let (strict, lax) = (MayLack::all(false), MayLack::all(true));
        let said = strict.objects(&place, 0).unwrap_err().to_string();
        assert_eq!(said, "there is no object below s3://jobs/imn/");
        assert!(strict.rows(7, 0).unwrap_err().to_string().contains("all 7 records were left out"));
        assert!(strict.rows(0, 0).is_err() && strict.rows(7, 1).is_ok() && strict.objects(&place, 1).is_ok());
        assert!(lax.objects(&place, 0).is_ok() && lax.rows(0, 0).is_ok());
    }
}
