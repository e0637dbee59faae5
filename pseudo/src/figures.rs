//! How far an export is from its people, measured on the rows that leave, and what its policy demands.

use crate::PseudoError;
use crate::limits::Limits;
use crate::measure::{Counting, Measured, Plan, Quasi, fresh_key};
use crate::table::{Cell, Table};
use policy::{Path, Policy};
use serde::{Deserialize, Serialize};
use std::path::Path as FilePath;

/// What was measured; names of the figures are those of `pseudo risk`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) quasi_identifiers: Vec<String>,
    pub(crate) sensitive: Vec<String>,
    pub(crate) records: u64,
    pub(crate) classes: u64,
    pub(crate) k: u64,
    pub(crate) l_distinct: Option<u64>,
    pub(crate) l_entropy: Option<f64>,
    pub(crate) t_equal: Option<f64>,
    pub(crate) unique_share: f64,
    pub(crate) average_risk: f64,
    pub(crate) highest_risk: f64,
    /// The largest share of records that have one token, over all columns of tokens.
    pub(crate) token_top_share: Option<f64>,
}

/// What the policy demands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    pub(crate) k: u64,
    pub(crate) l: Option<f64>,
    pub(crate) t: Option<f64>,
    pub(crate) max_avg_risk: Option<f64>,
    pub(crate) max_unique: Option<f64>,
    pub(crate) max_token_top_share: Option<f64>,
}

impl Gate {
    pub(crate) fn of(policy: &Policy) -> Option<Self> {
        policy.gate.as_ref().map(|gate| Self {
            k: u64::from(gate.k),
            l: gate.l,
            t: gate.t,
            max_avg_risk: gate.max_avg_risk,
            max_unique: gate.max_unique,
            max_token_top_share: gate.max_token_top_share,
        })
    }
}

/// What is not as demanded, one sentence each; empty when the export may be released. What was not measured is not met.
pub(crate) fn misses(gate: Option<&Gate>, figures: Option<&Figures>) -> Vec<String> {
    let (Some(gate), Some(figures)) = (gate, figures) else {
        return vec!["nothing was measured: the policy has no gate, or there are no rows".to_owned()];
    };
    let mut misses = Vec::new();
    if figures.k < gate.k {
        misses.push(format!("k is {}, demanded {}", figures.k, gate.k));
    }
    let l = figures.l_distinct.map_or(0.0, |l| l as f64);
    if gate.l.is_some_and(|least| l < least) {
        misses.push(format!("l is {l}, demanded {}", gate.l.unwrap_or_default()));
    }
    let most = [
        ("t", figures.t_equal, gate.t),
        ("average risk", Some(figures.average_risk), gate.max_avg_risk),
        ("share of unique records", Some(figures.unique_share), gate.max_unique),
        ("largest share of one token", figures.token_top_share, gate.max_token_top_share),
    ];
    for (name, found, most) in most {
        let Some(most) = most else { continue };
        match found {
            Some(found) if found <= most => {}
            Some(found) => misses.push(format!("{name} is {found}, at most {most} is allowed")),
            None if name == "largest share of one token" => {}
            None => misses.push(format!("{name} was not measured, at most {most} is allowed")),
        }
    }
    misses
}

/// Counts rows as they leave.
pub(crate) struct Meter<'a> {
    classes: Counting<'a>,
    /// One for each column of tokens.
    tokens: Vec<(usize, Counting<'a>)>,
    /// Columns of the quasi-identifiers, then of the sensitive ones.
    columns: Vec<usize>,
}

/// What a meter counts by: one plan for the classes, then one for each column of tokens.
pub(crate) struct Plans {
    classes: Plan,
    columns: Vec<usize>,
    tokens: Vec<(usize, Plan)>,
}

impl Plans {
    /// The plans of a policy, which share so many bytes; `None` when it has no gate.
    pub(crate) fn new(policy: &Policy, memory_bytes: usize, temporary: &FilePath) -> Option<Self> {
        let gate = policy.gate.as_ref()?;
        let place = |path: &Path| policy.columns().position(|rule| rule.output_path == *path);
        let named = |paths: &[Path]| -> Vec<(usize, String)> {
            paths.iter().filter_map(|path| Some((place(path)?, path.column()))).collect()
        };
        let (quasi, sensitive) = (named(&gate.quasi_identifiers), named(&gate.sensitive));
        let tokens: Vec<(usize, String)> = policy
            .columns()
            .enumerate()
            .filter(|(_, rule)| rule.spec.is_token())
            .map(|(column, rule)| (column, rule.output_path.column()))
            .collect();
        let plan = |quasi: &[(usize, String)], sensitive: &[(usize, String)]| Plan {
            table: Table { path: "the export".into(), delimiter: b',' },
            quasi: quasi
                .iter()
                .map(|(_, name)| Quasi { name: name.clone(), level: 0, hierarchy: None })
                .collect(),
            sensitive: sensitive.iter().map(|(_, name)| name.clone()).collect(),
            limits: Limits::NONE,
            population: None,
            memory_bytes: memory_bytes / (tokens.len() + 1),
            temporary: temporary.to_owned(),
        };
        Some(Self {
            classes: plan(&quasi, &sensitive),
            columns: quasi.iter().chain(&sensitive).map(|(column, _)| *column).collect(),
            tokens: tokens.iter().map(|token| (token.0, plan(std::slice::from_ref(token), &[]))).collect(),
        })
    }

    /// The plan of the classes.
    pub(crate) fn classes(&self) -> &Plan {
        &self.classes
    }

    /// Columns of its quasi-identifiers, then of the sensitive ones.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// A meter that counts by them.
    pub(crate) fn meter(&self) -> Result<Meter<'_>, PseudoError> {
        let counting = |plan| Ok::<_, PseudoError>(Counting::new(plan, fresh_key()?));
        let tokens = self.tokens.iter().map(|(column, plan)| Ok((*column, counting(plan)?)));
        Ok(Meter {
            classes: counting(&self.classes)?,
            tokens: tokens.collect::<Result<_, PseudoError>>()?,
            columns: self.columns.clone(),
        })
    }
}

impl Meter<'_> {
    /// Counts a row.
    pub(crate) fn row(&mut self, number: u64, cells: &[Cell<'_>]) -> Result<(), PseudoError> {
        let wanted: Vec<Cell<'_>> = self.columns.iter().map(|column| cells[*column]).collect();
        self.classes.record(number, &wanted)?;
        for (column, counting) in &mut self.tokens {
            // a null is no token
            if cells[*column].is_some() {
                counting.record(number, &[cells[*column]])?;
            }
        }
        Ok(())
    }

    /// What was counted; `None` without rows.
    pub(crate) fn finish(self, rows: u64) -> Result<Option<Figures>, PseudoError> {
        if rows == 0 {
            return Ok(None);
        }
        let names = |plan: &Plan| {
            (plan.quasi.iter().map(|quasi| quasi.name.clone()).collect(), plan.sensitive.clone())
        };
        let (quasi_identifiers, sensitive) = names(self.classes.plan());
        let Measured { identity, attributes, .. } = self.classes.finish(0)?;
        let mut token_top_share: Option<f64> = None;
        for (_, counting) in self.tokens {
            if counting.is_empty() {
                continue;
            }
            let share = counting.finish(0)?.identity.largest_class as f64 / rows as f64;
            token_top_share = Some(token_top_share.map_or(share, |most| most.max(share)));
        }
        let figures = || attributes.iter().map(|(_, figures)| figures);
        Ok(Some(Figures {
            quasi_identifiers,
            sensitive,
            records: identity.records,
            classes: identity.classes,
            k: identity.k,
            l_distinct: figures().map(|found| found.l_distinct).min(),
            l_entropy: figures().map(|found| found.l_entropy).reduce(f64::min),
            t_equal: figures().map(|found| found.t_equal).reduce(f64::max),
            unique_share: identity.unique_share,
            average_risk: identity.average_risk,
            highest_risk: identity.highest_risk,
            token_top_share,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            quasi_identifiers: vec!["a".into()],
            sensitive: vec!["b".into()],
            records: 100,
            classes: 10,
            k: 5,
            l_distinct: Some(2),
            l_entropy: Some(1.5),
            t_equal: Some(0.3),
            unique_share: 0.0,
            average_risk: 0.1,
            highest_risk: 0.2,
            token_top_share: Some(0.02),
        }
    }

    fn gate() -> Gate {
        Gate {
            k: 5,
            l: Some(2.0),
            t: Some(0.3),
            max_avg_risk: Some(0.1),
            max_unique: Some(0.0),
            max_token_top_share: Some(0.02),
        }
    }

    #[test]
    fn every_limit_holds_by_itself_and_at_its_border() {
        let misses_of = |gate: &Gate, figures: &Figures| misses(Some(gate), Some(figures)).len();
        assert_eq!(misses_of(&gate(), &figures()), 0);
        let worse: [fn(&mut Figures); 7] = [
            |figures| figures.k = 4,
            |figures| figures.l_distinct = Some(1),
            |figures| figures.l_distinct = None,
            |figures| figures.t_equal = None,
            |figures| figures.average_risk = 0.11,
            |figures| figures.unique_share = 0.01,
            |figures| figures.token_top_share = Some(0.5),
        ];
        for (number, worsen) in worse.iter().enumerate() {
            let mut figures = figures();
            worsen(&mut figures);
            assert_eq!(misses_of(&gate(), &figures), 1, "{number}");
        }
        assert_eq!((misses(None, Some(&figures())).len(), misses(Some(&gate()), None).len()), (1, 1));
    }
}
