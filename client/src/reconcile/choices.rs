//! The plan that a person edits: what shall become of each lost write, one line each, with what would be done and why.

use super::plan::Choice;
use super::report::{Action, ReconcileReport};
use super::settled::Identity;
use crate::{ClientError, files};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Version of the file.
const FORMAT: u32 = 2;

/// A plan, bytes: a hundred thousand lost writes take 60 MB, 300 MB with the longest names.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// What shall become of each lost write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    format: u32,
    /// The region that acknowledged what was lost.
    pub(super) from: String,
    /// The region that takes writes.
    pub(super) to: String,
    /// The epoch that began with the switch.
    pub(super) epoch: u64,
    /// What may be chosen: for who edits the file.
    choices: BTreeMap<String, String>,
    entries: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    choice: Choice,
    group: u32,
    sequence: u64,
    part: u32,
    change: wire::admin::LostChange,
    bucket: Option<String>,
    key: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    version: Option<String>,
    size: Option<u64>,
    principal: Option<String>,
    /// What `keep` would do, when the file was made.
    would_be: Action,
    why: String,
}

impl Choices {
    /// Everything kept, as a preview says how.
    pub fn of(preview: &ReconcileReport) -> Self {
        let choices = [
            (
                "keep",
                "put back where that hides nothing newer, else kept beside; a delete is repeated where it is certain what it deleted",
            ),
            ("beside", "kept under a name of its own in any case; a delete is not repeated"),
            ("discard", "given up"),
        ];
        let line = |entry: &super::Entry| {
            let write = entry.write.clone();
            Line {
                choice: Choice::Keep,
                group: write.group,
                sequence: write.sequence,
                part: write.part,
                change: write.change,
                bucket: write.bucket,
                key: write.key,
                subject: write.subject,
                version: write.version,
                size: write.size,
                principal: write.principal,
                would_be: entry.action,
                why: entry.why.clone(),
            }
        };
        Self {
            format: FORMAT,
            from: preview.from.clone(),
            to: preview.to.clone(),
            epoch: preview.epoch,
            choices: choices.map(|(name, means)| (name.to_owned(), means.to_owned())).into(),
            entries: preview.entries.iter().map(line).collect(),
        }
    }

    /// Reads a file that a person edited.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let refuse = |problem: String| ClientError::Content { path: path.to_owned(), problem };
        let bytes = files::read_bytes_to(path, FILE_BYTES_MAX)?;
        let choices: Self = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if choices.format != FORMAT {
            return Err(refuse("it is of a form that this release does not know".to_owned()));
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = choices.entries.iter().find(|line| !named.insert(line.identity())) {
            return Err(refuse(format!("it chooses twice for {}", twice.name())));
        }
        Ok(choices)
    }

    /// Writes the file; one that is there already is not replaced.
    pub fn write(&self, path: &Path) -> Result<(), ClientError> {
        if path.exists() {
            let problem = format!("{} is there already", path.display());
            return Err(ClientError::state(problem, "name another file, or carry this one out with --yes"));
        }
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| ClientError::Crypto { what: "writing the plan", problem: error.to_string() })?;
        bytes.push(b'\n');
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ClientError::state(
                format!("the plan has {} bytes, of which {FILE_BYTES_MAX} are read", bytes.len()),
                "make one for a part at a time, with --bucket and --prefix",
            ));
        }
        files::write(path, &bytes)
    }

    /// What is chosen for each write that it names.
    pub(super) fn by_write(&self) -> BTreeMap<Identity, Choice> {
        self.entries.iter().map(|line| (line.identity(), line.choice)).collect()
    }

    /// The first write that it names and that is none of these.
    pub(super) fn unknown(&self, known: &BTreeSet<Identity>) -> Option<String> {
        self.entries.iter().find(|line| !known.contains(&line.identity())).map(Line::name)
    }
}

impl Line {
    /// For people.
    fn name(&self) -> String {
        let names = [&self.bucket, &self.key, &self.subject, &self.version];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        format!("write {} of group {} ({})", self.sequence, self.group, names.join(", "))
    }

    fn identity(&self) -> Identity {
        (self.group, self.sequence, self.part)
    }
}
