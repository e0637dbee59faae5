//! `pseudonymise('column', value[, person])`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use pipeline::{Function, Room};

/// The name in SQL.
pub(crate) const NAME: &str = "pseudonymise";

/// All columns of a policy under one name: the first argument, a literal, says which.
#[derive(Clone)]
pub(crate) struct Pseudonymise {
    functions: Arc<[Function]>,
    signature: Signature,
}

impl Pseudonymise {
    pub(crate) fn new(functions: Arc<[Function]>) -> Self {
        // the column decides which types it takes; equal values give equal results
        Self { functions, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn named(&self, argument: Option<&ScalarValue>) -> Result<&Function> {
        let Some(Some(name)) = argument.and_then(ScalarValue::try_as_str) else {
            return plan_err!("the first argument of {NAME} is the name of a column, in quotes");
        };
        let Some(function) = self.functions.iter().find(|function| function.name() == name) else {
            let names: Vec<&str> = self.functions.iter().map(Function::name).collect();
            return plan_err!("the policy has no column of this name; it has {}", names.join(", "));
        };
        Ok(function)
    }
}

impl std::fmt::Debug for Pseudonymise {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pseudonymise").finish_non_exhaustive()
    }
}

// two are one function if they have the same columns under the same keys: those that were made at once
impl PartialEq for Pseudonymise {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.functions, &other.functions)
    }
}

impl Eq for Pseudonymise {}

impl Hash for Pseudonymise {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.functions).cast::<u8>().hash(state);
    }
}

impl ScalarUDFImpl for Pseudonymise {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        exec_err!("the type of {NAME} follows from the column that it is asked for")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let function = self.named(args.scalar_arguments.first().copied().flatten())?;
        let (given, wanted) = (args.arg_fields.len(), 2 + usize::from(function.person().is_some()));
        if given != wanted {
            let person = function.person().map(|path| format!(", {}", path.join("."))).unwrap_or_default();
            let column = function.name();
            return plan_err!("{column} is {NAME}('{column}', {}{person})", function.path().join("."));
        }
        Ok(Arc::new(Field::new(function.name(), function.data_type(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((ColumnarValue::Scalar(name), values)) = args.args.split_first() else {
            return exec_err!("the first argument of {NAME} is the name of a column, in quotes");
        };
        let function = self.named(Some(name))?;
        let arrays = ColumnarValue::values_to_arrays(values)?;
        let Some((value, person)) = arrays.split_first() else {
            return exec_err!("{NAME} takes a value");
        };
        // neither the value nor its position: a batch has none that the reader of an error could use
        let wrong = |fault: pipeline::Fault| {
            let kind = fault.kind().name();
            DataFusionError::Execution(format!("column {}: {kind}", function.name()))
        };
        let turned = function.apply_array(value, person.first(), &mut Room::default()).map_err(wrong)?;
        let all_scalar = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&turned, 0)?));
        }
        Ok(ColumnarValue::Array(turned))
    }
}
