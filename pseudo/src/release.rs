//! The gate: an export stays a draft until a second person signs that it may go, and its figures are as its policy demands.
//!
//! Drafts and released exports lie in different places, and readers are let into the second alone. The decision is made where the
//! draft is, by creating one object that can be created once; only then are the files copied, each checked against its hash, and last
//! of all the decision itself as `release.json`: a folder without it is not released.

use crate::figures;
use crate::keys::hex;
use crate::manifest::{
    DECISION, DELETION, Decision, MANIFEST, Manifest, RELEASE, SIGNED_BYTES_MAX, Verdict, version_of,
};
use crate::operators::Operator;
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::signed::{self, Kind};
use crate::verify::{self, Folder};
use crate::{PseudoError, clock, operators};
use custody::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The largest file that is copied, bytes: a part has about 64 MiB, and a row more at most.
const COPY_BYTES_MAX: u64 = 1 << 30;
/// Objects of one export, at most: as many parts as sources, and documents.
pub(crate) const OBJECTS_MAX: usize = 1_000_000;

/// The document that says what each column is.
const DICTIONARY: &str = "dictionary.json";
/// Bytes of it, at most: a policy has 512 columns.
const DICTIONARY_BYTES_MAX: u64 = 4 << 20;

/// What of it is shown to who decides.
#[derive(Deserialize)]
struct Dictionary {
    columns: Vec<Column>,
}

/// A column of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) column: String,
    #[serde(default)]
    pub(crate) role: String,
    pub(crate) technique: String,
    pub(crate) class: Option<String>,
    pub(crate) scope: Option<String>,
    #[serde(default)]
    pub(crate) meaning: String,
}

/// What an export has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has decided.
    Draft,
    /// Decided, and not seen to be where its readers are: not yet there, or looked for by somebody who is not let in.
    Approved,
    /// Where its readers are.
    Released,
    /// Decided against.
    Refused,
    /// Decided with a key that was revoked, and not among what stands of it: nothing that counts.
    Void,
}

/// An export and what was decided about it.
pub(crate) struct Stand {
    pub(crate) manifest: Manifest,
    pub(crate) maker: String,
    /// The decision, and by whom.
    pub(crate) decision: Option<(Decision, String)>,
    pub(crate) state: State,
    bytes: Vec<u8>,
    decided: Option<Vec<u8>>,
}

impl Stand {
    /// The signed manifest, as it lies there.
    pub(crate) fn manifest_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signed decision, as it lies there.
    pub(crate) fn decision_bytes(&self) -> Option<&[u8]> {
        self.decided.as_deref()
    }
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Approved => "approved",
            Self::Released => "released",
            Self::Refused => "refused",
            Self::Void => "void",
        }
    }
}

/// Looks at the export in a folder; everything signed is checked.
pub(crate) fn look(s3: &S3, draft: &Place, trust: &Trust) -> Result<Stand, PseudoError> {
    let service = trust.key;
    let bucket = &draft.bucket;
    let bytes = s3.get(bucket, &draft.key(MANIFEST), SIGNED_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| {
        PseudoError::usage("there is no manifest here: no export, or one that is not finished", "")
    })?;
    let manifest = verify::manifest(&bytes, service).map_err(PseudoError::signed("the manifest"))?;
    let (maker, _) =
        operators::vouched(&manifest.maker, service).map_err(PseudoError::signed("its maker"))?;
    let decided = s3.get(bucket, &draft.key(DECISION), SIGNED_BYTES_MAX)?;
    let mut decision = None;
    let mut state = State::Draft;
    if let Some(decided) = &decided {
        let found = verify::decision(decided, service).map_err(PseudoError::signed("the decision"))?;
        if found.0.manifest_sha256 != hex(&Sha256::digest(&bytes)) || found.0.export != manifest.export {
            let problem = "it is about another manifest".to_owned();
            return Err(PseudoError::Signed { place: "the decision".to_owned(), problem });
        }
        state = match verdict(&found.0, decided, trust)? {
            None => State::Void,
            Some(Verdict::Refused) => State::Refused,
            Some(Verdict::Approved) if is_released(s3, &found.0, decided)? => State::Released,
            Some(Verdict::Approved) => State::Approved,
        };
        decision = Some(found);
    }
    Ok(Stand { manifest, maker, decision, state, bytes, decided })
}

/// The verdict of a decision that counts. `None` for one that does not: signed with a key that was revoked, and not among what stands of it. The
/// register, jobs, re-keying and records of deletion all go by this.
pub(crate) fn verdict(
    decision: &Decision,
    bytes: &[u8],
    trust: &Trust,
) -> Result<Option<Verdict>, PseudoError> {
    let (_, key) =
        operators::vouched(&decision.approver, trust.key).map_err(PseudoError::signed("who decided"))?;
    Ok(trust.stands(key, bytes).then_some(decision.verdict))
}

fn is_released(s3: &S3, decision: &Decision, decided: &[u8]) -> Result<bool, PseudoError> {
    let Some(place) = decision.released_to.as_deref().and_then(|place| Place::parse(place).ok()) else {
        return Ok(false);
    };
    let key = place.below(&decision.export).key(RELEASE);
    Ok(s3.see(&place.bucket, &key, SIGNED_BYTES_MAX)?.as_deref() == Some(decided))
}

/// Signs that an export is released, and puts it where its readers are. An interrupted release is gone on with.
pub(crate) fn approve(
    s3: &S3,
    draft: &Place,
    to: &Place,
    by: &Operator,
    trust: &Trust,
    reason: &str,
) -> Result<Stand, PseudoError> {
    let (service, stand) = (trust.key, look(s3, draft, trust)?);
    counts(&stand)?;
    stays(s3, draft, &stand)?;
    if stand.state == State::Draft {
        second_person(&stand, by, service)?;
        let misses = figures::misses(stand.manifest.gate.as_ref(), stand.manifest.figures.as_ref());
        if !misses.is_empty() {
            let advice = "change the policy and export again, or refuse this one";
            let problem = format!("the gate holds this export: {}", misses.join("; "));
            return Err(PseudoError::Gate { problem, advice: advice.to_owned() });
        }
        reaches(s3, &to.below(&stand.manifest.export))?;
        intact(s3, draft, &stand)?;
    }
    let decided = decide(s3, draft, &stand, Verdict::Approved, Some(to), by, reason)?;
    let stand = look(s3, draft, trust)?;
    let wanted = stand.decision.as_ref().and_then(|(decision, _)| decision.released_to.clone());
    if wanted.as_deref() != Some(to.to_string().as_str()) {
        return Err(PseudoError::usage(
            "this export was released to another place",
            "`release status` says where",
        ));
    }
    let copied = copy(s3, draft, to, &stand, &decided).and_then(|()| stays(s3, draft, &stand));
    if let (Err(_), Some((decision, _))) = (&copied, &stand.decision)
        && s3.pin(&draft.bucket, &draft.key(DELETION))?.is_some()
    {
        // who deletes it may have looked there before the last of it came
        withdraw(s3, &to.below(&decision.export), &decision.manifest_sha256, service)?;
    }
    copied?;
    look(s3, draft, trust)
}

/// What readers are told of each column, as the maker's policy has it; `None` if that is not as it was signed.
pub(crate) fn columns(s3: &S3, draft: &Place, stand: &Stand) -> Result<Option<Vec<Column>>, PseudoError> {
    let Some(signed) = stand.manifest.documents.iter().find(|file| file.name == DICTIONARY) else {
        return Ok(None);
    };
    let bytes = s3.get(&draft.bucket, &draft.key(DICTIONARY), DICTIONARY_BYTES_MAX)?;
    let bytes = bytes.filter(|bytes| hex(&Sha256::digest(bytes)) == signed.sha256);
    let dictionary = bytes.and_then(|bytes| serde_json::from_slice::<Dictionary>(&bytes).ok());
    Ok(dictionary.map(|dictionary| dictionary.columns))
}

/// Whether an export can be put where its readers are. A decision is taken once, so that is seen before.
fn reaches(s3: &S3, target: &Place) -> Result<(), PseudoError> {
    s3.may_create(&target.bucket, &target.key(RELEASE)).map_err(|error| PseudoError::Gate {
        problem: format!("nothing was decided, since nothing can be put into {target}: {}", error.chain()),
        advice: "approve with credentials that may read, list and write there; the bucket has to exist"
            .to_owned(),
    })
}

/// Destroys what was released of a manifest at `target`, first what says that it is. Another export of this name, from other
/// drafts, stays.
pub(crate) fn withdraw(
    s3: &S3,
    target: &Place,
    manifest_sha256: &str,
    service: PublicKey,
) -> Result<(), PseudoError> {
    let there = s3.get(&target.bucket, &target.key(RELEASE), SIGNED_BYTES_MAX)?;
    let there = there.and_then(|bytes| verify::decision(&bytes, service).ok());
    if there.is_some_and(|(there, _)| there.manifest_sha256 != manifest_sha256) {
        return Ok(());
    }
    s3.destroy(&target.bucket, &target.key(RELEASE))?;
    for key in s3.list(target, OBJECTS_MAX)? {
        s3.destroy(&target.bucket, &key)?;
    }
    Ok(())
}

/// Whether an export's day of deletion is not over, and nobody deletes it.
fn stays(s3: &S3, draft: &Place, stand: &Stand) -> Result<(), PseudoError> {
    let is_over = stand.manifest.terms.delete_on < clock::day_of(clock::now());
    if !is_over && s3.pin(&draft.bucket, &draft.key(DELETION))?.is_none() {
        return Ok(());
    }
    Err(PseudoError::Gate {
        problem: "this export is deleted, or the day by which it was to be deleted is over".to_owned(),
        advice: "export again".to_owned(),
    })
}

/// Signs that an export is never released. Anybody but its maker may.
pub(crate) fn refuse(
    s3: &S3,
    draft: &Place,
    by: &Operator,
    trust: &Trust,
    reason: &str,
) -> Result<Stand, PseudoError> {
    let stand = look(s3, draft, trust)?;
    counts(&stand)?;
    second_person(&stand, by, trust.key)?;
    decide(s3, draft, &stand, Verdict::Refused, None, by, reason)?;
    look(s3, draft, trust)
}

/// A decision that does not count lies in the way of any other: an export is decided about once.
fn counts(stand: &Stand) -> Result<(), PseudoError> {
    let Some((_, who)) = stand.decision.as_ref().filter(|_| stand.state == State::Void) else {
        return Ok(());
    };
    Err(PseudoError::Gate {
        problem: format!("{who} decided about this export with a key that is revoked, which does not count"),
        advice: "make it again under another --id, and destroy this one".to_owned(),
    })
}

fn second_person(stand: &Stand, by: &Operator, service: PublicKey) -> Result<(), PseudoError> {
    let maker =
        operators::vouched(&stand.manifest.maker, service).map_err(PseudoError::signed("its maker"))?;
    if maker.0 == by.name || maker.1 == by.key.public() {
        return Err(PseudoError::Gate {
            problem: format!("{} made this export and cannot decide about it", by.name),
            advice: "a second person has to".to_owned(),
        });
    }
    Ok(())
}

fn intact(s3: &S3, draft: &Place, stand: &Stand) -> Result<(), PseudoError> {
    let wrong = verify::files(&Folder::There(s3, draft.clone()), stand.manifest.files())?;
    let Some(first) = wrong.first() else { return Ok(()) };
    let problem = format!("{} files are not as they were signed: {first}", wrong.len());
    Err(PseudoError::Signed { place: "the draft".to_owned(), problem })
}

/// Writes the decision, which can be done once; an equal verdict that is there already stands for it.
fn decide(
    s3: &S3,
    draft: &Place,
    stand: &Stand,
    verdict: Verdict,
    to: Option<&Place>,
    by: &Operator,
    reason: &str,
) -> Result<Vec<u8>, PseudoError> {
    if let (Some((found, who)), Some(decided)) = (&stand.decision, &stand.decided) {
        if found.verdict == verdict {
            return Ok(decided.clone());
        }
        return Err(PseudoError::Gate {
            problem: format!("{who} has decided otherwise, and a decision is taken once"),
            advice: "export again".to_owned(),
        });
    }
    let manifest = &stand.manifest;
    let decision = Decision {
        version: version_of(&manifest.replaces, &manifest.planted, &manifest.fitted),
        export: manifest.export.clone(),
        verdict,
        decided: clock::text(clock::now()),
        reason: reason.to_owned(),
        manifest_sha256: hex(&Sha256::digest(&stand.bytes)),
        maker: manifest.maker.clone(),
        approver: by.certificate.clone(),
        released_to: to.map(ToString::to_string),
        replaces: manifest.replaces.clone(),
        terms: manifest.terms.clone(),
        records: manifest.counts.records_out,
        planted: manifest.planted.clone(),
        fitted: manifest.fitted.clone(),
        figures: manifest.figures.clone(),
        format: manifest.format.clone(),
        outputs: manifest.outputs.clone(),
        documents: manifest.documents.clone(),
    };
    let sealed = signed::seal(Kind::Decision, &decision, &by.key);
    s3.create_or_same(&draft.bucket, &draft.key(DECISION), &sealed)?;
    Ok(sealed)
}

fn copy(s3: &S3, draft: &Place, to: &Place, stand: &Stand, decided: &[u8]) -> Result<(), PseudoError> {
    let target = to.below(&stand.manifest.export);
    for file in stand.manifest.files() {
        let content = s3.get(&draft.bucket, &draft.key(&file.name), COPY_BYTES_MAX)?.unwrap_or_default();
        if hex(&Sha256::digest(&content)) != file.sha256 {
            let problem = format!("{} is not as it was signed", file.name);
            return Err(PseudoError::Signed { place: "the draft".to_owned(), problem });
        }
        s3.create_or_same(&target.bucket, &target.key(&file.name), &content)?;
    }
    s3.create_or_same(&target.bucket, &target.key(RELEASE), decided)
}
