//! What readers need beside the data: the meaning of each column, its type, and queries to begin with. All from the policy.

use policy::{Column, Format, Policy, Spec};
use serde_json::{Value, json};
use std::fmt::Write as _;
use transform::Title;

/// The documents of an export: their names and content.
pub(crate) fn documents(policy: &Policy) -> [(&'static str, Vec<u8>); 3] {
    let pretty = |value: Value| format!("{value:#}\n").into_bytes();
    [
        ("dictionary.json", pretty(dictionary(policy))),
        ("schema.json", pretty(schema(policy))),
        ("queries.sql", queries(policy).into_bytes()),
    ]
}

/// What a part's name ends with.
pub(crate) fn suffix(policy: &Policy) -> &'static str {
    use policy::Compression::{Gzip, None, Zstd};
    match (policy.target.format, policy.target.compression) {
        (Format::Parquet, _) => "parquet",
        (Format::Csv, None) => "csv",
        (Format::Csv, Gzip) => "csv.gz",
        (Format::Csv, Zstd) => "csv.zst",
        (_, None) => "ndjson",
        (_, Gzip) => "ndjson.gz",
        (_, Zstd) => "ndjson.zst",
    }
}

/// The format of the data, in a word.
pub(crate) fn format(policy: &Policy) -> &'static str {
    match policy.target.format {
        Format::Parquet => "parquet",
        Format::Csv => "csv",
        Format::Ndjson | Format::JsonArray => "ndjson",
    }
}

fn dictionary(policy: &Policy) -> Value {
    let gate = policy.gate.as_ref();
    let column = |rule: &policy::Rule| {
        let is_quasi = gate.is_some_and(|gate| gate.quasi_identifiers.contains(&rule.output_path));
        let is_sensitive = gate.is_some_and(|gate| gate.sensitive.contains(&rule.output_path));
        let role = match (is_quasi, is_sensitive) {
            (true, _) => "quasi-identifier",
            (_, true) => "sensitive",
            _ => "other",
        };
        json!({
            "column": rule.output_path.column(),
            "type": kind(rule.column),
            "technique": rule.technique,
            "class": rule.spec.is_token().then(|| rule.class.as_str()),
            "scope": rule.spec.is_token().then(|| scope(rule.scope)),
            "meaning": meaning(&rule.spec),
            "joins": joins(rule),
            "normalisers": rule.normalisers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "role": role,
        })
    };
    let mut dictionary = json!({
        "dataset": policy.dataset.as_str(),
        "domain": policy.domain.as_str(),
        "policy": policy.name,
        "policy_version": policy.version,
        "columns": policy.columns().map(column).collect::<Vec<_>>(),
    });
    if let Some(honey) = &policy.honey {
        // without it the document stays what it was
        let persons = honey.persons;
        dictionary["planted"] = format!(
            "rows of up to {persons} made-up persons are among the data; release.json says how many rows that are"
        )
        .into();
    }
    dictionary
}

fn schema(policy: &Policy) -> Value {
    let column = |rule: &policy::Rule| {
        json!({
            "path": rule.output_path.names(),
            "name": rule.output_path.column(),
            "type": kind(rule.column),
            "nullable": true,
        })
    };
    let columns: Vec<Value> = policy.columns().map(column).collect();
    json!({ "format": format(policy), "columns": columns })
}

fn queries(policy: &Policy) -> String {
    let files = format!("data/part-*.{}", suffix(policy));
    let read = match policy.target.format {
        Format::Parquet => format!("read_parquet('{files}')"),
        Format::Csv => format!("read_csv('{files}')"),
        Format::Ndjson | Format::JsonArray => format!("read_json('{files}', format = 'newline_delimited')"),
    };
    let mut text = format!(
        "-- For DuckDB, from the folder of the export; put s3://BUCKET/FOLDER/ before data/ to read it where it lies.\n\
         SELECT count(*) AS rows FROM {read};\nDESCRIBE SELECT * FROM {read};\n"
    );
    let gate = policy.gate.as_ref();
    for rule in policy.columns() {
        let is_named = gate.is_some_and(|gate| {
            gate.quasi_identifiers.contains(&rule.output_path) || gate.sensitive.contains(&rule.output_path)
        });
        if is_named {
            let column = sql_name(policy, rule);
            let _ = writeln!(
                text,
                "SELECT {column} AS value, count(*) AS rows FROM {read} GROUP BY ALL ORDER BY rows DESC;"
            );
        } else if matches!(rule.spec, Spec::Token(_) | Spec::Vault(_)) {
            let column = sql_name(policy, rule);
            let _ = writeln!(text, "SELECT count(DISTINCT {column}) AS different FROM {read};");
        }
    }
    text
}

/// A column as SQL names it: inner records are structures, but in CSV all is flat.
fn sql_name(policy: &Policy, rule: &policy::Rule) -> String {
    // a policy's names have no quotes
    if policy.target.format == Format::Csv {
        return format!("\"{}\"", rule.output_path.column());
    }
    let names: Vec<String> = rule.output_path.names().iter().map(|name| format!("\"{name}\"")).collect();
    names.join(".")
}

fn kind(column: Column) -> &'static str {
    match column {
        Column::Text => "text",
        Column::Integer => "integer",
        Column::Number => "number",
        Column::Boolean => "boolean",
    }
}

/// A scope, by its word in policies.
pub(crate) fn scope(scope: custody::Scope) -> &'static str {
    match scope {
        custody::Scope::Domain => "domain",
        custody::Scope::Dataset => "dataset",
        custody::Scope::Record => "record",
    }
}

fn joins(rule: &policy::Rule) -> &'static str {
    use custody::Scope;
    match (&rule.spec, rule.scope) {
        (Spec::Token(_) | Spec::Vault(_) | Spec::Siv | Spec::FormatPreserving { .. }, Scope::Domain) => {
            "with columns of the same class in all exports of the domain under one key version"
        }
        (Spec::Token(_) | Spec::Vault(_) | Spec::Siv | Spec::FormatPreserving { .. }, Scope::Dataset) => {
            "within the data set under one key version"
        }
        _ => "with nothing",
    }
}

/// What becomes of a value, in words.
pub(crate) fn meaning(spec: &Spec) -> &'static str {
    match spec {
        Spec::Token(_) => "a token: equal for equal values, and says nothing else of them",
        Spec::Vault(_) => {
            "a token: equal for equal values; it leads to a person through a vault, until they are erased"
        }
        Spec::Siv => "a reversible token: equal for equal values",
        Spec::FormatPreserving { .. } => "a reversible token in the form of the value",
        Spec::DateShift { .. } => {
            "a date moved by a number of days that is the same for all records of a person"
        }
        Spec::NullIfRare { .. } => "the value, or nothing where few records have it",
        Spec::TruncateTime(_) => "a time, as exact as its unit",
        Spec::TruncateText(_) => "the beginning of the value",
        Spec::Bucket(_) => "a range that the value lies in",
        Spec::Clamp(_) => "the value, or the border it lies beyond",
        Spec::IpPrefix(_) => "the network of the address",
        Spec::Mask(_) => "the value with most characters hidden",
        Spec::Hierarchy(_) => "a coarser value that stands for the value",
        Spec::Title(Title::Class(_)) => "the class of the title, from the policy's list; other if none fits",
        Spec::Title(Title::Extension) => "the ending of the title if it is a usual one; other, or none",
        Spec::Title(Title::Length) => "the range that the number of the title's characters lies in",
        Spec::Constant(_) => "the same for all records",
        Spec::Keep => "the value as it was",
        Spec::Drop => "left out",
    }
}
