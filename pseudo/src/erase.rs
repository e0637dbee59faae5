//! Erasing people under a grant, from finding them to the certificate; and going on with an erasure that was interrupted anywhere.
//!
//! Every step is in the log before it is taken. A kill before the table of the next epoch lies in a place leaves everybody where they were; after that
//! the next program that opens the vault finishes it, and the same command writes the certificate of what was erased then.

use crate::desk::{Desk, Opened};
use crate::export::BUILD;
use crate::files::Fresh;
use crate::grant::Action;
use crate::identify;
use crate::journal::{Entry, Event, Said};
use crate::keys::hex;
use crate::manifest::{Detached, Erasure, VERSION};
use crate::signed::{self, Kind};
use crate::{PseudoError, clock};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::Path;

/// What an erasure came to.
pub(crate) struct Done {
    pub(crate) certificate: Erasure,
    pub(crate) buckets: usize,
    pub(crate) tables_destroyed: u64,
}

/// What the log says of an erasure when it begins.
struct Begun {
    erased: u64,
    rewrapped: u64,
    unknown: u64,
    left: u64,
    epoch: u64,
}

impl Begun {
    fn of(entry: &Entry) -> Self {
        let said = &entry.said;
        Self {
            erased: said.rows.unwrap_or_default(),
            rewrapped: said.rewrapped.unwrap_or_default(),
            unknown: said.unknown.unwrap_or_default(),
            left: said.people.unwrap_or_default(),
            epoch: said.epoch.unwrap_or_default(),
        }
    }

    fn said(&self, grant: &str) -> Said {
        Said {
            grant: Some(grant.to_owned()),
            rows: Some(self.erased),
            rewrapped: Some(self.rewrapped),
            unknown: Some(self.unknown),
            people: Some(self.left),
            epoch: Some(self.epoch),
            ..Said::default()
        }
    }
}

/// Erases whom a grant names, and writes the certificate.
pub(crate) fn run(desk: &mut Desk, grant: &str, code: &str, output: &Path) -> Result<Done, PseudoError> {
    // where nothing can be written, nothing begins
    let fresh = Fresh::output(output)?;
    let opened = desk.open(grant, Action::Erase, code)?;
    let (begun, buckets, tables_destroyed) = match opened.agreed.settled.as_ref().map(Begun::of) {
        Some(begun) => {
            desk.attempt(&opened, |_, _| Ok(()))?;
            (begun, 0, 0)
        }
        None => erase(desk, grant, &opened)?,
    };
    desk.vault.places.bare(desk.vault.epoch())?;
    let certificate = certificate(desk, &opened, &begun);
    let sealed = signed::seal(Kind::Erasure, &certificate, &desk.service);
    fresh.keep_with(&sealed)?;
    let people = desk.journal.people();
    let said = Said {
        sha256: Some(hex(&Sha256::digest(&sealed))),
        // others may have come in since it was interrupted
        people: Some(people),
        ..begun.said(grant)
    };
    desk.log(Event::Erased, said)?;
    desk.close(grant)?;
    Ok(Done { certificate, buckets, tables_destroyed })
}

fn erase(desk: &mut Desk, grant: &str, opened: &Opened) -> Result<(Begun, usize, u64), PseudoError> {
    let search = desk.attempt(opened, identify::search)?;
    desk.judge(grant, search.unknown_tokens)?;
    let handles: HashSet<_> = search.found.iter().map(|found| found.handle).collect();
    let staged = desk.vault.stage(&handles)?;
    let begun = Begun {
        erased: staged.erased,
        rewrapped: staged.rewrapped,
        unknown: search.unknown(),
        left: search.people - staged.erased,
        epoch: staged.epoch(),
    };
    desk.log(Event::Erasing, begun.said(grant))?;
    let done = desk.vault.erase(staged, &desk.root, &mut desk.journal, &desk.service)?;
    Ok((begun, done.buckets, done.tables_destroyed))
}

fn certificate(desk: &Desk, opened: &Opened, begun: &Begun) -> Erasure {
    let (grant, request) = (&opened.grant, &opened.grant.request);
    let (detached, forgotten): (Vec<_>, Vec<_>) =
        desk.journal.given_up().partition(|entry| entry.event == Event::Detached);
    let detached = detached.into_iter().flat_map(|entry| {
        let named = |place: &String| Detached { place: place.clone(), detached: entry.time.clone() };
        entry.said.places.iter().map(named).collect::<Vec<_>>()
    });
    Erasure {
        version: VERSION,
        grant: request.grant.clone(),
        vault: hex(&desk.vault.id().0),
        completed: clock::text(clock::now()),
        requester: grant.requester.name.clone(),
        approvers: opened.agreed.names.clone(),
        purpose: request.purpose.clone(),
        reason: request.reason.clone(),
        ticket: request.ticket.clone(),
        request_sha256: grant.sha256.clone(),
        asked: request.rows(),
        erased: begun.erased,
        unknown: begun.unknown,
        rewrapped: begun.rewrapped,
        epoch_before: begun.epoch - 1,
        epoch_after: begun.epoch,
        places: desk.vault.places.here.len() as u64,
        places_given_up: forgotten.len() as u64,
        places_not_destroyed: detached.collect(),
        log_entries: desk.journal.entries.len() as u64,
        log_head: desk.journal.head(),
        build: BUILD.to_owned(),
    }
}
