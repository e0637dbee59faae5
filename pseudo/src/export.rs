//! An export: objects in, objects out, and last of all a signed manifest. Without a manifest there is no export.
//!
//! 1. The order is written: sources as they were pinned, the run's seed, the key's version. It is signed by who begins.
//! 2. Sources are read as pinned, treated, measured, and put as parts. Nothing that is there is ever overwritten.
//! 3. Documents, then the manifest, signed by the service.
//!
//! A run that was killed is gone on with by the same command: the order says how it began, so it makes the same bytes again, and
//! parts that are there are compared instead of put. No row is lost or doubled, since a part is whole or absent and always the same.
//! One that cannot be gone on with (another policy, a source that changed, a key that is destroyed) is discarded and begun anew
//! by whoever asks for that: nobody has read it, since it has no manifest.

mod again;
mod empty;
mod fit;
mod held;
mod parts;
mod reading;
mod spool;
mod wanted;

pub(crate) use again::Again;
pub(crate) use empty::MayLack;
pub(crate) use held::{Fingerprint, Held};
pub(crate) use wanted::Wanted;

use crate::figures::{self, Gate, Plans};
use crate::keys::{hex, unhex};
use crate::manifest::{
    Counts, DELETION, File, KeyName, MANIFEST, Manifest, ORDER, Order, Planted, Replaces, SIGNED_BYTES_MAX,
    SOURCES_MAX, Source, Terms, version_of,
};
use crate::operators::Operator;
use crate::s3::{Place, S3};
use crate::signed;
use crate::table::Cell;
use crate::vault::Vault;
use crate::{PseudoError, clock, describe, files};
use custody::{MasterKey, SigningKey};
use fit::Fit;
use parts::Upload;
use pipeline::{Engine, FaultKind, PipelineError, Plan, Position, Rare, Report, SpillFile};
use policy::{Policy, Spec};
use reading::Sources;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use transform::{Kind, People, RunSeed};

/// The release that makes exports.
pub(crate) const BUILD: &str = concat!("twinkeep pseudo ", env!("CARGO_PKG_VERSION"));
/// Objects in an export's folder that are looked at, at most: as many parts as sources, and documents.
const LISTED_MAX: usize = 2 * SOURCES_MAX;
/// Objects that are looked through for those that no export holds yet, at most: a listing of them is some hundred MiB.
const CANDIDATES_MAX: usize = 1_000_000;

/// Why a run ends that was told to.
const STOPPED: &str = "the program is ending; the export is gone on with at its next start";

/// What to export, under what, and where to.
pub(crate) struct Export<'a> {
    pub(crate) s3: &'a S3,
    pub(crate) name: String,
    pub(crate) policy: &'a Policy,
    pub(crate) terms: Terms,
    pub(crate) from: Vec<Place>,
    /// What other exports hold, if this one is to have only what none of them does.
    pub(crate) held: Option<&'a Held>,
    /// What it may lack: else it is refused, since a mistyped prefix makes an export of nothing.
    pub(crate) may_lack: MayLack,
    /// The export that is made again, if this one is to stand for it.
    pub(crate) again: Option<Again<'a>>,
    /// The export's own folder.
    pub(crate) to: Place,
    pub(crate) part_rows_max: u64,
    pub(crate) memory_bytes: usize,
    pub(crate) temporary: PathBuf,
    pub(crate) operator: &'a Operator,
    pub(crate) service: &'a SigningKey,
    /// Set when the run is to end where it is; it is gone on with later.
    pub(crate) stop: &'a AtomicBool,
}

/// What an earlier run left.
pub(crate) enum Begun {
    /// Nothing.
    No,
    /// An order that this run can go on with.
    Same(Box<Order>),
    /// An order of the same maker under another policy, for another recipient or by another release.
    Otherwise,
}

/// What became of it.
pub(crate) struct Done {
    pub(crate) manifest: Manifest,
    /// Whether an earlier run was gone on with.
    pub(crate) is_resumed: bool,
    /// What the gate will not let through.
    pub(crate) misses: Vec<String>,
    /// The first record of each kind that was left out: its number in which of the manifest's sources. For who asked, not for logs.
    pub(crate) left_out: Vec<(FaultKind, Position)>,
}

impl Export<'_> {
    /// What an earlier run left that was not finished.
    pub(crate) fn begun(&self) -> Result<Begun, PseudoError> {
        let bucket = &self.to.bucket;
        if self.s3.pin(bucket, &self.to.key(MANIFEST))?.is_some() {
            let advice = "choose another --id: what has a manifest is never written again";
            return Err(PseudoError::usage(format!("export {} is there already", self.name), advice));
        }
        if self.s3.pin(bucket, &self.to.key(DELETION))?.is_some() {
            let advice = "choose another --id: the record of its deletion stays";
            return Err(PseudoError::usage(format!("export {} was deleted", self.name), advice));
        }
        let Some(bytes) = self.s3.get(bucket, &self.to.key(ORDER), SIGNED_BYTES_MAX)? else {
            return Ok(Begun::No);
        };
        let order: Order = signed::open_by(signed::Kind::Order, &bytes, self.operator.key.public())
            .map_err(PseudoError::signed("the order of this export"))?;
        let same = order.export == self.name
            && order.version == version_of(&order.replaces, &None, &None)
            && order.replaces == self.replaces()
            && order.terms.policy_sha256 == self.terms.policy_sha256
            && order.terms.recipient == self.terms.recipient
            && order.build == BUILD;
        Ok(if same { Begun::Same(Box::new(order)) } else { Begun::Otherwise })
    }

    /// Whether all sources can still be read as they were pinned.
    pub(crate) fn has_its_sources(&self, sources: &[Source]) -> Result<bool, PseudoError> {
        for source in sources {
            if !self.s3.is_still(&source.bucket, &source.key, &source.pin)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Destroys what an unfinished run left, its order last, so that one that is killed here is gone on with.
    pub(crate) fn discard(&self) -> Result<(), PseudoError> {
        let (bucket, order) = (&self.to.bucket, self.to.key(ORDER));
        let keys = self.s3.list(&self.to, LISTED_MAX)?;
        if keys.contains(&self.to.key(MANIFEST)) {
            return Err(PseudoError::usage(format!("export {} is finished", self.name), ""));
        }
        for key in keys.iter().filter(|key| **key != order) {
            self.s3.destroy(bucket, key)?;
        }
        self.s3.destroy(bucket, &order)
    }

    /// Pins the sources and writes the order down; `None` if others hold all there is.
    pub(crate) fn begin(&self, master: &MasterKey, created: i64) -> Result<Option<Order>, PseudoError> {
        let sources = match &self.again {
            Some(again) => again.sources(),
            None => self.pinned()?,
        };
        if sources.is_empty() && self.held.is_some() {
            return Ok(None);
        }
        let mut seed = [0; 16];
        files::random(&mut seed)?;
        let replaces = self.replaces();
        let order = Order {
            version: version_of(&replaces, &None, &None),
            export: self.name.clone(),
            created: clock::text(created),
            replaces,
            terms: self.terms.clone(),
            key: key_name(master),
            run: hex(&seed),
            part_rows_max: self.part_rows_max,
            sources,
            maker: self.operator.certificate.clone(),
            build: BUILD.to_owned(),
        };
        let sealed = signed::seal(signed::Kind::Order, &order, &self.operator.key);
        self.s3.create_or_same(&self.to.bucket, &self.to.key(ORDER), &sealed)?;
        Ok(Some(order))
    }

    /// Makes everything the order says, and the manifest.
    pub(crate) fn run(
        &self,
        order: Order,
        is_resumed: bool,
        master: &MasterKey,
        vault: Option<&Arc<Vault>>,
    ) -> Result<Done, PseudoError> {
        let policy = self.policy;
        if order.key != key_name(master) {
            return Err(PseudoError::usage(
                "this export was begun with another key",
                "name its --key-version",
            ));
        }
        let seed = unhex(&order.run).map(RunSeed).ok_or_else(|| PseudoError::Signed {
            place: "the order of this export".to_owned(),
            problem: "it has no seed".to_owned(),
        })?;
        let sources = Sources {
            s3: self.s3,
            sources: &order.sources,
            format: policy.source.format,
            temporary: &self.temporary,
            stop: self.stop,
            seen: reading::Seen::default(),
        };
        let failed = |error: PipelineError| {
            let named = error.input().and_then(|input| order.sources.get(input as usize - 1));
            let named =
                named.map(|source| format!("it is s3://{}/{}; ", source.bucket, source.key.escape_debug()));
            let advice = format!("{}the same command with its --id goes on", named.unwrap_or_default());
            PseudoError::Export { source: Box::new(error), advice }
        };
        let counts = policy.columns().any(|rule| matches!(rule.spec, Spec::NullIfRare { .. }));
        let rare =
            if counts { pipeline::count_rare(policy, master, sources.inputs()) } else { Ok(Rare::default()) };
        let rare = rare.map_err(failed)?;
        let people = vault.map(|vault| vault.clone() as Arc<dyn People>);
        let plans = Plans::new(policy, self.memory_bytes, &self.temporary);
        let pass = |policy: &Policy, row: &mut fit::Row<'_>| {
            let mut number = 0;
            let plan =
                Plan::with_vault(policy, master, seed, rare.clone(), people.as_ref()).map_err(failed)?;
            let looked = Engine::new(plan, 0).look(sources.inputs(), &mut |cells| {
                number += 1;
                self.check_stop()?;
                row(number, &as_cells(cells)).map_err(|error| io::Error::other(error.to_string()))?;
                Ok(true)
            });
            looked.map(drop).map_err(failed)
        };
        let Fit { policy: climbed, rare: mut left_out, fitted, problem } = match &plans {
            Some(plans) => fit::fit(policy, plans, self.memory_bytes, &pass)?,
            None => Fit::default(),
        };
        let policy = climbed.as_ref().unwrap_or(policy);
        let plan = Plan::with_vault(policy, master, seed, rare.clone(), people.as_ref());
        let plan = plan.map_err(failed)?.planted(master, &order.export);
        let there = self.s3.list(&self.to, LISTED_MAX)?;
        let suffix = describe::suffix(policy);
        let mut upload = Upload::new(
            self.s3,
            &self.to,
            suffix,
            order.part_rows_max,
            there.into_iter().collect::<HashSet<_>>(),
            vault.cloned(),
            self.stop,
        );
        let mut spill = || Ok(Box::new(tempfile::tempfile_in(&self.temporary)?) as Box<dyn SpillFile>);
        let mut meter = plans.as_ref().map(Plans::meter).transpose()?;
        let mut number = 0;
        let report = Engine::new(plan, self.memory_bytes)
            .run_parts(sources.inputs(), &mut upload, &mut spill, &mut |cells| {
                self.check_stop()?;
                let Some(meter) = &mut meter else { return Ok(true) };
                let cells = as_cells(cells);
                if left_out.as_mut().is_some_and(|rare| rare.has(&cells)) {
                    return Ok(false);
                }
                number += 1;
                meter.row(number, &cells).map_err(|error| io::Error::other(error.to_string()))?;
                Ok(true)
            })
            .map_err(failed)?;
        self.may_lack.rows(report.records_in, report.records_out)?;
        let outputs = upload.done;
        let figures = meter.map(|meter| meter.finish(report.records_out)).transpose()?.flatten();
        let read = sources.hashed().map_err(|place| PseudoError::Store {
            place: format!("source {place}"),
            problem: "it was not read whole".to_owned(),
        })?;
        let counts = counted(&report);
        if let Some(again) = &self.again {
            again.check(&read, &counts)?;
        }
        // who began it anew meanwhile destroyed what this run made
        let present = self.s3.get(&self.to.bucket, &self.to.key(ORDER), SIGNED_BYTES_MAX)?;
        let present = present
            .and_then(|bytes| signed::open_by(signed::Kind::Order, &bytes, self.operator.key.public()).ok());
        if present.as_ref() != Some(&order) {
            let problem =
                "its order is not there any more, or is another: somebody else makes this export".to_owned();
            return Err(PseudoError::Store { place: self.name.clone(), problem });
        }
        let planted = planted(policy, order.key.version, &report);
        let manifest = Manifest {
            version: version_of(&order.replaces, &planted, &fitted),
            export: order.export,
            created: order.created,
            completed: clock::text(clock::now()),
            replaces: order.replaces,
            terms: order.terms,
            keys: vec![order.key],
            normalisers: policy.columns().map(normalisers).collect(),
            run: order.run,
            maker: order.maker,
            build: order.build,
            sources: read,
            counts,
            planted,
            fitted,
            figures,
            gate: Gate::of(policy),
            format: describe::format(policy).to_owned(),
            outputs,
            documents: self.documents(policy)?,
        };
        let sealed = signed::seal(signed::Kind::Manifest, &manifest, self.service);
        self.s3.create_or_same(&self.to.bucket, &self.to.key(MANIFEST), &sealed)?;
        let mut misses = figures::misses(manifest.gate.as_ref(), manifest.figures.as_ref());
        // why it is not as demanded, if it is not
        misses.extend(problem.filter(|_| !misses.is_empty()));
        let left_out = report.faults.iter().filter_map(|(kind, (_, first))| Some((*kind, *first.first()?)));
        Ok(Done { manifest, is_resumed, misses, left_out: left_out.collect() })
    }

    fn replaces(&self) -> Option<Replaces> {
        self.again.as_ref().map(|again| again.replaces.clone())
    }

    fn pinned(&self) -> Result<Vec<Source>, PseudoError> {
        let mut sources: Vec<Source> = Vec::new();
        for Candidate { bucket, key, is_named } in self.candidates()? {
            let number = sources.len() + 1;
            let failed = |problem: &str| PseudoError::Store {
                place: format!("source {number}"),
                problem: problem.to_owned(),
            };
            let Some(pin) = self.s3.pin(&bucket, &key)? else {
                // a listing has what is deleted meanwhile, and marks of folders
                if is_named {
                    return Err(failed("there is no such object"));
                }
                continue;
            };
            let Some(etag) = &pin.etag else {
                return Err(failed("the server gives no ETags, so that a change would not be seen"));
            };
            // it may have become something that is held since it was listed
            let print = Fingerprint::of(&bucket, &key, etag, pin.bytes);
            if self.held.is_some_and(|held| held.has(&print)) {
                continue;
            }
            sources.push(Source { bucket, key, pin, sha256: None });
            if sources.len() == SOURCES_MAX && self.held.is_some() {
                // the next export has the rest
                break;
            }
        }
        let mut names = HashSet::new();
        if sources.iter().any(|source| !names.insert((&source.bucket, &source.key))) {
            return Err(PseudoError::usage("two sources have objects in common", "name each object once"));
        }
        Ok(sources)
    }

    /// Objects to read; those left out that are held as they are listed.
    fn candidates(&self) -> Result<Vec<Candidate>, PseudoError> {
        let most = if self.held.is_some() { CANDIDATES_MAX } else { SOURCES_MAX };
        let mut candidates = Vec::new();
        let mut has_any = false;
        for place in &self.from {
            if !place.is_folder {
                candidates.push(Candidate {
                    bucket: place.bucket.clone(),
                    key: place.prefix.clone(),
                    is_named: true,
                });
                continue;
            }
            let listed = self.s3.listed(place, most - candidates.len().min(most))?;
            has_any |= !listed.is_empty();
            if self.held.is_none() {
                self.may_lack.objects(place, listed.len())?;
            }
            for listed in listed {
                let is_held = self.held.is_some_and(|held| {
                    let etag = listed.etag.as_deref();
                    etag.is_some_and(|etag| {
                        held.has(&Fingerprint::of(&place.bucket, &listed.key, etag, listed.bytes))
                    })
                });
                if !is_held {
                    candidates.push(Candidate {
                        bucket: place.bucket.clone(),
                        key: listed.key,
                        is_named: false,
                    });
                }
            }
        }
        // sources may go once they are held; what never had any is another matter
        if let (Some(held), false, Some(place)) = (self.held, has_any, self.from.first())
            && held.is_empty()
        {
            self.may_lack.objects(place, candidates.len())?;
        }
        Ok(candidates)
    }

    fn check_stop(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(io::Error::other(STOPPED)) } else { Ok(()) }
    }

    fn documents(&self, policy: &Policy) -> Result<Vec<File>, PseudoError> {
        let mut documents = Vec::new();
        for (name, content) in describe::documents(policy) {
            self.s3.create_or_same(&self.to.bucket, &self.to.key(name), &content)?;
            let (bytes, sha256) = (content.len() as u64, hex(&Sha256::digest(&content)));
            documents.push(File { name: name.to_owned(), bytes, sha256, rows: None });
        }
        Ok(documents)
    }
}

/// What is counted of a treated record; nulls are none.
fn as_cells<'c>(cells: &mut dyn Iterator<Item = (Kind, &'c [u8])>) -> Vec<Cell<'c>> {
    cells.map(|(kind, bytes)| (kind != Kind::Null).then_some(bytes)).collect()
}

/// An object that may be a source.
struct Candidate {
    bucket: String,
    key: String,
    /// It was asked for by its name, not found below a place.
    is_named: bool,
}

fn key_name(master: &MasterKey) -> KeyName {
    KeyName { domain: master.domain().to_string(), version: master.version().get(), id: hex(&master.id()) }
}

/// The normalisers of a column with their versions: tokens of another export meet only under the same ones.
pub(crate) fn normalisers(rule: &policy::Rule) -> (String, Vec<String>) {
    (rule.output_path.to_string(), rule.normalisers.iter().map(ToString::to_string).collect())
}

/// What was planted; nothing where the policy plants nobody.
fn planted(policy: &Policy, key_version: u32, report: &Report) -> Option<Planted> {
    let honey = policy.honey.as_ref()?;
    let rule = policy.columns().find(|rule| rule.output_path == honey.person)?;
    let form = match rule.spec {
        Spec::Token(form) | Spec::Vault(form) => form,
        _ => return None,
    };
    Some(Planted {
        persons: report.persons_planted,
        rows: report.rows_planted,
        column: rule.output_path.column(),
        key_version,
        technique: rule.technique.clone(),
        class: rule.class.to_string(),
        scope: describe::scope(rule.scope).to_owned(),
        form: form.name().to_owned(),
    })
}

fn counted(report: &Report) -> Counts {
    Counts {
        records_in: report.records_in,
        records_out: report.records_out,
        records_left_out: report.records_dropped,
        faults: report.faults.iter().map(|(kind, (count, _))| (kind.name().to_owned(), *count)).collect(),
        unknown_fields_left_out: report.unknown_fields_dropped,
        values_made_null: report.values_nulled,
    }
}
