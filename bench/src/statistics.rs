//! Latencies in a fixed-size histogram, and medians of small samples.
//!
//! The histogram has 64 steps per power of two: a percentile is at most 1.6 % above the true value, whatever was
//! recorded, and recording costs a few instructions and no memory.

use std::time::Duration;

/// Steps per power of two, as a power of two itself.
const STEP_BITS: u32 = 6;
/// Steps per power of two.
const STEPS: u64 = 1 << STEP_BITS;
/// Powers of two covered above the first 64 µs: up to 2^34 µs, almost five hours; longer values count as that.
const POWERS: usize = 28;
/// Cells of the histogram.
const CELLS: usize = (POWERS + 1) * STEPS as usize;

/// Counts of durations in microseconds.
pub struct Histogram {
    counts: Box<[u64; CELLS]>,
    total: u64,
    longest_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; CELLS]), total: 0, longest_us: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let value_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[cell_of(value_us)] += 1;
        self.total += 1;
        self.longest_us = self.longest_us.max(value_us);
    }

    /// Adds all that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine += theirs;
        }
        self.total += other.total;
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest one, exactly.
    pub fn longest_us(&self) -> u64 {
        self.longest_us
    }

    /// The duration that `percent` of all do not exceed; 0 when nothing was counted.
    pub fn percentile_us(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (cell, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end_of(cell).min(self.longest_us);
            }
        }
        self.longest_us
    }
}

/// The middle of a sample (mean of the two middle ones when even); `None` when it is empty.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// The smallest value that `percent` of a sample do not exceed; `None` when it is empty.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn cell_of(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = (u64::BITS - 1 - value.leading_zeros() - STEP_BITS) as usize;
    if power >= POWERS {
        return CELLS - 1;
    }
    let step = (value >> power) - STEPS;
    (power + 1) * STEPS as usize + step as usize
}

/// The largest value that lands in a cell.
fn end_of(cell: usize) -> u64 {
    let (row, step) = (cell as u64 / STEPS, cell as u64 % STEPS);
    if row == 0 {
        return step;
    }
    let power = row - 1;
    ((STEPS + step + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lands_in_a_cell_that_ends_at_most_two_percent_above_it() {
        let mut value = 1_u64;
        while value < 1 << 33 {
            let end = end_of(cell_of(value));
            assert!(end >= value && end - value <= value / 64, "{value} ends at {end}");
            value += 1 + value / 7;
        }
    }

    #[test]
    fn percentiles_of_a_line_are_on_the_line() {
        let mut histogram = Histogram::default();
        for value in 1..=10_000 {
            histogram.record(Duration::from_micros(value));
        }
        assert!((4_950..=5_080).contains(&histogram.percentile_us(50.0)));
        assert!((9_850..=10_000).contains(&histogram.percentile_us(99.0)));
        assert_eq!(histogram.percentile_us(100.0), 10_000);
        assert_eq!(histogram.longest_us(), 10_000);
    }

    #[test]
    fn merged_histograms_count_what_both_counted() {
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        left.record(Duration::from_micros(10));
        right.record(Duration::from_micros(30));
        left.merge(&right);
        assert_eq!((left.total(), left.percentile_us(50.0), left.percentile_us(99.0)), (2, 10, 30));
    }

    #[test]
    fn an_empty_histogram_says_zero_and_endless_waits_are_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_us(99.0), 0);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.total(), 1);
    }

    #[test]
    fn medians_and_percentiles_of_small_samples() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 50.0), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 99.0), Some(4.0));
        assert_eq!(percentile(&[], 99.0), None);
    }
}
