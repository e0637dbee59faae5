//! Exports that an older key of their domain made, made again under a newer one, so that the older one can be destroyed.
//!
//! 1. Of each export that an older key made and that no other stands for, another one is made: of the same versions of the same
//!    sources, under the same policy and terms, in another order of rows. It is a draft that names what it replaces.
//! 2. A second person decides about it as about any export.
//! 3. What a released one stands for is deleted, with a signed record, or stays until its day has come: as its owner likes.
//!
//! What a second person refused of these is not made again by itself: it would be the same once more. Whoever asks for the export by its name has
//! another one made, called `.vVERSION-2` and so on.
//!
//! Neither the older key nor any table from old tokens to new ones is needed, so none is ever made. There is no state beside the
//! drafts: what is begun, made and replaced is read from what is signed there, and whatever is killed is gone on with.

use crate::export::{Again, Begun, Done, Export, MayLack, normalisers};
use crate::keys::hex;
use crate::manifest::{KeyName, Manifest, Replaces, is_export_name};
use crate::operators::Operator;
use crate::register;
use crate::release::{Stand, State};
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::{PseudoError, clock};
use custody::{MasterKey, SigningKey};
use policy::{Policy, Spec};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// How often one export is made again under one version of a key, at most: each time a person refused the last one.
const ATTEMPTS_MAX: u32 = 100;

/// An export, and what stands for it.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) stand: Stand,
    /// The export that was made of it under a newer key, and what that has come to. One that was refused stands for nothing.
    pub(crate) successor: Option<(String, State)>,
    /// The newest that was made of it and refused, and the version of its key.
    pub(crate) refused: Option<(String, u32)>,
}

/// All exports of a place.
pub(crate) struct Survey {
    pub(crate) lines: Vec<Line>,
    /// Those that cannot be relied on.
    pub(crate) damaged: Vec<(String, PseudoError)>,
    /// Those whose deletion for a successor was begun and not ended.
    pub(crate) withdrawing: Vec<String>,
    /// Names that no other export can have: of what is there, cannot be relied on, or was deleted.
    taken: BTreeSet<String>,
}

/// Why nothing is made of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// No policy of its domain was named.
    OtherDomain,
    /// Its key is the one to go to, or newer.
    Current,
    /// Another export stands for it.
    Replaced(String),
    /// What was made of it under this key was refused, and nobody asked for another one by name.
    SuccessorRefused(String),
    /// It never reaches readers, or was decided about with a key that is revoked.
    Refused,
    /// The day by which it is to be deleted is over.
    Over,
}

impl Left {
    /// A word for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::OtherDomain => "other-domain",
            Self::Current => "current",
            Self::Replaced(_) => "replaced",
            Self::SuccessorRefused(_) => "successor-refused",
            Self::Refused => "refused",
            Self::Over => "over",
        }
    }
}

/// Looks at all exports of a place.
pub(crate) fn survey(s3: &S3, drafts: &Place, trust: &Trust) -> Result<Survey, PseudoError> {
    let register = register::read(s3, drafts, trust)?;
    let (mut stands, mut damaged) = (BTreeMap::new(), Vec::new());
    let gone = register.deleted.iter().map(|gone| &gone.name);
    let taken = register.exports.iter().map(|entry| &entry.name).chain(gone).cloned().collect();
    for register::Entry { name, stand } in register.exports {
        match stand {
            Ok(stand) => {
                stands.insert(name, stand);
            }
            Err(error) => damaged.push((name, error)),
        }
    }
    let mut withdrawing = Vec::new();
    for gone in register.deleted {
        match gone.record {
            Ok(record) if !gone.is_over && record.replaced_by.is_some() => withdrawing.push(gone.name),
            Ok(_) => {}
            Err(error) => damaged.push((gone.name, error)),
        }
    }
    let exports = || stands.iter().map(|(name, stand)| (&**name, &stand.manifest, stand.state));
    let (successors, refused) = (successors(exports()), refused(exports()));
    let line = |(name, stand): (String, Stand)| {
        let sha256 = hex(&Sha256::digest(stand.manifest_bytes()));
        let (successor, refused) = (successors.get(&sha256).cloned(), refused.get(&sha256).cloned());
        Line { successor, refused, name, stand }
    };
    let lines = stands.into_iter().map(line).collect();
    Ok(Survey { lines, damaged, withdrawing, taken })
}

/// Which exports stand for which manifests. Of several the one whose readers have it.
fn successors<'a>(
    exports: impl Iterator<Item = (&'a str, &'a Manifest, State)>,
) -> HashMap<String, (String, State)> {
    let mut found: HashMap<String, (String, State)> = HashMap::new();
    for (name, manifest, state) in exports {
        let Some(replaces) = &manifest.replaces else { continue };
        let is_better = |(_, known): &(String, State)| *known != State::Released && state == State::Released;
        if !matches!(state, State::Refused | State::Void)
            && found.get(&replaces.manifest_sha256).is_none_or(is_better)
        {
            found.insert(replaces.manifest_sha256.clone(), (name.to_owned(), state));
        }
    }
    found
}

/// Which of the exports that were made of a manifest was refused last, and the version of its key.
fn refused<'a>(
    exports: impl Iterator<Item = (&'a str, &'a Manifest, State)>,
) -> HashMap<String, (String, u32)> {
    let mut found: HashMap<String, (u64, String, u32)> = HashMap::new();
    for (name, manifest, state) in exports {
        let (Some(replaces), Some(key)) = (&manifest.replaces, manifest.keys.first()) else { continue };
        let order =
            u64::from(key.version) << 32 | parts(name).map_or(0, |(_, _, attempt)| u64::from(attempt));
        let is_later = found.get(&replaces.manifest_sha256).is_none_or(|(known, ..)| *known < order);
        if state == State::Refused && is_later {
            found.insert(replaces.manifest_sha256.clone(), (order, name.to_owned(), key.version));
        }
    }
    found.into_iter().map(|(manifest, (_, name, version))| (manifest, (name, version))).collect()
}

/// The export that one of this name was made of again; `None` if its name does not say so.
pub(crate) fn before(name: &str) -> Option<&str> {
    parts(name).map(|(before, ..)| before)
}

/// What the name of an export that was made again says: `BEFORE.vVERSION`, or `BEFORE.vVERSION-ATTEMPT` from the second on.
fn parts(name: &str) -> Option<(&str, u32, u32)> {
    let (before, rest) = name.rsplit_once(".v")?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (version, attempt) = match rest.split_once('-') {
        Some((version, attempt)) => (number(version)?, number(attempt)?),
        None => (number(rest)?, 1),
    };
    Some((before, version, attempt))
}

/// What the export is called that is made of one with this manifest under this version of its domain's key: the first name that no other has.
fn successor_name(
    manifest: &Manifest,
    version: u32,
    taken: &BTreeSet<String>,
) -> Result<String, PseudoError> {
    let name = manifest.export.as_str();
    let base = match (&manifest.replaces, manifest.keys.first(), parts(name)) {
        (Some(_), Some(made_with), Some((before, named, _))) if named == made_with.version => before,
        _ => name,
    };
    let named = |attempt: u32| match attempt {
        1 => format!("{base}.v{version}"),
        _ => format!("{base}.v{version}-{attempt}"),
    };
    let next = (1..=ATTEMPTS_MAX).map(named).find(|next| !taken.contains(next));
    let next = next.ok_or_else(|| {
        let problem = format!("{base} was made again {ATTEMPTS_MAX} times under version {version}");
        PseudoError::usage(problem, "export anew under another name")
    })?;
    if is_export_name(&next) {
        return Ok(next);
    }
    let problem = format!("{next} is longer than an export's name may be");
    Err(PseudoError::usage(
        problem,
        "an export of this name cannot be re-keyed: export anew under a shorter one",
    ))
}

impl Survey {
    /// Where what stands for an export was released to, if that is another place than the export's own.
    pub(crate) fn elsewhere(&self, line: &Line) -> Option<&str> {
        fn place(stand: &Stand) -> Option<&str> {
            stand.decision.as_ref()?.0.released_to.as_deref()
        }
        let (own, by) = (place(&line.stand)?, line.replaced_by()?);
        let successor = self.lines.iter().find(|other| other.name == by)?;
        place(&successor.stand).filter(|there| *there != own)
    }

    /// What is made of an export under this version is called so.
    fn next_name(&self, line: &Line, version: u32) -> Result<String, PseudoError> {
        successor_name(&line.stand.manifest, version, &self.taken)
    }
}

impl Line {
    /// The key that made its tokens.
    pub(crate) fn key(&self) -> &KeyName {
        self.stand.manifest.keys.first().expect("what makes manifests names the key")
    }

    /// Whether what stands for it is where its readers are, so that it can be withdrawn.
    pub(crate) fn replaced_by(&self) -> Option<&str> {
        self.successor.as_ref().filter(|(_, state)| *state == State::Released).map(|(name, _)| name.as_str())
    }

    /// Why nothing is made of it; `None` if it is to be made again under this version of its domain's key. Who asks for it by name asks also for what was refused.
    pub(crate) fn left(&self, to: u32, today: &str, is_named: bool) -> Option<Left> {
        let by = self.successor.as_ref().map(|(by, _)| by.as_str());
        let left = left(&self.stand.manifest, self.stand.state, by, to, today);
        let refused = self.refused.as_ref().filter(|(_, version)| *version == to && !is_named);
        left.or_else(|| refused.map(|(name, _)| Left::SuccessorRefused(name.clone())))
    }
}

fn left(manifest: &Manifest, state: State, by: Option<&str>, to: u32, today: &str) -> Option<Left> {
    if let Some(by) = by {
        return Some(Left::Replaced(by.to_owned()));
    }
    if manifest.keys.iter().all(|key| key.version >= to) {
        return Some(Left::Current);
    }
    if matches!(state, State::Refused | State::Void) {
        return Some(Left::Refused);
    }
    (manifest.terms.delete_on.as_str() < today).then_some(Left::Over)
}

/// Makes exports again.
pub(crate) struct Rekeying<'a> {
    pub(crate) s3: &'a S3,
    pub(crate) drafts: &'a Place,
    pub(crate) policies: &'a [Policy],
    pub(crate) memory_bytes: usize,
    pub(crate) temporary: PathBuf,
    pub(crate) operator: &'a Operator,
    pub(crate) service: &'a SigningKey,
    pub(crate) stop: &'a AtomicBool,
}

impl Rekeying<'_> {
    /// Makes one again, or goes on with it.
    pub(crate) fn make(&self, survey: &Survey, line: &Line, master: &MasterKey) -> Result<Done, PseudoError> {
        let manifest = &line.stand.manifest;
        let policy = self.policy(manifest)?;
        let name = survey.next_name(line, master.version().get())?;
        let replaces = Replaces {
            export: manifest.export.clone(),
            manifest_sha256: hex(&Sha256::digest(line.stand.manifest_bytes())),
            key: line.key().clone(),
        };
        let export = Export {
            s3: self.s3,
            to: self.drafts.below(&name),
            name,
            policy,
            // nothing of what was agreed to changes, and it does not live a day longer
            terms: manifest.terms.clone(),
            from: Vec::new(),
            held: None,
            // as empty as it was
            may_lack: MayLack::all(true),
            again: Some(Again { replaces, before: manifest }),
            part_rows_max: part_rows(manifest),
            memory_bytes: self.memory_bytes,
            temporary: self.temporary.clone(),
            operator: self.operator,
            service: self.service,
            stop: self.stop,
        };
        let begun = match export.begun()? {
            Begun::No => None,
            Begun::Same(order) => Some(*order),
            Begun::Otherwise => {
                let problem = format!("{} was begun as something else, or by another release", export.name);
                return Err(PseudoError::usage(problem, "it has no manifest: delete what lies there"));
            }
        };
        if !export.has_its_sources(&manifest.sources)? {
            return Err(PseudoError::Unreachable {
                problem: "a source is not there any more as it was read, and no token can be turned into another without it".to_owned(),
                advice: "it stays as it is: once its key is destroyed nobody can make or link its tokens again; or delete it by hand".to_owned(),
            });
        }
        let is_resumed = begun.is_some();
        let order = match begun {
            Some(order) => Some(order),
            None => export.begin(master, clock::now())?,
        };
        let order = order.ok_or_else(|| PseudoError::usage("it has no sources", ""))?;
        export.run(order, is_resumed, master, None)
    }

    /// The policy that an export was made under, and still would be in the same way.
    fn policy(&self, manifest: &Manifest) -> Result<&Policy, PseudoError> {
        let terms = &manifest.terms;
        let found = self.policies.iter().find(|policy| policy.hash_text() == terms.policy_sha256);
        let Some(policy) = found else {
            let problem = format!(
                "its policy is none of those that are named: {} version {}, SHA-256 {}",
                terms.policy, terms.policy_version, terms.policy_sha256
            );
            return Err(PseudoError::usage(problem, "name the very file with --policy"));
        };
        if policy.columns().any(|rule| matches!(rule.spec, Spec::Vault(_))) {
            let problem = "its tokens are of people in a vault, and made again from the sources they would bring back who was erased";
            let advice = "such tokens need no re-keying against guesses, each person has a secret of their own; else export anew";
            return Err(PseudoError::usage(problem, advice));
        }
        if policy.columns().map(normalisers).collect::<BTreeMap<_, _>>() != manifest.normalisers {
            let problem = "this release normalises values in another way than the one that made it";
            return Err(PseudoError::usage(problem, "export anew: its tokens would be of other values"));
        }
        Ok(policy)
    }
}

/// Rows of a part: as many as the largest had, so that there are as many parts, where rows and not bytes filled them.
fn part_rows(manifest: &Manifest) -> u64 {
    manifest.outputs.iter().filter_map(|file| file.rows).max().unwrap_or_default().max(1)
}

#[cfg(test)]
mod tests;
