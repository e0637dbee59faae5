//! `pseudo rekey`: exports of an older key made again under the newest, what stands for what, and deleting what is replaced.

use super::keys::Opened;
use super::output::Output;
use super::verify::Known;
use crate::export::Done;
use crate::keys::KeyFolder;
use crate::operators::Acting;
use crate::rekey::{self, Left, Line, Rekeying, Survey};
use crate::s3::{Connection, Place, S3};
use crate::{PseudoError, agreement, clock, policies, retention};
use clap::{Args, Subcommand};
use custody::{KeyVersion, MasterKey, WrappedName};
use pipeline::SHUFFLE_MEMORY_BYTES;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A command ends when it is killed, which a re-keying bears.
static NEVER: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Subcommand)]
pub(super) enum RekeyCommand {
    /// Make every export of a place that an older key made again under the newest: drafts that name what they replace
    Run(RunArguments),
    /// Say which key made which export of a place, and what stands for it
    Status {
        /// Where drafts lie
        #[arg(value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
        drafts: Place,
        #[command(flatten)]
        known: Known,
        #[command(flatten)]
        connection: Connection,
    },
    /// Delete what is replaced by an export that its readers have, with a signed record of each
    Withdraw {
        /// Where drafts lie
        #[arg(value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
        drafts: Place,
        /// Withdraw these alone [default: all that are replaced]
        #[arg(long = "export", value_name = "NAME")]
        only: Vec<String>,
        /// Say that it is meant
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        opened: Opened,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Where drafts lie
    #[arg(value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    drafts: Place,
    /// A policy that exports there were made under; as often as there are. Exports of other domains are left alone
    #[arg(long, value_name = "FILE", required = true)]
    policy: Vec<PathBuf>,
    /// Make these again alone, also where what was made of them was refused [default: all of an older key]
    #[arg(long = "export", value_name = "NAME")]
    only: Vec<String>,
    /// Which of the domain's keys to go to [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    key_version: Option<u32>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    opened: Opened,
    #[command(flatten)]
    acting: Acting,
    /// Rows kept in memory to put them in order, in MiB; as much again is for measuring
    #[arg(long, value_name = "MIB", default_value_t = (SHUFFLE_MEMORY_BYTES >> 20) as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    memory: u32,
    /// Where temporary files without a name go [default: the system's folder for them]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

pub(super) fn run(command: &RekeyCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        RekeyCommand::Run(arguments) => make(arguments, output),
        RekeyCommand::Status { drafts, known, connection } => {
            let s3 = S3::new(connection.clone(), connection.who()?)?;
            status(&rekey::survey(&s3, drafts, &known.trust()?)?, output)
        }
        RekeyCommand::Withdraw { drafts, only, yes, opened, connection } => {
            if !yes {
                let advice = "look with `rekey status`, then say --yes; who has a copy keeps it";
                return Err(PseudoError::usage("what is withdrawn is destroyed", advice));
            }
            let s3 = S3::new(connection.clone(), connection.who()?)?;
            let (folder, root) = opened.open()?;
            let service = folder.signing(&root)?;
            drop(root);
            let trust = folder.trust(service.public())?;
            let survey = rekey::survey(&s3, drafts, &trust)?;
            are_there(only, &survey)?;
            let mut told = Told::of(&survey);
            let is_asked = |name: &String| only.is_empty() || only.contains(name);
            for name in survey.withdrawing.iter().filter(|name| is_asked(name)) {
                told.withdrawn(name, None, retention::delete(&s3, drafts, name, None, &service, &trust));
            }
            for line in survey.lines.iter().filter(|line| is_asked(&line.name)) {
                if let (Some(by), Some(place)) = (line.replaced_by(), survey.elsewhere(line)) {
                    let why = format!(
                        "{by} stands for it and was released to {place}, where its readers may not look"
                    );
                    told.stays(&line.name, &why);
                } else if let Some(by) = line.replaced_by() {
                    let done = retention::delete(&s3, drafts, &line.name, Some(by), &service, &trust);
                    told.withdrawn(&line.name, Some(by), done);
                } else if let Some((by, state)) = &line.successor {
                    told.stays(
                        &line.name,
                        &format!("{by} stands for it and is not seen to be released ({})", state.name()),
                    );
                }
            }
            told.end("withdrawn", output)
        }
    }
}

fn make(arguments: &RunArguments, output: &Output) -> Result<(), PseudoError> {
    let version = arguments.key_version.map(KeyVersion::new).transpose();
    let version = version.map_err(PseudoError::custody("--key-version"))?;
    let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
    let (folder, root) = arguments.opened.open()?;
    let service = folder.signing(&root)?;
    let trust = folder.trust(service.public())?;
    let operator = arguments.acting.open_at(&folder, &service)?;
    let mut masters: BTreeMap<String, MasterKey> = BTreeMap::new();
    let (mut policies, mut unusable) = (Vec::new(), Vec::new());
    for path in &arguments.policy {
        let usable = policies::sound(path).and_then(|policy| {
            agreement::check(path, &policy, &folder, service.public())?;
            if let Entry::Vacant(entry) = masters.entry(policy.domain.to_string()) {
                entry.insert(folder.master(&root, &policy.domain, version)?);
            }
            Ok(policy)
        });
        match usable {
            Ok(policy) => policies.push(policy),
            Err(error) => unusable.push(Unusable { path, sha256: policies::sha256(path)?, error }),
        }
    }
    drop(root);
    let versions = versions(&folder, version)?;
    let survey = rekey::survey(&s3, &arguments.drafts, &trust)?;
    are_there(&arguments.only, &survey)?;
    let rekeying = Rekeying {
        s3: &s3,
        drafts: &arguments.drafts,
        policies: &policies,
        memory_bytes: (arguments.memory as usize) << 20,
        temporary: arguments.temporary.clone().unwrap_or_else(std::env::temp_dir),
        operator: &operator,
        service: &service,
        stop: &NEVER,
    };
    let today = clock::day_of(clock::now());
    let mut told = Told::of(&survey);
    unusable.iter().for_each(|policy| told.policy(policy));
    let is_named = !arguments.only.is_empty();
    for line in &survey.lines {
        if is_named && !arguments.only.contains(&line.name) {
            continue;
        }
        let terms = &line.stand.manifest.terms;
        if let Some(Unusable { error, .. }) =
            unusable.iter().find(|policy| policy.sha256 == terms.policy_sha256)
        {
            let to = versions.get(&line.key().domain).copied().unwrap_or(u32::MAX);
            let problem = format!("nothing can be made under its policy: {}", error.chain());
            match line.left(to, &today, is_named) {
                Some(left) => told.left(line, &left),
                None => told.failed(&line.name, &PseudoError::usage(problem, error.advice())),
            }
            continue;
        }
        let Some(master) = masters.get(&line.key().domain) else {
            told.left(line, &Left::OtherDomain);
            continue;
        };
        match line.left(master.version().get(), &today, is_named) {
            Some(left) => told.left(line, &left),
            None => told.made(&line.name, rekeying.make(&survey, line, master)),
        }
    }
    told.end("made again", output)
}

/// A policy that nothing can be made under: the others go on without it.
struct Unusable<'a> {
    path: &'a Path,
    sha256: String,
    error: PseudoError,
}

/// Which version of each domain's key to go to; a domain without a key has none.
fn versions(folder: &KeyFolder, named: Option<KeyVersion>) -> Result<BTreeMap<String, u32>, PseudoError> {
    let mut versions = BTreeMap::new();
    for WrappedName { domain, version, .. } in folder.list()? {
        let newest = versions.entry(domain.to_string()).or_insert(0);
        *newest = named.map_or(version.get().max(*newest), KeyVersion::get);
    }
    Ok(versions)
}

/// Whether every export that was asked for by name can be looked at.
fn are_there(only: &[String], survey: &Survey) -> Result<(), PseudoError> {
    let is_known = |name: &&String| {
        survey.lines.iter().any(|line| line.name == **name) || survey.withdrawing.contains(name)
    };
    match only.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let advice = "`pseudo register` lists those that are there";
            Err(PseudoError::usage(format!("there is no export {name} here that can be relied on"), advice))
        }
    }
}

/// What became of each export.
#[derive(Default)]
struct Told {
    rows: Vec<Value>,
    policies: Vec<Value>,
    text: String,
    done: usize,
    failed: usize,
}

impl Told {
    /// Those that cannot be relied on come first: nobody knows which key made them.
    fn of(survey: &Survey) -> Self {
        let mut told = Self::default();
        for (name, error) in &survey.damaged {
            told.failed(name, error);
        }
        told
    }

    fn made(&mut self, name: &str, done: Result<Done, PseudoError>) {
        let Done { manifest, is_resumed, misses, .. } = match done {
            Ok(done) => done,
            Err(error) => return self.failed(name, &error),
        };
        self.done += 1;
        let (by, records) = (&manifest.export, manifest.counts.records_out);
        let version = manifest.keys.first().map(|key| key.version);
        self.text.push_str(&format!("{name}: made again as {by}, a draft of {records} records\n"));
        misses.iter().for_each(|miss| self.text.push_str(&format!("  the gate will hold it: {miss}\n")));
        self.rows.push(json!({
            "export": name,
            "result": "made",
            "by": by,
            "key_version": version,
            "resumed": is_resumed,
            "parts": manifest.outputs.len(),
            "records": records,
            "gate_misses": misses,
        }));
    }

    fn left(&mut self, line: &Line, left: &Left) {
        let by = if let Left::Replaced(by) | Left::SuccessorRefused(by) = left { Some(by) } else { None };
        self.rows.push(json!({ "export": line.name, "result": left.name(), "by": by }));
        let why = match left {
            // what has nothing to do with this is not told to people
            Left::OtherDomain | Left::Current => return,
            Left::Replaced(by) => format!("{by} stands for it"),
            Left::SuccessorRefused(by) => {
                format!("{by}, which was made of it, was refused; --export {} makes another one", line.name)
            }
            Left::Refused => "it was refused, or what was decided about it does not count".to_owned(),
            Left::Over => "the day by which it is to be deleted is over".to_owned(),
        };
        self.text.push_str(&format!("{}: left as it is, {why}\n", line.name));
    }

    fn withdrawn<T>(&mut self, name: &str, by: Option<&str>, done: Result<T, PseudoError>) {
        match done {
            Err(error) => self.failed(name, &error),
            Ok(_) => {
                self.done += 1;
                self.text.push_str(&format!("{name}: withdrawn\n"));
                self.rows.push(json!({ "export": name, "result": "withdrawn", "by": by }));
            }
        }
    }

    fn stays(&mut self, name: &str, why: &str) {
        self.text.push_str(&format!("{name} stays: {why}\n"));
        self.rows.push(json!({ "export": name, "result": "stays", "problem": why }));
    }

    fn policy(&mut self, Unusable { path, sha256, error }: &Unusable<'_>) {
        self.text.push_str(&format!(
            "policy {}: nothing is made under it: {}\n",
            path.display(),
            error.chain()
        ));
        if !error.advice().is_empty() {
            self.text.push_str(&format!("  {}\n", error.advice()));
        }
        self.policies.push(json!({
            "policy": path.display().to_string(),
            "policy_sha256": sha256,
            "problem": error.chain(),
            "advice": error.advice(),
        }));
    }

    fn failed(&mut self, name: &str, error: &PseudoError) {
        self.failed += 1;
        self.text.push_str(&format!("{name} stays: {}\n", error.chain()));
        if !error.advice().is_empty() {
            self.text.push_str(&format!("  {}\n", error.advice()));
        }
        self.rows.push(json!({
            "export": name,
            "result": "failed",
            "problem": error.chain(),
            "advice": error.advice(),
        }));
    }

    fn end(mut self, what: &str, output: &Output) -> Result<(), PseudoError> {
        let (done, failed, policies) = (self.done, self.failed, self.policies.len());
        self.text.push_str(&format!("{done} exports were {what}\n"));
        let value = json!({ "exports": self.rows, "policies_refused": self.policies, "done": done, "failed": failed });
        output.either(value, || self.text)?;
        if failed == 0 && policies == 0 {
            return Ok(());
        }
        let mut problem = format!("{failed} exports could not be {what}, or cannot be relied on");
        if policies > 0 {
            problem.push_str(&format!("; nothing is made under {policies} of the policies"));
        }
        Err(PseudoError::Signed { place: "re-keying".to_owned(), problem })
    }
}

fn status(survey: &Survey, output: &Output) -> Result<(), PseudoError> {
    let mut told = Told::of(survey);
    let mut keys: BTreeMap<(String, u32), (usize, usize)> = BTreeMap::new();
    for line in &survey.lines {
        let (key, state) = (line.key(), line.stand.state.name());
        let (all, replaced) = keys.entry((key.domain.clone(), key.version)).or_default();
        *all += 1;
        *replaced += usize::from(line.replaced_by().is_some());
        let by = line.successor.as_ref().map(|(by, state)| format!(", replaced by {by} ({})", state.name()));
        told.text.push_str(&format!(
            "{}: key {} of domain {}, {state}{}\n",
            line.name,
            key.version,
            key.domain,
            by.unwrap_or_default()
        ));
        told.rows.push(json!({
            "export": line.name,
            "state": state,
            "domain": key.domain,
            "key_version": key.version,
            "key_id": key.id,
            "replaced_by": line.successor.as_ref().map(|(by, _)| by),
            "replaced_by_state": line.successor.as_ref().map(|(_, state)| state.name()),
        }));
    }
    let count = |((domain, version), (all, replaced)): (&(String, u32), &(usize, usize))| {
        told.text.push_str(&format!(
            "key {version} of domain {domain}: {all} exports, {replaced} of them replaced by released ones\n"
        ));
        json!({ "domain": domain, "version": version, "exports": all, "replaced": replaced })
    };
    let keys: Vec<Value> = keys.iter().map(count).collect();
    let damaged = told.failed;
    output.either(json!({ "exports": told.rows, "keys": keys }), || told.text)?;
    match damaged {
        0 => Ok(()),
        _ => {
            let problem = format!("{damaged} exports cannot be relied on");
            Err(PseudoError::Signed { place: "the drafts".to_owned(), problem })
        }
    }
}
