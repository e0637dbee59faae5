//! `pseudo release` and `pseudo register`: what a second person decides, and what was decided about which export.

use super::output::Output;
use super::verify::Known;
use crate::operators::Acting;
use crate::register;
use crate::release::{self, Column, Stand};
use crate::revoked::Trust;
use crate::s3::{Connection, Place, S3};
use crate::{PseudoError, figures};
use clap::{Args, Subcommand};
use serde_json::json;

/// What a decision says in words, bytes.
const REASON_BYTES_MAX: usize = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// Sign that an export may go to its readers, and put it there
    Approve {
        #[command(flatten)]
        at: At,
        /// Where readers are let in; the export gets a folder of its name [default: the policy's target]
        #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
        to: Option<Place>,
        #[command(flatten)]
        acting: Acting,
        /// What to remember of the decision
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Sign that an export never goes to its readers
    Refuse {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        acting: Acting,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say what an export has come to
    Status {
        #[command(flatten)]
        at: At,
    },
}

/// Which export.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The export's folder among the drafts
    #[arg(value_name = "S3://BUCKET/PREFIX/EXPORT", value_parser = Place::parse)]
    export: Place,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct RegisterArguments {
    /// Where drafts lie
    #[arg(value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    drafts: Place,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &ReleaseCommand, output: &Output) -> Result<(), PseudoError> {
    let mut columns = None;
    let (at, stand) = match command {
        ReleaseCommand::Approve { at, to, acting, reason } => {
            let (s3, trust) = at.open()?;
            let operator = acting.open(&trust)?;
            let stand = release::look(&s3, &at.export, &trust)?;
            let to = target(&stand, to.as_ref())?;
            if to.bucket == at.export.bucket {
                let advice = "readers of released exports would be let in to drafts: choose another bucket";
                return Err(PseudoError::usage(
                    "an export would be released to the bucket of drafts",
                    advice,
                ));
            }
            let stand = release::approve(&s3, &at.export, &to, &operator, &trust, checked(reason)?)?;
            (at, stand)
        }
        ReleaseCommand::Refuse { at, acting, reason } => {
            let (s3, trust) = at.open()?;
            let operator = acting.open(&trust)?;
            (at, release::refuse(&s3, &at.export, &operator, &trust, checked(reason)?)?)
        }
        ReleaseCommand::Status { at } => {
            let (s3, trust) = at.open()?;
            let stand = release::look(&s3, &at.export, &trust)?;
            columns = Some(release::columns(&s3, &at.export, &stand)?);
            (at, stand)
        }
    };
    let misses = figures::misses(stand.manifest.gate.as_ref(), stand.manifest.figures.as_ref());
    let mut value = register::as_json(&stand);
    value["gate_misses"] = json!(misses);
    value["place"] = json!(at.export.to_string());
    if let Some(columns) = &columns {
        value["columns"] = json!(columns);
    }
    output.either(value, || as_text(&stand, &misses) + &columns.map(columns_as_text).unwrap_or_default())
}

pub(super) fn register(arguments: &RegisterArguments, output: &Output) -> Result<(), PseudoError> {
    let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
    let found = register::read(&s3, &arguments.drafts, &arguments.known.trust()?)?;
    let (entries, deleted) = (&found.exports, &found.deleted);
    let value = json!({
        "exports": entries.iter().map(register::Entry::as_json).collect::<Vec<_>>(),
        "deleted": deleted.iter().map(register::Gone::as_json).collect::<Vec<_>>(),
    });
    output.either(value, || {
        let header = ["export", "state", "recipient", "purpose", "legal basis", "delete on", "records", "k"]
            .map(str::to_owned);
        let rows: Vec<[String; 8]> = std::iter::once(header)
            .chain(entries.iter().map(register::Entry::cells))
            .chain(deleted.iter().map(register::Gone::cells))
            .collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..8).map(width).collect();
        let line = |row: &[String; 8]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        if rows.len() == 1 {
            return format!("no exports in {}\n", arguments.drafts);
        }
        rows.iter().map(line).collect()
    })?;
    found.check()
}

impl At {
    fn open(&self) -> Result<(S3, Trust), PseudoError> {
        let s3 = S3::new(self.connection.clone(), self.connection.who()?)?;
        Ok((s3, self.known.trust()?))
    }
}

/// Where to release to: the policy's target, or what is named if the policy has none or has it around that.
fn target(stand: &Stand, named: Option<&Place>) -> Result<Place, PseudoError> {
    let wanted = stand.manifest.terms.released_to.as_deref().and_then(|place| Place::parse(place).ok());
    match (wanted, named) {
        (Some(wanted), Some(named)) if !named.is_within(&wanted) => {
            let problem = format!("the policy has exports released to {wanted}");
            Err(PseudoError::usage(problem, "leave --to out, or name a place within it"))
        }
        (_, Some(named)) => Ok(Place { is_folder: true, ..named.clone() }),
        (Some(wanted), None) => Ok(wanted),
        (None, None) => {
            Err(PseudoError::usage("the policy has no target", "say with --to where readers are let in"))
        }
    }
}

fn checked(reason: &str) -> Result<&str, PseudoError> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(PseudoError::usage("a reason has 1024 bytes at most", "say it shorter"));
    }
    Ok(reason)
}

/// What is in an export, a line for each column.
fn columns_as_text(columns: Option<Vec<Column>>) -> String {
    let Some(columns) = columns else {
        return "  columns are not known: dictionary.json is missing, or is not as it was signed\n"
            .to_owned();
    };
    let line = |column: &Column| {
        let Column { column, role, technique, class, scope, meaning } = column;
        let class = match (class, scope) {
            (Some(class), Some(scope)) => format!(" {class}, scope {scope}"),
            _ => String::new(),
        };
        format!("  column {column} ({role}): {technique}{class}: {meaning}\n")
    };
    columns.iter().map(line).collect()
}

fn as_text(stand: &Stand, misses: &[String]) -> String {
    let (manifest, terms) = (&stand.manifest, &stand.manifest.terms);
    let mut text = format!(
        "export {} is {}\n  {} records for {}: {}; to be deleted by {}\n  made by {} at {}\n",
        manifest.export,
        stand.state.name(),
        manifest.counts.records_out,
        terms.recipient,
        terms.purpose,
        terms.delete_on,
        stand.maker,
        manifest.created
    );
    if let Some((decision, by)) = &stand.decision {
        let place = decision.released_to.as_deref().map(|place| format!(", to {place}")).unwrap_or_default();
        text.push_str(&format!("  decided by {by} at {}{place}\n", decision.decided));
    }
    let counts = &manifest.counts;
    if counts.records_left_out > 0 {
        let faults = counts.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>();
        text.push_str(&format!(
            "  {} of {} records are left out: {}\n",
            counts.records_left_out,
            counts.records_in,
            faults.join(", ")
        ));
    }
    if let Some(fitted) = &manifest.fitted {
        text.push_str(&fitted.in_words());
    }
    misses.iter().for_each(|miss| text.push_str(&format!("  the gate holds it: {miss}\n")));
    text
}
