//! A policy as a whole: read from TOML, checked, and its hash.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use custody::{DatasetName, DomainName};
use sha2::{Digest, Sha256};
use transform::TransformError;

use crate::file::File;
use crate::sections::{Gate, OnBadRecord, OnUnknown, Reidentify, Retention, Source, Target};
use crate::{Format, Honey, Path, PolicyError, Rule, Spec, honey, sections};

/// A policy with its hierarchies, bytes.
pub const POLICY_BYTES_MAX: usize = 4 << 20;
/// Fields and derived columns: a bit each in a word per record.
pub const FIELDS_MAX: usize = 512;
/// What stands for a purpose or a person's address, bytes.
const TEXT_BYTES_MAX: usize = 512;
const HASH_LABEL: &[u8] = b"twinkeep pseudo policy 1\0";

/// What an export holds, for whom and why.
#[derive(Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Counted up by its owner with each change.
    pub version: u32,
    /// SHA-256 of the text.
    pub hash: [u8; 32],
    /// The domain whose tokens it makes.
    pub domain: DomainName,
    /// The data set within the domain.
    pub dataset: DatasetName,
    /// What the data are used for.
    pub purpose: String,
    /// What allows it.
    pub legal_basis: String,
    /// Who answers for it.
    pub owner: String,
    /// Who gets it.
    pub recipient: Option<String>,
    /// What happens with fields that no rule names.
    pub on_unknown: OnUnknown,
    /// What happens with records that cannot be read or treated.
    pub on_bad_record: OnBadRecord,
    /// Bad records beyond which the run stops after all.
    pub bad_records_max: u64,
    /// Where records come from.
    pub source: Source,
    /// Where they go.
    pub target: Target,
    /// How long.
    pub retention: Retention,
    /// What is measured before release.
    pub gate: Option<Gate>,
    /// Whether and how people may be identified again.
    pub reidentify: Option<Reidentify>,
    /// Whether rows of made-up persons are planted.
    pub honey: Option<Honey>,
    /// One rule for each field.
    pub fields: Vec<Rule>,
    /// Further columns from fields that have a rule.
    pub derived: Vec<Rule>,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong { most: POLICY_BYTES_MAX });
        }
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            // messages of this kind show the value
            let is_type = error.message().starts_with("invalid");
            let problem =
                if is_type { "the value is not of the type that this key takes" } else { error.message() };
            PolicyError::Syntax { line, problem: problem.to_owned() }
        })?;
        let top = |problem: &str| PolicyError::value("policy", problem);
        let texts = [
            ("policy", Some(&file.policy)),
            ("purpose", Some(&file.purpose)),
            ("legal_basis", Some(&file.legal_basis)),
            ("owner", Some(&file.owner)),
            ("recipient", file.recipient.as_ref()),
        ];
        for (key, text) in texts {
            let Some(text) = text else { continue };
            // a recipient may be left open until the export
            let found = if text.trim().is_empty() && key != "recipient" { "empty" } else { "longer" };
            if found == "empty" || text.len() > TEXT_BYTES_MAX {
                return Err(top(&format!("{key} takes 1 to {TEXT_BYTES_MAX} bytes and is {found}")));
            }
            if text.chars().any(char::is_control) {
                return Err(top(&format!("{key} is shown to people: no control characters, no second line")));
            }
        }
        let mut hierarchies = HashMap::new();
        for hierarchy in file.hierarchy {
            if hierarchies.insert(hierarchy.name, hierarchy.rows.join("\n")).is_some() {
                return Err(PolicyError::value("hierarchy", "two hierarchies have one name"));
            }
        }
        let rules = |files: Vec<_>| -> Result<Vec<Rule>, PolicyError> {
            files.into_iter().map(|file| Rule::read(file, &hierarchies)).collect()
        };
        let dataset = file.dataset.as_ref().unwrap_or(&file.policy);
        let policy = Self {
            hash: Self::hash_of(text),
            domain: DomainName::new(&file.domain).map_err(|error| PolicyError::value("domain", error))?,
            dataset: DatasetName::new(dataset).map_err(|error| PolicyError::value("dataset", error))?,
            on_unknown: match file.unknown_field.as_str() {
                "stop" => OnUnknown::Stop,
                "drop" => OnUnknown::Drop,
                _ => return Err(top("unknown_field is one of stop, drop: nothing passes unnamed")),
            },
            on_bad_record: match file.bad_record.as_str() {
                "stop" => OnBadRecord::Stop,
                "drop" => OnBadRecord::Drop,
                _ => return Err(top("bad_record is one of stop, drop")),
            },
            bad_records_max: file.bad_records_max.unwrap_or(u64::MAX),
            source: sections::source(file.source)?,
            target: sections::target(file.target)?,
            retention: sections::retention(&file.retention)?,
            gate: file.gate.map(sections::gate).transpose()?,
            reidentify: file.reidentify.map(sections::reidentify).transpose()?,
            honey: file.honey.map(honey::honey).transpose()?,
            fields: rules(file.field)?,
            derived: rules(file.derived)?,
            name: file.policy,
            version: file.version,
            purpose: file.purpose,
            legal_basis: file.legal_basis,
            owner: file.owner,
            recipient: file.recipient,
        };
        policy.check_paths()?;
        policy.check_honey()?;
        Ok(policy)
    }

    /// The hash that a policy of this text has, also of a text that is no policy to this release.
    pub fn hash_of(text: &str) -> [u8; 32] {
        Sha256::new().chain_update(HASH_LABEL).chain_update(text).finalize().into()
    }

    /// The hash in hexadecimal.
    pub fn hash_text(&self) -> String {
        self.hash.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The rules whose columns are in the export, in their order: fields, then derived ones.
    pub fn columns(&self) -> impl Iterator<Item = &Rule> {
        self.fields.iter().chain(&self.derived).filter(|rule| !matches!(rule.spec, Spec::Drop))
    }

    /// The same with columns, by their places, so many levels coarser. It keeps its hash: the text did not change.
    pub fn climbed(&self, steps: &[(usize, usize)]) -> Result<Self, TransformError> {
        let mut climbed = self.clone();
        let columns = climbed.fields.iter_mut().chain(&mut climbed.derived);
        for (place, rule) in columns.filter(|rule| !matches!(rule.spec, Spec::Drop)).enumerate() {
            if let Some((_, by)) = steps.iter().find(|(column, _)| *column == place)
                && let Spec::Hierarchy(ladder) = &mut rule.spec
            {
                *ladder = ladder.climbed(*by)?;
            }
        }
        Ok(climbed)
    }

    /// The place among the fields of the one with this path.
    pub fn field_at(&self, path: &Path) -> Option<usize> {
        self.fields.iter().position(|rule| rule.path == *path)
    }

    fn check_paths(&self) -> Result<(), PolicyError> {
        let wrong = |rule: &Rule, problem| Err(PolicyError::value(&rule.path.to_string(), problem));
        if self.fields.is_empty() || self.fields.len() + self.derived.len() > FIELDS_MAX {
            return Err(PolicyError::value("field", "a policy has 1 to 512 fields and derived columns"));
        }
        nested(self.fields.iter().map(|rule| &rule.path), "the field has two rules, or lies within another")?;
        let columns = self.columns().map(|rule| &rule.output_path);
        nested(columns, "two columns have one place, or one lies within the other")?;
        let (mut flat, is_flat) = (HashSet::new(), self.target.format == Format::Csv);
        for rule in self.columns() {
            if is_flat && !flat.insert(rule.output_path.column()) {
                return wrong(rule, "two columns have one name in CSV");
            }
            let Spec::DateShift { by, .. } = &rule.spec else { continue };
            if self.field_at(by).is_none() {
                return wrong(rule, "by names no field of this policy");
            }
        }
        for rule in &self.derived {
            if self.field_at(&rule.path).is_none() {
                return wrong(rule, "a derived column is of a field that has a rule");
            }
            if rule.output_path == rule.path || matches!(rule.spec, Spec::Drop) {
                return wrong(rule, "a derived column goes elsewhere, with `as`");
            }
        }
        if self.columns().next().is_none() {
            return Err(PolicyError::value("field", "every field is dropped: there is nothing to export"));
        }
        Ok(())
    }
}

/// Refuses a path that is another or lies within it.
fn nested<'a>(paths: impl Iterator<Item = &'a Path>, problem: &str) -> Result<(), PolicyError> {
    let mut sorted: Vec<&Path> = paths.collect();
    sorted.sort();
    for pair in sorted.windows(2) {
        if pair[1].is_within(pair[0]) {
            return Err(PolicyError::value(&pair[1].to_string(), problem));
        }
    }
    Ok(())
}
