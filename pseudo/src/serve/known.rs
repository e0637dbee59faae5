//! Which exports a job has, as the drafts say it: there is no other record, so none can be behind.
//!
//! An export of a job is one that is called so. A manifest that cannot be relied on stops an incremental job: what it holds is not known.

use super::schedule::is_of_job;
use crate::export::{Fingerprint, Held};
use crate::keys::unhex;
use crate::manifest::{DECISION, MANIFEST, ORDER, SIGNED_BYTES_MAX, Verdict};
use crate::retention::{self, EXPORTS_MAX};
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::{PseudoError, rekey, release, verify};
use custody::PublicKey;
use std::collections::{BTreeMap, HashSet};

/// What is known of one export.
enum Export {
    /// Begun, and without a manifest.
    Unfinished,
    /// A draft, to which a decision may come; or one with a decision that does not count, which is as good as none.
    Draft(Vec<Fingerprint>),
    /// Approved, or deleted when its day came: nothing changes what it held.
    Final(Vec<Fingerprint>),
    /// Refused: it holds nothing, so that its sources go into the next one. As long as the refusal counts: what it would hold else.
    Refused(Vec<Fingerprint>),
    /// Refused, and deleted when its day came.
    Gone,
}

/// The exports of one job, by name and so by time, and those that were made of them again under another key.
#[derive(Default)]
pub(crate) struct Known {
    of_job: BTreeMap<String, Export>,
    again: BTreeMap<String, Export>,
}

impl Known {
    /// Looks what there is; what is final is not looked at again.
    pub(crate) fn look(
        &mut self,
        s3: &S3,
        job: &str,
        drafts: &Place,
        wants_sources: bool,
        trust: &Trust,
    ) -> Result<(), PseudoError> {
        let names = s3.folders(drafts, EXPORTS_MAX)?;
        let is_again = |name: &&String| {
            let before = rekey::before(name);
            wants_sources && before.is_some_and(|name| is_of_job(job, name))
        };
        let of_job: Vec<&String> = names.iter().filter(|name| is_of_job(job, name)).collect();
        let again: Vec<&String> = names.iter().filter(is_again).collect();
        for (names, known) in [(of_job, &mut self.of_job), (again, &mut self.again)] {
            let there: HashSet<&String> = names.iter().copied().collect();
            known.retain(|name, _| there.contains(name));
            for name in names {
                let before = known.remove(name);
                if let Some(found) = look_at(s3, &drafts.below(name), name, before, wants_sources, trust)? {
                    known.insert(name.clone(), found);
                }
            }
        }
        Ok(())
    }

    /// The oldest export that was begun and not finished.
    pub(crate) fn unfinished(&self) -> Option<&str> {
        let mut found = self.of_job.iter().filter(|(_, export)| matches!(export, Export::Unfinished));
        found.next().map(|(name, _)| name.as_str())
    }

    /// The newest export, whatever became of it.
    pub(crate) fn newest(&self) -> Option<&str> {
        self.of_job.last_key_value().map(|(name, _)| name.as_str())
    }

    /// What all of them hold. Where an export was refused, what was made of it again may hold the same.
    pub(crate) fn held(&self) -> Result<Held, PseudoError> {
        let mut held = Held::default();
        for export in self.of_job.values().chain(self.again.values()) {
            if let Export::Draft(prints) | Export::Final(prints) = export {
                held.add(prints)?;
            }
        }
        Ok(held)
    }
}

fn look_at(
    s3: &S3,
    place: &Place,
    name: &str,
    before: Option<Export>,
    wants_sources: bool,
    trust: &Trust,
) -> Result<Option<Export>, PseudoError> {
    let service = trust.key;
    let there = |what| Ok::<_, PseudoError>(s3.pin(&place.bucket, &place.key(what))?.is_some());
    let prints = match before {
        Some(known @ (Export::Final(_) | Export::Gone)) => return Ok(Some(known)),
        // what was decided says nothing to a job that takes everything each time
        Some(known @ (Export::Draft(_) | Export::Refused(_))) if !wants_sources => return Ok(Some(known)),
        Some(Export::Draft(prints) | Export::Refused(prints)) => match deleted(s3, place, name, service)? {
            Some(end) => return Ok(Some(end)),
            None => prints,
        },
        Some(Export::Unfinished) | None => {
            if let Some(end) = deleted(s3, place, name, service)? {
                return Ok(Some(end));
            }
            let is_finished = there(MANIFEST)?;
            if !is_finished {
                return Ok(there(ORDER)?.then_some(Export::Unfinished));
            }
            if !wants_sources {
                return Ok(Some(Export::Draft(Vec::new())));
            }
            sources(s3, place, name, service)?
        }
    };
    let Some(decided) = s3.get(&place.bucket, &place.key(DECISION), SIGNED_BYTES_MAX)? else {
        return Ok(Some(Export::Draft(prints)));
    };
    let signed = PseudoError::signed(format!("the decision about {name}"));
    let (decision, _) = verify::decision(&decided, service).map_err(signed)?;
    if decision.export != name {
        let problem = "it is about another export".to_owned();
        return Err(PseudoError::Signed { place: format!("the decision about {name}"), problem });
    }
    Ok(Some(match release::verdict(&decision, &decided, trust)? {
        Some(Verdict::Approved) => Export::Final(prints),
        Some(Verdict::Refused) => Export::Refused(prints),
        None => Export::Draft(prints),
    }))
}

/// What an export that was deleted held, by its record; `None` if it was not.
fn deleted(s3: &S3, place: &Place, name: &str, service: PublicKey) -> Result<Option<Export>, PseudoError> {
    let Some(deletion) = retention::record(s3, place, name, service)? else { return Ok(None) };
    if deletion.verdict == Some(Verdict::Refused) {
        return Ok(Some(Export::Gone));
    }
    let prints = deletion.sources.iter().map(|print| unhex(print).map(Fingerprint));
    let prints = prints.collect::<Option<Vec<_>>>().ok_or_else(|| PseudoError::Signed {
        place: format!("the record of deletion of {name}"),
        problem: "it says of a source what cannot be".to_owned(),
    })?;
    Ok(Some(Export::Final(prints)))
}

fn sources(s3: &S3, place: &Place, name: &str, service: PublicKey) -> Result<Vec<Fingerprint>, PseudoError> {
    let damaged = |problem: &str| PseudoError::Signed {
        place: format!("the manifest of {name}"),
        problem: problem.to_owned(),
    };
    let bytes = s3.get(&place.bucket, &place.key(MANIFEST), SIGNED_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| damaged("it was taken away"))?;
    let signed = PseudoError::signed(format!("the manifest of {name}"));
    let manifest = verify::manifest(&bytes, service).map_err(signed)?;
    if manifest.export != name {
        return Err(damaged("it is the manifest of another export"));
    }
    Ok(manifest.sources.iter().map(Fingerprint::of_source).collect())
}
