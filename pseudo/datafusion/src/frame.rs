//! A whole table under a policy.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::dataframe::DataFrame;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, ScalarUDF, lit, when};
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
        let fields = table.schema().fields().clone();
        self.check(&fields, &mut Vec::new(), &mut 0)?;
        let column = |function: &Function| {
            let mut arguments = vec![lit(function.name()), value(&fields, function.path())?];
            arguments.extend(function.person().map(|path| value(&fields, path)).transpose()?);
            Ok(self.udf.call(arguments).alias(function.name()))
        };
        let columns = self.functions.iter().map(column).collect::<Result<Vec<Expr>>>()?;
        table.select(columns)
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

/// The column at a path, through the groups around it: null where one of them is, and where the table has none.
fn value(fields: &Fields, path: &[String]) -> Result<Expr> {
    let nothing = || Ok(lit(ScalarValue::Null));
    let Some((first, inner)) = path.split_first() else { return nothing() };
    let named = |fields: &Fields, name: &String| {
        fields.iter().find(|field| field.name() == name).map(|field| field.data_type().clone())
    };
    let Some(mut kind) = named(fields, first) else { return nothing() };
    let mut value = Expr::Column(Column::new_unqualified(first));
    for name in inner {
        let DataType::Struct(members) = &kind else { return nothing() };
        let Some(next) = named(members, name) else { return nothing() };
        // what is in a group that is null is not there, whatever its column holds
        let member = get_field(value.clone(), name.as_str());
        value = when(value.is_not_null(), member).end()?;
        kind = next;
    }
    Ok(value)
}
