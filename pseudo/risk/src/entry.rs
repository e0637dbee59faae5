//! Counted pairs of class and sensitive value, and how they are gathered into classes.
//!
//! An entry says: this class has this value so many times. Entries of any number of records are sorted and equal ones
//! put together; what is left is small when classes are large, and in an order that lets classes be read one by one.

/// The name of a class: a fingerprint, or codes packed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey {
    /// The upper half, which orders first.
    pub high: u64,
    /// The lower half.
    pub low: u64,
}

/// A class, a value of a sensitive attribute, and how often they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The class.
    pub class: ClassKey,
    /// The value's code; 0 for all records where no sensitive attribute is asked for.
    pub value: u32,
    /// How many records; at least 1.
    pub count: u32,
}

/// A value of a sensitive attribute within one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueCount {
    /// The value's code.
    pub value: u32,
    /// How many records of the class have it.
    pub count: u64,
}

/// Sorts entries by class and value on so many threads and puts equal ones together. A count that would not fit stays in
/// two entries.
pub fn sort_and_combine(entries: &mut Vec<Entry>, threads: usize) {
    sort(entries, threads);
    combine(entries);
}

/// Fewer entries than this are sorted sooner than a thread begins.
const THREAD_ENTRIES_MIN: usize = 1 << 16;

/// Sorts on so many threads: what is below the middle on one half of them, what is above on the other.
fn sort(entries: &mut [Entry], threads: usize) {
    let key = |entry: &Entry| (entry.class, entry.value);
    if threads < 2 || entries.len() < THREAD_ENTRIES_MIN {
        return entries.sort_unstable_by_key(key);
    }
    let (below, _, above) = entries.select_nth_unstable_by_key(entries.len() / 2, key);
    std::thread::scope(|scope| {
        scope.spawn(move || sort(below, threads / 2));
        sort(above, threads - threads / 2);
    });
}

fn combine(entries: &mut Vec<Entry>) {
    entries.dedup_by(|later, earlier| {
        let is_same = later.class == earlier.class && later.value == earlier.value;
        match earlier.count.checked_add(later.count) {
            Some(count) if is_same => {
                earlier.count = count;
                true
            }
            _ => false,
        }
    });
}

/// Gathers sorted entries into classes.
#[derive(Debug, Default)]
pub struct Grouper {
    class: Option<ClassKey>,
    values: Vec<ValueCount>,
}

impl Grouper {
    /// Takes the next entry, and calls `visit` with the class before it when that is complete.
    pub fn push<E>(
        &mut self,
        entry: &Entry,
        visit: &mut impl FnMut(ClassKey, &[ValueCount]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.class {
            Some(class) if class == entry.class => {}
            Some(class) => {
                assert!(class < entry.class, "entries arrive sorted");
                visit(class, &self.values)?;
                self.values.clear();
            }
            None => {}
        }
        self.class = Some(entry.class);
        match self.values.last_mut() {
            Some(last) if last.value == entry.value => last.count += u64::from(entry.count),
            _ => self.values.push(ValueCount { value: entry.value, count: u64::from(entry.count) }),
        }
        Ok(())
    }

    /// Calls `visit` with the last class.
    pub fn finish<E>(
        self,
        visit: &mut impl FnMut(ClassKey, &[ValueCount]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.class {
            Some(class) => visit(class, &self.values),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn entry(class: u64, value: u32, count: u32) -> Entry {
        Entry { class: ClassKey { high: class, low: 0 }, value, count }
    }

    fn classes(entries: &[Entry]) -> Vec<(u64, Vec<(u32, u64)>)> {
        let (mut found, mut grouper) = (Vec::new(), Grouper::default());
        let mut visit = |class: ClassKey, values: &[ValueCount]| {
            found.push((class.high, values.iter().map(|value| (value.value, value.count)).collect()));
            Ok::<(), Infallible>(())
        };
        for entry in entries {
            grouper.push(entry, &mut visit).unwrap();
        }
        grouper.finish(&mut visit).unwrap();
        found
    }

    #[test]
    fn equal_entries_are_put_together_and_classes_come_one_by_one() {
        let mut entries =
            vec![entry(2, 5, 1), entry(1, 7, 2), entry(2, 5, 3), entry(1, 6, 1), entry(2, 4, 1)];
        sort_and_combine(&mut entries, 1);
        assert_eq!(entries, [entry(1, 6, 1), entry(1, 7, 2), entry(2, 4, 1), entry(2, 5, 4)]);
        assert_eq!(classes(&entries), [(1, vec![(6, 1), (7, 2)]), (2, vec![(4, 1), (5, 4)])]);
    }

    #[test]
    fn any_number_of_threads_sorts_alike() {
        let entry =
            |index: u64| entry(index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44, (index % 3) as u32, 1);
        let entries: Vec<Entry> = (0..3 * THREAD_ENTRIES_MIN as u64).map(entry).collect();
        let sorted = |threads| {
            let mut entries = entries.clone();
            sort(&mut entries, threads);
            entries
        };
        let one = sorted(1);
        assert!(one.is_sorted());
        for threads in [2, 3, 4, 7] {
            assert!(sorted(threads) == one, "{threads} threads");
        }
    }

    #[test]
    fn counts_beyond_32_bits_are_added_up_in_the_class() {
        let mut entries = vec![entry(1, 0, u32::MAX), entry(1, 0, u32::MAX), entry(1, 0, 2)];
        sort_and_combine(&mut entries, 1);
        assert_eq!(classes(&entries), [(1, vec![(0, 2 * u64::from(u32::MAX) + 2)])]);
    }

    #[test]
    fn no_entries_are_no_classes() {
        assert_eq!(classes(&[]), []);
    }
}
