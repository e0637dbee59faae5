//! `pseudo subject-report`: what is held about a person, for an answer to them.

use super::grant::{self, Agreed, Asked, Shown, Used};
use super::output::Output;
use crate::files::Fresh;
use crate::grant::Action;
use crate::journal::{Event, Said};
use crate::manifest::VERSION;
use crate::s3::{Connection, Place, S3};
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, identify, subject};
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum SubjectCommand {
    /// Ask for a report on people
    Request(Box<Asked>),
    /// Show what is asked for, to whoever may agree to it
    Show(Box<Shown>),
    /// Agree, as another person than who asked, to what was shown
    Approve(Box<Agreed>),
    /// Write the report, signed by the service
    Run(Box<Reported>),
}

/// Using, with the register.
#[derive(Debug, Args)]
pub(super) struct Reported {
    #[command(flatten)]
    used: Used,
    /// Where drafts lie, with the manifests of all exports; without it the report has the vault alone
    #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    drafts: Option<Place>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &SubjectCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        SubjectCommand::Request(asked) => grant::request(asked, Action::Report, output),
        SubjectCommand::Show(shown) => grant::show(shown, Action::Report, output),
        SubjectCommand::Approve(agreed) => grant::approve(agreed, Action::Report, output),
        SubjectCommand::Run(reported) => report(reported, output),
    }
}

fn report(reported: &Reported, output: &Output) -> Result<(), PseudoError> {
    let used = &reported.used;
    let fresh = Fresh::output(&used.output)?;
    let connect = |_: &Place| S3::new(reported.connection.clone(), reported.connection.who()?);
    let s3 = reported.drafts.as_ref().map(connect).transpose()?;
    let mut desk = used.at.open()?;
    let opened = desk.open(&used.grant, Action::Report, &used.code)?;
    let (search, mut body) = desk.attempt(&opened, |desk, request| {
        let search = identify::search(desk, request)?;
        let body = subject::report(desk, &search, s3.as_ref().zip(reported.drafts.as_ref()))?;
        Ok((search, body))
    })?;
    desk.judge(&used.grant, search.unknown_tokens)?;
    let (grant, request) = (&opened.grant, &opened.grant.request);
    body["version"] = VERSION.into();
    body["grant"] = used.grant.as_str().into();
    body["completed"] = clock::text(clock::now()).into();
    body["requester"] = grant.requester.name.as_str().into();
    body["approvers"] = opened.agreed.names.clone().into();
    body["reason"] = request.reason.as_str().into();
    body["ticket"] = request.ticket.as_str().into();
    let sealed = zeroize::Zeroizing::new(signed::seal(Kind::Report, &body, &desk.service));
    let subjects = body["subjects"].as_array().map_or(0, Vec::len);
    let said = Said {
        grant: Some(used.grant.clone()),
        rows: Some(subjects as u64),
        purpose: Some(request.purpose.clone()),
        reason: Some(request.reason.clone()),
        ticket: Some(request.ticket.clone()),
        sha256: Some(grant.sha256.clone()),
        ..Said::default()
    };
    desk.log(Event::Reported, said)?;
    fresh.keep_with(&sealed)?;
    desk.close(&used.grant)?;
    let value = json!({
        "grant": used.grant,
        "subjects": subjects,
        "unknown": search.unknown(),
        "exports_looked_through": body["exports_looked_through"],
        "output": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || format!("a report on {subjects} people is in {}\n", used.output.display()))
}
