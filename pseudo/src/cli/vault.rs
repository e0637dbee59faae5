//! `pseudo vault`: making and checking an identity vault, and its log.

use super::keys::Opened;
use super::output::Output;
use crate::PseudoError;
use crate::journal::{Event, Journal, SERVICE, Said};
use crate::keys::{KeyFolder, hex};
use crate::plain::escaped;
use crate::vault::{Place, Vault, VaultAt};
use clap::{Args, Subcommand};
use custody::{RootKey, SigningKey};
use policy::{Policy, Spec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
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
    /// Add a place of the epoch table; it has the table when this is done
    Place {
        #[command(flatten)]
        on: On,
        /// The folder: on another disk or machine, and in no backup
        #[arg(long, value_name = "DIR")]
        add: PathBuf,
    },
    /// Give up a place of the epoch table that is lost, or whose table is destroyed hereby
    Forget {
        #[command(flatten)]
        on: On,
        /// Its name, as `check` prints it
        #[arg(long, value_name = "PLACE")]
        place: String,
        /// Say that it is meant: a table that lies there opens older copies of the vault
        #[arg(long)]
        yes: bool,
    },
    /// Give up what was restored from before an erasure, and what is not there: its keys are destroyed
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
        VaultCommand::Place { on, add } => place(on, add, output),
        VaultCommand::Forget { on, place, yes } => forget(on, place, *yes, output),
        VaultCommand::Repair { on, yes } => repair(on, *yes, output),
    }
}

impl Working {
    /// Opens a vault and gets ready for new people.
    fn open(at: &VaultAt, keys: &Path, root: &RootKey, service: &SigningKey) -> Result<Self, PseudoError> {
        let (vault, journal) = at.open(keys, root, service)?;
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
        Ok(Some((Self::open(at, folder.path(), root, &service)?, service)))
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
    let id = on.at.create(folder.path(), &root, &service)?;
    let (vault, journal) = on.at.open(folder.path(), &root, &service)?;
    let value = json!({ "vault": hex(&id.0), "places": places(&vault), "log_head": journal.head() });
    output.either(value, || {
        format!(
            "vault {} is made\nBack up its folder as you like, and its epoch table never: erasing people is destroying that.\n",
            hex(&id.0)
        )
    })
}

fn place(on: &On, add: &Path, output: &Output) -> Result<(), PseudoError> {
    let (folder, root) = on.opened.open()?;
    let id = on.at.add(add, folder.path(), &root, &folder.signing(&root)?)?;
    output.either(json!({ "place": id }), || {
        format!("place {id} is {}; name it with --epoch from now on\n", add.display())
    })
}

fn forget(on: &On, place: &str, yes: bool, output: &Output) -> Result<(), PseudoError> {
    if !yes {
        let advice =
            "say --yes if that is meant: if its table ever comes back, so does whoever is erased later";
        return Err(PseudoError::usage("a place that is given up is asked for nothing any more", advice));
    }
    let (folder, root) = on.opened.open()?;
    let given_up = on.at.forget(place, folder.path(), &root, &folder.signing(&root)?)?;
    let (is_destroyed, left) = (given_up.is_destroyed, given_up.left);
    output.either(json!({ "place": place, "destroyed": is_destroyed, "places_left": left }), || {
        let what = if is_destroyed {
            "what lay there is destroyed"
        } else {
            "it did not answer, so its table is not destroyed, and every certificate of erasure says so"
        };
        format!("place {place} is given up; {what}; {left} are left\n")
    })
}

fn places(vault: &Vault) -> Vec<Value> {
    let place = |place: &Place| json!({ "place": place.id, "folder": place.path.display().to_string() });
    vault.places.here.iter().map(place).collect()
}

fn check(on: &On, output: &Output) -> Result<(), PseudoError> {
    let (vault, journal, _) = open(on)?;
    let people = vault.each(&mut |_, _| Ok(()))?;
    let (stale, missing, epoch) = (vault.stale(), vault.missing(), vault.epoch());
    let (here, known, entries) = (vault.places.here.len(), vault.places.known, journal.entries.len());
    let value = json!({
        "vault": hex(&vault.id().0),
        "people": people,
        "people_logged": journal.people(),
        "epoch": epoch,
        "buckets_destroyed": stale,
        "buckets_missing": missing,
        "places_known": known,
        "places": places(&vault),
        "log_entries": entries,
        "log_head": journal.head(),
    });
    output.either(value, || {
        let mut text = format!("{people} people, epoch {epoch}, {stale} buckets from before an erasure, {missing} missing; {entries} entries in the log\n");
        for place in &vault.places.here {
            text.push_str(&format!("  place {} in {}\n", place.id, place.path.display()));
        }
        text
    })?;
    if stale + missing > 0 || people < journal.people() {
        let problem = format!(
            "{people} people can be read and {} were in it: it was cut, or is an older copy",
            journal.people()
        );
        return Err(PseudoError::Signed { place: "the vault".to_owned(), problem });
    }
    if here < known {
        let problem =
            format!("{here} of {known} places of the epoch table answer: nobody can be erased meanwhile");
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
            let why: Vec<_> = why.into_iter().flatten().map(|why| escaped(why)).collect();
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
    let (vault, journal) = on.at.open(folder.path(), &root, &service)?;
    Ok((vault, journal, service))
}
