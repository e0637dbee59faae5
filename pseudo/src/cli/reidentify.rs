//! `pseudo reidentify`: who is behind tokens, for those who may know.

use super::grant::{self, Agreed, Asked, Used, approvers};
use super::output::Output;
use crate::grant::Action;
use crate::identify::{self, Found};
use crate::journal::{Event, Said};
use crate::{PseudoError, files};
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub(super) enum ReidentifyCommand {
    /// Ask who is behind tokens
    Request(Box<Asked>),
    /// Agree, as another person than who asked
    Approve(Box<Agreed>),
    /// Use a grant, once: writes each token with its class and value
    Run(Box<Used>),
}

pub(super) fn run(command: &ReidentifyCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        ReidentifyCommand::Request(asked) => grant::request(asked, Action::Reidentify, output),
        ReidentifyCommand::Approve(agreed) => grant::approve(agreed, Action::Reidentify, output),
        ReidentifyCommand::Run(used) => identify(used, output),
    }
}

fn identify(used: &Used, output: &Output) -> Result<(), PseudoError> {
    used.check()?;
    let mut desk = used.at.open()?;
    let grant = desk.consume(&used.grant, Action::Reidentify, &used.at.code)?;
    let search = identify::search(&desk, &grant.request)?;
    desk.judge(&used.grant, search.unknown)?;
    let found = search.found.len();
    let said = Said {
        grant: Some(used.grant.clone()),
        purpose: Some(grant.request.purpose.clone()),
        reason: Some(grant.request.reason.clone()),
        ticket: Some(grant.request.ticket.clone()),
        rows: Some(found as u64),
        sha256: Some(grant.sha256.clone()),
        ..Said::default()
    };
    // first the log, then what it is about
    desk.log(Event::Identified, said)?;
    files::write(&used.output, lines(&search.found).as_bytes())?;
    let value = json!({
        "grant": used.grant,
        "asked": grant.request.tokens.len() + grant.request.people.len(),
        "found": found,
        "unknown": search.unknown,
        "buckets_destroyed": search.stale,
        "approved_by": approvers(&grant),
        "output": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!("{found} found, {} unknown; written to {}\n", search.unknown, used.output.display())
    })
}

fn lines(found: &[Found]) -> Zeroizing<String> {
    let line = |found: &Found| {
        let object = json!({ "token": found.token, "class": found.class.as_str(), "value": &*found.value });
        format!("{object}\n")
    };
    Zeroizing::new(found.iter().map(line).collect())
}
