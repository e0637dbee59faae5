//! How much a group asks the other region for: what comes too late was carried over the link for nothing.

use wire::limits;

/// The least that an answer is limited to, bytes; one command is always whole.
pub(super) const ANSWER_BYTES_MIN: u32 = 64 << 10;

/// What a group begins with, bytes.
const ANSWER_BYTES_FIRST: u32 = 1 << 20;

/// The most that one answer brings, bytes.
const ANSWER_BYTES_MAX: u32 = limits::FRAME_BODY_BYTES_MAX as u32;

/// Records of the whole state that are asked for at once: they fill a link of 30 ms and 1 GBit/s.
const RECORDS_AT_ONCE_MAX: usize = 8;

/// What is known of how a group gets on. Answers grow while full ones come, and are halved when one did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    is_heard: bool,
    is_behind: bool,
    bytes_max: u32,
    /// Of answers on a good link, bytes.
    bytes_limit: u32,
    records_at_once: usize,
}

impl Asking {
    /// Of a group that was not asked for yet, whose answers are never larger than `bytes_limit`.
    pub(super) fn new(bytes_limit: u32) -> Self {
        let bytes_limit = bytes_limit.min(ANSWER_BYTES_MAX);
        let bytes_max = ANSWER_BYTES_FIRST.min(bytes_limit);
        Self {
            is_heard: false,
            is_behind: true,
            bytes_max,
            bytes_limit,
            records_at_once: RECORDS_AT_ONCE_MAX,
        }
    }

    /// Whether the last question was answered: who is not heard of keeps nobody waiting.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard
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

    /// It was said what part the group has, and nothing else.
    pub(super) fn heard(&mut self) {
        self.is_heard = true;
    }

    /// An answer came, with so many bytes, and with all there was or not.
    pub(super) fn answered(&mut self, bytes: usize, complete: bool) {
        (self.is_heard, self.is_behind) = (true, !complete);
        if !complete || bytes >= self.bytes_max as usize / 2 {
            self.bytes_max = self.bytes_max.saturating_mul(2).min(self.bytes_limit);
        }
    }

    /// The whole state came.
    pub(super) fn adopted(&mut self) {
        self.records_at_once = (2 * self.records_at_once).min(RECORDS_AT_ONCE_MAX);
    }

    /// None came in time.
    pub(super) fn failed(&mut self) {
        (self.is_heard, self.is_behind) = (false, true);
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
        assert!(asking.is_behind() && !asking.is_heard(), "nobody knows");
        (0..20).for_each(|_| asking.failed());
        assert_eq!((asking.bytes_max(), asking.records_at_once()), (ANSWER_BYTES_MIN, 1));
        asking.answered(100, false);
        assert_eq!((asking.is_behind(), asking.bytes_max()), (true, 2 * ANSWER_BYTES_MIN));
        (0..40).for_each(|_| asking.answered(ANSWER_BYTES_MAX as usize, true));
        assert_eq!((asking.is_behind(), asking.bytes_max()), (false, ANSWER_BYTES_MAX));
        // however long it went well, the next answer after one that came too late is half as large
        asking.failed();
        assert_eq!(asking.bytes_max(), ANSWER_BYTES_MAX / 2);
    }

    #[test]
    fn answers_that_bring_little_say_nothing_of_the_link() {
        let mut asking = Asking::new(u32::MAX);
        let before = asking.bytes_max();
        (0..40).for_each(|_| asking.answered(0, true));
        assert_eq!(asking.bytes_max(), before);
    }

    #[test]
    fn no_answer_is_larger_than_the_link_allows() {
        let limit = 3 * ANSWER_BYTES_MIN;
        let mut asking = Asking::new(limit);
        assert_eq!(asking.bytes_max(), limit);
        asking.answered(limit as usize, false);
        assert_eq!(asking.bytes_max(), limit);
    }
}
