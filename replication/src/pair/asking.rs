//! How much a group asks the other region for: what comes too late was carried over the link for nothing.

/// The least that an answer is limited to, bytes; one command is always whole.
pub(super) const ANSWER_BYTES_MIN: u32 = 64 << 10;

/// What a group begins with, bytes.
const ANSWER_BYTES_FIRST: u32 = 1 << 20;

/// Records of the whole state that are asked for at once: they fill a link of 30 ms and 1 GBit/s.
const RECORDS_AT_ONCE_MAX: usize = 8;

/// What is known of how a group gets on. Answers grow while they come and are halved when one did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    is_behind: bool,
    bytes_max: u32,
    /// Of answers on a good link, bytes.
    bytes_limit: u32,
    records_at_once: usize,
}

impl Asking {
    /// Of a group that was not asked for yet, whose answers are never larger than `bytes_limit`.
    pub(super) fn new(bytes_limit: u32) -> Self {
        let bytes_max = ANSWER_BYTES_FIRST.min(bytes_limit);
        Self { is_behind: true, bytes_max, bytes_limit, records_at_once: RECORDS_AT_ONCE_MAX }
    }

    /// Whether there is more to come than the last answer brought, or nobody knows.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What the next answer may bring, bytes.
    pub(super) fn bytes_max(&self) -> u32 {
        self.bytes_max
    }

    /// Records of the whole state to ask for at once.
    pub(super) fn records_at_once(&self) -> usize {
        self.records_at_once
    }

    /// An answer came, with all there was or not.
    pub(super) fn answered(&mut self, complete: bool) {
        self.is_behind = !complete;
        self.bytes_max = self.bytes_max.saturating_mul(2).min(self.bytes_limit);
        self.records_at_once = (2 * self.records_at_once).min(RECORDS_AT_ONCE_MAX);
    }

    /// None came in time.
    pub(super) fn failed(&mut self) {
        self.is_behind = true;
        self.bytes_max = (self.bytes_max / 2).max(ANSWER_BYTES_MIN);
        self.records_at_once = (self.records_at_once / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_get_smaller_while_they_come_too_late_and_grow_again() {
        let mut asking = Asking::new(u32::MAX);
        assert!(asking.is_behind(), "nobody knows");
        (0..20).for_each(|_| asking.failed());
        assert_eq!((asking.bytes_max(), asking.records_at_once()), (ANSWER_BYTES_MIN, 1));
        asking.answered(false);
        assert_eq!((asking.is_behind(), asking.bytes_max()), (true, 2 * ANSWER_BYTES_MIN));
        (0..40).for_each(|_| asking.answered(true));
        assert_eq!((asking.is_behind(), asking.bytes_max()), (false, u32::MAX));
    }

    #[test]
    fn no_answer_is_larger_than_the_link_allows() {
        let limit = 3 * ANSWER_BYTES_MIN;
        let mut asking = Asking::new(limit);
        assert_eq!(asking.bytes_max(), limit);
        asking.answered(false);
        assert_eq!(asking.bytes_max(), limit);
    }
}
