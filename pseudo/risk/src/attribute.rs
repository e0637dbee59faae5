//! What becomes known about a person without finding the record: figures from the values of a sensitive attribute in
//! each class.
//!
//! Variants, where the literature has several:
//!
//! - distinct l (Machanavajjhala and others 2007): the smallest number of different values in a class.
//! - entropy l: e to the smallest Shannon entropy of a class, in nats; 5.0 says that every class is as diverse as five
//!   equally frequent values. Not rounded (pycanon rounds down to a whole number).
//! - recursive (c, l): for each l the smallest bound c' such that r1 <= c' (r_l + ... + r_m) in every class, r1 being the most
//!   frequent value. The table is (c, l)-diverse for every c > c' (ARX and the paper; pycanon 1.3.6 takes the least
//!   frequent value for r1, which is another figure).
//! - t with equal ground distance (Li and others 2007): the largest variational distance between the distribution in a
//!   class and that of the whole table, half the sum of absolute differences.
//! - t with ordered distance (same paper): the earth mover's distance over the ranks of numeric values, divided by
//!   their number less one.
//! - alpha (Wong and others 2006): the largest share of one value in a class.
//! - beta (Cao and Karras 2012, basic): the largest relative gain (p - q) / q of a value's share in a class over its
//!   share in the table.
//! - delta (Brickell and Shmatikov 2008): the largest |ln(p / q)| of a value that a class has.

use crate::entry::ValueCount;

/// The largest l for which recursive diversity is computed: beyond it the figure says little, and each costs a pass.
pub const RECURSIVE_L_MAX: usize = 10;

/// The distribution of a sensitive attribute over the whole table.
#[derive(Clone, Debug)]
pub struct Distribution {
    counts: Vec<u64>,
    total: u64,
    order: Option<Order>,
}

/// Numeric values by rank.
#[derive(Clone, Debug)]
struct Order {
    /// Rank of each code.
    ranks: Vec<u32>,
    /// Share of values up to and including a rank.
    cumulative: Vec<f64>,
    /// Sum of `cumulative` before a rank: `sums[r]` is over ranks 0 to r - 1.
    sums: Vec<f64>,
}

impl Distribution {
    /// From how often each code occurs.
    pub fn new(counts: Vec<u64>) -> Self {
        let total = counts.iter().sum();
        Self { counts, total, order: None }
    }

    /// Gives the codes an order by these numbers, one per code. Codes with equal numbers share a rank. Numbers that
    /// are not finite give no order.
    #[must_use]
    pub fn ordered_by(mut self, numbers: &[f64]) -> Self {
        assert_eq!(numbers.len(), self.counts.len(), "one number per code");
        if !numbers.iter().all(|number| number.is_finite()) || self.total == 0 {
            return self;
        }
        // a code that no record has any more (its records were suppressed) takes no rank
        let mut present: Vec<usize> = (0..numbers.len()).filter(|code| self.counts[*code] > 0).collect();
        present.sort_by(|left, right| numbers[*left].total_cmp(&numbers[*right]));
        let mut ranks = vec![0; numbers.len()];
        let mut masses: Vec<u64> = Vec::new();
        let mut last = f64::NAN;
        for code in present {
            // zero and negative zero are one number
            if masses.is_empty() || numbers[code] != last {
                masses.push(0);
            }
            last = numbers[code];
            let rank = masses.len() - 1;
            ranks[code] = u32::try_from(rank).expect("there are no more ranks than 32-bit codes");
            masses[rank] += self.counts[code];
        }
        let (mut cumulative, mut sums, mut mass, mut sum) = (Vec::new(), vec![0.0], 0_u64, 0.0);
        for add in masses {
            mass += add;
            let share = mass as f64 / self.total as f64;
            sum += share;
            cumulative.push(share);
            sums.push(sum);
        }
        self.order = Some(Order { ranks, cumulative, sums });
        self
    }

    /// Variational distance of a class from the whole table: t with equal ground distance of this class.
    pub fn equal_distance(&self, values: &[ValueCount]) -> f64 {
        let size = values.iter().map(|value| value.count).sum::<u64>() as f64;
        // the parts above and below cancel out, so half the absolute sum is the sum of the parts above
        let above = |value: &ValueCount| (value.count as f64 / size - self.share(value.value)).max(0.0);
        values.iter().map(above).sum()
    }

    fn share(&self, code: u32) -> f64 {
        self.counts[code as usize] as f64 / self.total as f64
    }
}

/// The figures of one sensitive attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeFigures {
    /// Different values in the table.
    pub values: u64,
    /// Distinct l.
    pub l_distinct: u64,
    /// Entropy l.
    pub l_entropy: f64,
    /// The bound c' of recursive diversity for l = 2, 3, ... up to distinct l or [`RECURSIVE_L_MAX`].
    pub recursive_c: Vec<f64>,
    /// t with equal ground distance.
    pub t_equal: f64,
    /// t with ordered distance; `None` when values are not all numbers.
    pub t_ordered: Option<f64>,
    /// Largest share of one value in a class.
    pub alpha: f64,
    /// Basic beta.
    pub beta: f64,
    /// Delta of delta-disclosure.
    pub delta: f64,
}

/// Takes one class after another and keeps the worst of each figure.
#[derive(Debug)]
pub struct AttributeMeter<'a> {
    table: &'a Distribution,
    l_distinct: u64,
    entropy: f64,
    recursive_c: Vec<f64>,
    t_equal: f64,
    t_ordered: f64,
    alpha: f64,
    beta: f64,
    delta: f64,
    scratch: Vec<(u32, u64)>,
}

impl<'a> AttributeMeter<'a> {
    /// Measures against this distribution of the whole table.
    pub fn new(table: &'a Distribution) -> Self {
        Self {
            table,
            l_distinct: u64::MAX,
            entropy: f64::INFINITY,
            recursive_c: vec![0.0; RECURSIVE_L_MAX - 1],
            t_equal: 0.0,
            t_ordered: 0.0,
            alpha: 0.0,
            beta: f64::NEG_INFINITY,
            delta: 0.0,
            scratch: Vec::new(),
        }
    }

    /// Takes a class.
    pub fn class(&mut self, values: &[ValueCount]) {
        let size = values.iter().map(|value| value.count).sum::<u64>();
        assert!(size > 0, "a class has records");
        let size = size as f64;
        self.l_distinct = self.l_distinct.min(values.len() as u64);
        let (mut weighted, mut largest) = (0.0, 0.0_f64);
        for value in values {
            let count = value.count as f64;
            let (inside, outside) = (count / size, self.table.share(value.value));
            weighted += count * count.ln();
            largest = largest.max(inside);
            self.beta = self.beta.max((inside - outside) / outside);
            self.delta = self.delta.max((inside / outside).ln().abs());
        }
        // rounding may leave a hair below zero in a class of one value
        self.entropy = self.entropy.min((size.ln() - weighted / size).max(0.0));
        self.t_equal = self.t_equal.max(self.table.equal_distance(values));
        self.alpha = self.alpha.max(largest);
        self.recursive(values);
        if let Some(order) = &self.table.order {
            let moved = ordered_distance(order, values, size, &mut self.scratch);
            self.t_ordered = self.t_ordered.max(moved);
        }
    }

    fn recursive(&mut self, values: &[ValueCount]) {
        self.scratch.clear();
        self.scratch.extend(values.iter().map(|value| (value.value, value.count)));
        self.scratch.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most = self.scratch[0].1 as f64;
        let mut tail: u64 = self.scratch.iter().map(|(_, count)| count).sum();
        for (before, bound) in self.scratch.iter().zip(&mut self.recursive_c) {
            tail -= before.1;
            // without a value left the class is not l-diverse at all; distinct l tells, and the figure is cut there
            *bound = bound.max(most / tail as f64);
        }
    }

    /// The worst of each figure; `None` when there was no class.
    pub fn figures(mut self) -> Option<AttributeFigures> {
        if self.l_distinct == u64::MAX {
            return None;
        }
        let usable = usize::try_from(self.l_distinct - 1).unwrap_or(usize::MAX);
        self.recursive_c.truncate(usable);
        Some(AttributeFigures {
            values: self.table.counts.iter().filter(|count| **count > 0).count() as u64,
            l_distinct: self.l_distinct,
            l_entropy: self.entropy.exp(),
            recursive_c: self.recursive_c,
            t_equal: self.t_equal,
            t_ordered: self.table.order.as_ref().map(|_| self.t_ordered),
            alpha: self.alpha,
            beta: self.beta,
            delta: self.delta,
        })
    }
}

/// Earth mover's distance over ranks: the mean, over all borders between neighbouring ranks, of what has to cross.
///
/// Between two values of the class its cumulative share stays the same while the table's rises, so the absolute
/// difference changes sign at most once: each stretch is two differences of sums that are known beforehand.
fn ordered_distance(order: &Order, values: &[ValueCount], size: f64, by_rank: &mut Vec<(u32, u64)>) -> f64 {
    let borders = order.cumulative.len() - 1;
    if borders == 0 {
        return 0.0;
    }
    by_rank.clear();
    by_rank.extend(values.iter().map(|value| (order.ranks[value.value as usize], value.count)));
    by_rank.sort_unstable();
    let stretch = |from: usize, to: usize, inside: f64| {
        if from >= to {
            return 0.0;
        }
        let split = from + order.cumulative[from..to].partition_point(|outside| *outside < inside);
        let below = inside * (split - from) as f64 - (order.sums[split] - order.sums[from]);
        let above = (order.sums[to] - order.sums[split]) - inside * (to - split) as f64;
        below + above
    };
    let (mut moved, mut from, mut count) = (0.0, 0, 0_u64);
    for (rank, more) in by_rank.iter() {
        let to = (*rank as usize).min(borders);
        moved += stretch(from, to, count as f64 / size);
        (from, count) = (to, count + more);
    }
    moved += stretch(from, borders, count as f64 / size);
    moved / borders as f64
}

#[cfg(test)]
#[path = "attribute/tests.rs"]
mod tests;
