//! What is done so that the gate lets an export through, as its policy says: quasi-identifiers climb their hierarchies, and records that
//! are still too rare are left out.
//!
//! ```text
//! generalise   a pass that counts rows as the policy makes them, and the search for the levels; a second pass at these levels, if
//!              records have to be left out
//! suppress     one pass that finds the rare classes
//! ```
//!
//! The same sources under the same policy and key always give the same result, so a run that was killed is gone on with. `k` and `l` decide; `t`
//! as well while nothing may be left out, for what is left out changes the whole that it is measured against. The other limits
//! are measured afterwards, as for every export: one that is missed holds it.

use crate::PseudoError;
use crate::figures::Plans;
use crate::limits::Limits;
use crate::manifest::Fitted;
use crate::measure::{Counting, Plan, fresh_key};
use crate::search::{Metric, Question, Search, Suppression};
use crate::table::Cell;
use policy::{Gate, OnFail, Policy, Rule, Spec};
use risk::{ClassKey, Fingerprinter, Hierarchy, KEY_BYTES};
use std::collections::HashSet;
use std::rc::Rc;

/// What one class that is left out takes in memory, bytes.
const CLASS_BYTES: usize = 48;
/// One part in so many of the memory is for them.
const CLASSES_SHARE: usize = 4;

/// Reads all sources and shows each row as the policy makes it, and its number.
pub(super) type Pass<'a> = dyn Fn(&Policy, &mut Row<'_>) -> Result<(), PseudoError> + 'a;
/// Takes a row: its number, and its cells.
pub(super) type Row<'a> = dyn FnMut(u64, &[Cell<'_>]) -> Result<(), PseudoError> + 'a;

/// How an export is made so that the gate lets it through.
#[derive(Default)]
pub(super) struct Fit {
    /// The policy, with hierarchies at other levels; none if they stay.
    pub(super) policy: Option<Policy>,
    /// What is too rare.
    pub(super) rare: Option<RareRows>,
    /// What the manifest says of it; none if nothing was done.
    pub(super) fitted: Option<Fitted>,
    /// Why nothing was done that the policy asks for.
    pub(super) problem: Option<String>,
}

/// Rows of classes that are too rare.
pub(super) struct RareRows {
    fingerprinter: Fingerprinter,
    /// Columns of the quasi-identifiers.
    quasi: Vec<usize>,
    classes: HashSet<ClassKey>,
}

impl RareRows {
    /// Whether a row is of one of them.
    pub(super) fn has(&mut self, cells: &[Cell<'_>]) -> bool {
        for column in &self.quasi {
            match cells[*column] {
                Some(value) => self.fingerprinter.value(value),
                None => self.fingerprinter.null(),
            }
        }
        self.classes.contains(&self.fingerprinter.finish())
    }
}

/// What the policy has done about rows that are not as its gate demands.
pub(super) fn fit(
    policy: &Policy,
    plans: &Plans,
    memory_bytes: usize,
    pass: &Pass<'_>,
) -> Result<Fit, PseudoError> {
    let Some(gate) = policy.gate.as_ref().filter(|gate| gate.on_fail != OnFail::Block) else {
        return Ok(Fit::default());
    };
    let fitting = Fitting { policy, gate, plans, memory_bytes, pass };
    match gate.on_fail {
        OnFail::Generalise => fitting.generalise(),
        _ => fitting.suppress(policy, Fit::default()),
    }
}

struct Fitting<'a> {
    policy: &'a Policy,
    gate: &'a Gate,
    plans: &'a Plans,
    memory_bytes: usize,
    pass: &'a Pass<'a>,
}

impl Fitting<'_> {
    fn limits(&self) -> Limits {
        // whole numbers of values
        let l = self.gate.l.map_or(1, |l| l.ceil() as u64);
        let t = self.gate.t.filter(|_| self.gate.max_suppressed == 0.0).unwrap_or(1.0);
        Limits { k: u64::from(self.gate.k), l, t }
    }

    /// The plan of the classes with all memory: nothing else is counted meanwhile.
    fn plan(&self, limits: Limits) -> Plan {
        Plan { limits, memory_bytes: self.memory_bytes, ..self.plans.classes().clone() }
    }

    fn generalise(&self) -> Result<Fit, PseudoError> {
        let plan = self.plan(Limits::NONE);
        let places = &self.plans.columns()[..plan.quasi.len()];
        let rules: Vec<&Rule> = self.policy.columns().collect();
        let hierarchies = places.iter().map(|place| hierarchy(rules[*place]));
        let hierarchies = hierarchies.collect::<Result<_, _>>()?;
        let question = Question {
            fixed: vec![false; plan.quasi.len()],
            hierarchies,
            limits: self.limits(),
            suppression: Suppression::Share(self.gate.max_suppressed),
            metric: Metric::Entropy,
            plan,
        };
        let mut search = match Search::new(&question) {
            Ok(search) => search,
            // more combinations than can be judged
            Err(PseudoError::Usage { problem, .. }) => return Ok(not_searched(&problem)),
            Err(error) => return Err(error),
        };
        let mut rows = 0;
        (self.pass)(self.policy, &mut |number, cells| {
            rows = number;
            search.record(number, &self.wanted(cells))
        })?;
        if rows == 0 {
            return Ok(Fit::default());
        }
        let found = match search.finish() {
            Ok(found) => found.best,
            Err(PseudoError::Unreachable { problem, .. }) => return Ok(not_searched(&problem)),
            Err(error) => return Err(error),
        };
        let steps: Vec<(usize, usize)> =
            places.iter().copied().zip(found.levels).filter(|(_, steps)| *steps > 0).collect();
        let climbed = self.policy.climbed(&steps).map_err(|error| not_climbed(&error))?;
        let levels = steps.iter().filter_map(|(place, _)| {
            let rule = climbed.columns().nth(*place)?;
            let Spec::Hierarchy(ladder) = &rule.spec else { return None };
            Some((rule.output_path.column(), ladder.level()))
        });
        let fitted = Fitted { levels: levels.collect(), ..self.nothing() };
        let fit = if steps.is_empty() {
            Fit::default()
        } else {
            Fit { fitted: Some(fitted), policy: Some(climbed.clone()), ..Fit::default() }
        };
        if found.figures.suppressed == 0 { Ok(fit) } else { self.suppress(&climbed, fit) }
    }

    /// Leaves out what is too rare as `policy` makes it, if it is no more than may be.
    fn suppress(&self, policy: &Policy, fit: Fit) -> Result<Fit, PseudoError> {
        let plan = self.plan(Limits { t: 1.0, ..self.limits() });
        let quasi = self.plans.columns()[..plan.quasi.len()].to_vec();
        let key: [u8; KEY_BYTES] = fresh_key()?;
        let mut counting = Counting::new(&plan, key);
        let mut rows = 0;
        (self.pass)(policy, &mut |number, cells| {
            rows = number;
            counting.record(number, &self.wanted(cells))
        })?;
        let (classes, records) = counting.over(self.memory_bytes / CLASSES_SHARE / CLASS_BYTES)?;
        if records == 0 {
            return Ok(fit);
        }
        let most = Suppression::Share(self.gate.max_suppressed).records(rows);
        if records > most {
            let on_fail = self.gate.on_fail.name();
            let problem = format!(
                "on_fail = {on_fail}: {records} of {rows} records would have to be left out, {most} may be"
            );
            return Ok(Fit { problem: Some(problem), ..fit });
        }
        let fitted = Fitted { records_left_out: records, ..fit.fitted.unwrap_or_else(|| self.nothing()) };
        let rare = RareRows { fingerprinter: Fingerprinter::new(&key), quasi, classes };
        Ok(Fit { rare: Some(rare), fitted: Some(fitted), ..fit })
    }

    fn nothing(&self) -> Fitted {
        let on_fail = self.gate.on_fail.name().to_owned();
        Fitted { on_fail, levels: Default::default(), records_left_out: 0 }
    }

    fn wanted<'c>(&self, cells: &[Cell<'c>]) -> Vec<Cell<'c>> {
        self.plans.columns().iter().map(|column| cells[*column]).collect()
    }
}

/// The export is made as the policy says, and held if it is not as demanded.
fn not_searched(problem: &str) -> Fit {
    Fit { problem: Some(format!("on_fail = generalise: {problem}")), ..Fit::default() }
}

/// The levels of a column's hierarchy from its own on; a null stays one.
fn hierarchy(rule: &Rule) -> Result<Option<Rc<Hierarchy>>, PseudoError> {
    let Spec::Hierarchy(ladder) = &rule.spec else { return Ok(None) };
    let levels = ladder.above().next().map_or(0, Iterator::count);
    let rows = ladder.above().map(Iterator::collect).chain([vec![""; levels]]);
    let hierarchy = Hierarchy::new(rows.collect::<Vec<Vec<&str>>>()).map_err(|error| not_climbed(&error))?;
    hierarchy.check_nested().map_err(|error| not_climbed(&error))?;
    Ok(Some(Rc::new(hierarchy)))
}

fn not_climbed(error: &dyn std::error::Error) -> PseudoError {
    PseudoError::usage(format!("a hierarchy cannot be climbed: {error}"), "`pseudo lint` says which")
}
