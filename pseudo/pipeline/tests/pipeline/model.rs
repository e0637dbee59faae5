//! The engine against a model that reads with another JSON parser and knows nothing of streams.

use std::collections::BTreeMap;

use custody::{ClassName, DatasetName, Purpose, Scope};
use pipeline::FaultKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use transform::{Clear, Normaliser, Place, Token, TokenForm};

use crate::given::*;

/// Any JSON value, of the kinds that fields hold more often than others.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // serde_json reads the last digit of some numbers wrong unless it is asked not to: quarters are exact
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        "\\PC{0,20}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,20}".prop_map(Value::from),
        " ?[A-Z][a-z]{0,5}@example\\.org".prop_map(Value::from),
    ]
}

fn record() -> impl Strategy<Value = Value> {
    let member = |name: &'static str| {
        prop::option::of(scalar()).prop_map(move |value| value.map(|value| (name, value)))
    };
    let user = prop_oneof![
        4 => (member("email"), member("name")).prop_map(|(a, b)| Some(object([a, b]))),
        1 => Just(Some(Value::Null)),
        1 => Just(None),
    ];
    (user, member("pages"), member("title"), member("colour"))
        .prop_map(|(user, a, b, c)| object([user.map(|user| ("user", user)), a, b, c]))
}

fn object<const N: usize>(members: [Option<(&str, Value)>; N]) -> Value {
    let members = members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
    Value::Object(members.collect::<Map<_, _>>())
}

/// What a record becomes, or which kind of fault it has.
fn model(record: &Value, number: u64) -> Result<Value, FaultKind> {
    let policy = policy(&[]);
    let master = master(&policy);
    let (class, dataset) = (ClassName::new("person.email").unwrap(), DatasetName::new("jobs").unwrap());
    let at = |path: &[&str]| {
        path.iter().try_fold(record, |value, name| value.get(name)).cloned().unwrap_or(Value::Null)
    };
    let token = |scope| -> Result<Value, FaultKind> {
        let text = match at(&["user", "email"]) {
            Value::Null => return Ok(Value::Null),
            Value::Bool(_) => return Err(FaultKind::Type),
            Value::String(text) if text.len() > 64 => return Err(FaultKind::ValueTooLong),
            Value::String(text) => {
                let mut normal = String::new();
                Normaliser::Lower.apply(text.trim(), &mut normal).unwrap();
                normal
            }
            // a number is what its digits are as text
            Value::Number(number) => match number.as_f64() {
                _ if number.as_i64().is_some() => number.to_string(),
                Some(float) if float.fract() == 0.0 => format!("{float:.0}").replace("-0", "0"),
                _ => return Err(FaultKind::Value),
            },
            other => other.to_string(),
        };
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let token = Token::new(&master.field_key(Purpose::Token, &class, scope, &dataset), TokenForm::Text);
        let mut out = Vec::new();
        let place = Place { run: &RUN, record: number, person: Clear::Null };
        token.apply(&Clear::Text(&text), &place, &mut out).unwrap();
        Ok(String::from_utf8(out).unwrap().into())
    };
    let user = json!({ "email": token(Scope::Domain)?, "by_record": token(Scope::Record)? });
    let pages = match at(&["pages"]) {
        Value::String(text) => text.parse::<i64>().map_or(Value::Null, Value::from),
        Value::Number(number) => number.as_i64().map_or(Value::Null, Value::from),
        _ => Value::Null,
    };
    let colour = match at(&["colour"]) {
        Value::String(text) if text == "true" || text == "false" => (text == "true").into(),
        value @ (Value::Bool(_) | Value::Null) => value,
        _ => return Err(FaultKind::Value),
    };
    Ok(json!({ "user": user, "pages": pages, "title": at(&["title"]), "colour": colour }))
}

/// The same value, however it was written.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_record_becomes_what_the_model_says(records in prop::collection::vec(record(), 0..12), step in 1_usize..40, spaced in any::<bool>()) {
        let policy = policy(&[("bad_record = \"stop\"", "bad_record = \"drop\"")]);
        let write = |record: &Value| if spaced { serde_json::to_string_pretty(record).unwrap().replace('\n', " ") } else { record.to_string() };
        let input: String = records.iter().map(|record| write(record) + "\n").collect();
        let expected: Vec<Result<Value, FaultKind>> = (1..).zip(&records).map(|(number, record)| model(record, number)).collect();
        let (report, output) = run(&policy, &input).unwrap();
        let ours: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let theirs: Vec<&Value> = expected.iter().flatten().collect();
        prop_assert_eq!(ours.len(), theirs.len(), "{:?} {:?}", report, expected);
        for (ours, theirs) in ours.iter().zip(theirs) {
            prop_assert!(same(ours, theirs), "{} {}", ours, theirs);
        }
        let mut faults = BTreeMap::new();
        for kind in expected.iter().filter_map(|expected| expected.as_ref().err()) {
            *faults.entry(*kind).or_insert(0) += 1;
        }
        prop_assert_eq!(report.faults.iter().map(|(kind, (count, _))| (*kind, *count)).collect::<BTreeMap<_, _>>(), faults);
        prop_assert_eq!((report.records_in, report.records_out), (records.len() as u64, ours.len() as u64));
        // however the bytes come
        prop_assert_eq!(run_dripping(&policy, input.as_bytes(), step).unwrap(), output.clone().into_bytes());
        // however records are cut
        let array = format!("[{}]", records.iter().map(write).collect::<Vec<_>>().join(" ,\n"));
        let as_array = crate::given::policy(&[("bad_record = \"stop\"", "bad_record = \"drop\""), ("[source]\nformat = \"ndjson\"", "[source]\nformat = \"json\"")]);
        prop_assert_eq!(run_dripping(&as_array, array.as_bytes(), step).unwrap(), output.into_bytes());
    }

    #[test]
    fn what_another_parser_refuses_is_refused(record in record(), at in any::<prop::sample::Index>(), insert in "[\\x00-\\x7f\u{e4}]{0,2}", cut in 0_usize..3) {
        let policy = policy(&[]);
        let letters: Vec<char> = record.to_string().chars().collect();
        let at = at.index(letters.len() + 1);
        let end = (at + cut).min(letters.len());
        let text: String = letters[..at].iter().copied().chain(insert.chars()).chain(letters[end..].iter().copied()).collect();
        prop_assume!(!text.contains('\n'));
        let theirs = serde_json::from_str::<Value>(&text);
        match run(&policy, &text) {
            Ok((report, output)) if report.records_in == 1 => {
                let record = theirs.unwrap_or_else(|error| panic!("accepted {text}: {error}"));
                let expected = model(&record, 1).unwrap();
                prop_assert!(same(&serde_json::from_str(output.trim()).unwrap(), &expected), "{} {}", text, output);
            }
            _ => {}
        }
    }
}
