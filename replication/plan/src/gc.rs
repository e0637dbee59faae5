//! Which segments to free: those without live bytes at once, mostly-dead ones after moving their live rest.

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its number.
    pub segment: u64,
    /// Room it takes up.
    pub bytes: u64,
    /// Heads and bodies in it that rows point to.
    pub live_bytes: u64,
    /// Whether it may go once nothing in it is live: sealed, and without entries that some group has not purged.
    pub removable: bool,
}

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Room is plenty: moving must pay.
    Relaxed,
    /// The disk is short of room: whatever gains room is worth moving.
    Eager,
}

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Segments without live bytes.
    pub free: Vec<u64>,
    /// Segments whose live bytes should move, those that cost least first.
    pub compact: Vec<u64>,
}

/// Live share up to which a segment is compacted while room is plenty. 50 %: each byte moved frees at least another.
const LIVE_PERCENT_RELAXED: u64 = 50;

/// The same when room is short. 90 %: moving nine bytes to gain one is still room.
const LIVE_PERCENT_EAGER: u64 = 90;

/// Most bytes that a segment's live records may take for compacting to be worth it. What a freshly packed segment may
/// lose at its beginning and end stays out, or it would be packed again for ever.
pub fn packed_bytes_max(segment_bytes: u64, record_bytes_max: u64, urgency: Urgency) -> u64 {
    let percent = match urgency {
        Urgency::Relaxed => LIVE_PERCENT_RELAXED,
        Urgency::Eager => LIVE_PERCENT_EAGER,
    };
    let packed = segment_bytes.saturating_sub(segment_bytes / 16).saturating_sub(record_bytes_max);
    (segment_bytes / 100 * percent).min(packed.saturating_sub(1))
}

/// Chooses, moving `move_bytes_max` at most, though one segment may always be moved. `record_bytes_max` is the size of
/// the largest record.
pub fn choose(
    segments: &[SegmentFacts],
    urgency: Urgency,
    record_bytes_max: u64,
    move_bytes_max: u64,
) -> Choice {
    let removable = || segments.iter().filter(|facts| facts.removable);
    let free = removable().filter(|facts| facts.live_bytes == 0).map(|facts| facts.segment).collect();
    let mut sparse: Vec<_> = removable()
        .filter(|facts| facts.live_bytes > 0)
        .filter(|facts| facts.live_bytes <= packed_bytes_max(facts.bytes, record_bytes_max, urgency))
        .collect();
    sparse.sort_by_key(|facts| (facts.live_bytes, facts.segment));
    let mut moved_bytes = 0;
    let compact = sparse
        .into_iter()
        .take_while(|facts| {
            let first = moved_bytes == 0;
            moved_bytes += facts.live_bytes;
            first || moved_bytes <= move_bytes_max
        })
        .map(|facts| facts.segment)
        .collect();
    Choice { free, compact }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn facts(segment: u64, live_bytes: u64) -> SegmentFacts {
        SegmentFacts { segment, bytes: 64 * MIB, live_bytes, removable: true }
    }

    #[test]
    fn dead_segments_are_freed_and_the_sparsest_of_the_others_are_moved_first() {
        let segments = [facts(1, 30 * MIB), facts(2, 0), facts(3, 40 * MIB), facts(4, MIB)];
        let choice = choose(&segments, Urgency::Relaxed, MIB, 1 << 40);
        assert_eq!(choice, Choice { free: vec![2], compact: vec![4, 1] });
    }

    #[test]
    fn a_segment_that_is_needed_stays_however_dead_it_is() {
        let kept = SegmentFacts { removable: false, ..facts(1, 0) };
        let sparse = SegmentFacts { removable: false, ..facts(2, 1) };
        assert_eq!(choose(&[kept, sparse], Urgency::Eager, MIB, 1 << 40), Choice::default());
    }

    #[test]
    fn a_disk_short_of_room_moves_more() {
        let segments = [facts(1, 50 * MIB)];
        assert_eq!(choose(&segments, Urgency::Relaxed, MIB, 1 << 40).compact, Vec::<u64>::new());
        assert_eq!(choose(&segments, Urgency::Eager, MIB, 1 << 40).compact, [1]);
    }

    #[test]
    fn the_budget_bounds_what_is_moved_but_one_segment_may_always_go() {
        let segments = [facts(1, 10 * MIB), facts(2, 11 * MIB), facts(3, 12 * MIB)];
        assert_eq!(choose(&segments, Urgency::Relaxed, MIB, 21 * MIB).compact, [1, 2]);
        assert_eq!(choose(&segments, Urgency::Relaxed, MIB, 1).compact, [1]);
    }

    #[test]
    fn what_was_just_packed_is_not_packed_again() {
        // the fullest that a segment of 4 MiB may fail to be with records of 1 MiB
        let packed = 4 * MIB - 4 * MIB / 16 - MIB;
        for urgency in [Urgency::Relaxed, Urgency::Eager] {
            assert!(packed_bytes_max(4 * MIB, MIB, urgency) < packed);
        }
    }
}
