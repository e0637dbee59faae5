//! `pseudo vault`: making and checking an identity vault, and its log.

use super::keys::Opened;
use super::output::Output;
use crate::PseudoError;
use crate::journal::{Event, Journal, SERVICE, Said};
use crate::keys::{KeyFolder, hex};
use crate::vault::{Vault, VaultAt};
use clap::{Args, Subcommand};
use custody::{RootKey, SigningKey};
use policy::{Policy, Spec};
use serde_json::json;
use std::sync::Arc;
use transform::People;

#[derive(Debug, Subcommand)]
pub(super) enum VaultCommand {
    /// Make an identity vault and its epoch table
    Create(On),
    /// Open everybody once, and check the log
    Check(On),
    /// Print the log, every entry checked
    Log(On),
    /// Give up what was restored from before an erasure: its keys are destroyed
    Repair {
        #[command(flatten)]
        on: On,
        /// Say that it is meant: put newer copies of the folder there first, if there are any
        #[arg(long)]
        yes: bool,
    },
}

/// Which vault.
#[derive(Debug, Args)]
pub(super) struct On {
    #[command(flatten)]
    opened: Opened,
    #[command(flatten)]
    at: VaultAt,
}

/// A vault with its log, for a run that makes tokens.
pub(super) struct Working {
    pub(super) vault: Arc<Vault>,
    journal: Journal,
    people: u64,
}

pub(super) fn run(command: &VaultCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        VaultCommand::Create(on) => create(on, output),
        VaultCommand::Check(on) => check(on, output),
        VaultCommand::Log(on) => log(on, output),
        VaultCommand::Repair { on, yes } => repair(on, *yes, output),
    }
}

impl Working {
    /// Opens a vault and gets ready for new people.
    fn open(at: &VaultAt, root: &RootKey, service: &SigningKey) -> Result<Self, PseudoError> {
        let (path, places) = at.places()?;
        let vault = Vault::open(&path, places, root)?;
        let journal = Journal::open(&path, vault.id(), &vault.places, service.public())?;
        let people = vault.begin()?;
        if people < journal.people() {
            let problem = format!(
                "{people} people are in it and {} were: it was cut, or is an older copy",
                journal.people()
            );
            return Err(PseudoError::Signed { place: "the vault".to_owned(), problem });
        }
        Ok(Self { vault: Arc::new(vault), journal, people })
    }

    /// The vault of a policy that needs one.
    pub(super) fn of(
        policy: &Policy,
        at: &VaultAt,
        root: &RootKey,
        folder: &KeyFolder,
    ) -> Result<Option<(Self, SigningKey)>, PseudoError> {
        if !policy.columns().any(|rule| matches!(rule.spec, Spec::Vault(_))) {
            return Ok(None);
        }
        let service = folder.signing(root)?;
        Ok(Some((Self::open(at, root, &service)?, service)))
    }

    /// The vault, as techniques ask it.
    pub(super) fn people(&self) -> Arc<dyn People> {
        self.vault.clone()
    }

    /// Puts everybody new on the disk and writes down how many there are. Before this no output may get its name.
    pub(super) fn finish(&mut self, service: &SigningKey) -> Result<u64, PseudoError> {
        let added = self.vault.sync()?;
        let people = self.people + added;
        if people != self.journal.people() {
            let said = Said { rows: Some(added), people: Some(people), ..Said::default() };
            self.journal.append(service, SERVICE, Event::Grown, said)?;
        }
        Ok(added)
    }
}

fn create(on: &On, output: &Output) -> Result<(), PseudoError> {
    let (folder, root) = on.opened.open()?;
    let service = folder.signing(&root)?;
    let (path, places) = on.at.places()?;
    if path.join("vault.id").exists() {
        return Err(PseudoError::usage("there is a vault in this folder", "name another folder"));
    }
    let id = Vault::create(&path, &places, &root)?;
    let vault = Vault::open(&path, places, &root)?;
    let mut journal = Journal::open(&path, id, &vault.places, service.public())?;
    journal.append(&service, SERVICE, Event::Made, Said { people: Some(0), ..Said::default() })?;
    output.either(json!({ "vault": hex(&id.0), "log_head": journal.head() }), || {
        format!(
            "vault {} is made\nBack up its folder as you like, and its epoch table never: erasing people is destroying that.\n",
            hex(&id.0)
        )
    })
}

fn check(on: &On, output: &Output) -> Result<(), PseudoError> {
    let (vault, journal, _) = open(on)?;
    let people = vault.each(&mut |_, _| Ok(()))?;
    let (stale, epoch, entries) = (vault.stale(), vault.epoch(), journal.entries.len());
    let value = json!({
        "vault": hex(&vault.id().0),
        "people": people,
        "people_logged": journal.people(),
        "epoch": epoch,
        "buckets_destroyed": stale,
        "log_entries": entries,
        "log_head": journal.head(),
    });
    output.either(value, || {
        format!("{people} people, epoch {epoch}, {stale} buckets from before an erasure; {entries} entries in the log\n")
    })?;
    if stale > 0 || people < journal.people() {
        let problem = format!(
            "{people} people can be read and {} were in it: it was cut, or is an older copy",
            journal.people()
        );
        return Err(PseudoError::Signed { place: "the vault".to_owned(), problem });
    }
    Ok(())
}

fn log(on: &On, output: &Output) -> Result<(), PseudoError> {
    let (_, journal, _) = open(on)?;
    let value = json!({ "entries": journal.entries, "log_head": journal.head() });
    output.either(value, || {
        let line = |entry: &crate::journal::Entry| {
            let event = serde_json::to_value(entry.event).ok();
            let event = event.as_ref().and_then(|event| event.as_str()).unwrap_or_default().to_owned();
            let grant = entry.said.grant.as_deref().unwrap_or("-");
            let why = [&entry.said.problem, &entry.said.reason, &entry.said.ticket];
            let why: Vec<&str> = why.into_iter().flatten().map(String::as_str).collect();
            format!("{} {} {} {event} {grant} {}\n", entry.number, entry.time, entry.who, why.join("; "))
        };
        journal.entries.iter().map(line).collect()
    })
}

fn repair(on: &On, yes: bool, output: &Output) -> Result<(), PseudoError> {
    if !yes {
        let advice = "say --yes if that is meant: whoever is in those buckets is gone";
        return Err(PseudoError::usage("buckets that are given up cannot be brought back", advice));
    }
    let (mut vault, mut journal, service) = open(on)?;
    let given_up = vault.repair()?;
    let people = vault.each(&mut |_, _| Ok(()))?;
    let said = Said { rows: Some(given_up as u64), people: Some(people), ..Said::default() };
    journal.append(&service, SERVICE, Event::Repaired, said)?;
    let value = json!({ "buckets_given_up": given_up, "people": people, "log_head": journal.head() });
    output.either(value, || format!("{given_up} buckets are given up; {people} people are in the vault\n"))
}

fn open(on: &On) -> Result<(Vault, Journal, SigningKey), PseudoError> {
    let (folder, root) = on.opened.open()?;
    let service = folder.signing(&root)?;
    let (path, places) = on.at.places()?;
    let vault = Vault::open(&path, places, &root)?;
    let journal = Journal::open(&path, vault.id(), &vault.places, service.public())?;
    Ok((vault, journal, service))
}
