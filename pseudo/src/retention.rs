//! Exports whose day of deletion has come, or that others stand for: destroyed where readers are and among the drafts, with a signed record that stays.
//!
//! 1. `deletion.json`, signed by the service, is made beside the manifest. From here on the export can be neither approved nor finished.
//! 2. What was released is destroyed, `release.json` first: a folder without it is not released.
//! 3. Of the draft everything but the record, the manifest last.
//!
//! One that is interrupted is gone on with: the record says where everything is. An export is gone when its record alone is left.

use crate::export::{BUILD, Fingerprint};
use crate::keys::hex;
use crate::manifest::{DECISION, DELETION, Deletion, MANIFEST, SIGNED_BYTES_MAX, version_of};
use crate::release::{self, OBJECTS_MAX, State};
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, verify};
use custody::{PublicKey, SigningKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Exports in one place of drafts, at most: an hourly one for a decade.
pub(crate) const EXPORTS_MAX: usize = 100_000;

/// An export whose day has come, or that was not deleted to its end.
pub(crate) struct Due {
    pub(crate) name: String,
    /// What is to be deleted; or why it cannot be relied on, and so stays.
    pub(crate) state: Result<What, PseudoError>,
}

/// What is to be deleted.
pub(crate) struct What {
    pub(crate) delete_on: String,
    pub(crate) recipient: String,
    pub(crate) state: &'static str,
    pub(crate) released_to: Option<String>,
}

/// The record of an export that is deleted or being deleted; `None` if it is not.
pub(crate) fn record(
    s3: &S3,
    draft: &Place,
    name: &str,
    service: PublicKey,
) -> Result<Option<Deletion>, PseudoError> {
    let Some(bytes) = s3.get(&draft.bucket, &draft.key(DELETION), SIGNED_BYTES_MAX)? else { return Ok(None) };
    let place = || format!("the record of deletion of {name}");
    let deletion: Deletion =
        signed::open_by(Kind::Deletion, &bytes, service).map_err(PseudoError::signed(place()))?;
    if deletion.version != version_of(&deletion.replaced_by, &deletion.planted, &None)
        || deletion.export != name
    {
        let problem = "it is about another export, or of a form that this release does not know".to_owned();
        return Err(PseudoError::Signed { place: place(), problem });
    }
    Ok(Some(deletion))
}

/// The exports of a place whose day has come, by name. It is the server's day, too: a clock that is wrong deletes nothing.
pub(crate) fn due(s3: &S3, drafts: &Place, service: PublicKey, now: i64) -> Result<Vec<Due>, PseudoError> {
    s3.check_clock(now)?;
    let today = clock::day_of(now);
    let mut due = Vec::new();
    for name in s3.folders(drafts, EXPORTS_MAX)? {
        match look(s3, &drafts.below(&name), &name, service, &today) {
            Ok(None) => {}
            Ok(Some(what)) => due.push(Due { name, state: Ok(what) }),
            Err(error) => due.push(Due { name, state: Err(error) }),
        }
    }
    Ok(due)
}

fn look(
    s3: &S3,
    draft: &Place,
    name: &str,
    service: PublicKey,
    today: &str,
) -> Result<Option<What>, PseudoError> {
    if let Some(Deletion { terms, released_to, .. }) = record(s3, draft, name, service)? {
        // the manifest goes last
        let is_over = s3.pin(&draft.bucket, &draft.key(MANIFEST))?.is_none();
        let (delete_on, recipient, state) = (terms.delete_on, terms.recipient, "being deleted");
        return Ok((!is_over).then_some(What { delete_on, recipient, state, released_to }));
    }
    if s3.pin(&draft.bucket, &draft.key(MANIFEST))?.is_none() {
        // no export: nobody was promised its end
        return Ok(None);
    }
    // its day comes whoever decided about it
    let stand = release::look(s3, draft, &Trust::of(service))?;
    let terms = &stand.manifest.terms;
    let released_to = stand.decision.as_ref().and_then(|(decision, _)| decision.released_to.clone());
    let (delete_on, recipient) = (terms.delete_on.clone(), terms.recipient.clone());
    let what = What { delete_on, recipient, state: stand.state.name(), released_to };
    Ok((what.delete_on.as_str() <= today).then_some(what))
}

/// Deletes an export. Who asks has seen that its day has come, or that what stands for it is where its readers are.
pub(crate) fn delete(
    s3: &S3,
    drafts: &Place,
    name: &str,
    replaced_by: Option<&str>,
    service: &SigningKey,
    trust: &Trust,
) -> Result<Deletion, PseudoError> {
    let draft = drafts.below(name);
    let deletion = match record(s3, &draft, name, service.public())? {
        Some(deletion) => deletion,
        None => begin(s3, &draft, name, replaced_by, service, trust)?,
    };
    // who approved it while the record was made may have had it released
    let decided = s3.get(&draft.bucket, &draft.key(DECISION), SIGNED_BYTES_MAX)?;
    let decided = decided.and_then(|bytes| verify::decision(&bytes, service.public()).ok());
    let later = decided.and_then(|(decision, _)| decision.released_to);
    for place in BTreeSet::from_iter(deletion.released_to.iter().chain(&later)) {
        let wrong = |problem| PseudoError::Signed { place: format!("where {name} was released to"), problem };
        let target = Place::parse(place).map_err(wrong)?.below(name);
        release::withdraw(s3, &target, &deletion.manifest_sha256, service.public())?;
    }
    let (manifest, kept) = (draft.key(MANIFEST), draft.key(DELETION));
    for key in s3.list(&draft, OBJECTS_MAX)? {
        if key != manifest && key != kept {
            s3.destroy(&draft.bucket, &key)?;
        }
    }
    s3.destroy(&draft.bucket, &manifest)?;
    Ok(deletion)
}

fn begin(
    s3: &S3,
    draft: &Place,
    name: &str,
    replaced_by: Option<&str>,
    service: &SigningKey,
    trust: &Trust,
) -> Result<Deletion, PseudoError> {
    let replaced_by = replaced_by.map(str::to_owned);
    let stand = release::look(s3, draft, trust)?;
    let manifest = &stand.manifest;
    if manifest.export != name {
        let problem = "it is the manifest of another export".to_owned();
        return Err(PseudoError::Signed { place: format!("the manifest of {name}"), problem });
    }
    assert!(stand.decision.is_some() || stand.state == State::Draft, "a state without a decision is a draft");
    let decision = stand.decision.as_ref().map(|(decision, _)| decision);
    let deletion = Deletion {
        version: version_of(&replaced_by, &manifest.planted, &None),
        export: manifest.export.clone(),
        begun: clock::text(clock::now()),
        // one that does not count is none: an incremental job would else take for refused what the register says is void
        verdict: decision.filter(|_| stand.state != State::Void).map(|decision| decision.verdict),
        released_to: decision.and_then(|decision| decision.released_to.clone()),
        manifest_sha256: hex(&Sha256::digest(stand.manifest_bytes())),
        replaced_by,
        created: manifest.created.clone(),
        terms: manifest.terms.clone(),
        records: manifest.counts.records_out,
        planted: manifest.planted.clone(),
        files: manifest.files().count() as u64,
        bytes: manifest.files().map(|file| file.bytes).sum(),
        sources: manifest.sources.iter().map(|source| hex(&Fingerprint::of_source(source).0)).collect(),
        build: BUILD.to_owned(),
    };
    let sealed = signed::seal(Kind::Deletion, &deletion, service);
    s3.create_or_same(&draft.bucket, &draft.key(DELETION), &sealed)?;
    Ok(deletion)
}
