//! The TOML of a policy as it is written. Every key is known: what is not understood is refused.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) policy: String,
    pub(crate) version: u32,
    pub(crate) domain: String,
    pub(crate) dataset: Option<String>,
    pub(crate) purpose: String,
    pub(crate) legal_basis: String,
    pub(crate) owner: String,
    pub(crate) recipient: Option<String>,
    pub(crate) unknown_field: String,
    #[serde(default = "stop")]
    pub(crate) bad_record: String,
    pub(crate) bad_records_max: Option<u64>,
    pub(crate) source: SourceFile,
    pub(crate) target: TargetFile,
    pub(crate) retention: RetentionFile,
    pub(crate) gate: Option<GateFile>,
    pub(crate) reidentify: Option<ReidentifyFile>,
    pub(crate) honey: Option<HoneyFile>,
    #[serde(default)]
    pub(crate) hierarchy: Vec<HierarchyFile>,
    pub(crate) field: Vec<FieldFile>,
    #[serde(default)]
    pub(crate) derived: Vec<FieldFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceFile {
    pub(crate) bucket: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) format: String,
    pub(crate) schema: Option<String>,
    pub(crate) compression: Option<String>,
    pub(crate) delimiter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetFile {
    pub(crate) bucket: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) format: String,
    pub(crate) compression: Option<String>,
    #[serde(default = "yes")]
    pub(crate) shuffle: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionFile {
    pub(crate) anonymise_after: String,
    pub(crate) delete_after: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateFile {
    pub(crate) quasi_identifiers: Vec<String>,
    #[serde(default)]
    pub(crate) sensitive: Vec<String>,
    pub(crate) k: u32,
    pub(crate) l: Option<f64>,
    pub(crate) t: Option<f64>,
    pub(crate) max_avg_risk: Option<f64>,
    pub(crate) max_unique: Option<f64>,
    pub(crate) max_token_top_share: Option<f64>,
    pub(crate) on_fail: Option<String>,
    pub(crate) max_suppressed: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReidentifyFile {
    pub(crate) approvers: u32,
    pub(crate) second_factor: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) window: String,
    pub(crate) max_rows: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoneyFile {
    pub(crate) persons: u32,
    pub(crate) person: String,
    #[serde(default)]
    pub(crate) shared: Vec<String>,
    #[serde(default)]
    pub(crate) together: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HierarchyFile {
    pub(crate) name: String,
    pub(crate) rows: Vec<String>,
}

/// One field's rule, or a column derived from a field that has one. The parameters are those of the technique; what the
/// technique does not take is refused.
#[derive(Deserialize)]
pub(crate) struct FieldFile {
    pub(crate) path: String,
    #[serde(rename = "as")]
    pub(crate) output_path: Option<String>,
    pub(crate) technique: String,
    pub(crate) class: Option<String>,
    pub(crate) scope: Option<String>,
    #[serde(default)]
    pub(crate) normalise: Vec<String>,
    pub(crate) null: Option<String>,
    pub(crate) invalid: Option<String>,
    #[serde(rename = "type")]
    pub(crate) column: Option<String>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) because: Option<String>,
    pub(crate) cardinality: Option<u64>,
    #[serde(flatten)]
    pub(crate) parameters: toml::Table,
}

fn stop() -> String {
    "stop".to_owned()
}

fn yes() -> bool {
    true
}
