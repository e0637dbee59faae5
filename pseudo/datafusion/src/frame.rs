//! A whole table under a policy.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::{Column, Result, plan_err};
use datafusion::dataframe::DataFrame;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use pipeline::{Function, functions};

use crate::function::Pseudonymise;

/// A policy's transforms under its domain's key.
#[derive(Clone)]
pub struct Transforms {
    functions: Arc<[Function]>,
    udf: Arc<ScalarUDF>,
    /// Paths that rules name, with whether a rule drops everything below.
    known: Arc<[(Vec<String>, bool)]>,
    unknown_dropped: bool,
}

impl Transforms {
    /// Checks that every column of the policy can be made value by value.
    pub fn new(
        policy: &policy::Policy,
        master: &custody::MasterKey,
    ) -> std::result::Result<Self, pipeline::PipelineError> {
        let functions: Arc<[Function]> = functions(policy, master)?.into();
        let udf = Arc::new(ScalarUDF::new_from_impl(Pseudonymise::new(functions.clone())));
        let is_drop = |rule: &policy::Rule| matches!(rule.spec, policy::Spec::Drop);
        let known =
            policy.fields.iter().map(|rule| (rule.path.names().to_vec(), is_drop(rule))).collect::<Vec<_>>();
        let unknown_dropped = policy.on_unknown == policy::OnUnknown::Drop;
        Ok(Self { functions, udf, known: known.into(), unknown_dropped })
    }

    /// `pseudonymise('column', value[, person])`, to be registered with a session.
    pub fn function(&self) -> ScalarUDF {
        (*self.udf).clone()
    }

    /// What the policy's export holds of a table: its columns, each under its name, and nothing else.
    pub fn select(&self, table: DataFrame) -> Result<DataFrame> {
        let mut number = 0;
        self.check(table.schema().fields(), &mut Vec::new(), &mut number)?;
        let columns = self.functions.iter().map(|function| {
            let mut arguments = vec![lit(function.name()), value(function.path())];
            arguments.extend(function.person().map(value));
            self.udf.call(arguments).alias(function.name())
        });
        table.select(columns.collect::<Vec<Expr>>())
    }

    /// Refuses leaves that no rule names, by their number: what a column is called may say too much.
    fn check(&self, fields: &Fields, names: &mut Vec<String>, number: &mut usize) -> Result<()> {
        for field in fields {
            names.push(field.name().clone());
            match field.data_type() {
                DataType::Struct(inner) => self.check(inner, names, number)?,
                _ => {
                    *number += 1;
                    let is_known = |(path, drops): &(Vec<String>, bool)| {
                        path == names || (*drops && names.starts_with(path))
                    };
                    if !self.unknown_dropped && !self.known.iter().any(is_known) {
                        return plan_err!("column {number} of the table is named by no rule");
                    }
                }
            }
            names.pop();
        }
        Ok(())
    }
}

/// The column at a path, through the groups around it.
fn value(path: &[String]) -> Expr {
    let (first, inner) = path.split_first().expect("a path has names");
    let column = Expr::Column(Column::new_unqualified(first));
    inner.iter().fold(column, |group, name| get_field(group, name.as_str()))
}
