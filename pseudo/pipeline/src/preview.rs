//! What a policy would do with the first records, without showing them: how each value is shaped, and what becomes of it.

use transform::{Clear, Kind};

use crate::engine::Source;
use crate::input::Input;
use crate::plan::Plan;
use crate::row::Row;
use crate::treat::Bench;
use crate::{FaultKind, PipelineError, Report};

/// One column of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewCell {
    /// The field's path in the policy.
    pub path: String,
    /// The value's type and about its length, no more.
    pub before: String,
    /// Where it goes.
    pub output_path: String,
    /// What comes out.
    pub after: Option<String>,
}

/// One record, or what is wrong with it.
pub type Preview = Result<Vec<PreviewCell>, FaultKind>;

impl Plan<'_> {
    /// The first records of an input, in the order of the source: what comes out is seen by who sees the policy, and not kept.
    pub fn preview(&self, reader: Input<'_>, records: usize) -> Result<Vec<Preview>, PipelineError> {
        let mut previews = Vec::new();
        let (mut bench, mut row, mut report) = (Bench::default(), Row::default(), Report::default());
        let mut source = Source::new(self.policy);
        let read = source.read(reader, 1, &mut 0, &mut |slots, _, text| {
            if previews.len() >= records {
                return Err(enough());
            }
            let number = previews.len() as u64 + 1;
            let treated = text.and_then(|text| {
                bench.treat(self, (slots, text), number, &mut row, &mut report)?;
                let rules = self.policy.columns().zip(&self.columns).zip(row.cells());
                Ok(rules
                    .map(|((rule, column), (kind, bytes))| PreviewCell {
                        path: rule.path.to_string(),
                        before: shape(&slots.value(column.field, text)),
                        output_path: rule.output_path.to_string(),
                        after: (kind != Kind::Null).then(|| String::from_utf8_lossy(bytes).into_owned()),
                    })
                    .collect())
            });
            previews.push(treated.map_err(|fault| fault.kind()));
            Ok(())
        });
        match read {
            Err(error) if previews.len() < records => Err(error),
            _ => Ok(previews),
        }
    }
}

/// Ends the reading; seen by nobody.
fn enough() -> PipelineError {
    PipelineError::TooManyBadRecords { most: 0 }
}

fn shape(value: &Clear<'_>) -> String {
    match value {
        Clear::Null => "null".to_owned(),
        Clear::Boolean(_) => "true or false".to_owned(),
        Clear::Number(_) => "number".to_owned(),
        Clear::Text(text) => {
            let most = text.len().max(1).next_power_of_two();
            format!("text of {} to {most} bytes", if most == 1 { 0 } else { most / 2 + 1 })
        }
    }
}
