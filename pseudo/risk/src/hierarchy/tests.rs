//! Hierarchies: what they answer, and that every broken one is refused by row.

use super::*;

fn hierarchy(rows: &[&[&str]]) -> Result<Hierarchy, HierarchyError> {
    Hierarchy::new(rows.iter().map(|row| row.iter().copied()))
}

#[test]
fn values_that_share_a_cell_share_a_code() {
    let ages = hierarchy(&[&["1", "0-1", "*"], &["2", "2-3", "*"], &["3", "2-3", "*"]]).unwrap();
    let row = |value: &str| ages.find(value.as_bytes()).unwrap();
    assert_eq!(ages.height(), 2);
    assert_eq!([0, 1, 2].map(|level| ages.cardinality(level)), [3, 2, 1]);
    assert_eq!(ages.code(1, row("2")), ages.code(1, row("3")));
    assert_ne!(ages.code(1, row("1")), ages.code(1, row("3")));
    assert_eq!(ages.code(0, row("3")), row("3"));
    assert_eq!(ages.find(b"4"), None);
    assert_eq!(ages.check_nested(), Ok(()));
}

#[test]
fn a_row_may_be_there_twice() {
    let sexes = hierarchy(&[&["f", "*"], &["f", "*"], &["m", "*"]]).unwrap();
    assert_eq!((sexes.cardinality(0), sexes.find(b"m")), (2, Some(1)));
}

#[test]
fn broken_hierarchies_are_refused_by_row() {
    assert_eq!(hierarchy(&[]).unwrap_err(), HierarchyError::Empty);
    assert_eq!(
        hierarchy(&[&["a", "*"], &["b"]]).unwrap_err(),
        HierarchyError::Ragged { row: 2, found: 1, expected: 2 }
    );
    assert_eq!(
        hierarchy(&[&["a"], &["b", "*"]]).unwrap_err(),
        HierarchyError::Ragged { row: 2, found: 2, expected: 1 }
    );
    assert_eq!(hierarchy(&[&[]]).unwrap_err(), HierarchyError::Ragged { row: 1, found: 0, expected: 0 });
    assert_eq!(
        hierarchy(&[&["a", "x"], &["b", "x"], &["a", "y"]]).unwrap_err(),
        HierarchyError::Contradiction { row: 3, first: 1 }
    );
    let wide: Vec<&str> = vec!["x"; LEVELS_MAX + 2];
    assert_eq!(hierarchy(&[&wide]).unwrap_err(), HierarchyError::TooManyLevels { row: 1 });
}

#[test]
fn a_hierarchy_that_splits_what_it_joined_is_not_nested() {
    let split = hierarchy(&[&["1", "low", "x"], &["2", "low", "y"], &["3", "high", "y"]]).unwrap();
    assert_eq!(split.check_nested(), Err(HierarchyError::NotNested { row: 2, level: 1 }));
}
