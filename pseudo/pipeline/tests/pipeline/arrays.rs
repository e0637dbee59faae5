//! Columns as functions of arrays: in every form that an array has, they give what the engine gives.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, LargeStringArray, NullArray,
    StringArray, StringViewArray,
};
use pipeline::*;
use policy::Policy;
use proptest::prelude::*;

use crate::given::*;

const POLICY: &str = r#"
policy = "arrays"
version = 1
domain = "team-usage"
purpose = "tests"
legal_basis = "none"
owner = "tests"
unknown_field = "stop"
source = { format = "ndjson" }
target = { format = "csv", shuffle = false }
retention = { anonymise_after = "P1M", delete_after = "P2M" }
gate = { quasi_identifiers = ["when"], k = 5 }
field = [
  { path = "$.who", technique = "prf", class = "person.account", normalise = ["nfc", "trim"] },
  { path = "$.when", technique = "date-shift", by = "$.who", max_days = 30, invalid = "null" },
  { path = "$.many", technique = "top-code", most = 9, type = "integer", null = "refuse" },
]
"#;

fn all() -> Vec<Function> {
    let policy = Policy::parse(POLICY).unwrap();
    functions(&policy, &master(&policy)).unwrap()
}

/// The same texts in every form that an array of texts has.
fn forms(values: &[Option<String>]) -> Vec<ArrayRef> {
    let each = || values.iter().map(Option::as_deref);
    // a dictionary with a null among its values, one that no row names, and each text once
    let mut kept: Vec<Option<&str>> = vec![None, Some("in no row")];
    let keys: Vec<Option<i32>> = each()
        .enumerate()
        .map(|(row, value)| {
            let at = kept.iter().position(|known| *known == value).unwrap_or_else(|| {
                kept.push(value);
                kept.len() - 1
            });
            // null as a key, and as the value that a key names
            (value.is_some() || row.is_multiple_of(2)).then_some(i32::try_from(at).unwrap())
        })
        .collect();
    let dictionary =
        DictionaryArray::<Int32Type>::new(Int32Array::from(keys), Arc::new(StringArray::from(kept)));
    vec![
        Arc::new(each().collect::<StringArray>()),
        Arc::new(each().collect::<LargeStringArray>()),
        Arc::new(each().collect::<StringViewArray>()),
        Arc::new(dictionary),
    ]
}

/// What the engine makes of a column's values, of which those of the others are right.
fn expected(who: &[Option<String>], when: &[Option<String>]) -> Vec<(String, String)> {
    let json = |value: &Option<String>| serde_json::to_string(value).unwrap();
    let records: String = who
        .iter()
        .zip(when)
        .map(|(who, when)| format!("{{\"who\":{},\"when\":{},\"many\":1}}\n", json(who), json(when)))
        .collect();
    let (_, csv) = run(&Policy::parse(POLICY).unwrap(), &records).unwrap();
    let cells = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        (cells.next().unwrap(), cells.next().unwrap())
    };
    csv.lines().skip(1).map(cells).collect()
}

fn texts(array: &ArrayRef) -> Vec<String> {
    array.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_form_of_an_array_gives_what_the_engine_gives(
        rows in prop::collection::vec(
            (prop::option::of("[a-c]{1,2}"), prop::option::of(prop_oneof!["2026-0[1-9]-1[0-9]", "[a-z]{0,3}"])), 0..30
        )
    ) {
        let (who, when): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        // without the person a date cannot be shifted, and is null
        let expected = expected(&who, &when);
        let (functions, mut room) = (all(), Room::default());
        for array in forms(&who) {
            let made = functions[0].apply_array(&array, None, &mut room).unwrap();
            prop_assert_eq!(texts(&made), expected.iter().map(|(who, _)| who.clone()).collect::<Vec<_>>());
        }
        for (dates, people) in forms(&when).iter().zip(forms(&who).iter().rev()) {
            let made = functions[1].apply_array(dates, Some(people), &mut room).unwrap();
            prop_assert_eq!(texts(&made), expected.iter().map(|(_, when)| when.clone()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_array_of_nothing_holds_nulls_and_an_empty_one_nothing() {
    let (functions, mut room) = (all(), Room::default());
    let nothing: ArrayRef = Arc::new(NullArray::new(2));
    assert_eq!(functions[0].apply_array(&nothing, None, &mut room).unwrap().null_count(), 2);
    assert_eq!(functions[1].apply_array(&nothing, Some(&nothing), &mut room).unwrap().null_count(), 2);
    // where null is refused, it is refused in this form too
    assert!(matches!(functions[2].apply_array(&nothing, None, &mut room), Err(Fault::Null { .. })));
    let keys = Int32Array::from(vec![Some(0), None]);
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(NullArray::new(1))));
    assert_eq!(functions[0].apply_array(&dictionary, None, &mut room).unwrap().null_count(), 2);
    for empty in forms(&[]) {
        assert_eq!(functions[0].apply_array(&empty, None, &mut room).unwrap().len(), 0);
    }
    let no_keys = Int32Array::from(vec![None]);
    let no_values: ArrayRef =
        Arc::new(DictionaryArray::<Int32Type>::new(no_keys, Arc::new(StringArray::new_null(0))));
    assert_eq!(functions[0].apply_array(&no_values, None, &mut room).unwrap().null_count(), 1);
}

#[test]
fn numbers_keep_their_type_and_other_types_are_faults() {
    let (functions, mut room) = (all(), Room::default());
    let many = functions[2]
        .apply_array(&(Arc::new(Int64Array::from(vec![3, 40])) as ArrayRef), None, &mut room)
        .unwrap();
    assert_eq!(many.as_primitive::<arrow_array::types::Int64Type>().values(), &[3, 9]);
    assert_eq!(many.data_type(), &functions[2].data_type());
    let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"Ada"]));
    assert!(matches!(functions[0].apply_array(&bytes, None, &mut room), Err(Fault::Type { .. })));
    let long: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat(2000)]));
    assert!(matches!(functions[0].apply_array(&long, None, &mut room), Err(Fault::ValueTooLong { .. })));
}
