//! `pseudo subject-report`: what is held about a person, for an answer to them.

use super::grant::{self, Agreed, Asked, Used, approvers};
use super::output::Output;
use crate::grant::Action;
use crate::journal::{Event, Said};
use crate::keys::hex;
use crate::manifest::VERSION;
use crate::s3::{Connection, Place, S3};
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, files, identify, subject};
use clap::{Args, Subcommand};
use serde_json::json;
use sha2::{Digest, Sha256};

#[derive(Debug, Subcommand)]
pub(super) enum SubjectCommand {
    /// Ask for a report on people
    Request(Box<Asked>),
    /// Agree, as another person than who asked
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
        SubjectCommand::Approve(agreed) => grant::approve(agreed, Action::Report, output),
        SubjectCommand::Run(reported) => report(reported, output),
    }
}

fn report(reported: &Reported, output: &Output) -> Result<(), PseudoError> {
    let used = &reported.used;
    used.check()?;
    let connect = |_: &Place| S3::new(reported.connection.clone(), reported.connection.who()?);
    let s3 = reported.drafts.as_ref().map(connect).transpose()?;
    let mut desk = used.at.open()?;
    let grant = desk.consume(&used.grant, Action::Report, &used.at.code)?;
    let search = identify::search(&desk, &grant.request)?;
    desk.judge(&used.grant, search.unknown)?;
    let mut body = subject::report(&desk, &search, s3.as_ref().zip(reported.drafts.as_ref()))?;
    body["version"] = VERSION.into();
    body["grant"] = used.grant.as_str().into();
    body["completed"] = clock::text(clock::now()).into();
    body["requester"] = grant.requester.name.as_str().into();
    body["approvers"] = approvers(&grant).into();
    body["reason"] = grant.request.reason.as_str().into();
    body["ticket"] = grant.request.ticket.as_str().into();
    let sealed = zeroize::Zeroizing::new(signed::seal(Kind::Report, &body, &desk.service));
    let subjects = body["subjects"].as_array().map_or(0, Vec::len);
    let said = Said {
        grant: Some(used.grant.clone()),
        rows: Some(subjects as u64),
        reason: Some(grant.request.reason.clone()),
        ticket: Some(grant.request.ticket.clone()),
        sha256: Some(hex(&Sha256::digest(&*sealed))),
        ..Said::default()
    };
    desk.log(Event::Reported, said)?;
    files::write(&used.output, &sealed)?;
    let value = json!({
        "grant": used.grant,
        "subjects": subjects,
        "unknown": search.unknown,
        "exports_looked_through": body["exports_looked_through"],
        "output": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || format!("a report on {subjects} people is in {}\n", used.output.display()))
}
