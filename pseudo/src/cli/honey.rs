//! `pseudo honey`: which export a file comes from.

use super::keys::Opened;
use super::output::Output;
use crate::PseudoError;
use crate::custody_log::{self, Event, Said};
use crate::honey::Suspects;
use crate::operators::Acting;
use crate::plain::{escaped, is_plain};
use crate::s3::{Connection, Place, S3};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Why somebody looks, bytes.
const REASON_BYTES_MAX: usize = 1024;
/// Exports that the log names one by one; of more it has the number.
const NAMED_MAX: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum HoneyCommand {
    /// Name the exports whose made-up persons are in a file, and write into the custody log that it was looked for
    Find(FindArguments),
}

#[derive(Debug, Args)]
pub(super) struct FindArguments {
    /// The file that came to light: text of any form, or Parquet, unpacked; - is text from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where drafts lie, with the manifests of all exports; as often as there are
    #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse, required = true)]
    drafts: Vec<Place>,
    /// Why it is looked for, such as the case it belongs to
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    opened: Opened,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &HoneyCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        HoneyCommand::Find(arguments) => find(arguments, output),
    }
}

fn find(arguments: &FindArguments, output: &Output) -> Result<(), PseudoError> {
    let FindArguments { file, drafts, reason, opened, acting, connection } = arguments;
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX || !is_plain(reason) {
        let problem = "a reason has 1 to 1024 bytes, in one line, of characters that show as themselves";
        return Err(PseudoError::usage(problem, "say it shorter, or at all"));
    }
    let s3 = S3::new(connection.clone(), connection.who()?)?;
    let (folder, root) = opened.open()?;
    let service = folder.signing(&root)?;
    let trust = folder.trust(service.public())?;
    let operator = acting.open(&trust)?;
    let mut suspects = Suspects::default();
    for place in drafts {
        suspects.add(&s3, place, &trust, (&folder, &root))?;
    }
    drop(root);
    let traced = suspects.trace(file)?;
    let names: Vec<&str> = traced.exports.iter().map(|(name, _)| name.as_str()).collect();
    let mut named = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        named.push_str(&format!(" and {} more", names.len() - NAMED_MAX));
    }
    let found = if names.is_empty() { "no export" } else { &named };
    // first the log, then what it is about
    let words = format!("{reason}; file {}: {found}", traced.sha256);
    let said = Said { reason: Some(&words), ..Said::of(Event::Traced, &operator.name) };
    let head = custody_log::note(&folder, &service, said)?;
    let exports: Vec<&Value> = traced.exports.iter().map(|(_, value)| value).collect();
    let value = json!({
        "exports": exports,
        "exports_looked_at": suspects.looked_at,
        "exports_planted": suspects.planted(),
        "without_key": suspects.without_key,
        "not_to_be_relied_on": suspects.damaged,
        "sha256": traced.sha256,
        "log_head": head,
    });
    output.either(value, || {
        let word = |value: &Value, name: &str| escaped(value[name].as_str().unwrap_or("-")).into_owned();
        let line = |value: &&Value| {
            let released = match value["released_to"].is_string() {
                true => format!(", released to {}", word(value, "released_to")),
                false => String::new(),
            };
            format!(
                "{}: {} of its {} made-up persons are in the file; {}, for {}{released}\n",
                word(value, "export"),
                value["persons_met"],
                value["persons_planted"],
                word(value, "state"),
                word(value, "recipient")
            )
        };
        let mut text: String = exports.iter().map(line).collect();
        if exports.is_empty() {
            let (planted, all) = (suspects.planted(), suspects.looked_at);
            text.push_str(&format!(
                "none of the made-up persons of {planted} exports is in the file, of {all} exports that are there\n"
            ));
        }
        let unsaid = [
            (&suspects.without_key, "their key was destroyed, and who was made up for them with it"),
            (&suspects.damaged, "they cannot be relied on"),
        ];
        for (names, why) in unsaid.into_iter().filter(|(names, _)| !names.is_empty()) {
            let count = names.len();
            text.push_str(&format!("of {count} exports nothing can be told: {why}\n"));
        }
        text
    })
}
