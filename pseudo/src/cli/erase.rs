//! `pseudo erase`: destroys the keys of people, and signs a certificate.

use super::grant::{self, Agreed, Asked, Used, approvers};
use super::output::Output;
use crate::desk::Desk;
use crate::export::BUILD;
use crate::grant::{Action, Grant};
use crate::identify;
use crate::journal::{Event, Said};
use crate::keys::hex;
use crate::manifest::{Erasure, VERSION};
use crate::signed::{self, Kind};
use crate::vault::Erased;
use crate::{PseudoError, clock, files};
use clap::Subcommand;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

#[derive(Debug, Subcommand)]
pub(super) enum EraseCommand {
    /// Ask for people to be erased
    Request(Box<Asked>),
    /// Agree, as another person than who asked
    Approve(Box<Agreed>),
    /// Destroy the keys of these people and write a certificate; an interrupted one is gone on with
    Run(Box<Used>),
}

pub(super) fn run(command: &EraseCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        EraseCommand::Request(asked) => grant::request(asked, Action::Erase, output),
        EraseCommand::Approve(agreed) => grant::approve(agreed, Action::Erase, output),
        EraseCommand::Run(used) => erase(used, output),
    }
}

fn erase(used: &Used, output: &Output) -> Result<(), PseudoError> {
    used.check()?;
    let mut desk = used.at.open()?;
    let grant = desk.consume(&used.grant, Action::Erase, &used.at.code)?;
    let begun = desk
        .journal
        .entries
        .iter()
        .rev()
        .find(|entry| entry.event == Event::Erasing && entry.said.grant.as_deref() == Some(&*used.grant));
    let begun = begun.and_then(|entry| entry.said.rows);
    let search = identify::search(&desk, &grant.request)?;
    if search.stale > 0 {
        let problem = "parts of this vault are from before an erasure";
        return Err(PseudoError::usage(problem, "`pseudo vault repair` gives them up, then go on"));
    }
    if begun.is_none() {
        desk.judge(&used.grant, search.unknown.saturating_sub(grant.request.people.len() as u64))?;
    }
    let handles: HashSet<_> = search.found.iter().map(|found| found.handle).collect();
    let staged = desk.vault.stage(&handles)?;
    // an erasure that is gone on with finds fewer, or nobody
    let erased = staged.erased.max(begun.unwrap_or_default());
    let rewrapped = staged.rewrapped;
    let left = search.people - staged.erased;
    let said =
        Said { grant: Some(used.grant.clone()), rows: Some(erased), people: Some(left), ..Said::default() };
    desk.log(Event::Erasing, said)?;
    let done = desk.vault.erase(staged, &desk.root)?;
    let certificate = certificate(&desk, &grant, &done, erased, rewrapped);
    let asked = certificate.asked;
    let sealed = signed::seal(Kind::Erasure, &certificate, &desk.service);
    files::write(&used.output, &sealed)?;
    let said = Said {
        grant: Some(used.grant.clone()),
        rows: Some(erased),
        people: Some(left),
        sha256: Some(hex(&Sha256::digest(&sealed))),
        ..Said::default()
    };
    desk.log(Event::Erased, said)?;
    let value = json!({
        "grant": used.grant,
        "erased": erased,
        "unknown": certificate.unknown,
        "epoch": done.epoch_after,
        "tables_destroyed": done.tables_destroyed,
        "buckets": done.buckets,
        "certificate": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!(
            "{erased} of {asked} erased, epoch {}; certificate in {}\n",
            done.epoch_after,
            used.output.display()
        )
    })
}

fn certificate(desk: &Desk, grant: &Grant, done: &Erased, erased: u64, rewrapped: u64) -> Erasure {
    let request = &grant.request;
    let asked = (request.tokens.len() + request.people.len()) as u64;
    Erasure {
        version: VERSION,
        grant: request.grant.clone(),
        vault: hex(&desk.vault.id().0),
        completed: clock::text(clock::now()),
        requester: grant.requester.name.clone(),
        approvers: approvers(grant),
        purpose: request.purpose.clone(),
        reason: request.reason.clone(),
        ticket: request.ticket.clone(),
        request_sha256: grant.sha256.clone(),
        asked,
        erased,
        unknown: asked.saturating_sub(erased),
        rewrapped,
        epoch_before: done.epoch_before,
        epoch_after: done.epoch_after,
        places: desk.vault.places.0.len() as u64,
        log_entries: desk.journal.entries.len() as u64,
        log_head: desk.journal.head(),
        build: BUILD.to_owned(),
    }
}
