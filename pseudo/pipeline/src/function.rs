//! A policy's columns as functions of values, for engines that bring their own rows and run on many machines.
//!
//! Values one at a time ([`Function::apply`]), or arrays of Arrow ([`Function::apply_array`]). The same value gives what
//! [`Engine`](crate::Engine) gives. What depends on the whole run cannot be had this way: tokens of scope `record`, `null-if-rare`,
//! `prf+vault`, whose vault opens for one program alone, and leaving out bad records.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use custody::{MasterKey, Scope};
use policy::{OnBadRecord, Policy, Severity, Spec};
use transform::{Clear, Kind, Place, RUN_SEED_BYTES, RunSeed};

use crate::parquet::input::{Values, is_read};
use crate::parquet::output::Builder;
use crate::plan::{Plan, Treatment};
use crate::treat::Bench;
use crate::{Fault, PipelineError, Rare};

/// Nothing that a function gives depends on a run: columns that would are refused.
const NO_RUN: RunSeed = RunSeed([0; RUN_SEED_BYTES]);

/// One column of a policy.
pub struct Function {
    name: String,
    path: Vec<String>,
    person: Option<Vec<String>>,
    treatment: Treatment,
}

/// Room to work in, used again for each value; one for each thread.
#[derive(Default)]
pub struct Room(Bench);

/// The rows of an array, of which a dictionary keeps each value once.
struct Rows {
    array: ArrayRef,
    values: Values,
    nulls: Option<NullBuffer>,
    keys: Option<Keys>,
}

/// Where each row of a dictionary has its value.
struct Keys {
    places: Vec<usize>,
    nulls: Option<NullBuffer>,
}

/// All columns of a policy under its domain's key, in their order. Refused are keys of other domains, policies in which the linter
/// finds errors, and what depends on the whole run.
pub fn functions(policy: &Policy, master: &MasterKey) -> Result<Vec<Function>, PipelineError> {
    let refused =
        |what: String, problem: &str| PipelineError::NoFunction { what, problem: problem.to_owned() };
    if policy.domain != *master.domain() {
        return Err(refused(format!("domain {}", policy.domain), "the key is another domain's"));
    }
    if let Some(finding) = policy.lint(None).into_iter().find(|finding| finding.severity == Severity::Error) {
        return Err(refused(finding.place, &finding.problem));
    }
    if policy.on_bad_record == OnBadRecord::Drop {
        let problem = "a function of a value cannot leave its record out: take stop";
        return Err(refused("bad_record = \"drop\"".to_owned(), problem));
    }
    for rule in policy.columns() {
        let problem = match (&rule.spec, rule.scope) {
            (Spec::Vault(_), _) => "prf+vault keeps people in a vault, which opens for one program alone",
            (Spec::NullIfRare { .. }, _) => "null-if-rare counts all records first",
            (_, Scope::Record) => "tokens of scope record depend on the record's number in a run",
            _ => continue,
        };
        return Err(refused(format!("column {}", rule.output_path.column()), problem));
    }
    let names = |place: usize| policy.fields[place].path.names().to_vec();
    let plan = Plan::new(policy, master, NO_RUN, Rare::default())?;
    let functions = policy.columns().zip(plan.columns).map(|(rule, treatment)| Function {
        name: rule.output_path.column(),
        path: names(treatment.field),
        person: treatment.person.as_ref().map(|(field, _)| names(*field)),
        treatment,
    });
    Ok(functions.collect())
}

impl Function {
    /// The column, as the export calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its values are in a record.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Where the record's person is, for techniques that treat all records of a person alike.
    pub fn person(&self) -> Option<&[String]> {
        self.person.as_deref()
    }

    /// The type of the column's arrays.
    pub fn data_type(&self) -> DataType {
        Builder::new(self.treatment.column).kind()
    }

    /// Appends what becomes of a value of a person. Nothing is appended for [`Kind::Null`] and on a fault.
    pub fn apply(
        &self,
        value: Clear<'_>,
        person: Clear<'_>,
        room: &mut Room,
        out: &mut Vec<u8>,
    ) -> Result<Kind, Fault> {
        let place = Place { run: &NO_RUN, record: 0, person };
        Ok(self.treatment.treat(value, place, &mut room.0, out)?.unwrap_or(Kind::Null))
    }

    /// What becomes of an array of values, whose persons are in an array as long. Without persons each value of a dictionary is
    /// treated once.
    pub fn apply_array(
        &self,
        values: &ArrayRef,
        person: Option<&ArrayRef>,
        room: &mut Room,
    ) -> Result<ArrayRef, Fault> {
        let wrong = Fault::Type { field: self.treatment.field };
        let rows = Rows::of(values).ok_or_else(|| wrong.clone())?;
        let person = person.map(|person| Rows::of(person).ok_or(wrong)).transpose()?;
        let mut builder = Builder::new(self.treatment.column);
        let (mut text, mut person_text, mut out) = (String::new(), String::new(), Vec::new());
        // what became of the values of a dictionary
        let mut known: Vec<Option<Option<Vec<u8>>>> = Vec::new();
        if person.is_none() && rows.keys.is_some() {
            known.resize(rows.array.len(), None);
        }
        for row in 0..values.len() {
            let place = rows.place(row);
            if let Some(Some(done)) = place.and_then(|place| known.get(place)) {
                builder.add(done.as_deref());
                continue;
            }
            out.clear();
            let value = rows.value(row, &mut text);
            let person = person.as_ref().map_or(Clear::Null, |person| person.value(row, &mut person_text));
            let kind = self.apply(value, person, room, &mut out)?;
            let done = (kind != Kind::Null).then_some(&*out);
            builder.add(done);
            if let Some(known) = place.and_then(|place| known.get_mut(place)) {
                *known = Some(done.map(<[u8]>::to_vec));
            }
        }
        Ok(builder.finish())
    }
}

impl Rows {
    /// `None` for a type that is not read.
    fn of(array: &ArrayRef) -> Option<Self> {
        let (array, keys) = match array.as_any_dictionary_opt() {
            None => (array.clone(), None),
            Some(dictionary) => {
                // an empty dictionary has no place that its keys could name
                let is_empty = dictionary.values().is_empty();
                let places = if is_empty { vec![0; array.len()] } else { dictionary.normalized_keys() };
                let nulls =
                    if is_empty { Some(NullBuffer::new_null(array.len())) } else { array.nulls().cloned() };
                (dictionary.values().clone(), Some(Keys { places, nulls }))
            }
        };
        let is_readable = is_read(array.data_type()) || array.data_type().is_null();
        is_readable.then(|| Self {
            values: Values::of(array.clone()),
            nulls: array.logical_nulls(),
            array,
            keys,
        })
    }

    /// Where a row has its value, unless it is null.
    fn place(&self, row: usize) -> Option<usize> {
        let is_null = |nulls: &Option<NullBuffer>, at| nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
        let place = match &self.keys {
            Some(keys) if is_null(&keys.nulls, row) => return None,
            Some(keys) => keys.places[row],
            None => row,
        };
        (!is_null(&self.nulls, place)).then_some(place)
    }

    /// The value of a row. Text is where it is; what else there is gets a text.
    fn value<'a>(&'a self, row: usize, text: &'a mut String) -> Clear<'a> {
        let Some(place) = self.place(row) else { return Clear::Null };
        match self.array.data_type() {
            DataType::Utf8 => Clear::Text(self.array.as_string::<i32>().value(place)),
            DataType::LargeUtf8 => Clear::Text(self.array.as_string::<i64>().value(place)),
            DataType::Utf8View => Clear::Text(self.array.as_string_view().value(place)),
            _ => {
                text.clear();
                self.values.slot(place, text).value(text, "")
            }
        }
    }
}
