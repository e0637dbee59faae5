//! `pseudo export`: objects in, objects out, and a signed manifest.

use super::keys::Opened;
use super::output::Output;
use super::vault::Working;
use crate::export::{Begun, Done, Export, MayLack, Wanted};
use crate::manifest::{Order, Source, is_export_name};
use crate::operators::Acting;
use crate::s3::{Connection, Place, S3};
use crate::vault::VaultAt;
use crate::{PseudoError, agreement, clock, files, policies};
use clap::Args;
use custody::KeyVersion;
use pipeline::SHUFFLE_MEMORY_BYTES;
use policy::Policy;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Rows of a part where nothing is said.
const PART_ROWS_DEFAULT: u64 = 1 << 20;

/// A command ends when it is killed, which an export bears.
static NEVER: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// What to read: with a slash at the end everything below it, without one an object [default: the policy's source]
    #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    source: Vec<Place>,
    /// Where drafts lie; readers are not let in there. The export gets a folder of its name
    #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    to: Place,
    /// What the export is called; a run that was interrupted goes on under its own [default: the policy's name and the time]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Make an export also of a place without objects, and one without rows
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    opened: Opened,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    vault: VaultAt,
    /// Which of the domain's keys to use [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    key_version: Option<u32>,
    /// Who gets it [default: the policy's recipient]
    #[arg(long, value_name = "TEXT")]
    recipient: Option<String>,
    /// The day by which it is to be deleted, earlier than the policy has it [default: by the policy]
    #[arg(long, value_name = "YYYY-MM-DD")]
    delete_on: Option<String>,
    /// Rows of a part, at most; a part has 64 MiB or a little more at most, too [default: 1048576]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    part_rows: Option<u64>,
    /// Rows kept in memory to put them in order, in MiB; as much again is for measuring
    #[arg(long, value_name = "MIB", default_value_t = (SHUFFLE_MEMORY_BYTES >> 20) as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    memory: u32,
    /// Where temporary files without a name go [default: the system's folder for them]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

pub(super) fn run(arguments: &ExportArguments, output: &Output) -> Result<(), PseudoError> {
    let policy = policies::sound(&arguments.policy)?;
    let created = clock::now();
    let wanted = Wanted {
        policy: &policy,
        sources: &arguments.source,
        drafts: &arguments.to,
        recipient: arguments.recipient.as_deref(),
        delete_on: arguments.delete_on.as_deref(),
    };
    let terms = wanted.terms(created)?;
    let name = name(arguments, &policy, created)?;
    let version = arguments.key_version.map(KeyVersion::new).transpose();
    let version = version.map_err(PseudoError::custody("--key-version"))?;
    let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
    let (folder, root) = arguments.opened.open()?;
    let service = folder.signing(&root)?;
    agreement::check(&arguments.policy, &policy, &folder, service.public())?;
    let operator = arguments.acting.open_at(&folder, &service)?;
    let export = Export {
        s3: &s3,
        to: arguments.to.below(&name),
        name,
        policy: &policy,
        terms,
        from: wanted.sources()?,
        held: None,
        may_lack: MayLack::all(arguments.allow_empty),
        again: None,
        part_rows_max: arguments.part_rows.unwrap_or(PART_ROWS_DEFAULT),
        memory_bytes: (arguments.memory as usize) << 20,
        temporary: arguments.temporary.clone().unwrap_or_else(std::env::temp_dir),
        operator: &operator,
        service: &service,
        stop: &NEVER,
    };
    let begun = match export.begun()? {
        Begun::No => None,
        Begun::Same(order) => {
            check_same(arguments, &order)?;
            Some(*order)
        }
        Begun::Otherwise => {
            let problem =
                "this export was begun under another policy, for another recipient or by another release";
            return Err(PseudoError::usage(problem, "choose another --id"));
        }
    };
    let version = match &begun {
        Some(order) => Some(KeyVersion::new(order.key.version).map_err(PseudoError::custody("the order"))?),
        None => version,
    };
    let master = folder.master(&root, &policy.domain, version)?;
    let mut working = Working::of(&policy, &arguments.vault, &root, &folder)?;
    drop(root);
    let vault = working.as_ref().map(|(working, _)| working.vault.clone());
    let is_resumed = begun.is_some();
    let order = match begun {
        Some(order) => Some(order),
        None => export.begin(&master, created)?,
    };
    let order = order.expect("without what others hold, all there is is exported");
    let done = export.run(order, is_resumed, &master, vault.as_ref())?;
    if let Some((working, service)) = &mut working {
        working.finish(service)?;
    }
    let value = as_json(&done, &export.to);
    output.either(value, || as_text(&done, &export.to))
}

/// Refuses options that the order which is gone on with does not have.
fn check_same(arguments: &ExportArguments, order: &Order) -> Result<(), PseudoError> {
    let lies_in = |source: &Source, place: &Place| {
        let object = Place { bucket: source.bucket.clone(), prefix: source.key.clone(), is_folder: false };
        object.is_within(place)
    };
    let is_read = |source: &Source| arguments.source.iter().any(|place| lies_in(source, place));
    // a place that had nothing when the export began has nothing in it
    let has = |place: &Place| place.is_folder || order.sources.iter().any(|source| lies_in(source, place));
    let same_sources = order.sources.iter().all(is_read) && arguments.source.iter().all(has);
    let other = [
        ("--source", !arguments.source.is_empty() && !same_sources),
        ("--delete-on", arguments.delete_on.as_ref().is_some_and(|day| *day != order.terms.delete_on)),
        ("--key-version", arguments.key_version.is_some_and(|version| version != order.key.version)),
        ("--part-rows", arguments.part_rows.is_some_and(|rows| rows != order.part_rows_max)),
    ];
    match other.into_iter().find(|(_, is_other)| *is_other) {
        None => Ok(()),
        Some((option, _)) => {
            let problem = format!("this export was begun with another {option}");
            Err(PseudoError::usage(problem, "leave it out to go on as it was begun, or choose another --id"))
        }
    }
}

fn name(arguments: &ExportArguments, policy: &Policy, created: i64) -> Result<String, PseudoError> {
    let name = match &arguments.id {
        Some(name) => name.clone(),
        None => {
            let mut random = [0; 4];
            files::random(&mut random)?;
            let is_plain =
                |letter: &char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '-';
            let base: String = policy.name.to_ascii_lowercase().chars().filter(is_plain).take(64).collect();
            let time: String = clock::text(created).to_ascii_lowercase().replace([':', '-'], "");
            format!("{}-{time}-{}", if base.is_empty() { "export" } else { &base }, crate::keys::hex(&random))
        }
    };
    let name = name.trim_start_matches('-').to_owned();
    if is_export_name(&name) {
        return Ok(name);
    }
    let advice = "1 to 128 of a-z, 0-9, '-', '_', '.', and a letter or digit first";
    Err(PseudoError::usage("an export cannot be called so", advice))
}

fn as_json(done: &Done, place: &Place) -> Value {
    let manifest = &done.manifest;
    let left_out = done.left_out.iter().map(|(kind, position)| {
        let source = &manifest.sources[position.input as usize - 1];
        json!({ "reason": kind.name(), "first": { "bucket": source.bucket, "key": source.key, "record": position.record } })
    });
    let left_out: Vec<Value> = left_out.collect();
    json!({
        "export": manifest.export,
        "place": place.to_string(),
        "state": "draft",
        "resumed": done.is_resumed,
        "sources": manifest.sources.len(),
        "parts": manifest.outputs.len(),
        "counts": manifest.counts,
        "planted": manifest.planted,
        "fitted": manifest.fitted,
        "left_out": left_out,
        "figures": manifest.figures,
        "gate_misses": done.misses,
        "key_version": manifest.keys.first().map(|key| key.version),
        "delete_on": manifest.terms.delete_on,
    })
}

fn as_text(done: &Done, place: &Place) -> String {
    let (manifest, counts) = (&done.manifest, &done.manifest.counts);
    let mut text = format!(
        "export {} is a draft in {place}\n  {} sources, {} parts; {} records in, {} out, {} left out\n",
        manifest.export,
        manifest.sources.len(),
        manifest.outputs.len(),
        counts.records_in,
        counts.records_out,
        counts.records_left_out
    );
    for (kind, position) in &done.left_out {
        let source = &manifest.sources[position.input as usize - 1];
        text.push_str(&format!(
            "  left out: {}, first record {} of s3://{}/{}\n",
            kind.name(),
            position.record,
            source.bucket,
            source.key.escape_debug()
        ));
    }
    if let Some(planted) = &manifest.planted {
        text.push_str(&format!(
            "  {} rows of {} made-up persons are among them\n",
            planted.rows, planted.persons
        ));
    }
    if let Some(fitted) = &manifest.fitted {
        text.push_str(&fitted.in_words());
    }
    if let Some(figures) = &manifest.figures {
        text.push_str(&format!("  k {}, average risk {:.4}\n", figures.k, figures.average_risk));
    }
    for miss in &done.misses {
        text.push_str(&format!("  the gate will hold it: {miss}\n"));
    }
    text
}
