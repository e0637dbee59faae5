//! Finding the levels at which a table is safe enough and says most.
//!
//! The table is read once: every record becomes the codes of its quasi-identifiers, packed into one number, and equal
//! records are counted together. From then on a node of the lattice is judged without the table: codes are exchanged for
//! coarser ones and counted again, from the smallest result at hand that is nowhere coarser. Hierarchies must be nested, so
//! that what is asked is monotone (see [`risk::lattice`]): a class that is large and diverse enough stays so when another
//! joins it. Closeness is not monotone once records are left out, so a limit on it goes with no suppression only.

mod base;

use crate::PseudoError;
use crate::limits::{Limits, failing};
use crate::measure::{self, Measured, Plan};
use crate::table::Cell;
use crate::tally::Sorted;
use base::{Base, Column, Reading};
use risk::{Hierarchy, Lattice, precision};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Records that may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Suppression {
    /// So many records.
    Count(u64),
    /// This share of all records, rounded down.
    Share(f64),
}

impl Suppression {
    /// How many of so many records.
    pub(crate) fn records(self, of: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            // the nearest double of a share such as 0.29 may lie below it; a part in 10^9 is far below one record
            Self::Share(share) => (of as f64 * share * (1.0 + 1e-9)).floor() as u64,
        }
    }
}

/// By what the best of the satisfying nodes is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Metric {
    /// Non-uniform entropy: fewest bits lost
    #[default]
    Entropy,
    /// Discernibility: smallest sum of squares of class sizes, suppressed records counted in full
    Discernibility,
    /// Precision: levels furthest from the top of their hierarchies
    Precision,
}

/// What to search.
pub(crate) struct Question {
    /// The table; levels of its quasi-identifiers are kept for those that `fixed` names.
    pub(crate) plan: Plan,
    /// Hierarchies by quasi-identifier, in order.
    pub(crate) hierarchies: Vec<Option<Rc<Hierarchy>>>,
    /// Whether the level of a quasi-identifier is given, in order.
    pub(crate) fixed: Vec<bool>,
    pub(crate) limits: Limits,
    pub(crate) suppression: Suppression,
    pub(crate) metric: Metric,
}

/// A node that satisfies what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// One level per quasi-identifier.
    pub(crate) levels: Vec<usize>,
    pub(crate) figures: Figures,
    /// Bits lost in all cells.
    pub(crate) entropy: f64,
    pub(crate) precision: f64,
}

/// What a node makes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Records left out.
    pub(crate) suppressed: u64,
    /// Classes that stay.
    pub(crate) classes: u64,
    /// Records of the smallest of them; 0 when none stays.
    pub(crate) k: u64,
    /// Squares of their sizes, and all records for each one left out.
    pub(crate) discernibility: u128,
    /// Squares of the sizes of all classes: never larger than `discernibility`, and never falls from fine to coarse.
    squares: u128,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) best: Node,
    /// All nodes that satisfy, while no finer node does; the best first.
    pub(crate) minimal: Vec<Node>,
    /// Nodes of the lattice.
    pub(crate) nodes: usize,
    /// How many of them were judged.
    pub(crate) judged: u64,
    /// Records that could be left out.
    pub(crate) suppressed_max: u64,
}

/// Searches the lattice.
pub(crate) fn search(question: &Question) -> Result<Found, PseudoError> {
    settle(question, lattice(question)?, Base::read(question)?)
}

/// A search of records that are given one by one.
pub(crate) struct Search<'a> {
    question: &'a Question,
    lattice: Lattice,
    reading: Reading<'a>,
}

impl<'a> Search<'a> {
    /// Of nothing yet.
    pub(crate) fn new(question: &'a Question) -> Result<Self, PseudoError> {
        Ok(Self { question, lattice: lattice(question)?, reading: Reading::new(question)? })
    }

    /// Takes a record: cells of the quasi-identifiers, then of the sensitive attributes.
    pub(crate) fn record(&mut self, number: u64, cells: &[Cell<'_>]) -> Result<(), PseudoError> {
        self.reading.record(number, cells)
    }

    /// Searches the lattice.
    pub(crate) fn finish(self) -> Result<Found, PseudoError> {
        settle(self.question, self.lattice, self.reading.finish()?)
    }
}

fn settle(question: &Question, lattice: Lattice, base: Base) -> Result<Found, PseudoError> {
    let mut judge = Judge::new(question, base, lattice.clone());
    let limit = judge.suppressed_max;
    let settled = lattice.settle(|node| Ok(judge.figures(node)?.suppressed <= limit))?;
    let minimal = settled.minimal();
    let mut best: Vec<Node> = minimal.iter().map(|node| judge.node(*node)).collect::<Result<_, _>>()?;
    best.sort_by(|left, right| judge.compare(left, right));
    let Some(mut first) = best.first().cloned() else { return Err(nothing(question, limit)) };
    // generalising more can pay only where it saves records from being left out
    if question.metric == Metric::Discernibility && limit > 0 {
        first = judge.climb(&minimal, first)?;
    }
    let judged = judge.known.len() as u64;
    Ok(Found { best: first, minimal: best, nodes: lattice.nodes(), judged, suppressed_max: limit })
}

/// Measures the table as the best node makes it.
pub(crate) fn measure(question: &Question, found: &Found) -> Result<Measured, PseudoError> {
    let mut plan = question.plan.clone();
    for (index, quasi) in plan.quasi.iter_mut().enumerate() {
        quasi.level = found.best.levels[index];
        quasi.hierarchy.clone_from(&question.hierarchies[index]);
    }
    plan.limits = Limits { t: 1.0, ..question.limits };
    let measured = measure::measure(&plan)?;
    let (identity, figures) = (&measured.identity, &found.best.figures);
    if (identity.suppressed, identity.classes, identity.k) != (figures.suppressed, figures.classes, figures.k)
    {
        return Err(PseudoError::table(&plan.table.path, "the file changed while it was searched"));
    }
    Ok(measured)
}

fn lattice(question: &Question) -> Result<Lattice, PseudoError> {
    let columns = Column::all(question);
    let heights: Vec<usize> = columns.iter().map(|column| column.ceiling - column.floor).collect();
    Lattice::new(&heights).ok_or_else(|| {
        let most = risk::lattice::NODES_MAX;
        PseudoError::usage(
            format!("there are more than {most} combinations of levels"),
            "give some columns their level with --levels, or search fewer",
        )
    })
}

fn nothing(question: &Question, limit: u64) -> PseudoError {
    let Limits { k, l, t } = question.limits;
    let problem =
        format!("no combination of levels reaches k={k}, l={l}, t={t} with {limit} records left out");
    PseudoError::Unreachable { problem, advice: "coarser hierarchies or more suppression may".to_owned() }
}

/// Judges nodes and remembers the judgements.
struct Judge<'a> {
    question: &'a Question,
    base: Base,
    lattice: Lattice,
    known: HashMap<usize, Figures>,
    suppressed_max: u64,
}

impl<'a> Judge<'a> {
    fn new(question: &'a Question, base: Base, lattice: Lattice) -> Self {
        let suppressed_max = question.suppression.records(base.records);
        Self { question, base, lattice, known: HashMap::new(), suppressed_max }
    }

    /// Levels of the columns that have a hierarchy.
    fn column_levels(&self, node: usize) -> Vec<usize> {
        let above = self.lattice.levels(node);
        self.base.columns.iter().zip(above).map(|(column, above)| column.floor + above).collect()
    }

    fn figures(&mut self, node: usize) -> Result<Figures, PseudoError> {
        if let Some(figures) = self.known.get(&node) {
            return Ok(*figures);
        }
        let levels = self.column_levels(node);
        let tallies = self.base.at(&levels)?;
        let figures = self.judge(&tallies)?;
        self.base.remember(levels, tallies);
        self.known.insert(node, figures);
        Ok(figures)
    }

    fn judge(&self, tallies: &[Sorted]) -> Result<Figures, PseudoError> {
        let left_out = failing(tallies, &self.question.limits, &self.base.whole)?;
        let mut figures = Figures { suppressed: 0, classes: 0, k: u64::MAX, discernibility: 0, squares: 0 };
        let mut class = 0;
        tallies[0].classes(|_, values| {
            let size: u64 = values.iter().map(|value| value.count).sum();
            let square = u128::from(size) * u128::from(size);
            figures.squares += square;
            if left_out.get(class).copied().unwrap_or(false) {
                figures.suppressed += size;
                figures.discernibility += u128::from(size) * u128::from(self.base.records);
            } else {
                figures.classes += 1;
                figures.k = figures.k.min(size);
                figures.discernibility += square;
            }
            class += 1;
            Ok(())
        })?;
        if figures.classes == 0 {
            figures.k = 0;
        }
        Ok(figures)
    }

    fn node(&mut self, node: usize) -> Result<Node, PseudoError> {
        let figures = self.figures(node)?;
        let column_levels = self.column_levels(node);
        let entropy =
            self.base.losses.iter().zip(&column_levels).map(|(loss, level)| loss.bits(*level)).sum();
        let (mut levels, mut heights) = (Vec::new(), Vec::new());
        let mut columns = self.base.columns.iter().zip(&column_levels).peekable();
        for index in 0..self.question.plan.quasi.len() {
            let column = columns.next_if(|(column, _)| column.quasi == index);
            levels.push(column.map_or(0, |(_, level)| *level));
            heights.push(column.map_or(0, |(column, _)| column.hierarchy.height()));
        }
        let precision = precision(&levels, &heights);
        Ok(Node { levels, figures, entropy, precision })
    }

    /// The better node first: by the metric, then by precision, then by the levels as they are written.
    fn compare(&self, left: &Node, right: &Node) -> Ordering {
        let by_metric = match self.question.metric {
            Metric::Entropy => left.entropy.total_cmp(&right.entropy),
            Metric::Discernibility => left.figures.discernibility.cmp(&right.figures.discernibility),
            Metric::Precision => Ordering::Equal,
        };
        let by_precision = || right.precision.total_cmp(&left.precision);
        by_metric.then_with(by_precision).then_with(|| left.levels.cmp(&right.levels))
    }

    /// The best of all satisfying nodes by discernibility, above these and starting from `best`.
    fn climb(&mut self, minimal: &[usize], mut best: Node) -> Result<Node, PseudoError> {
        let mut next = minimal.to_vec();
        let mut seen: HashSet<usize> = next.iter().copied().collect();
        while let Some(node) = next.pop() {
            let found = self.node(node)?;
            let (squares, is_better) = (found.figures.squares, self.compare(&found, &best).is_lt());
            if is_better {
                best = found;
            }
            // above this node nothing has less than its squares
            if squares < best.figures.discernibility {
                next.extend(self.lattice.coarser(node).filter(|coarser| seen.insert(*coarser)));
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
#[path = "search/tests.rs"]
mod tests;
