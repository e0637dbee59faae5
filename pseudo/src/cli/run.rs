//! `pseudo run`: files in, one file out; and `--dry-run`, which shows what would become of the first records.

use super::keys::Opened;
use super::lint;
use super::output::Output;
use super::vault::Working;
use crate::files::{self, Fresh};
use crate::keys::{hex, unhex};
use crate::vault::VaultAt;
use crate::{PseudoError, agreement};
use clap::Args;
use custody::{ClassName, KeyVersion, MasterKey, PersonKey, PersonSalt};
use pipeline::{Engine, Input, PipelineError, Plan, Rare, Report, SHUFFLE_MEMORY_BYTES, SpillFile};
use policy::{Policy, Severity, Spec};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transform::{People, RunSeed, TransformError};

/// Records that a dry run shows.
const DRY_RUN_RECORDS: usize = 5;

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Files to read, all in the format that the policy names
    #[arg(value_name = "FILE", required = true)]
    inputs: Vec<PathBuf>,
    /// The file to write; one that exists is left alone
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Show what would become of the first records, under a key made for this run alone; values are shown by their shape
    #[arg(long, conflicts_with_all = ["output", "share"])]
    dry_run: bool,
    /// The folder of keys
    #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS", required_unless_present = "dry_run")]
    keys: Option<PathBuf>,
    /// A share of the root; as often as the root needs
    #[arg(long, value_name = "FILE", required_unless_present_any = ["dry_run", "token"])]
    share: Vec<PathBuf>,
    /// A file that names the PKCS#11 token which opens the root, instead of shares
    #[arg(long, value_name = "FILE", conflicts_with_all = ["share", "dry_run"])]
    token: Option<PathBuf>,
    #[command(flatten)]
    vault: VaultAt,
    /// Which of the domain's keys to use [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    key_version: Option<u32>,
    /// The run to repeat, as its report named it: the same order of rows and the same tokens of scope record
    #[arg(long, value_name = "HEX", value_parser = parse_seed)]
    repeat: Option<[u8; 16]>,
    /// Rows kept in memory to put them in order, in MiB; more go through a temporary file without a name
    #[arg(long, value_name = "MIB", default_value_t = (SHUFFLE_MEMORY_BYTES >> 20) as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    memory: u32,
    /// Where temporary files go [default: the folder of the output]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

pub(super) fn run(arguments: &RunArguments, output: &Output) -> Result<(), PseudoError> {
    let policy = lint::read(&arguments.policy)?;
    let errors = policy.lint(None).into_iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        let problem = format!("{}: {errors} errors", arguments.policy.display());
        return Err(PseudoError::usage(
            problem,
            "`pseudo lint` says which; nothing runs before they are mended",
        ));
    }
    let mut seed = arguments.repeat.unwrap_or_default();
    if arguments.repeat.is_none() {
        files::random(&mut seed)?;
    }
    let (Some(target), false) = (&arguments.output, arguments.dry_run) else {
        return dry_run(arguments, &policy, RunSeed(seed), output);
    };
    let version = arguments
        .key_version
        .map(KeyVersion::new)
        .transpose()
        .map_err(PseudoError::custody("--key-version"))?;
    let opened = Opened {
        keys: arguments.keys.clone(),
        share: arguments.share.clone(),
        token: arguments.token.clone(),
    };
    let (folder, root) = opened.open()?;
    // without a key that signs there is no log that could ask for it
    if folder.signing_public()?.is_some() {
        agreement::check(&arguments.policy, &policy, &folder, folder.signing(&root)?.public())?;
    }
    let master = folder.master(&root, &policy.domain, version)?;
    let mut working = Working::of(&policy, &arguments.vault, &root, &folder)?;
    let people = working.as_ref().map(|(working, _)| working.people());
    drop(root);
    let fresh = Fresh::output(target)?;
    let near = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = arguments.temporary.as_deref().unwrap_or(near);
    let mut spill = || Ok(Box::new(tempfile::tempfile_in(temporary)?) as Box<dyn SpillFile>);
    let plan = plan(&policy, &master, RunSeed(seed), &arguments.inputs, people.as_ref())?;
    let engine = Engine::new(plan, (arguments.memory as usize) << 20);
    let done = engine.run(open(&arguments.inputs)?, fresh.file(), &mut spill).map_err(failed);
    let (report, _) = done?;
    // who is behind the tokens is on the disk before the tokens are anywhere
    if let Some((working, service)) = &mut working {
        working.finish(service)?;
    }
    fresh.keep()?;
    let value = as_json(&policy, &master, seed, &report);
    output.either(value, || as_text(&policy, &report))?;
    if policy.gate.is_some() {
        eprintln!(
            "pseudo: nothing was measured: [gate] is judged by `export` only; `pseudo risk` measures a file"
        );
    }
    Ok(())
}

fn dry_run(
    arguments: &RunArguments,
    policy: &Policy,
    seed: RunSeed,
    output: &Output,
) -> Result<(), PseudoError> {
    let master = MasterKey::generate(policy.domain.clone(), KeyVersion::FIRST, files::random)?;
    let people: Arc<dyn People> = Arc::new(Nobody(PersonKey::generate(files::random)?));
    let plan = plan(policy, &master, seed, &arguments.inputs, Some(&people))?;
    let mut inputs = open(&arguments.inputs[..1])?;
    let rows = plan.preview(inputs.remove(0), DRY_RUN_RECORDS).map_err(failed)?;
    let records: Vec<Value> = rows
        .iter()
        .map(|row| match row {
            Err(kind) => json!({ "fault": kind.name() }),
            Ok(cells) => {
                let cell = |cell: &pipeline::PreviewCell| {
                    json!({ "path": cell.path, "before": cell.before, "as": cell.output_path, "after": cell.after })
                };
                json!({ "columns": cells.iter().map(cell).collect::<Vec<_>>() })
            }
        })
        .collect();
    let dropped: Vec<String> = policy
        .fields
        .iter()
        .filter(|rule| matches!(rule.spec, Spec::Drop))
        .map(|rule| rule.path.to_string())
        .collect();
    output.either(json!({ "dry_run": true, "records": records, "dropped": dropped }), || {
        let mut text = String::new();
        for (number, row) in (1..).zip(&rows) {
            text.push_str(&format!("record {number}\n"));
            match row {
                Err(kind) => text.push_str(&format!("  {}\n", kind.name())),
                Ok(cells) => cells.iter().for_each(|cell| {
                    let after = cell.after.as_deref().unwrap_or("null");
                    text.push_str(&format!(
                        "  {}: {} -> {}: {after}\n",
                        cell.path, cell.before, cell.output_path
                    ));
                }),
            }
        }
        text + &format!(
            "dropped: {}\n",
            if dropped.is_empty() { "nothing".into() } else { dropped.join(", ") }
        )
    })
}

/// People of a dry run: all with one secret, which is kept nowhere.
struct Nobody(PersonKey);

impl People for Nobody {
    fn with_salt(
        &self,
        _: &ClassName,
        _: &str,
        take: &mut dyn FnMut(&PersonSalt),
    ) -> Result<(), TransformError> {
        take(&self.0.salt());
        Ok(())
    }
}

fn plan<'a>(
    policy: &'a Policy,
    master: &MasterKey,
    seed: RunSeed,
    inputs: &[PathBuf],
    people: Option<&Arc<dyn People>>,
) -> Result<Plan<'a>, PseudoError> {
    let counts = policy.columns().any(|rule| matches!(rule.spec, Spec::NullIfRare { .. }));
    let rare = if counts {
        pipeline::count_rare(policy, master, open(inputs)?.into_iter().map(Ok))
    } else {
        Ok(Rare::default())
    };
    Plan::with_vault(policy, master, seed, rare.map_err(failed)?, people).map_err(failed)
}

fn open(paths: &[PathBuf]) -> Result<Vec<Input<'static>>, PseudoError> {
    let open = |path: &PathBuf| File::open(path).map(Input::File).map_err(PseudoError::file("reading", path));
    paths.iter().map(open).collect()
}

fn failed(source: PipelineError) -> PseudoError {
    PseudoError::Run { source }
}

fn parse_seed(text: &str) -> Result<[u8; 16], String> {
    unhex(text).ok_or_else(|| "32 digits of hexadecimal".to_owned())
}

fn as_json(policy: &Policy, master: &MasterKey, seed: [u8; 16], report: &Report) -> Value {
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|(kind, (count, positions))| {
            let position = |position: &pipeline::Position| {
                let field = position.field.map(|field| policy.fields[field].path.to_string());
                json!({ "input": position.input, "record": position.record, "offset": position.offset, "field": field })
            };
            json!({ "kind": kind.name(), "count": count, "first": positions.iter().map(position).collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_sha256": policy.hash_text(),
        "domain": policy.domain.as_str(),
        "key_version": master.version().get(),
        "key_id": hex(&master.id()),
        "run": hex(&seed),
        "normalisers": policy.columns().map(normalisers).collect::<serde_json::Map<_, _>>(),
        "records_in": report.records_in,
        "records_out": report.records_out,
        "records_dropped": report.records_dropped,
        "unknown_fields_dropped": report.unknown_fields_dropped,
        "values_nulled": report.values_nulled,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "faults": faults,
    })
}

/// The normalisers of a column with their versions: tokens of another run meet only under the same ones.
fn normalisers(rule: &policy::Rule) -> (String, Value) {
    (rule.output_path.to_string(), rule.normalisers.iter().map(ToString::to_string).collect())
}

fn as_text(policy: &Policy, report: &Report) -> String {
    let mut text = format!(
        "{} records in, {} out, {} left out; {} fields without a rule left out, {} values made null\n",
        report.records_in,
        report.records_out,
        report.records_dropped,
        report.unknown_fields_dropped,
        report.values_nulled
    );
    for (kind, (count, positions)) in &report.faults {
        let first = positions.first();
        let field =
            first.and_then(|first| first.field).map(|field| format!(" at {}", policy.fields[field].path));
        let place = first.map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(
            "  {}: {count}, first in {place}{}\n",
            kind.name(),
            field.unwrap_or_default()
        ));
    }
    text
}
