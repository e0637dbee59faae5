//! The record of a processing activity, as Art. 30(1) GDPR asks for it: from the policy, and from the signed manifests of what was
//! exported under it. Whatever only its controller knows is named as missing, never guessed.

use crate::describe;
use crate::keys::hex;
use crate::manifest::KeyName;
use crate::register::{self, Register};
use crate::release::Stand;
use policy::{Period, Policy, Rule, Spec};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a line says that a person has to fill in.
const MISSING: &str = "to be filled in: the policy does not say";

/// The record, by the letters of the article.
pub(crate) struct Record {
    value: Value,
}

impl Record {
    /// From a policy, and the register of where its drafts lie.
    pub(crate) fn new(policy: &Policy, register: Option<&Register>, made: String) -> Self {
        let exports = register.map(|register| exports(policy, register));
        let recipients = recipients(policy, exports.as_deref().unwrap_or_default());
        let value = json!({
            "article": "30(1) GDPR",
            "made": made,
            "activity": { "policy": policy.name, "version": policy.version, "sha256": policy.hash_text(), "dataset": policy.dataset.as_str() },
            "a_responsible": { "owner": policy.owner, "controller": MISSING, "data_protection_officer": MISSING },
            "b_purposes": { "purpose": policy.purpose, "legal_basis": policy.legal_basis },
            "c_categories": {
                "data_subjects": subjects(policy),
                "fields": policy.fields.iter().map(|rule| field(policy, rule)).collect::<Vec<_>>(),
                "derived": policy.derived.iter().map(|rule| field(policy, rule)).collect::<Vec<_>>(),
                "fields_without_a_rule": if policy.on_unknown == policy::OnUnknown::Drop { "left out" } else { "stop the export" },
            },
            "d_recipients": recipients,
            "e_transfers": { "third_countries": MISSING, "places": places(policy) },
            "f_erasure": {
                "anonymised_after": period(policy.retention.anonymise_after),
                "deleted_after": period(policy.retention.delete_after),
            },
            "g_measures": measures(policy),
            "exports": exports,
        });
        Self { value }
    }

    /// The record as JSON.
    pub(crate) fn as_json(&self) -> Value {
        self.value.clone()
    }

    /// The record as Markdown, for a file that people keep.
    pub(crate) fn as_markdown(&self) -> String {
        let value = &self.value;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let activity = &value["activity"];
        let mut page = format!(
            "# Record of processing: {}\n\nArt. {}, made {}. Policy {} version {}, SHA-256 `{}`.\n\n",
            text(&activity["dataset"]),
            text(&value["article"]),
            text(&value["made"]),
            text(&activity["policy"]),
            activity["version"],
            text(&activity["sha256"]),
        );
        let mut section = |title: &str, lines: Vec<String>| {
            let lines: String = lines.iter().map(|line| format!("- {line}\n")).collect();
            let _ = write!(page, "## {title}\n\n{lines}\n");
        };
        let named = |value: &Value| -> Vec<String> {
            let members = value.as_object().into_iter().flatten();
            members.map(|(name, value)| format!("{}: {}", name.replace('_', " "), plain(value))).collect()
        };
        let listed =
            |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(plain).collect() };
        section("(a) Who is responsible", named(&value["a_responsible"]));
        section("(b) Purposes", named(&value["b_purposes"]));
        let categories = &value["c_categories"];
        section("(c) Categories of data subjects", listed(&categories["data_subjects"]));
        let fields = |name: &str| categories[name].as_array().cloned().unwrap_or_default();
        let line = |field: &Value| {
            let (path, technique) = (text(&field["field"]), text(&field["technique"]));
            format!("`{path}`: {technique}, {}", text(&field["becomes"]))
        };
        let mut lines: Vec<String> = fields("fields").iter().chain(&fields("derived")).map(line).collect();
        lines.push(format!("fields without a rule: {}", text(&categories["fields_without_a_rule"])));
        section("(c) Categories of personal data", lines);
        section("(d) Recipients", listed(&value["d_recipients"]));
        section("(e) Transfers", named(&value["e_transfers"]));
        section("(f) Limits of time", named(&value["f_erasure"]));
        section("(g) Measures", listed(&value["g_measures"]));
        match value["exports"].as_array() {
            None => section("Exports", vec!["not looked at: name where drafts lie with --drafts".to_owned()]),
            Some(exports) => {
                section("Exports", exports.iter().map(export_line).collect());
            }
        }
        page
    }
}

/// An export in a line.
fn export_line(export: &Value) -> String {
    let said = |name: &str| plain(&export[name]);
    let name = format!("{}: {}", said("export"), said("state"));
    if export["problem"].is_string() {
        return format!("{name}; {}", said("problem"));
    }
    let whom = format!("{name}, {} records for {}", said("records"), said("recipient"));
    if export["deleted"].is_string() {
        return format!("{whom}; deletion begun {}", said("deleted"));
    }
    format!("{whom}, to be deleted by {}; manifest `{}`", said("delete_on"), said("manifest_sha256"))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

/// Whose data they are, as far as classes of identifiers say it: `person.email` is of persons.
fn subjects(policy: &Policy) -> Vec<String> {
    let mut classes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for rule in policy.fields.iter().chain(&policy.derived).filter(|rule| rule.spec.is_token()) {
        let class = rule.class.as_str();
        let of = classes.entry(class.split('.').next().unwrap_or(class)).or_default();
        if !of.contains(&class) {
            of.push(class);
        }
    }
    if classes.is_empty() {
        return vec![MISSING.to_owned()];
    }
    classes.into_iter().map(|(whose, classes)| format!("{whose}: {}", classes.join(", "))).collect()
}

fn field(policy: &Policy, rule: &Rule) -> Value {
    let gate = policy.gate.as_ref();
    let is_sensitive = gate.is_some_and(|gate| gate.sensitive.contains(&rule.output_path));
    let is_quasi = gate.is_some_and(|gate| gate.quasi_identifiers.contains(&rule.output_path));
    json!({
        "field": rule.path.to_string(),
        "technique": rule.technique,
        "becomes": describe::meaning(&rule.spec),
        "class": rule.spec.is_token().then(|| rule.class.as_str()),
        "quasi_identifier": is_quasi,
        "sensitive": is_sensitive,
        "because": rule.because,
    })
}

/// Who gets exports, and who got some: what is only a draft, or was refused, nobody got.
fn recipients(policy: &Policy, exports: &[Value]) -> Vec<String> {
    let went_out = |export: &&Value| {
        let state = export["state"].as_str().unwrap_or_default();
        matches!(state, "approved" | "released") || export["released_to"].is_string()
    };
    let of_exports = exports.iter().filter(went_out).filter_map(|export| export["recipient"].as_str());
    let mut all: Vec<String> =
        policy.recipient.as_deref().into_iter().chain(of_exports).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    if all.is_empty() { vec![MISSING.to_owned()] } else { all }
}

fn places(policy: &Policy) -> Vec<String> {
    let place = |what: &str, bucket: &Option<String>, prefix: &Option<String>| {
        let bucket = bucket.as_deref()?;
        Some(format!("{what} s3://{bucket}/{}", prefix.as_deref().unwrap_or_default()))
    };
    let from = place("from", &policy.source.bucket, &policy.source.prefix);
    let to = place("to", &policy.target.bucket, &policy.target.prefix);
    from.into_iter().chain(to).collect()
}

fn measures(policy: &Policy) -> Vec<String> {
    let mut measures = vec![
        "only fields that the policy names leave; every other stops the export or is left out".to_owned(),
        format!("keys of domain {} are wrapped under a root that takes shares of several people", policy.domain),
        "each export is signed by who made it and by the service, and goes to readers only after a second person signed".to_owned(),
    ];
    if policy.target.shuffle {
        measures.push(
            "rows are in an order that the key and a random number of each export determine".to_owned(),
        );
    }
    if let Some(honey) = &policy.honey {
        measures.push(format!(
            "each export has rows of up to {} made-up persons, so that a leak names the export",
            honey.persons
        ));
    }
    if let Some(gate) = &policy.gate {
        let mut limits = format!("an export is held if a class has fewer than {} records", gate.k);
        let figures = [
            ("diversity below", gate.l),
            ("distance above", gate.t),
            ("average risk above", gate.max_avg_risk),
            ("share of unique records above", gate.max_unique),
            ("share of one token above", gate.max_token_top_share),
        ];
        for (name, limit) in figures {
            if let Some(limit) = limit {
                let _ = write!(limits, ", {name} {limit}");
            }
        }
        measures.push(limits);
    }
    match &policy.reidentify {
        None => measures.push("the policy lets nobody be identified again".to_owned()),
        Some(rules) => measures.push(format!(
            "identifying people again takes who asks and {} who agree{}, for one of: {}; {} rows at most",
            rules.approvers,
            if rules.second_factor { ", all with a second factor" } else { "" },
            rules.reasons.join(", "),
            rules.max_rows
        )),
    }
    for rule in policy.columns().filter(|rule| matches!(rule.spec, Spec::Siv | Spec::FormatPreserving { .. }))
    {
        let column = rule.output_path.column();
        measures.push(format!(
            "not hidden from holders of the domain's key: {column}, whose tokens are reversible"
        ));
    }
    let vault = policy.columns().any(|rule| matches!(rule.spec, Spec::Vault(_)));
    if vault {
        measures
            .push("people who are erased are nobody's in every copy, with a signed certificate".to_owned());
    }
    measures
}

fn period(period: Period) -> String {
    let (days, seconds) = (period.seconds / 86_400, period.seconds % 86_400);
    let parts = [(u64::from(period.months), "months"), (days, "days"), (seconds, "seconds")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}"));
    parts.collect::<Vec<_>>().join(" and ")
}

/// The exports that were made under this policy, in whatever version of it.
fn exports(policy: &Policy, register: &Register) -> Vec<Value> {
    let of_entry = |stand: &Stand| {
        (stand.manifest.terms.policy == policy.name).then(|| {
            let key = |key: &KeyName| format!("{} version {}", key.domain, key.version);
            let mut value = register::as_json(stand);
            value["keys"] = json!(stand.manifest.keys.iter().map(key).collect::<Vec<_>>());
            value["manifest_sha256"] = json!(hex(&Sha256::digest(stand.manifest_bytes())));
            value
        })
    };
    let there = register.exports.iter().filter_map(|entry| match &entry.stand {
        Ok(stand) => of_entry(stand),
        Err(_) => Some(entry.as_json()),
    });
    let gone = register.deleted.iter().filter_map(|gone| {
        let Ok(record) = &gone.record else { return Some(gone.as_json()) };
        (record.terms.policy == policy.name).then(|| gone.as_json())
    });
    there.chain(gone).collect()
}
