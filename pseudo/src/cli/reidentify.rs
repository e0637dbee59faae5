//! `pseudo reidentify`: who is behind tokens, for those who may know.

use super::grant::{self, Agreed, Asked, Shown, Used};
use super::output::Output;
use crate::PseudoError;
use crate::files::Fresh;
use crate::grant::Action;
use crate::identify::{self, Found};
use crate::journal::{Event, Said};
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub(super) enum ReidentifyCommand {
    /// Ask who is behind tokens
    Request(Box<Asked>),
    /// Show what is asked for, to whoever may agree to it
    Show(Box<Shown>),
    /// Agree, as another person than who asked, to what was shown
    Approve(Box<Agreed>),
    /// Use a grant, once: writes each token with its class and value
    Run(Box<Used>),
}

pub(super) fn run(command: &ReidentifyCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        ReidentifyCommand::Request(asked) => grant::request(asked, Action::Reidentify, output),
        ReidentifyCommand::Show(shown) => grant::show(shown, Action::Reidentify, output),
        ReidentifyCommand::Approve(agreed) => grant::approve(agreed, Action::Reidentify, output),
        ReidentifyCommand::Run(used) => identify(used, output),
    }
}

fn identify(used: &Used, output: &Output) -> Result<(), PseudoError> {
    // where nothing can be written, nothing is used up
    let fresh = Fresh::output(&used.output)?;
    let mut desk = used.at.open()?;
    let opened = desk.open(&used.grant, Action::Reidentify, &used.code)?;
    let search = desk.attempt(&opened, identify::search)?;
    desk.judge(&used.grant, search.unknown_tokens)?;
    let (request, found) = (&opened.grant.request, search.found.len());
    let said = Said {
        grant: Some(used.grant.clone()),
        purpose: Some(request.purpose.clone()),
        reason: Some(request.reason.clone()),
        ticket: Some(request.ticket.clone()),
        rows: Some(found as u64),
        sha256: Some(opened.grant.sha256.clone()),
        ..Said::default()
    };
    // first the log, then what it is about
    desk.log(Event::Identified, said)?;
    fresh.keep_with(lines(&search.found).as_bytes())?;
    desk.close(&used.grant)?;
    let value = json!({
        "grant": used.grant,
        "asked": request.rows(),
        "found": found,
        "unknown": search.unknown(),
        "without_key": search.without_key,
        "approved_by": opened.agreed.names,
        "output": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!("{found} found, {} unknown; written to {}\n", search.unknown(), used.output.display())
    })
}

fn lines(found: &[Found]) -> Zeroizing<String> {
    let line = |found: &Found| {
        let object = json!({ "token": found.token, "class": found.class.as_str(), "value": &*found.value });
        format!("{object}\n")
    };
    Zeroizing::new(found.iter().map(line).collect())
}
